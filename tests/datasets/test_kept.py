import pickle

import numpy as np
import pytest

from pcfdsl.datasets.kept import KeptScenes
from pcfdsl.scene.boxes import SceneSequence
from pcfdsl.scene.config import SceneConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import Scenes


class Counted(SceneSequence):
    def __init__(self):
        self.scenes, self.made = Scenes(SceneConfig(num_scenes=5, num_points=100), PrimitiveFurniture()), []

    def __len__(self):
        return len(self.scenes)

    def scene(self, index):
        self.made.append(index)
        return self.scenes[index]


def test_each_scene_is_made_once_and_is_that_of_the_sequence():
    counted = Counted()
    kept = KeptScenes(counted)
    for index in (3, 1, 3, -2, 1):
        expected, found = counted.scenes[index], kept[index]
        for name, array in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), array)
    assert counted.made == [3, 1]
    with pytest.raises(ValueError, match="read-only"):
        kept[3].points[0] = 0


def test_no_more_is_kept_than_fits():
    counted = Counted()
    kept = KeptScenes(counted, max_bytes=1)
    for index in (0, 1, 0, 1):
        kept[index]
    assert counted.made == [0, 1, 1]


def test_what_is_kept_stays_out_of_pickles():
    kept = KeptScenes(Counted())
    empty = len(pickle.dumps(kept))
    kept[0]
    again = pickle.loads(pickle.dumps(kept))
    assert len(pickle.dumps(kept)) < empty + 100
    np.testing.assert_array_equal(again[0].points, kept[0].points)
