"""A slip in a source of one's own is named: the class, what it gave, what is expected."""

import numpy as np
import pytest

from pcfdsl.rng import stream
from pcfdsl.samples.views import TwoLayouts
from pcfdsl.scene.config import SceneConfig
from pcfdsl.scene.source_checks import checked_object
from pcfdsl.scene.synthesize import Scenes

CLOUD = stream(0).normal(size=(400, 3)).astype(np.float32)
SETTINGS = SceneConfig(num_points=500, objects=(2, 2))


class Blobs:
    """A source that gives what it was told to."""

    num_categories = 3

    def __init__(self, given):
        self.given = given

    def sample(self, rng, num_points):
        return self.given


class BlobsInParts(Blobs):
    def sample_in_parts(self, rng, num_points):
        return self.given


class NoNumber:
    def sample(self, rng, num_points):
        return CLOUD, 0


class NumberIsMethod(NoNumber):
    def num_categories(self):
        return 3


class NoSample:
    num_categories = 3


def with_number(number):
    blobs = Blobs((CLOUD, 0))
    blobs.num_categories = number
    return blobs


def broken(row, value):
    points = CLOUD.copy()
    points[row] = value
    return points


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((broken(7, np.nan), 0), "400 points, 1 of them not finite"),
        ((broken(slice(300, None), -np.inf), 0), "400 points, 100 of them not finite"),
        ((CLOUD[:1], 0), r"as points an array \[1, 3\] of float32"),
        ((CLOUD[:0], 0), r"as points an array \[0, 3\] of float32"),
        ((np.full((400, 3), 0.5), 0), r"400 points that are all at \(0.5, 0.5, 0.5\)"),
        ((CLOUD[:, :2], 0), r"as points an array \[400, 2\] of float32"),
        ((np.tile(CLOUD, 2), 0), r"as points an array \[400, 6\] of float32"),
        ((CLOUD.ravel(), 0), r"as points an array \[1200\] of float32"),
        ((CLOUD.astype(int), 0), r"as points an array \[400, 3\] of int64"),
        ((CLOUD.tolist(), 0), "as points a list of length 400"),
        ((CLOUD, -1), "category -1"),
        ((CLOUD, 3), "category 3"),
        ((CLOUD, 1.5), "as category 1.5"),
        ((CLOUD, None), "as category None"),
        ((CLOUD, np.array([0, 1])), r"as category an array \[2\] of int64"),
        (CLOUD, r"an array \[400, 3\] of float32"),
        (None, "None"),
        ((CLOUD, 0, 1), "a tuple of length 3"),
    ],
)
def test_a_wrong_object_is_refused_with_what_was_given_and_what_is_expected(given, words):
    with pytest.raises(
        (TypeError, ValueError), match=rf"^Blobs.sample\(rng, \d+\) gave {words}; expected a pair: poin"
    ):
        Scenes(SETTINGS, Blobs(given))[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((np.zeros(399, int), 1), r"as parts an array \[399\] of int64"),
        ((np.zeros(400), 1), r"as parts an array \[400\] of float64"),
        ((np.arange(400), 4), "parts from 0 to 399, 4 in all"),
        ((np.arange(400) - 1, 400), "parts from -1 to 398, 400 in all"),
        ((np.zeros(400, int), None), "parts from 0 to 0, None in all"),
        ((), "a tuple of length 2"),
    ],
)
def test_wrong_parts_are_refused(parts, words):
    with pytest.raises(
        (TypeError, ValueError), match=rf"^BlobsInParts.sample_in_parts\(.* gave {words}; expected four"
    ):
        Scenes(SETTINGS, BlobsInParts((CLOUD, 0, *parts)))[0]


@pytest.mark.parametrize(
    "make", [lambda source: Scenes(SETTINGS, source), lambda s: TwoLayouts(SETTINGS, s, num_points=9)]
)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Blobs, "is the class Blobs; .* such as Blobs()"),
        (NoSample(), "is of class NoSample, which has no method sample"),
        (NoNumber(), "is of class NoNumber, which has no num_categories"),
        (NumberIsMethod(), "is of class NumberIsMethod, whose num_categories is a method, perhaps without @property"),
        (with_number(2.0), "is of class Blobs, whose num_categories is 2.0; expected an integer"),
        (with_number(0), "is of class Blobs, whose num_categories is 0; expected 1 or more"),
        (None, "is of class NoneType"),
        ([CLOUD, CLOUD], "is of class list, which has no method sample"),
    ],
)
def test_what_is_no_source_is_refused_at_once(make, source, words):
    with pytest.raises((TypeError, ValueError), match=f"^source {words}"):
        make(source)


def test_what_is_right_is_passed_on():
    thing, category = checked_object(Blobs(None), [CLOUD, np.int16(2)], 400)
    assert (type(category), category, thing.points.dtype) == (int, 2, np.float64)
    np.testing.assert_array_equal(thing.points, CLOUD)
    parts = np.arange(400) % 3
    thing, _ = checked_object(Blobs(None), (CLOUD, 0, parts, 3), 400, in_parts=True)
    np.testing.assert_array_equal(thing.parts, parts)
    same_but_one = np.vstack([np.zeros((399, 3)), np.ones((1, 3))])
    assert len(checked_object(Blobs(None), (same_but_one, 0), 400)[0].points) == 400
    assert len(checked_object(Blobs(None), (CLOUD[:1], 0), 1)[0].points) == 1  # as many as it was asked for
