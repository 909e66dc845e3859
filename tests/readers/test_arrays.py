import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from pcfdsl.readers.arrays import read_array, read_arrays


def header(*, shape, descr="<f4"):
    content = io.BytesIO()
    about = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, about)  # type: ignore[arg-type]
    return content.getvalue()


def refused(read, path):
    """The error message of a reader, which takes less than 64 MB to fail."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\w") as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 3)),
        np.array("text"),
        np.array([True]),
    ],
)
def test_arrays_written_by_numpy_are_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", one=array, two=array)
    for read in (read_array(tmp_path / "a.npy"), *read_arrays(tmp_path / "a.npz").values()):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    assert list(read_arrays(tmp_path / "a.npz")) == ["one", "two"]


@pytest.mark.parametrize("shape", [(2**40, 3), (2**27,), (2,), (-1, -4), (2**62, 2**62)])
def test_a_header_that_declares_a_wrong_size_is_refused(tmp_path, shape):
    content = header(shape=shape) + bytes(16)
    (tmp_path / "a.npy").write_bytes(content)
    assert "declares" in refused(read_array, tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", content)
    assert "declares" in refused(read_arrays, tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    size = 3 << 27
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("points.npy", "w") as member,
    ):
        member.write(header(shape=(size // 4,)))
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < size // 100
    assert "unpacks to" in refused(read_arrays, tmp_path / "a.npz")


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    assert "Python objects" in refused(read_array, tmp_path / "a.npy")
