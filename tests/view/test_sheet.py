import numpy as np
import pytest
from PIL import Image

from pcfdsl.store import atomic
from pcfdsl.view import sheet


def block(value, height=40, width=60):
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_pictures_stand_in_rows_unchanged():
    images = [block(10 * k) for k in range(5)]
    result = sheet.contact_sheet(images, columns=3, gap=4)
    assert result.shape == (2 * 44 + 4, 3 * 64 + 4, 3)
    for k, image in enumerate(images):
        top, left = 4 + k // 3 * 44, 4 + k % 3 * 64
        np.testing.assert_array_equal(result[top : top + 40, left : left + 60], image)
    assert (result[48:, 4 + 2 * 64 :] == 255).all(), "the free cell is paper"


def test_a_smaller_picture_is_centred_in_its_cell():
    result = sheet.contact_sheet([block(0), block(7, 20, 30)], columns=2, gap=0)
    np.testing.assert_array_equal(result[10:30, 75:105], block(7, 20, 30))


def test_captions_stay_in_their_cells_and_below_the_picture():
    images = [block(200), block(200), block(200)]
    result = sheet.contact_sheet(
        images, ["one", "a caption much too long for its cell\nand more", ""], columns=3, gap=10
    )
    ink = (result < 150).all(axis=2)
    rows, columns = np.nonzero(ink)
    assert rows.min() >= 50
    first, second, third = ink[:, :75].any(), ink[:, 75:145].any(), ink[:, 145:].any()
    assert (first, second, third) == (True, True, False)
    assert not np.isin(columns, [70, 71, 72, 73, 74, 75, 76, 77, 78, 79]).any(), "the gap is free"


def test_columns_follow_from_the_number_of_pictures():
    result = sheet.contact_sheet([block(0, 50, 50)] * 24, gap=0)
    assert result.shape == (200, 300, 3)


@pytest.mark.parametrize(
    ("images", "captions", "columns", "message"),
    [
        ([], None, None, "no pictures"),
        ([np.zeros((4, 4))], None, None, "picture 0 has shape"),
        ([block(0), block(0)], ["one"], None, "1 captions for 2 pictures"),
        ([block(0)], None, 0, "columns is 0"),
    ],
)
def test_what_makes_no_sheet(images, captions, columns, message):
    with pytest.raises(ValueError, match=message):
        sheet.contact_sheet(images, captions, columns=columns)


def test_png_files_hold_the_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    path = sheet.save_png(tmp_path / "new" / "folder" / "picture.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    assert path.read_bytes() == sheet.png_bytes(picture)
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_a_failed_write_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = sheet.save_png(tmp_path / "made" / "picture.png", np.zeros((4, 4, 3), np.uint8))
    old = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        sheet.save_png(path, np.ones((4, 4, 3), np.uint8))
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]
