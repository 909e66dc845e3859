"""FractalDB's released renderer against masks and hashes measured from it."""

import hashlib
import json
import pickle
import random
from typing import Any

import numpy as np
import pytest

from pcfdsl.config import ConfigError
from pcfdsl.formula.ifs import IFS
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig, open_fractaldb, weight_factors, weighted
from pcfdsl.image.metrics import isolated_fraction
from pcfdsl.image.raster import DrawConfig, count_ink
from pcfdsl.image.released_fractaldb import released_picture
from tests.conftest import GOLDEN

MEASURED = json.loads((GOLDEN / "fractaldb_2d.json").read_text())
NAMES = list(MEASURED["categories"])
SMALL: dict[str, Any] = {"variant": "released", "seed": 1, "degenerate": "keep", "image_size": 64, "num_points": 3000}


def system(name):
    rows = np.array(MEASURED["categories"][name]["params"])
    return IFS(rows[:, :4].reshape(-1, 2, 2), rows[:, 4:6], rows[:, 6])


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def facts(name, key):
    return MEASURED["categories"][name]["renderer_seed100"][key]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "num_points"), [(256, 100_000), (512, 100_000), (362, 200_000)])
def test_ink_masks_are_the_published_ones(name, size, num_points):
    picture = released_picture(system(name), num_points, size)
    expected = facts(name, f"point_gray_{size}_iter{num_points}")
    assert np.unique(picture).tolist() == expected["values"]
    assert count_ink(picture) == expected["nonzero"]
    assert sha256((picture[..., 0] != 0).astype(np.uint8)) == expected["sha256_mask_flip0"]


@pytest.mark.parametrize("name", NAMES)
def test_patches_are_the_published_ones_given_the_masks(name):
    python = random.Random(0)
    masks = np.array([python.randrange(1, 512) for _ in range(100_000)])
    picture = released_picture(system(name), 100_000, 256, masks=masks)
    assert sha256(picture) == facts(name, "patch_gray_256_iter100000_pyseed0")["sha256_rgb"]


@pytest.mark.parametrize("name", NAMES)
def test_colours_are_the_published_ones(name):
    picture = released_picture(system(name), 100_000, 256, color=True)
    assert sha256(picture) == facts(name, "point_color_256_iter100000_pyseed0")["sha256_rgb"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", [0, 17])
def test_weighted_instances_are_the_published_ones(name, row):
    picture = released_picture(weighted(system(name), weight_factors(0.4)[row]), 100_000, 256)
    assert sha256(picture) == facts(name, f"point_gray_weights0.4_row{row}_256_iter100000_pyseed0")["sha256_rgb"]


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("num_points", [1000, 10_000, 100_000])
def test_isolated_pixels_and_filling_are_the_measured_ones(size, num_points):
    sweep = MEASURED["points_sweep_seed100"]["per_cat"][f"{size}_{num_points}"]
    order = ["00000", "00250", "00500"]
    assert order == NAMES
    drawn = [released_picture(system(name), num_points, size) for name in NAMES]
    np.testing.assert_allclose(
        [isolated_fraction(picture) for picture in drawn], sweep["isolated_frac"][:3], rtol=1e-12
    )
    np.testing.assert_allclose([count_ink(picture) / size**2 for picture in drawn], sweep["fill"][:3], rtol=1e-12)


def test_seed_1_finds_the_published_categories_in_order():
    db = open_fractaldb(FractalDBConfig(**SMALL, num_categories=1000))
    np.testing.assert_array_equal(db.category(0).matrices, system("00000").matrices)
    np.testing.assert_array_equal(db.category(0).probabilities, system("00000").probabilities)
    later = pickle.loads(pickle.dumps(db)).category(1)
    np.testing.assert_array_equal(db.category(1).matrices, later.matrices)


def test_instances_are_flips_of_one_picture_under_the_published_names():
    db = open_fractaldb(FractalDBConfig(**SMALL, num_categories=3), [system(name) for name in NAMES])
    assert len(db) == 3000
    names = [db.file_name(i) for i in range(3000)]
    assert names[1007] == "00001/00001_00_count_1_flip3"
    assert names == sorted(set(names))
    flip0, top_bottom, left_right, both = (db[1004 + t].image for t in range(4))
    assert flip0.shape == (64, 64, 3)
    np.testing.assert_array_equal(top_bottom, flip0[::-1])
    np.testing.assert_array_equal(left_right, flip0[:, ::-1])
    np.testing.assert_array_equal(both, flip0[::-1, ::-1])
    assert not np.array_equal(flip0, db[1000].image)  # another draw of masks
    np.testing.assert_array_equal(flip0, open_fractaldb(db.config, [system(name) for name in NAMES])[1004].image)


def test_one_instance_falls_into_the_trap_of_the_first_weight():
    dots = DrawConfig(style="dot")
    config = FractalDBConfig(**SMALL, num_categories=1, num_instances=1, num_patches=1, draw=dots)
    picture = open_fractaldb(config, [system("00000")])[0].image
    trapped = weighted(system("00000"), np.array([0.2, 1, 1, 1, 1, 1]))
    np.testing.assert_array_equal(picture, released_picture(trapped, 3000, 64))
    assert not np.array_equal(picture, released_picture(system("00000"), 3000, 64))


def test_diverged_orbits_are_drawn_as_far_as_they_go():
    expanding = IFS.from_maps([[[3.0, 0], [0, 2]], [[0.5, 0], [0, 2.5]]], [[1, 0], [0, 1]])
    db = open_fractaldb(FractalDBConfig(**SMALL, num_categories=1, num_instances=1, weight=0.0), [expanding])
    assert db[0].image.shape == (64, 64, 3)
    assert count_ink(db[0].image) < 100


def test_patches_do_not_hide_dust():
    settings = SMALL | {"image_size": 512, "num_points": 10_000, "weight": 0.0}
    db = open_fractaldb(FractalDBConfig(**settings, num_categories=3), [system(name) for name in NAMES])
    text = db.sparsity_warning(num_images=3)
    assert text is not None
    assert text.startswith("43%")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"degenerate": "halve"}, "degenerate: is halve, but keep in the released scripts"),
        ({"num_flips": 8}, "num_flips: is 8, but 4 in the released scripts"),
        ({"draw": DrawConfig(keep_aspect=True)}, "draw: .* in the released scripts; set it so, or use variant=native"),
        ({"draw": DrawConfig(style="density")}, "draw.style: is density, but dot or patch"),
        ({"draw": DrawConfig(style="dot"), "num_instances": 100}, "num_patches: is 10, but 1"),
    ],
)
def test_what_the_scripts_cannot_do_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FractalDBConfig(**SMALL | settings)


def test_the_native_class_does_not_take_a_released_recipe():
    with pytest.raises(ConfigError, match=r"open the set with .*open_fractaldb"):
        FractalDB(FractalDBConfig(**SMALL))
