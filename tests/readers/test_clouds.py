"""One reader for files of points: every dialect gives the same points, and what cannot be read is named."""

import io
import struct
import sys

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.readers.clouds import cloud_files, read_cloud
from pcfdsl.readers.columns import unit_colors
from pcfdsl.readers.pcd import _decompress

POINTS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
COLORS = np.random.default_rng(1).integers(0, 256, (7, 3)).astype(np.uint8)
TEXT = "".join(" ".join(map(repr, row)) + "\n" for row in POINTS.tolist())


def ply(*lines: str, kind="binary_little_endian", end="\n", body: bytes = POINTS.tobytes()) -> bytes:
    head = ["ply", f"format {kind} 1.0", "element vertex 7", *(f"property float {axis}" for axis in "xyz"), *lines]
    return end.join([*head, "end_header", ""]).encode("latin-1") + body


def colored(dtype: str, names=("red", "green", "blue"), scale=1.0) -> bytes:
    rows = np.zeros(7, [("p", "<f4", 3), ("c", {"uchar": "u1", "ushort": "<u2", "float": "<f4"}[dtype], 3)])
    rows["p"], rows["c"] = POINTS, COLORS.astype(float) * scale
    return ply(*(f"property {dtype} {name}" for name in names), body=rows.tobytes())


FACES = struct.pack("<B3iB6f", 3, 0, 1, 2, 6, *range(6)) + struct.pack("<B4iB6f", 4, 3, 4, 5, 6, 6, *range(6))
FACE_LINES = (
    "element face 2",
    "property list uchar int vertex_indices",
    "property list uchar float texcoord",
)


@pytest.mark.parametrize(
    "content",
    [
        ply(),
        ply(end="\r\n"),
        ply(end="\r"),
        b"\xef\xbb\xbf" + ply(),
        ply(kind="ascii", body=b"\xef\xbb\xbf" + TEXT.encode()),
        ply(kind="ascii", body=TEXT.replace("\n", "\n\n").encode()),
        ply(kind="ascii", end="\r", body=TEXT.replace("\n", "\r").encode()),
        ply("comment M\xfcller", "", "obj_info  made by hand", "comment"),
        ply(body=POINTS.tobytes() + bytes(300)),
        ply("element camera 1", "property float focal", body=POINTS.tobytes() + bytes(4)),
        ply(kind="binary_big_endian", body=POINTS.astype(">f4").tobytes()),
        ply(*FACE_LINES, body=POINTS.tobytes() + FACES),
        ply().replace(b"float x", b"float X"),
    ],
)
def test_ply_in_all_dialects(tmp_path, content):
    (tmp_path / "a.PLY").write_bytes(content)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.PLY").points, POINTS)


def test_after_lone_carriage_returns_a_line_feed_is_data(tmp_path):
    points = np.frombuffer(b"\n" + POINTS.tobytes()[1:], np.float32).reshape(-1, 3)
    (tmp_path / "a.ply").write_bytes(ply(end="\r", body=points.tobytes()))
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.ply").points, points)


def test_polygons_become_fans(tmp_path):
    (tmp_path / "a.ply").write_bytes(ply(*FACE_LINES, body=POINTS.tobytes() + FACES))
    triangles = read_cloud(tmp_path / "a.ply", faces=True).triangles
    assert triangles is not None
    assert triangles.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6]]


@pytest.mark.parametrize(
    "content",
    [
        colored("uchar"),
        colored("uchar", names=("diffuse_red", "diffuse_green", "diffuse_blue")),
        colored("uchar", names=("r", "g", "b")),
        colored("float"),
        colored("float", scale=1 / 255),
        colored("ushort", scale=257),
        colored("ushort"),
    ],
)
def test_colours_of_any_type(tmp_path, content):
    (tmp_path / "a.ply").write_bytes(content)
    colors = read_cloud(tmp_path / "a.ply").colors
    assert colors is not None
    np.testing.assert_allclose(colors, COLORS / 255, atol=1e-6)


def test_columns_that_are_no_colours(tmp_path):
    normals = np.c_[POINTS, POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)]
    np.save(tmp_path / "normals.npy", normals)
    cloud = read_cloud(tmp_path / "normals.npy")
    assert cloud.colors is None
    assert "no colours were read" in cloud.notes[0]
    assert unit_colors(np.array([[np.nan, 0.5, 1.0]]))[0].tolist() == [[0.0, 0.5, 1.0]]
    assert unit_colors(np.array([[0, 1, 1]]))[0].max() == np.float32(1 / 255)  # integers count to 255


PCD = (
    "# .PCD v.7\nVERSION {version}\nFIELDS x y z{fields}\nSIZE 4 4 4{size}\nTYPE F F F{kind}\nCOUNT 1 1 1{count}\n"
    "WIDTH 7\nHEIGHT 1\nPOINTS 7\nDATA {data}\n"
)


def pcd(data="ascii", *, body=TEXT.encode(), version=".7", fields="", size="", kind="", count="") -> bytes:
    return PCD.format(**locals()).encode() + body


def packed(columns: list[bytes]) -> bytes:
    """LZF with literals alone, which any reader has to take."""
    whole = b"".join(columns)
    pieces = [whole[k : k + 32] for k in range(0, len(whole), 32)]
    literal = b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    return struct.pack("<II", len(literal), len(whole)) + literal


PADDED = np.zeros(7, [("p", "<f4", 3), ("_", "u1", 4), ("i", "<u2")])
PADDED["p"] = POINTS


@pytest.mark.parametrize(
    "content",
    [
        pcd(),
        pcd(version=".5").replace(b"COUNT 1 1 1\n", b""),
        pcd().replace(b"\n", b"\r\n"),
        pcd(body=TEXT.replace(" ", "  ").encode()),
        pcd(body=TEXT.replace("\n", " \n").encode()),
        pcd().replace(b"# .PCD v.7", b"# M\xfcller"),
        pcd("binary", body=POINTS.tobytes()),
        pcd("binary", body=PADDED.tobytes(), fields=" _ i", size=" 1 2", kind=" U U", count=" 4 1"),
        pcd("binary_compressed", body=packed([POINTS[:, k].tobytes() for k in range(3)])),
    ],
)
def test_pcd_in_all_kinds(tmp_path, content):
    (tmp_path / "a.pcd").write_bytes(content)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.pcd").points, POINTS)


def test_packed_colours_of_pcd(tmp_path):
    bits = COLORS.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    more = {"fields": " rgb", "size": " 4", "count": " 1"}
    rows = np.zeros(7, [("p", "<f4", 3), ("c", "<u4")])
    rows["p"], rows["c"] = POINTS, bits
    lines = "".join(f"{line} {value}\n" for line, value in zip(TEXT.splitlines(), bits.tolist(), strict=True))
    for content in (
        pcd("binary", body=rows.tobytes(), kind=" U", **more),
        pcd("binary", body=rows.tobytes(), kind=" F", **more),
        pcd(body=lines.encode(), kind=" U", **more),
    ):
        (tmp_path / "a.pcd").write_bytes(content)
        np.testing.assert_allclose(read_cloud(tmp_path / "a.pcd").colors, COLORS / 255, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40)), min_size=1, max_size=20), st.binary(max_size=9))
def test_lzf_copies_and_damage(runs, noise):
    """A run of one value is a literal and a copy from one byte before; whatever the bytes are, none is read outside."""
    stream, whole = b"", b""
    for value, length in runs:
        stream += bytes([0, value])
        whole += bytes([value])
        if length >= 3:
            short = length - 2 < 7
            stream += bytes([(length - 2) << 5, 0]) if short else bytes([7 << 5, length - 2 - 7, 0])
            whole += bytes([value]) * length
    found = np.zeros(len(whole), np.uint8)
    assert _decompress(np.frombuffer(stream, np.uint8), found)
    assert found.tobytes() == whole
    for damaged in (stream[:-1] + noise, noise + stream, stream[: len(stream) // 2]):
        _decompress(np.frombuffer(damaged, np.uint8), np.zeros(len(whole), np.uint8))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xyz", TEXT),
        ("a.pts", f"7\n{TEXT}"),
        ("a.txt", f"# made by hand\n\n{TEXT}\n\n"),
        ("a.txt", TEXT.replace(" ", ",")),
        ("a.txt", TEXT.replace(" ", ", ")),
        ("a.txt", TEXT.replace(" ", "\t").replace("\n", "\r\n")),
        ("a.asc", "//X Y Z\n" + TEXT),
        ("a.txt", TEXT.replace(".", ",").replace(" ", ";")),
        ("a.txt", TEXT.replace(".", ",")),
        ("a.txt", "x;y;z;name\n" + TEXT.replace(" ", ";").replace("\n", ";wall\n")),
        ("a.TXT", "z y x\n" + "".join(" ".join(line.split()[::-1]) + "\n" for line in TEXT.splitlines())),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_text_as_scanners_write_it(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    np.testing.assert_array_equal(read_cloud(tmp_path / name).points, POINTS)
    assert cloud_files(tmp_path) == [tmp_path / name]


def test_colours_of_text(tmp_path):
    rows = zip(TEXT.splitlines(), COLORS.tolist(), strict=True)
    lines = [(xyz, " ".join(map(str, rgb))) for xyz, rgb in rows]
    (tmp_path / "a.pts").write_text("7\n" + "".join(f"{xyz} -900 {rgb}\n" for xyz, rgb in lines))
    (tmp_path / "b.txt").write_text("".join(f"{xyz} {rgb}\n" for xyz, rgb in lines))
    (tmp_path / "c.txt").write_text("X Y Z I R G B\n" + "".join(f"{xyz} 0.5 {rgb}\n" for xyz, rgb in lines))
    for path in cloud_files(tmp_path):
        np.testing.assert_allclose(read_cloud(path).colors, COLORS / 255, atol=1e-6)


def test_las_and_e57(tmp_path):
    laspy, pye57 = pytest.importorskip("laspy"), pytest.importorskip("pye57")
    far = POINTS + np.array([500_000.0, 5_400_000.0, 120.0])
    for kind in ("las", "LAZ"):
        file = laspy.create(point_format=2)
        file.header.scales, file.header.offsets = [1e-4] * 3, [500_000, 5_400_000, 0]
        file.x, file.y, file.z = far.T
        file.red, file.green, file.blue = COLORS.T.astype(np.uint16) * 257
        file.write(str(tmp_path / f"a.{kind}"))
        cloud = read_cloud(tmp_path / f"a.{kind}")
        np.testing.assert_allclose(cloud.points + cloud.offset, far, atol=2e-4)
        np.testing.assert_allclose(cloud.colors, COLORS / 255, atol=1e-6)
    file = pye57.E57(str(tmp_path / "a.e57"), mode="w")
    for _ in range(2):  # two stations
        file.write_scan_raw({f"cartesian{axis}": far[:, k] for k, axis in enumerate("XYZ")})
    file.close()
    cloud = read_cloud(tmp_path / "a.e57")
    np.testing.assert_allclose(cloud.points + cloud.offset, np.tile(far, (2, 1)), atol=2e-4)


@pytest.mark.parametrize(("kind", "module"), [("las", "laspy"), ("laz", "laspy"), ("e57", "pye57")])
def test_a_missing_extra_names_its_command(tmp_path, monkeypatch, kind, module):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / f"a.{kind}").write_bytes(b"LASF")
    with pytest.raises(ValueError, match=rf"a\.{kind} needs {module}: pip install 'pcfdsl\[scans\]'"):
        read_cloud(tmp_path / f"a.{kind}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("place", [(500_000.0, 5_400_000.0, 3000.0), (-80_000.0, 0.0, 0.0)])
def test_far_from_the_origin_nothing_is_rounded(tmp_path, dtype, place):
    points = (np.random.default_rng(2).random((100, 3)) * 8 + place).astype(dtype)
    np.save(tmp_path / "a.npy", points)
    cloud = read_cloud(tmp_path / "a.npy")
    assert cloud.points.dtype == np.float32
    assert (cloud.offset % 100 == 0).all()
    np.testing.assert_allclose(cloud.points.astype(np.float64) + cloud.offset, points.astype(np.float64), atol=3e-4)
    assert "far from the origin" in cloud.notes[0]


def test_millimetres_about_the_origin_stay_where_they_are(tmp_path):
    np.save(tmp_path / "a.npy", POINTS * 6000)
    cloud = read_cloud(tmp_path / "a.npy")
    assert not cloud.offset.any()
    np.testing.assert_array_equal(cloud.points, POINTS * 6000)


def test_points_that_are_not_finite_are_dropped_with_their_faces(tmp_path):
    box = trimesh.creation.box()
    vertices = np.array(box.vertices)
    vertices[2] = np.nan
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in box.faces]
    (tmp_path / "a.obj").write_text("\n".join(lines))
    cloud = read_cloud(tmp_path / "a.obj", faces=True)
    assert cloud.kept.tolist() == [True, True, False, True, True, True, True, True]
    assert cloud.notes == ("1 of 8 points are not finite and were dropped",)
    assert cloud.triangles is not None
    whole = box.faces[(box.faces != 2).all(axis=1)]
    np.testing.assert_array_equal(cloud.points[cloud.triangles], box.vertices[whole].astype(np.float32))


def test_structured_arrays_and_npz(tmp_path):
    rows = np.zeros(7, [(name, "f8") for name in ("x", "y", "z", "red", "green", "blue")])
    for k, axis in enumerate("xyz"):
        rows[axis] = POINTS[:, k]
    for k, name in enumerate(("red", "green", "blue")):
        rows[name] = COLORS[:, k]
    np.save(tmp_path / "a.npy", rows)
    np.savez(tmp_path / "a.npz", points=POINTS, colors=COLORS)
    for kind in ("npy", "npz"):
        cloud = read_cloud(tmp_path / f"a.{kind}")
        np.testing.assert_array_equal(cloud.points, POINTS)
        np.testing.assert_allclose(cloud.colors, COLORS / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ply", ply(body=POINTS.tobytes()[:-1]), "is truncated: its header declares at least 84 bytes, there are 83"),
        ("a.ply", ply(kind="ascii", body=TEXT[:-50].encode()), r"a\.ply"),
        ("a.ply", ply().replace(b"vertex 7", b"vertex 999999999999"), "is truncated"),
        ("a.ply", ply().replace(b"vertex", b"face"), "has no element vertex; it has face"),
        ("a.ply", ply().replace(b"float x", b"float u"), "have no x, y, z; they have u, y, z"),
        ("a.ply", ply().replace(b"float x", b"half x"), "properties of type half"),
        ("a.pcd", pcd()[:-30], "is truncated"),
        ("a.pcd", pcd("binary", body=POINTS.tobytes()[:-1]), "declares 84 bytes, there are 83"),
        ("a.pcd", pcd().replace(b"FIELDS x", b"FIELDS u"), "has no fields x y z"),
        ("a.pcd", pcd("zipped"), "data of kind zipped"),
        ("a.pcd", pcd(body=TEXT.encode() + b"1 " * 2 + b"1" * 5000), "a number of more than 64 characters"),
        ("a.txt", b"nothing here", "no row of three numbers"),
        ("a.xyz", TEXT.encode() + b"1 2\n", "does not begin with 3 numbers as its first does"),
        ("a.xyz", bytes(50), "is no text"),
        ("a.las", b"LASF" + bytes(500), r"a\.las"),
        ("a.e57", b"ASTM-E57" + bytes(500), "cannot be read; it may be damaged"),
        ("a.rcp", b"", r"unknown ending \.rcp"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_cloud(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_npy_is_read_from_any_order(tmp_path):
    content = io.BytesIO()
    np.save(content, np.asfortranarray(POINTS.astype(">f8")))
    (tmp_path / "a.npy").write_bytes(content.getvalue())
    cloud = read_cloud(tmp_path / "a.npy")
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.points.flags["C_CONTIGUOUS"]
