"""Idx files as they are downloaded, and errors that name the file."""

import gzip
import struct

import numpy as np
import pytest

from pcfdsl.readers.idx import find_idx, read_idx


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PICTURES = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)


@pytest.mark.parametrize("array", [PICTURES, np.array([3, 0, 7], np.uint8)], ids=["pictures", "labels"])
def test_packed_and_plain_files_give_the_array(array, tmp_path):
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "packed.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PNG", "is no idx file of bytes"),
        (b"\0\0\x0d\x01\0\0\0\0", "is no idx file of bytes"),
        (idx(PICTURES)[:9], "ends within its header"),
        (idx(PICTURES)[:-1], "declares 30 bytes and holds 29"),
        (idx(PICTURES) + b"x", "declares 30 bytes and holds more"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "at most 1073741824 are read"),
    ],
)
def test_damaged_files_are_named(content, why, tmp_path):
    for name, written in (("a-ubyte", content), ("a-ubyte.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(ValueError, match=f"{name}.* {why}"):
            read_idx(tmp_path / name)


def test_cut_and_forged_archives_are_errors(tmp_path):
    packed = gzip.compress(idx(PICTURES))
    for content in (packed[:-12], b"no gzip at all", packed[:12] + b"\xff" * 20):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.gz is (damaged|no idx)"):
            read_idx(tmp_path / "a.gz")


def test_files_are_found_by_their_published_names(tmp_path):
    assert find_idx(tmp_path, "train") is None
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).touch()
    found = find_idx(tmp_path, "test")
    assert found == (tmp_path / "t10k-images-idx3-ubyte.gz", tmp_path / "t10k-labels-idx1-ubyte")
    assert find_idx(tmp_path, "train") is None
