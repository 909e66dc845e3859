import io
import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pcfdsl.store.pictures import decode_png, encode_image_tar, encode_png, read_tar, write_tar_index

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
SHAPES = SIDES | SIDES.map(lambda sides: (*sides, 3))


@given(hnp.arrays(np.uint8, SHAPES))
def test_png_files_are_read_back_pixel_for_pixel(picture):
    data = encode_png(picture)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
        assert (image.format, image.mode) == ("PNG", "L" if picture.ndim == 2 else "RGB")
    np.testing.assert_array_equal(decode_png(data), picture)
    assert encode_png(picture) == data


@pytest.mark.parametrize("picture", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_arrays_that_are_no_pictures(picture):
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(picture)


def test_tars_hold_what_readers_expect_and_no_trace_of_the_writer(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        (
            n,
            {
                "image": rng.integers(0, 256, (8, 8), dtype=np.uint8),
                "category": np.array(n % 2),
                "num_redraws": np.array(0),
            },
        )
        for n in (7, 3)
    ]
    samples.append((9, {"image": samples[0][1]["image"], "mask": samples[1][1]["image"]}))
    data = encode_image_tar(samples)
    assert encode_image_tar(samples) == data
    (tmp_path / "a.tar").write_bytes(data)
    members = read_tar(tmp_path / "a.tar")
    assert list(members) == [
        *("000000007.png", "000000007.cls", "000000007.json"),
        *("000000003.png", "000000003.cls", "000000003.json"),
        *("000000009.png", "000000009.mask.png", "000000009.json"),
    ]
    assert (members["000000007.cls"], json.loads(members["000000003.json"])) == (
        b"1",
        {"category": 1, "num_redraws": 0},
    )
    np.testing.assert_array_equal(decode_png(members["000000009.mask.png"]), samples[1][1]["image"])
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in tar)


def test_the_index_is_timms(tmp_path):
    write_tar_index(tmp_path, ["000000.tar", "000001.tar"], [10, 4])
    assert json.loads((tmp_path / "_info.json").read_text())["splits"]["train"] == {
        "name": "train",
        "filenames": ["000000.tar", "000001.tar"],
        "shard_lengths": [10, 4],
        "num_samples": 14,
    }
