"""RCDB, VisualAtom and SegRCDB."""

import hashlib
import json
import math
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.config import ConfigError
from pcfdsl.image.contours import ContourDrawConfig, draw_vertices
from pcfdsl.image.python_random import PythonRandom
from pcfdsl.image.raster import average_down
from pcfdsl.image.rcdb import RCDB, RCDBConfig, open_rcdb
from pcfdsl.image.segrcdb import SegRCDB, SegRCDBConfig
from pcfdsl.image.visualatom import VisualAtom, VisualAtomConfig, open_visualatom
from pcfdsl.rng import stream
from tests.conftest import GOLDEN

MEASURED = json.loads((GOLDEN / "contours.json").read_text())
SMALL = RCDBConfig(num_categories=6, num_instances=4, image_size=64)


def released(name):
    measured = MEASURED[name]
    sizes = {key: measured[key] for key in ("image_size", "num_categories", "num_instances", "jobs")}
    if name == "rcdb":
        return open_rcdb(RCDBConfig(variant="released", **sizes))
    return open_visualatom(VisualAtomConfig(variant="released", **sizes))


def sha256(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["rcdb", "visualatom"])
def test_released_images_are_the_released_scripts(name):
    db = released(name)
    assert [sha256(item.image) for item in db] == MEASURED[name]["sha256"]
    assert db[0].image.dtype == np.uint8


@pytest.mark.parametrize("name", ["rcdb", "visualatom"])
def test_released_images_do_not_depend_on_what_was_asked_for_before(name):
    db = released(name)
    order = random.Random(0).sample(range(len(db)), len(db))
    assert [sha256(db[i].image) for i in order] == [MEASURED[name]["sha256"][i] for i in order]
    again = pickle.loads(pickle.dumps(db))
    assert sha256(again[len(db) - 1].image) == MEASURED[name]["sha256"][-1]


def test_released_parameters_are_the_nine_rows_of_the_script():
    db = released("rcdb")
    for k, expected in enumerate(MEASURED["rcdb"]["parameters"]):
        found = db.category_parameters(k)
        values = [found[key] for key in ("num_vertices", "noise", "step", "radius", "num_polygons")]
        assert [*values, *found["oval"].tolist(), *found["start"].tolist()] == expected


def test_published_names():
    db = released("visualatom")
    vertices = db.category_parameters(3)["num_vertices"]
    assert db.file_name(7) == f"00003/vertex_{vertices:04d}_instance_0001"
    assert released("rcdb").file_name(7) == "00002/00002_0001"


@given(st.integers(0, 2**32 - 1))
def test_python_random_number_for_number(seed):
    ours, pythons = PythonRandom(seed), random.Random(seed)
    for _ in range(5):
        assert ours.randint(-400, 400) == pythons.randint(-400, 400)
        assert ours.uniform(1, 2) == pythons.uniform(1, 2)
        assert ours.random(3).tolist() == [pythons.random() for _ in range(3)]
        assert ours.expovariate(1 / 100) == pythons.expovariate(1 / 100)
        assert ours.randint(5, 5) == pythons.randint(5, 5)
    state = ours.state
    first = ours.random(4).tolist()
    ours.state = state
    assert ours.random(4).tolist() == first
    with pytest.raises(ValueError, match="more than one word"):
        ours.randint(0, 2**32)


@pytest.mark.parametrize("db", [RCDB(SMALL), VisualAtom(VisualAtomConfig(num_categories=3, num_instances=4))])
def test_an_image_is_a_function_of_its_numbers(db):
    again = pickle.loads(pickle.dumps(db))
    for i in (len(db) - 1, 0, 5):
        assert sha256(again[i].image) == sha256(db[i].image)
        assert (db[i].category, db[i].instance) == divmod(i, 4)
    assert len({sha256(item.image) for item in db}) == len(db)
    larger = type(db)(replace(db.config, num_categories=50))
    assert sha256(larger[5].image) == sha256(db[5].image)
    assert sha256(type(db)(replace(db.config, seed=1))[5].image) != sha256(db[5].image)
    assert [item.instance for item in db[2:9:3]] == [2, 1, 0]
    with pytest.raises(IndexError, match="outside this set"):
        db[len(db)]


def test_what_makes_a_category_and_what_an_instance():
    db = RCDB(RCDBConfig(num_categories=3, num_instances=50))
    contours = [db.contour(1, j) for j in range(50)]
    for name, value in db.category_parameters(1).items():
        assert {getattr(contour, name) for contour, _ in contours} == {value}
    assert len({contour.radius for contour, _ in contours}) == 50
    assert len({contour.oval for contour, _ in contours}) == 50
    centres = np.array([centre for _, centre in contours])
    assert (centres >= 56).all()
    assert (centres <= 456).all()
    assert np.ptp(centres) > 300


def test_parameters_lie_in_their_ranges():
    db = RCDB(RCDBConfig(num_categories=400, num_instances=1))
    found = [db.category(k) for k in range(400)]
    vertices = [category.num_vertices for category in found]
    assert (min(vertices), max(vertices)) == (pytest.approx(3, abs=3), pytest.approx(200, abs=6))
    assert {category.num_polygons for category in found} <= set(range(1, 201))
    assert all(0 <= category.noise <= 4 and 0 <= category.step <= 0.1 for category in found)


def test_vertices_are_exponential_within_their_range():
    rng = stream(0)
    drawn = np.array([draw_vertices(rng, 3, 200, mean=100) for _ in range(20_000)])
    assert (drawn.min(), drawn.max()) == (3, 200)
    ends = np.arange(3, 201)
    expected = (math.exp(-0.03) - np.exp(-(ends + 1) / 100)) / (math.exp(-0.03) - math.exp(-2.01))
    found = np.searchsorted(np.sort(drawn), ends, side="right") / len(drawn)
    assert np.abs(found - expected).max() < 1.63 / math.sqrt(len(drawn))  # Kolmogorov and Smirnov, 1 %


def test_a_broken_contour_is_the_whole_one_but_for_its_breaks():
    whole = RCDB(SMALL)
    broken = RCDB(replace(SMALL, draw=ContourDrawConfig(break_fraction=0.4)))
    gone = RCDB(replace(SMALL, draw=ContourDrawConfig(break_fraction=1.0)))
    for i in range(len(whole)):
        a, b = whole[i].image, broken[i].image
        inked = (b != 255).sum(), (a != 255).sum()
        assert 0 < inked[0] < inked[1]
        assert (gone[i].image == 255).all()
    thin = RCDBConfig(num_categories=40, num_instances=1, polygons=(1, 1), image_size=128)
    for a, b in zip(RCDB(thin), RCDB(replace(thin, draw=ContourDrawConfig(break_fraction=0.4))), strict=True):
        assert ((b.image == a.image) | (b.image == 255)).all()  # nothing is moved or recoloured


def test_colour_background_and_inks():
    draw = ContourDrawConfig(color=True, background=0, ink=(200, 255))
    image = RCDB(replace(SMALL, draw=draw))[0].image
    assert image.shape == (64, 64, 3)
    inked = image[image.any(axis=2)]
    assert (inked >= 200).all()
    assert len(np.unique(inked, axis=0)) > 10
    grey = RCDB(replace(SMALL, draw=replace(draw, color=False)))[0].image
    np.testing.assert_array_equal(grey > 0, image.any(axis=2))


def test_other_sizes_are_the_same_picture():
    pictures = [RCDB(replace(SMALL, image_size=size))[1].image for size in (128, 256, 512)]
    supersampled = RCDB(replace(SMALL, image_size=128, draw=ContourDrawConfig(supersample=4)))[1].image
    np.testing.assert_array_equal(supersampled, average_down(pictures[2], 4))
    covered = [average_down((picture < 255).astype(np.uint8) * 255, len(picture) // 16) > 0 for picture in pictures]
    assert (covered[0] == covered[2]).mean() > 0.95
    assert (covered[1] == covered[2]).mean() > 0.95


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RCDBConfig(num_categories=0), "num_categories: must be at least 1"),
        (lambda: RCDBConfig(image_size=0), "image_size: must be at least 1"),
        (lambda: RCDBConfig(vertices=(2, 200)), "vertices: must be at least 3, got 2"),
        (lambda: RCDBConfig(noise=(4.0, 0.0)), "noise: is a range from 4.0 down to 0.0"),
        (lambda: RCDBConfig(variant="released", num_categories=6, jobs=4), "jobs: is 4, which does not divide"),
        (lambda: RCDBConfig(variant="released", image_size=511), "image_size: is 511"),
        (lambda: RCDBConfig(variant="released", draw=ContourDrawConfig(color=True)), "draw: is not part of the"),
        (lambda: RCDBConfig(vertices=(800, 1000), mean_vertices=1), "vertices: begins at 800"),
        (lambda: SegRCDBConfig(vertices=(800, 1000), mean_vertices=1), "vertices: begins at 800"),
        (
            lambda: RCDBConfig(variant="released", vertices=(3000, 4000)),
            "vertices: from 3000 to 4000 are less than 1e-06 of an exponential of mean 100",
        ),
        (lambda: ContourDrawConfig(ink=(9, 3)), "ink: is a range from 9 down to 3"),
        (lambda: ContourDrawConfig(break_fraction=1.1), "break_fraction: must be at most 1"),
        (lambda: VisualAtomConfig(waves=(3, 3)), "waves: leaves both sinusoids 3 periods"),
        (lambda: SegRCDBConfig(num_categories=255), "num_categories: must be at most 254"),
        (lambda: SegRCDBConfig(draw=ContourDrawConfig(supersample=2)), "draw: sets supersample"),
    ],
)
def test_settings_that_cannot_be_used(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_two_sinusoids_differ_unless_there_are_none():
    db = VisualAtom(VisualAtomConfig(num_categories=300, num_instances=1, waves=(0, 2)))
    waves = {db.category(k).waves for k in range(300)}
    assert waves == {(a, b) for a in range(3) for b in range(3) if a != b or a == 0}


class TestSegRCDB:
    CONFIG = SegRCDBConfig(num_images=4, num_categories=9, image_size=96, num_instances=6)

    def test_a_pair_is_a_function_of_its_number(self):
        db = SegRCDB(self.CONFIG)
        again = pickle.loads(pickle.dumps(db))
        for i in (3, 0):
            assert sha256(again[i].image) == sha256(db[i].image)
            assert sha256(again[i].mask) == sha256(db[i].mask)
        assert len({sha256(pair.image) for pair in db}) == 4
        assert [sha256(pair.mask) for pair in db[1:3]] == [sha256(db[1].mask), sha256(db[2].mask)]
        with pytest.raises(IndexError, match="outside this set of 4 images"):
            db[4]

    def test_lines_are_labelled_where_they_are(self):
        draw = ContourDrawConfig(background=0, ink=(1, 255))  # no line as dark as the background
        for pair in SegRCDB(replace(self.CONFIG, draw=draw)):
            np.testing.assert_array_equal(pair.mask > 0, pair.image > 0)
            assert pair.mask.max() <= 9

    def test_masks_hold_one_another_and_leave_the_image_alone(self):
        single = replace(self.CONFIG, num_instances=1, start=0, num_images=12)
        kinds = [SegRCDB(replace(single, mask=mask)) for mask in ("M1", "M2", "M3")]
        grew = 0
        for lines, ring, whole in zip(*kinds, strict=True):
            np.testing.assert_array_equal(lines.image, whole.image)
            labels = {*np.unique(lines.mask), *np.unique(ring.mask), *np.unique(whole.mask)} - {0}
            assert len(labels) <= 1
            assert (ring.mask > 0).sum() <= (whole.mask > 0).sum() + (lines.mask > 0).sum()
            grew += (lines.mask > 0).sum() < (ring.mask > 0).sum() < (whole.mask > 0).sum()
        assert grew >= 8

    @pytest.mark.parametrize("mask", ["M1", "M2", "M3"])
    def test_one_more_contour_is_drawn_over_the_others(self, mask):
        config = replace(self.CONFIG, mask=mask, num_images=6)
        for few, more in zip(SegRCDB(config), SegRCDB(replace(config, num_instances=7)), strict=True):
            changed = more.mask != few.mask
            assert len(np.unique(more.mask[changed])) <= 1
            if mask == "M1":
                assert len(np.unique(more.mask[more.image != few.image])) <= 1
