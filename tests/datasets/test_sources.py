"""The names of a scene set's categories."""

from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.datasets.sources import SceneSet
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import SceneConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import Scenes

SCENES = Scenes(SceneConfig(num_scenes=2, num_points=100), PrimitiveFurniture(classes=("stool", "table", "bed")))


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("abc", "is 'abc'"),
        (None, "is None"),
        ({"stool": 0, "table": 1, "bed": 2}, "is {'stool': 0"),
        ((0, 1, 2), "has 0, which is no string"),
        ((), "has 0 names, but scenes have 3 categories"),
        (("stool", "", "bed"), "has an empty name"),
        (("stool", "bed", "bed"), "has 'bed' 2 times"),
        (("stool", "table"), "has 2 names, but scenes have 3 categories"),
        (tuple("0123456789"), "has 10 names, but scenes have 3 categories"),
    ],
)
def test_classes_that_do_not_name_the_categories_are_refused(classes, words):
    with pytest.raises((TypeError, ValueError), match=f"^classes {words}.*; expected a tuple of distinct names"):
        SceneSet(SCENES, classes)


@pytest.mark.parametrize("category", [3, -1])
def test_scenes_in_a_list_have_no_category_without_a_name(category):
    scene = Scene(points=np.zeros((1, 3)), boxes=np.ones((1, 7)), categories=np.array([2]), instance_ids=np.zeros(1))
    other = replace(scene, categories=np.array([category]))
    with pytest.raises(ValueError, match=f"^scene 1 has category {category}, but classes has 3 names; expected"):
        SceneSet([scene, other], ("stool", "table", "bed"))


def test_a_list_of_names_becomes_a_tuple_and_sets_of_unknown_size_take_any_number():
    assert SceneSet(SCENES, ["stool", "table", "bed"]).kept().classes == ("stool", "table", "bed")
    assert SceneSet([SCENES[0]], ("a", "b", "c", "d", "e")).classes == ("a", "b", "c", "d", "e")
