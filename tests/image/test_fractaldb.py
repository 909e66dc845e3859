import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pcfdsl.config import ConfigError, from_dict, to_dict
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.measures import filling_rate
from pcfdsl.formula.search import FillingSearchConfig, search_by_filling
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig, orient, weight_factors, weighted
from pcfdsl.image.raster import DrawConfig, count_ink
from tests.conftest import GOLDEN

CONFIG = FractalDBConfig(num_categories=3, num_instances=8, image_size=64, num_points=6000)


def published_categories():
    categories = json.loads((GOLDEN / "fractaldb_2d.json").read_text())["categories"].values()
    rows = [np.array(category["params"]) for category in categories]
    return [IFS(r[:, :4].reshape(-1, 2, 2), r[:, 4:6], r[:, 6]) for r in rows], list(categories)


def pictures(db):
    return np.stack([item.image for item in db])


def test_items_do_not_depend_on_order_threads_or_pickling():
    expected = pictures(FractalDB(CONFIG))
    fresh = FractalDB(CONFIG)
    np.testing.assert_array_equal([fresh[i].image for i in reversed(range(24))][::-1], expected)
    np.testing.assert_array_equal(pictures(pickle.loads(pickle.dumps(fresh))), expected)
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(lambda i: fresh[i].image, range(24))), expected)
    given = FractalDB(CONFIG, [fresh.category(k) for k in range(3)])
    np.testing.assert_array_equal(pictures(given), expected)
    assert len(np.unique(expected.reshape(24, -1), axis=0)) == 24


def test_it_is_a_sequence_of_labelled_pictures():
    db = FractalDB(CONFIG)
    assert (len(db), db.num_categories, db.num_instances) == (24, 3, 8)
    assert [(item.category, item.instance) for item in db[7:10]] == [(0, 7), (1, 0), (1, 1)]
    assert db[-1].image.shape == (64, 64)
    assert db[-1].image.dtype == np.uint8
    with pytest.raises(IndexError, match="24 images"):
        db[24]
    assert from_dict(FractalDBConfig, to_dict(CONFIG)) == CONFIG


def test_categories_depend_on_seed_and_number_and_are_filled_enough():
    found = search_by_filling(FillingSearchConfig(), 0, 2)
    db = FractalDB(CONFIG)
    np.testing.assert_array_equal(db.category(2).matrices, found.ifs.matrices)
    np.testing.assert_array_equal(db.category_parameters(2)["offsets"], found.ifs.offsets)
    assert found.filling_rate >= 0.2
    assert found.num_draws > 1
    assert search_by_filling(FillingSearchConfig(), 1, 2).ifs.offsets.flat[0] != found.ifs.offsets.flat[0]


def test_all_combinations_are_there_once_in_the_published_order():
    config = FractalDBConfig(num_categories=1, num_instances=1000)
    db = FractalDB(config)
    names = [db.file_name(i) for i in range(1000)]
    assert names[:5] == [f"00000/00000_00_count_0_flip{t}" for t in range(4)] + ["00000/00000_00_count_1_flip0"]
    assert names[-1] == "00000/00000_24_count_9_flip3"
    assert len(set(names)) == 1000
    assert names == sorted(names)


def test_fewer_instances_are_drawn_without_repetition_and_for_each_category_anew():
    drawn = [[FractalDB(CONFIG).combination(k, j) for j in range(8)] for k in range(3)]
    assert all(len(set(combinations)) == 8 and combinations == sorted(combinations) for combinations in drawn)
    assert drawn[0] != drawn[1]


def test_flips_and_rotations_are_exactly_those_of_one_picture():
    config = FractalDBConfig(
        num_categories=1, num_instances=200, num_patches=1, num_flips=8, image_size=48, num_points=3000
    )
    db = FractalDB(config)
    for weight in (2, 11):
        seen = [db[weight * 8 + flip].image for flip in range(8)]
        rotations = {np.rot90(seen[0], k).tobytes() for k in range(4)}
        assert rotations <= {image.tobytes() for image in seen}
        assert len({image.tobytes() for image in seen}) == 8
        np.testing.assert_array_equal(seen[1], seen[0][::-1])
        np.testing.assert_array_equal(seen[2], seen[0][:, ::-1])
        np.testing.assert_array_equal(seen[4], orient(seen[0], 4))


@pytest.mark.parametrize("flip", range(8))
def test_colour_pictures_turn_like_each_of_their_channels(flip):
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    turned = orient(image, flip)
    assert turned.dtype == np.uint8
    np.testing.assert_array_equal(turned, np.stack([orient(image[..., c], flip) for c in range(3)], -1))


@pytest.mark.parametrize(("step", "values"), [(0.4, [0.2, 0.6, 1, 1.4, 1.8]), (0.5, [0.01, 0.5, 1, 1.5, 2])])
def test_weights_are_the_published_table(step, values):
    factors = weight_factors(step)
    assert factors.shape == (25, 6)
    assert factors[:5, 0].tolist() == values
    np.testing.assert_array_equal(factors[2], 1)
    others = [value for value in values if value != 1]
    for parameter in range(1, 6):
        rows = factors[1 + 4 * parameter : 5 + 4 * parameter]
        assert rows[:, parameter].tolist() == others
        np.testing.assert_array_equal(np.delete(rows, parameter, axis=1), 1)


def test_a_weight_multiplies_one_parameter_of_every_map():
    (ifs, *_), _ = published_categories()
    changed = weighted(ifs, weight_factors(0.4)[17])
    assert weight_factors(0.4)[17, 4] == 0.2
    np.testing.assert_array_equal(changed.offsets[:, 0], ifs.offsets[:, 0] * 0.2)
    np.testing.assert_array_equal(changed.offsets[:, 1], ifs.offsets[:, 1])
    np.testing.assert_array_equal(changed.matrices, ifs.matrices)
    np.testing.assert_array_equal(changed.probabilities, ifs.probabilities)


@pytest.mark.parametrize("size", [256, 512])
def test_pictures_are_filled_as_the_published_renderer_fills_them(size):
    systems, measured = published_categories()
    config = FractalDBConfig(
        num_categories=len(systems),
        num_instances=100,
        num_patches=1,
        weight=0.0,
        image_size=size,
        num_points=100_000,
        draw=DrawConfig(style="dot"),
    )
    db = FractalDB(config, systems)
    for k, category in enumerate(measured):
        filled = [count_ink(db[k * 100 + 4 * row].image) / size**2 for row in range(25)]  # 25 orbits of one system
        published = category["search_code_10_seeds"][f"fill_{size}"]
        assert abs(np.mean(filled) - published["mean"]) < 1.5 * published["std"]


def degenerate_pair():
    """A system that fills its picture and one map of which starts to expand once a is multiplied by 1.8."""
    maps = [[[0.7, 0], [0, 0.5]], [[0.7, 0.0], [0, 0.5]], [[0.7, 0], [0, 0.5]], [[0.7, 0], [0, 0.5]]]
    return IFS.from_maps(maps, [[-1, -1], [1, -1], [-1, 1], [1, 1]])


def test_degenerate_pictures_get_half_the_weight_and_are_counted():
    settings: dict[str, Any] = {
        "num_categories": 1,
        "num_instances": 25,
        "num_patches": 1,
        "num_flips": 1,
        "image_size": 64,
    }
    halved = FractalDB(FractalDBConfig(**settings, num_points=20_000), [degenerate_pair()])
    kept = FractalDB(FractalDBConfig(**settings, num_points=20_000, degenerate="keep"), [degenerate_pair()])
    assert [halved[row].num_redraws for row in range(5)] == [0, 0, 0, 0, 1]  # 0.7 * 1.8 expands, 0.7 * 1.4 does not
    assert kept[4].num_redraws == 0
    assert count_ink(kept[4].image) < 0.5 * count_ink(halved[4].image)
    np.testing.assert_array_equal(halved[3].image, kept[3].image)


def test_a_system_that_goes_nowhere_is_an_error():
    point = IFS.from_maps(np.zeros((2, 2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="system of category 0 itself diverges or stays on a point"):
        FractalDB(FractalDBConfig(num_categories=1), [point])[0]


def test_dust_is_warned_of_and_patches_do_not_hide_it():
    systems, _ = published_categories()
    config: dict[str, Any] = {"num_categories": len(systems), "num_instances": 4, "weight": 0.0, "image_size": 512}
    dust = FractalDB(FractalDBConfig(**config, num_points=10_000), systems)
    text = dust.sparsity_warning(num_images=6)
    assert text is not None
    assert "4" in text.partition("%")[0]
    assert "raise num_points" in text
    assert FractalDB(FractalDBConfig(**config, num_points=50_000), systems).sparsity_warning(num_images=6) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_categories": 0}, "num_categories: must be at least 1"),
        ({"image_size": 0}, "image_size: must be at least 1"),
        ({"image_size": 12}, "no room inside draw.pad = 6"),
        ({"num_instances": 1001}, "25 weights x num_patches = 10 x num_flips = 4 give 1000; raise num_patches"),
        ({"num_flips": 3}, "num_flips: expected one of 1, 4, 8"),
        ({"weight": 0.6}, "weight: must be at most 0.5"),
    ],
)
def test_unusable_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FractalDBConfig(**settings)


def test_given_categories_are_checked():
    systems, _ = published_categories()
    with pytest.raises(ConfigError, match="num_categories: is 4, but 3 were given"):
        FractalDB(FractalDBConfig(num_categories=4), systems)
    with pytest.raises(ConfigError, match="number 0 is 3D"):
        FractalDB(FractalDBConfig(num_categories=1), [IFS.from_maps(np.eye(3)[None] / 2, [[0, 0, 1]])])
    assert filling_rate(np.zeros((0, 2))) == 0
