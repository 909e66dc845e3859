import struct
import sys
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from pcfdsl.readers import matlab5
from pcfdsl.readers.matlab import read_variable


def struct_array(rows):
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


ROWS = [
    {"name": "chair", "box": np.array([[1.0, 2.0, 3.0]]), "nested": struct_array([{"name": "a", "x": np.eye(2)}])},
    {"name": "", "box": np.zeros((0, 0)), "nested": np.zeros((0, 0))},
    {"name": "bed", "box": np.arange(6.0).reshape(2, 3), "nested": struct_array([{"name": n, "x": 0.0} for n in "bc"])},
]


def write_5(path, *, compressed=True):
    cells = np.empty((1, 2), object)
    cells[0, :] = ["one", "three"]
    savemat(
        path,
        {"rows": struct_array(ROWS), "words": cells, "matrix": np.arange(6.0).reshape(2, 3)},
        do_compression=compressed,
    )


def write_hdf5(path):
    """The same in the layout of MATLAB 7.3: transposed arrays, references for nested values, attributes for classes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        hidden = file.create_group("#refs#")

        def array(parent, name, value):
            kind = b"char" if isinstance(value, str) else b"double"
            if isinstance(value, str):
                value = np.array([[ord(letter) for letter in value]], np.uint16)
            value = np.atleast_2d(value)
            parent[name] = value.T if value.size else np.zeros(2, np.uint64)
            parent[name].attrs["MATLAB_class"] = kind
            if not value.size:
                parent[name].attrs["MATLAB_empty"] = np.uint8(1)

        def struct(parent, name, rows):
            group = parent.create_group(name)
            group.attrs["MATLAB_class"] = b"struct"
            for field in rows[0]:
                if len(rows) == 1:
                    put(group, field, rows[0][field])
                else:
                    group[field] = references([row[field] for row in rows])

        def references(values):
            made = []
            for value in values:
                name = f"v{len(hidden)}"
                put(hidden, name, value)
                made.append(hidden[name].ref)
            return np.array(made, dtype=h5py.ref_dtype).reshape(-1, 1)

        def put(parent, name, value):
            if isinstance(value, np.ndarray) and value.dtype.names:
                struct(parent, name, [dict(zip(value.dtype.names, row, strict=True)) for row in value.ravel()])
            else:
                array(parent, name, value)

        struct(file, "rows", ROWS)
        file["words"] = references(["one", "three"])
        file["words"].attrs["MATLAB_class"] = b"cell"
        array(file, "matrix", np.arange(6.0).reshape(2, 3))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


@pytest.fixture(params=[write_5, write_hdf5], ids=["version 5", "version 7.3"])
def mat(request, tmp_path):
    request.param(tmp_path / "file.mat")
    return tmp_path / "file.mat"


def test_both_formats_give_the_same_plain_values(mat):
    rows = read_variable(mat, "rows")
    assert [row["name"] for row in rows] in (["chair", "", "bed"], ["chair", [], "bed"])
    np.testing.assert_array_equal(rows[0]["box"], [[1, 2, 3]])
    np.testing.assert_array_equal(rows[2]["box"], np.arange(6).reshape(2, 3))
    assert rows[1]["box"].size == rows[1]["nested"].size == 0
    assert [entry["name"] for entry in rows[2]["nested"]] == ["b", "c"]
    np.testing.assert_array_equal(rows[0]["nested"][0]["x"], np.eye(2))
    assert read_variable(mat, "words") == ["one", "three"]
    np.testing.assert_array_equal(read_variable(mat, "matrix"), np.arange(6).reshape(2, 3))


def test_only_requested_fields_are_read(mat):
    rows = read_variable(mat, "rows", fields={"nested", "x"})
    assert rows[0].keys() == {"nested"}
    assert rows[2]["nested"][1].keys() == {"x"}


def test_a_missing_file_or_variable_is_named(mat, tmp_path):
    with pytest.raises(ValueError, match=r"file.mat cannot be used: it has no variable 'lines'; it has .*words"):
        read_variable(mat, "lines")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent.mat"):
        read_variable(tmp_path / "absent.mat", "rows")


def test_version_7_3_without_h5py_names_the_install(tmp_path, monkeypatch):
    path = tmp_path / "new.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"version 7.3, which needs h5py: pip install h5py"):
        read_variable(path, "rows")


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_refused_with_a_message(seed, tmp_path):
    path, rng = tmp_path / "damaged.mat", np.random.default_rng(seed)
    write_5(path, compressed=seed % 2 == 0)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = rng.integers(128, len(content), 4)
    content[places] = rng.integers(256, size=4)
    path.write_bytes(content[: len(content) if seed % 3 else places[0]].tobytes())
    try:
        read_variable(path, "rows")
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("content", [b"", b"noise", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"noise" * 9])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "noise.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"noise.mat c"):
        read_variable(tmp_path / "noise.mat", "rows")


def test_a_crash_and_a_hang_of_scipy_are_errors(tmp_path, monkeypatch):
    path, python = tmp_path / "a.mat", tmp_path / "python"
    write_5(path)
    for body, message in (("kill -SEGV $$", "SciPy: exit code -11"), ("exec sleep 60", "did not finish within")):
        python.write_text(f"#!/bin/sh\n{body}\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        monkeypatch.setattr(matlab5, "_TIMEOUT", 0.5)
        with pytest.raises(ValueError, match=rf"a\.mat cannot be read: .*{message}"):
            read_variable(path, "rows")


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_written_by_matlab_are_read(order, compressed, tmp_path):
    """Bytes as MATLAB writes them and SciPy does not: numbers in the smallest type that holds them, text in UTF-16."""

    def element(kind: int, data: bytes) -> bytes:
        if len(data) <= 4:  # within the tag, whose upper half is the size
            return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
        return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)

    def array(kind: int, shape: tuple[int, ...], *parts: bytes, name: str = "") -> bytes:
        flags = element(6, struct.pack(f"{order}II", kind, 0))
        sizes = element(5, struct.pack(f"{order}{len(shape)}i", *shape))
        body = flags + sizes + element(1, name.encode()) + b"".join(parts)
        return struct.pack(f"{order}II", 14, len(body)) + body

    text = array(4, (1, 6), element(4, "bed_ä1".encode(f"utf-16-{'le' if order == '<' else 'be'}")))
    small = array(6, (2, 2), element(2, bytes([1, 2, 3, 4])))  # doubles, stored as bytes
    wide = array(6, (1, 2), element(9, struct.pack(f"{order}2d", 0.5, -1)))
    names = element(5, struct.pack(f"{order}i", 8)) + element(1, b"name".ljust(8, b"\0") + b"K".ljust(8, b"\0"))
    empty = struct.pack(f"{order}II", 14, 0)
    rows = array(2, (1, 2), names, text, small, empty, wide, name="rows")
    if compressed:
        packed = zlib.compress(rows)
        rows = struct.pack(f"{order}II", 15, len(packed)) + packed  # not padded
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack(f"{order}HH", 0x0100, 0x4D49)
    path = tmp_path / "rows.mat"
    path.write_bytes(header + array(6, (0, 0), element(9, b""), name="other") + rows)
    first, second = read_variable(path, "rows")
    assert first["name"] == "bed_ä1"
    np.testing.assert_array_equal(first["K"], [[1, 3], [2, 4]])
    assert first["K"].dtype == np.float64
    np.testing.assert_array_equal(second["K"], [[0.5, -1]])
    assert second["name"].size == 0


def test_an_unwritten_array_of_enormous_shape_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.mat", "w") as file:
        file.create_dataset("x", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,))
    assert (tmp_path / "m.mat").stat().st_size < 10_000
    with pytest.raises(ValueError, match="exceeds 2 GB"):
        read_variable(tmp_path / "m.mat", "x")


def test_each_referenced_object_is_read_once(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.mat", "w") as file:
        target = file.create_dataset("leaf", data=np.arange(1000.0))
        for level in range(20):
            cell = file.create_dataset(f"cell{level}", (100,), dtype=h5py.ref_dtype)
            cell.attrs["MATLAB_class"] = np.bytes_("cell")
            cell[:] = target.ref
            target = cell
    value = read_variable(tmp_path / "m.mat", "cell19")
    for _ in range(20):
        assert len(value) == 100
        value = value[-1]
    np.testing.assert_array_equal(value, np.arange(1000.0))


def test_a_reference_to_itself_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.mat", "w") as file:
        cell = file.create_dataset("x", (2,), dtype=h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        cell[:] = cell.ref
    with pytest.raises(ValueError, match=r"m\.mat cannot be read: RecursionError"):
        read_variable(tmp_path / "m.mat", "x")


def test_values_of_variable_length_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.mat", "w") as file:
        file.create_dataset("x", data=["text"] * 3, dtype=h5py.string_dtype())
    with pytest.raises(ValueError, match="values of variable length are not read"):
        read_variable(tmp_path / "m.mat", "x")


@pytest.mark.parametrize("how", ["link", "storage"])
def test_other_files_are_not_opened(how, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(8.0)
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with h5py.File(tmp_path / "m.mat", "w") as file:
        if how == "link":
            file["x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
        else:
            file.create_dataset("x", (8,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 64)])
    with pytest.raises(ValueError, match="a part of it is in another file, which is not opened"):
        read_variable(tmp_path / "m.mat", "x")
