import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pcfdsl.config import ConfigError
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import search_category
from pcfdsl.image.camera import render_points, ring_rotation
from pcfdsl.image.exfractaldb import ExFractalDB, ExFractalDBConfig
from pcfdsl.image.raster import count_ink
from pcfdsl.pointcloud.mix import num_weightings

CONFIG = ExFractalDBConfig(num_categories=3, num_instances=6, image_size=64, num_points=2000)


@pytest.mark.parametrize("views", ["sphere", "ring"])
def test_items_do_not_depend_on_order_threads_or_pickling(views):
    config = ExFractalDBConfig(num_categories=3, num_instances=6, image_size=64, num_points=2000, views=views)
    expected = np.stack([item.image for item in ExFractalDB(config)])
    fresh = ExFractalDB(config)
    np.testing.assert_array_equal([fresh[i].image for i in reversed(range(18))][::-1], expected)
    again = pickle.loads(pickle.dumps(fresh))
    np.testing.assert_array_equal([item.image for item in again], expected)
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(lambda i: fresh[i].image, range(18))), expected)
    assert len(np.unique(expected.reshape(18, -1), axis=0)) == 18


def test_a_pair_is_a_picture_and_the_normalised_cloud_in_it():
    db = ExFractalDB(CONFIG)
    for index in (0, 7, 17):
        picture, cloud = db.pair(index)
        np.testing.assert_array_equal(picture.image, db[index].image)
        assert (picture.category, picture.instance) == divmod(index, 6)
        assert cloud.shape == (2000, 3)
        assert cloud.dtype == np.float32
        np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.ptp(cloud, axis=0).max(), 2, atol=0.5)


def test_a_ring_picture_is_its_cloud_seen_from_where_the_ring_says():
    config = ExFractalDBConfig(
        num_categories=1, num_instances=12, views="ring", parameter_step=0.0, image_size=96, num_points=3000
    )
    db = ExFractalDB(config)
    clouds = [db.pair(view)[1] for view in range(12)]
    for view in range(12):
        np.testing.assert_array_equal(clouds[view], clouds[0])  # all views look at one cloud
        best = max(
            np.mean(
                (render_points(clouds[0], ring_rotation(view, 12, jitter=jitter), 96) != 0) == (db[view].image != 0)
            )
            for jitter in np.radians(np.linspace(-np.pi, np.pi, 315))
        )
        assert best > 0.998
    assert db.file_name(5) == "00000/00000_00000_005"


def test_weights_and_views_of_the_published_ring_are_all_there():
    config = ExFractalDBConfig(num_categories=1, num_instances=1740, views="ring")
    assert config.num_weights == num_weightings(3, 6) == 145
    names = [ExFractalDB(config).file_name(i) for i in range(1740)]
    assert names == sorted(set(names))
    assert names[-1] == "00000/00000_00144_011"
    drawn = ExFractalDB(ExFractalDBConfig(num_categories=1, views="ring"))
    assert len({drawn.file_name(i) for i in range(1000)}) == 1000
    with pytest.raises(ConfigError, match="145 weights x num_views = 12 give 1740"):
        ExFractalDBConfig(num_instances=2000, views="ring")


def test_categories_are_those_of_the_variance_check_with_the_same_seed():
    db = ExFractalDB(CONFIG)
    found = search_category(CONFIG.search, CONFIG.seed, 1)
    np.testing.assert_array_equal(db.category(1).matrices, found.ifs.matrices)
    np.testing.assert_array_equal(db.category_parameters(1)["probabilities"], found.ifs.probabilities)
    assert min(found.variances) > 0.05


def test_larger_points_cover_smaller_ones_and_depth_shades_the_same_pixels():
    def picture(**settings):
        return ExFractalDB(ExFractalDBConfig(num_categories=1, num_instances=1, num_points=2000, **settings))[0].image

    small, large, shaded = picture(), picture(point_size=3), picture(shade_by_depth=True)
    assert count_ink(large) > 1.5 * count_ink(small)
    assert not (small > large).any()
    np.testing.assert_array_equal(shaded != 0, small != 0)
    assert len(np.unique(shaded)) > 20
    assert np.unique(small).tolist() == [0, 255]


def expanding():
    """Four maps whose first entry, 0.68, expands once it is multiplied by 1.6, and not by 1.3."""
    maps = np.tile(np.diag([0.68, 0.5, 0.5]), (4, 1, 1))
    return IFS.from_maps(maps, [[-1, -1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, -1]])


def test_degenerate_instances_get_half_the_weight_and_are_counted():
    settings: dict[str, Any] = {
        "num_categories": 1,
        "num_instances": 1740,
        "views": "ring",
        "num_points": 20_000,
        "image_size": 64,
    }
    halved = ExFractalDB(ExFractalDBConfig(**settings), [expanding()])
    kept = ExFractalDB(ExFractalDBConfig(**settings, degenerate="keep"), [expanding()])
    weight = 11  # the first parameter times 1 + 6 * 0.1
    assert halved.weighted_system(0, weight, 0).matrices[0, 0, 0] == pytest.approx(0.68 * 1.6)
    picture, cloud = halved.pair(weight * 12)
    assert picture.num_redraws == 1
    assert len(cloud) == 20_000
    assert count_ink(picture.image) > 100
    picture, cloud = kept.pair(weight * 12)
    assert not picture.image.any()
    assert cloud.shape == (0, 3)


def test_a_system_that_goes_nowhere_is_an_error():
    origin = IFS.from_maps(np.zeros((2, 3, 3)), np.zeros((2, 3)))
    elsewhere = IFS(np.eye(3)[None] / 2, np.array([[1.0, 2, 3]]), np.ones(1))
    for point in (origin, elsewhere):
        with pytest.raises(ValueError, match="system of category 0 itself diverges or stays on a point"):
            ExFractalDB(ExFractalDBConfig(num_categories=1), [point])[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_categories": 0}, "num_categories: must be at least 1"),
        ({"image_size": 0}, "image_size: must be at least 1"),
        ({"field_of_view": 180.0}, "field_of_view: must be at most 170"),
        ({"views": "circle"}, "views: expected one of sphere, ring"),
    ],
)
def test_unusable_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ExFractalDBConfig(**settings)


def test_stored_pairs_hold_the_cloud_where_asked_for():
    plain, paired = ExFractalDB(CONFIG), ExFractalDB(dataclasses.replace(CONFIG, clouds=True))
    assert plain.arrays(7).keys() == {"image", "category", "instance", "num_redraws"}
    arrays = paired.arrays(7)
    np.testing.assert_array_equal(arrays["points"], plain.pair(7)[1])
    np.testing.assert_array_equal(arrays["image"], plain[7].image)
    assert (int(arrays["category"]), int(arrays["instance"])) == (1, 1)
