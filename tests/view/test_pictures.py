import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.images import generate_images
from pcfdsl.image.rcdb import RCDBConfig
from pcfdsl.image.segrcdb import SegRCDBConfig
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.rng import stream
from pcfdsl.view.page import Picture
from pcfdsl.view.pictures import fit
from pcfdsl.view.sources import load_items, load_shown, render_items, write_items

RCDB = ImageSetConfig(dataset="rcdb", rcdb=RCDBConfig(num_categories=3, num_instances=2, image_size=40))
PAIRS = ImageSetConfig(dataset="segrcdb", segrcdb=SegRCDBConfig(num_images=2, image_size=40, num_instances=3))

QUIET = RunOptions(progress=False)


@pytest.mark.parametrize("image_format", ["shards", "folder", "webdataset", "recipe"])
@pytest.mark.parametrize("config", [RCDB, PAIRS])
def test_images_of_every_kind_are_shown(config, image_format, tmp_path):
    path = tmp_path / "set"
    if image_format == "recipe":
        path = tmp_path / "recipe.yaml"
        name = config.dataset
        sizes = "num_images: 2, num_instances: 3" if name == "segrcdb" else "num_categories: 3, num_instances: 2"
        path.write_text(f"dataset: {name}\n{name}: {{{sizes}, image_size: 40}}\n")
    else:
        generate_images(config, path, image_format=image_format, options=QUIET)
    items = load_shown(path)
    assert all(isinstance(item, Picture) for item in items)
    assert len(items) == (2 if config is PAIRS and image_format != "folder" else 2 if config is PAIRS else 6)
    if config is RCDB:
        expected = open_images(RCDB)
        shown = sorted(item.image.tobytes() for item in items)  # type: ignore[union-attr]
        assert shown == sorted(np.repeat(item.image[:, :, None], 3, axis=2).tobytes() for item in expected)
        assert "00001" in items[3].caption or "category 1" in items[3].caption
    sheet = render_items(items)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 300
    page = write_items(tmp_path / "page.html", items, title="pictures").read_text()
    assert page.count("data:image/png;base64,") == len(items)
    with pytest.raises(ValueError, match="holds pictures; expected clouds or scenes"):
        load_items(path)


def test_a_picture_file_and_a_folder_of_them(tmp_path, capsys):
    red = np.zeros((5, 9, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "red.png")
    (item,) = load_shown(tmp_path / "red.png")
    np.testing.assert_array_equal(item.image, red)  # type: ignore[union-attr]
    assert item.caption == "red.png"
    assert len(load_shown(tmp_path)) == 1
    (tmp_path / "text.jpg").write_text("no picture")
    assert len(load_shown(tmp_path)) == 1
    assert "text.jpg cannot be read as a picture" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"text\.jpg cannot be read as a picture"):
        load_shown(tmp_path / "text.jpg")


def test_fitting_keeps_proportions():
    small, large = np.zeros((10, 20, 3), np.uint8), np.zeros((400, 1000, 3), np.uint8)
    assert fit(small, 90).shape == (40, 80, 3)
    assert fit(large, 90).shape == (36, 90, 3)
    pattern = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(fit(pattern, 7)[::3, ::3], pattern)


def test_pictures_of_others_in_tars_have_their_colours(tmp_path):
    picture = Image.fromarray(np.full((4, 4, 3), [200, 30, 40], np.uint8))
    for name, image in {
        "palette": picture.convert("P", palette=Image.Palette.ADAPTIVE),
        "alpha": picture.convert("RGBA"),
    }.items():
        image.save(tmp_path / f"{name}.png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for path in sorted(tmp_path.glob("*.png")):
            tar.add(path, path.name)
            path.unlink()
    shown = load_shown(tmp_path)
    assert [item.image.reshape(-1, 3)[0].tolist() for item in shown] == [[200, 30, 40]] * 2


def test_a_picture_may_have_any_bytes_for_a_name(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    write_items(tmp_path / "page.html", load_shown(tmp_path), title=name)
    assert "caf\\udce9.png" in (tmp_path / "page.html").read_text()
    assert stream(0, name).integers(1000) == stream(0, name).integers(1000)
