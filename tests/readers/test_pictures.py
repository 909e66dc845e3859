"""Pictures of every mode: converted or refused, never clipped."""

import numpy as np
import pytest
from PIL import Image

from pcfdsl.readers.pictures import check_picture, read_picture
from pcfdsl.store.pictures import encode_png

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("RGB", "a.bmp"), ("P", "a.gif"), ("RGBA", "b.png")])
def test_any_format_that_pillow_reads(mode, name, tmp_path):
    Image.fromarray(GREY).convert(mode).save(tmp_path / name)
    read = read_picture(tmp_path / name)
    np.testing.assert_array_equal(read if mode == "L" else read[..., 1], GREY)
    assert read.ndim == (2 if mode == "L" else 3)


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "a.png"), (np.uint16, "a.tif"), (np.int32, "b.tif")])
def test_sixteen_bits_are_scaled(dtype, name, tmp_path):
    Image.fromarray(GREY.astype(dtype) * 257).save(tmp_path / name)
    np.testing.assert_array_equal(read_picture(tmp_path / name), GREY)


def test_eight_bits_saved_with_thirty_two_are_not_black(tmp_path):
    Image.fromarray(GREY.astype(np.int32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), GREY)


def test_what_is_no_picture_is_said_without_python_objects(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>")
    with pytest.raises(
        ValueError, match=r"a\.jpg cannot be read as a picture \(of no kind that is known, or damaged\)"
    ):
        read_picture(tmp_path / "a.jpg")


def test_values_without_a_known_range_are_refused(tmp_path):
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(GREY.astype(np.int32) * 10_000).save(tmp_path / "long.tif")
    for name, words in (("float.tif", "floating-point"), ("long.tif", "from 0 to 470000; expected 8 or 16 bits")):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture.*{words}"):
            read_picture(tmp_path / name)
    assert "floating-point" in str(check_picture(tmp_path / "float.tif"))


def test_what_is_transparent_shows_white(tmp_path):
    hidden = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    hidden.putpixel((1, 0), (10, 20, 30, 255))
    hidden.save(tmp_path / "rgba.png")
    assert read_picture(tmp_path / "rgba.png").tolist() == [[[255, 255, 255], [10, 20, 30]]]
    Image.new("LA", (1, 1), (7, 0)).save(tmp_path / "la.png")
    assert read_picture(tmp_path / "la.png").tolist() == [[255]]
    palette = Image.new("P", (1, 1), 3)
    palette.putpalette([9] * 768)
    palette.save(tmp_path / "p.png", transparency=3)
    assert read_picture(tmp_path / "p.png").tolist() == [[[255, 255, 255]]]


def test_cmyk_and_exif(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert read_picture(tmp_path / "cmyk.tif")[0, 0].tolist() == [255, 0, 0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.png"), np.rot90(GREY, -1))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(encode_png(np.zeros((64, 64), np.uint8))[:60])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a picture \("):
            read_picture(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "missing.png")
    assert check_picture(tmp_path / "text.png") is not None
