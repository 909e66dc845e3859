"""Image sets on disk: shards, folders and tars."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcfdsl.config import ConfigError
from pcfdsl.formula.csv_io import format_ifs
from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.files import write_image_files
from pcfdsl.generate.images import StoredImages, generate_images, plan_images, verify_images
from pcfdsl.generate.two_stage import read_systems
from pcfdsl.generate.workers import local
from pcfdsl.image.contours import ContourDrawConfig
from pcfdsl.image.exfractaldb import ExFractalDBConfig
from pcfdsl.image.fractaldb import FractalDBConfig
from pcfdsl.image.labelled import ImageSet
from pcfdsl.image.multi_fractal import MultiFractal, MultiFractalConfig
from pcfdsl.image.raster import DrawConfig
from pcfdsl.image.rcdb import RCDBConfig
from pcfdsl.image.segrcdb import SegRCDB, SegRCDBConfig
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.readers.pictures import read_picture
from pcfdsl.store.manifest import DifferentSetError
from pcfdsl.store.pictures import decode_png, read_tar
from pcfdsl.store.stored import open_set

RCDB = ImageSetConfig(dataset="rcdb", rcdb=RCDBConfig(num_categories=5, num_instances=4, image_size=40))
FRACTALS = ImageSetConfig(
    dataset="fractaldb", fractaldb=FractalDBConfig(num_categories=3, num_instances=2, image_size=40, num_points=2000)
)
PAIRS = ImageSetConfig(
    dataset="segrcdb", segrcdb=SegRCDBConfig(num_images=3, num_categories=7, image_size=40, num_instances=4)
)
QUIET = RunOptions(progress=False)
FORMATS = ["shards", "folder", "webdataset"]


def content(path, *kinds):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(Path(path).rglob("*"))
        if file.suffix in (kinds or (".safetensors", ".png", ".tar", ".csv"))
    }


@pytest.mark.parametrize("config", [RCDB, FRACTALS])
def test_stored_images_are_the_generated_ones(config, tmp_path):
    generate_images(config, tmp_path / "set", options=QUIET)
    stored, made = StoredImages(tmp_path / "set"), open_images(config)
    assert len(stored) == len(made)
    assert stored.config.chosen == config.chosen
    for a, b in zip(stored, made, strict=True):
        assert (a.image.dtype, a.image.shape) == (np.uint8, (40, 40))
        assert a.image.tobytes() == b.image.tobytes()
        assert (a.category, a.instance, a.num_redraws) == (b.category, b.instance, b.num_redraws)
    for k in range(made.num_categories):
        expected = made.category_parameters(k)
        found = stored.category_parameters(k)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
    assert stored[-1].category == made.num_categories - 1
    verified = verify_images(config, tmp_path / "set", options=QUIET)
    assert verified["images"]["num_compared"] == len(made)


def test_a_folder_holds_the_pictures_under_the_published_names(tmp_path):
    generate_images(RCDB, tmp_path, image_format="folder", options=QUIET)
    db = open_images(RCDB)
    found = sorted((tmp_path / "image").rglob("*.png"))
    assert [str(file.relative_to(tmp_path / "image")) for file in found] == [
        f"{k:05d}/{k:05d}_{j:04d}.png" for k in range(5) for j in range(4)
    ]
    for file, item in zip(found, db, strict=True):
        np.testing.assert_array_equal(read_picture(file), item.image)
    rows = dict(csv.reader((tmp_path / "param" / "00003.csv").read_text().splitlines()))
    assert {key: float(value) for key, value in rows.items()} == db.category_parameters(3)
    assert verify_images(RCDB, tmp_path, image_format="folder", num_samples=7, options=QUIET)["images"] == {
        "path": str(tmp_path),
        "num_compared": 7,
        "mismatches": [],
    }


def test_released_folders_are_as_the_released_scripts_write_them(tmp_path):
    config = replace(RCDB, rcdb=replace(RCDB.rcdb, variant="released", num_categories=4, jobs=2))
    generate_images(config, tmp_path, image_format="folder", options=QUIET)
    with Image.open(tmp_path / "image/00003/00003_0002.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.array(image)[:, :, 1], open_images(config)[14].image)
    lines = (tmp_path / "param/00001.csv").read_bytes().decode().split("\r\n")
    assert [line.split(",")[0] for line in lines] == [
        *("Vertex", "Perlin_noise", "line_width", "Center_rad", "Line_num"),
        *("Oval_rate_x", "Oval_rate_y", "start_pos_h", "start_pos_w", ""),
    ]
    assert int(lines[0].split(",")[1]) == open_images(config).category_parameters(1)["num_vertices"]


def test_neighbours_in_tars_are_of_different_categories(tmp_path):
    generate_images(RCDB, tmp_path, image_format="webdataset", options=QUIET)
    members, db = read_tar(tmp_path / "000000.tar"), open_images(RCDB)
    labels = [int(data) for name, data in members.items() if name.endswith(".cls")]
    assert labels == [0, 1, 2, 3, 4] * 4
    for i in (0, 7, 19):
        np.testing.assert_array_equal(decode_png(members[f"{i:09d}.png"]), db[i].image)
        assert json.loads(members[f"{i:09d}.json"]) == {"category": i // 4, "instance": i % 4, "num_redraws": 0}
    assert json.loads((tmp_path / "_info.json").read_text())["splits"]["train"]["num_samples"] == 20


@pytest.mark.parametrize("image_format", FORMATS)
def test_pairs_in_every_format(image_format, tmp_path):
    generate_images(PAIRS, tmp_path, image_format=image_format, options=QUIET)
    pair = SegRCDB(PAIRS.segrcdb)[2]
    if image_format == "shards":
        found = open_set(tmp_path)[2]
        image, mask = found["image"], found["mask"]
    elif image_format == "folder":
        image, mask = read_picture(tmp_path / "image/000002.png"), read_picture(tmp_path / "mask/000002.png")
        assert sorted(file.name for file in (tmp_path / "param").iterdir())[0] == "00001.csv"
    else:
        members = read_tar(tmp_path / "000000.tar")
        image, mask = (decode_png(members[f"000000002{ending}"]) for ending in (".png", ".mask.png"))
    np.testing.assert_array_equal(image, pair.image)
    np.testing.assert_array_equal(mask, pair.mask)
    verify_images(PAIRS, tmp_path, image_format=image_format, options=QUIET)
    with pytest.raises(ValueError, match="expected shards of one of bezier"):
        StoredImages(tmp_path)


@pytest.mark.parametrize("image_format", FORMATS)
def test_workers_parts_and_resuming_change_no_byte(image_format, tmp_path):
    generate_images(RCDB, tmp_path / "whole", image_format=image_format, options=QUIET)
    for part in (1, 0):
        summary = generate_images(
            RCDB, tmp_path / "parts", image_format=image_format, options=replace(QUIET, shard=(part, 2))
        )
    assert summary["images"]["complete"]
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    again = generate_images(RCDB, tmp_path / "whole", image_format=image_format, options=QUIET)
    assert (again["images"]["num_made"], again["categories"]["num_made"]) == (0, 0)
    assert again["images"]["sha256"] == summary["images"]["sha256"]


@pytest.mark.parametrize("file_format", ["folder", "webdataset"])
def test_blocks_by_several_workers_and_damage_repaired(file_format, tmp_path):
    recipe = open_images(RCDB)
    how = {"samples_per_block": 6, "options": QUIET}
    whole = write_image_files(recipe, tmp_path / "a", file_format, **how)
    assert (whole.num_shards, whole.num_made, whole.complete) == (4, 20, True)
    two = replace(QUIET, executor=local(2 if file_format == "folder" else 1))
    write_image_files(recipe, tmp_path / "b", file_format, samples_per_block=6, options=two)
    assert content(tmp_path / "b") == content(tmp_path / "a")
    victims = sorted(file for file in (tmp_path / "b").rglob("*") if file.suffix in (".png", ".tar"))
    victims[0].write_bytes(b"damaged")
    victims[-1].unlink()
    mended = write_image_files(recipe, tmp_path / "b", file_format, **how)
    assert len(mended.repaired) == 2
    assert content(tmp_path / "b") == content(tmp_path / "a")
    first = write_image_files(
        recipe, tmp_path / "c", file_format, samples_per_block=6, options=replace(QUIET, shard=(0, 4))
    )
    assert (first.num_made, first.complete, first.sha256) == (6, False, None)


@pytest.mark.parametrize("image_format", FORMATS)
def test_other_settings_replace_a_set_only_when_asked_to(image_format, tmp_path):
    other = replace(RCDB, rcdb=replace(RCDB.rcdb, num_categories=2))
    generate_images(RCDB, tmp_path / "set", image_format=image_format, options=QUIET)
    before = content(tmp_path / "set")
    with pytest.raises(DifferentSetError, match="num_categories: 5 -> 2"):
        generate_images(other, tmp_path / "set", image_format=image_format, options=QUIET)
    assert content(tmp_path / "set") == before
    if image_format != "shards":
        one_of_two = replace(QUIET, overwrite=True, shard=(0, 2))
        with pytest.raises(ValueError, match="which several jobs cannot replace at the same time"):
            generate_images(other, tmp_path / "set", image_format=image_format, options=one_of_two)
        assert content(tmp_path / "set") == before
    generate_images(other, tmp_path / "set", image_format=image_format, options=replace(QUIET, overwrite=True))
    generate_images(other, tmp_path / "fresh", image_format=image_format, options=QUIET)
    assert content(tmp_path / "set") == content(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("before", "after"), [("shards", "folder"), ("folder", "webdataset"), ("webdataset", "shards")]
)
def test_another_format_replaces_a_set_only_when_asked_to(before, after, tmp_path):
    generate_images(RCDB, tmp_path / "set", image_format=before, options=QUIET)
    with pytest.raises(DifferentSetError, match=r"inputs\.file_format"):
        generate_images(RCDB, tmp_path / "set", image_format=after, options=QUIET)
    generate_images(RCDB, tmp_path / "set", image_format=after, options=replace(QUIET, overwrite=True))
    generate_images(RCDB, tmp_path / "fresh", image_format=after, options=QUIET)
    assert content(tmp_path / "set") == content(tmp_path / "fresh")


@pytest.mark.parametrize("image_format", FORMATS)
def test_verifying_notices(image_format, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no stored set"):
        verify_images(RCDB, tmp_path, image_format=image_format, options=QUIET)
    generate_images(RCDB, tmp_path, image_format=image_format, options=QUIET)
    other = replace(RCDB, rcdb=replace(RCDB.rcdb, draw=ContourDrawConfig(background=0)))
    with pytest.raises(DifferentSetError, match="background: 255 -> 0"):
        verify_images(other, tmp_path, image_format=image_format, options=QUIET)
    ending = {"shards": "shards-*/*.safetensors", "folder": "image/*/*.png", "webdataset": "*.tar"}[image_format]
    victim = sorted(tmp_path.glob(ending))[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="does not match its checksum"):
        verify_images(RCDB, tmp_path, image_format=image_format, options=QUIET)


@pytest.mark.parametrize("image_format", FORMATS)
def test_verifying_again_reads_the_files_again(image_format, tmp_path):
    for seed in (0, 1):
        config = replace(RCDB, seed=seed)
        generate_images(config, tmp_path, image_format=image_format, options=replace(QUIET, overwrite=True))
        assert verify_images(config, tmp_path, image_format=image_format, options=QUIET)["images"]["num_compared"] > 0


def test_pictures_that_come_out_otherwise_are_named(tmp_path, monkeypatch):
    generate_images(RCDB, tmp_path, image_format="folder", options=QUIET)
    drawn = ImageSet.arrays

    def altered(self, index):
        sample = drawn(self, index)
        return sample | ({"image": sample["image"] ^ 1} if index == 7 else {})

    monkeypatch.setattr(ImageSet, "arrays", altered)
    with pytest.raises(ValueError, match=r"1 differ when regenerated \(image/00001/00001_0003.png\)"):
        verify_images(RCDB, tmp_path, image_format="folder", options=QUIET)


def test_published_categories_instead_of_a_search(tmp_path):
    systems = [open_images(FRACTALS).category_parameters(k) for k in range(3)]
    generate_images(FRACTALS, tmp_path / "found", options=QUIET)
    database = open_images(FRACTALS)
    for k in range(len(systems)):  # as the released folders lay them out
        folder = tmp_path / "csv" / f"csv{k // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k:05d}.csv").write_text(format_ifs(database.category(k)))  # type: ignore[attr-defined]
    assert len(read_systems(tmp_path / "csv")[0]) == 3
    generate_images(FRACTALS, tmp_path / "given", categories=tmp_path / "csv", options=QUIET)
    for a, b in zip(StoredImages(tmp_path / "given"), StoredImages(tmp_path / "found"), strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    verify_images(FRACTALS, tmp_path / "given", categories=tmp_path / "csv", options=QUIET)
    with pytest.raises(ConfigError, match="rcdb has no systems of maps"):
        generate_images(RCDB, tmp_path / "other", categories=tmp_path / "csv", options=QUIET)
    more = replace(FRACTALS, fractaldb=replace(FRACTALS.fractaldb, num_categories=4))
    with pytest.raises(ConfigError, match="3 were given"):
        generate_images(more, tmp_path / "other", categories=tmp_path / "csv", options=QUIET)
    assert not (tmp_path / "other").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.csv files"):
        read_systems(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_systems(tmp_path / "nowhere")


def test_plans_write_nothing_and_tell_the_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan_images(RCDB)["images"]
    assert made["num_bytes"] == 20 * (40 * 40 + 24)
    assert made["samples_per_second"] > 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_a_set_is_made_from_settings_that_give_nothing(tmp_path):
    generate_images(RCDB, tmp_path, options=QUIET)
    impossible = ImageSetConfig(
        dataset="exfractaldb",
        exfractaldb=ExFractalDBConfig(
            num_categories=1, search=replace(ExFractalDBConfig().search, variance_threshold=0.3, max_draws=50)
        ),
    )
    before = content(tmp_path)
    said = r"exfractaldb\.search\.variance_threshold: category 0: none of 50"
    with pytest.raises(ValueError, match=f"^exfractaldb_categories: sample 0 cannot be made: {said}"):
        generate_images(impossible, tmp_path, options=replace(QUIET, overwrite=True))
    assert content(tmp_path) == before


def test_fractals_of_too_few_points_are_reported(tmp_path, capsys):
    few = replace(FRACTALS.fractaldb, num_categories=1, image_size=256, num_points=2000)
    for name, fractaldb in (("few", few), ("many", FRACTALS.fractaldb)):
        generate_images(replace(FRACTALS, fractaldb=fractaldb), tmp_path / name, options=QUIET)
        reported = "of the inked pixels have no inked neighbour" in capsys.readouterr().err
        assert reported == (name == "few")


def test_tars_of_pictures_with_several_labels_have_them(tmp_path):
    fractals = FractalDBConfig(num_categories=6, image_size=32, num_points=2000, draw=DrawConfig(style="density"))
    several = MultiFractalConfig(num_images=3, image_size=64, fractals=fractals)
    config = ImageSetConfig(dataset="multi_fractal", multi_fractal=several)
    generate_images(config, tmp_path / "set", image_format="webdataset", options=QUIET)
    members = read_tar(tmp_path / "set" / "000000.tar")
    for i in range(3):
        labels = json.loads(members[f"{i:09d}.json"])["categories"]
        assert labels == sorted(MultiFractal(several).categories_of(i).tolist())
