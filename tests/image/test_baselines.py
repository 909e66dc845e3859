import pickle
from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.config import ConfigError
from pcfdsl.image.baselines import Bezier, BezierConfig, Perlin, PerlinConfig
from pcfdsl.image.rcdb import RCDBConfig
from pcfdsl.image.sets import ImageSetConfig, open_images, open_labelled_images


@pytest.mark.parametrize(
    ("db", "side"),
    [
        (Bezier(BezierConfig()), 12),
        (Bezier(BezierConfig(num_categories=1024)), 32),
        (Perlin(PerlinConfig()), 10),
        (Perlin(PerlinConfig(num_categories=1296)), 36),
        (Perlin(PerlinConfig(num_categories=7)), 3),
    ],
)
def test_categories_are_the_cells_of_a_grid(db, side):
    cells = [tuple(db.category_parameters(k).values()) for k in range(db.num_categories)]
    assert len(set(cells)) == db.num_categories
    assert {max(axis) - min(axis) for axis in zip(*cells, strict=True)} == {side - 1}


@pytest.mark.parametrize(
    "db", [Bezier(BezierConfig(num_instances=3, image_size=48)), Perlin(PerlinConfig(num_instances=3, image_size=48))]
)
def test_an_image_is_a_function_of_its_numbers(db):
    again = pickle.loads(pickle.dumps(db))
    for i in (200, 0, 31):
        np.testing.assert_array_equal(again[i].image, db[i].image)
        assert (db[i].category, db[i].instance) == divmod(i, 3)
    assert len({db[i].image.tobytes() for i in range(40)}) == 40
    assert type(db)(replace(db.config, seed=1))[5].image.tobytes() != db[5].image.tobytes()


def test_as_many_curves_as_the_category_says():
    db = Bezier(BezierConfig(image_size=512, num_instances=5, ink=(255, 255)))
    inked = [np.mean([(db[k * 5 + j].image > 0).mean() for j in range(5)]) for k in (0, 3, 6, 11)]  # 1 to 12 curves
    assert inked == sorted(inked)
    assert 8 < inked[-1] / inked[0] < 16


def test_frequencies_are_as_the_category_says():
    db = Perlin(PerlinConfig(image_size=128, num_instances=12))

    def changes(category):
        images = np.stack([db[category * 12 + j].image > 127 for j in range(12)])
        return (images[:, 1:] != images[:, :-1]).mean(), (images[..., 1:] != images[..., :-1]).mean()

    slow_y, fast_x = changes(9)  # frequencies 1 along y, 10 along x
    fast_y, slow_x = changes(90)
    assert fast_x > 4 * slow_y
    assert fast_y > 4 * slow_x
    image = db[55 * 12].image
    assert image.min() < 60
    assert image.max() > 195


def test_any_set_opens_by_its_name():
    for name in (
        "fractaldb",
        "exfractaldb",
        "rcdb",
        "visualatom",
        "bezier",
        "perlin",
        "dead_leaves",
        "spectrum",
        "moire",
    ):
        config = ImageSetConfig(dataset=name, seed=5)
        assert config.chosen.seed == 5
        db = open_images(config)
        assert len(db) == config.chosen.num_categories * config.chosen.num_instances
    with pytest.raises(ConfigError, match="dataset: segrcdb has masks, not labels"):
        open_labelled_images(ImageSetConfig(dataset="segrcdb"))
    with pytest.raises(ConfigError, match="dataset: multi_fractal has several labels an image"):
        open_labelled_images(ImageSetConfig(dataset="multi_fractal"))
    with pytest.raises(ConfigError, match="dataset: rcdb has no systems of maps"):
        open_images(ImageSetConfig(dataset="rcdb"), [])
    with pytest.raises(ConfigError, match="expected one of fractaldb"):
        ImageSetConfig(dataset="cifar")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BezierConfig(image_size=0), "image_size: must be at least 1"),
        (lambda: BezierConfig(controls_min=1), "controls_min: must be at least 2"),
        (lambda: BezierConfig(ink=(200, 100)), "ink: is a range from 200 down to 100"),
        (lambda: PerlinConfig(num_categories=0), "num_categories: must be at least 1"),
        (lambda: ImageSetConfig(dataset="rcdb", rcdb=RCDBConfig(polygons=(0, 3))), "polygons: must be at least 1"),
    ],
)
def test_settings_that_cannot_be_used(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
