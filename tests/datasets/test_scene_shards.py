import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from pcfdsl.datasets.scene_shards import SceneShards
from pcfdsl.datasets.sources import ShardSource, open_scenes
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.config import FractalScenesConfig, SceneConfig
from pcfdsl.scene.synthesize import FractalScenes

QUIET = RunOptions(progress=False)


def test_stored_scenes_equal_those_of_the_recipe(rooms, tmp_path):
    generate(rooms, tmp_path / "set", samples_per_shard=4, options=QUIET)
    stored = SceneShards(tmp_path / "set")
    assert len(stored) == len(rooms)
    for made, read in zip(rooms, pickle.loads(pickle.dumps(stored)), strict=True):
        for name, array in made.arrays().items():
            np.testing.assert_array_equal(read.arrays()[name], array)
            assert read.arrays()[name].dtype == array.dtype


@dataclass(frozen=True)
class Nothing:
    seed: int = 0


class Numbers:
    name, config = "numbers", Nothing()

    def __len__(self) -> int:
        return 2

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        return {"points": np.full((1, 3), index)}


def test_other_sets_are_refused(tmp_path):
    generate(Numbers(), tmp_path / "set", options=QUIET)
    with pytest.raises(ValueError, match="not a set of scenes: its samples have no boxes, categories, instance_ids"):
        SceneShards(tmp_path / "set")


def test_classes_are_the_categories(rooms, tmp_path):
    generate(rooms, tmp_path / "rooms", options=QUIET)
    largest = max(scene.categories.max() for scene in rooms)
    assert SceneShards(tmp_path / "rooms").classes == tuple(f"{k:06d}" for k in range(largest + 1))
    fractals = PCFractalConfig(num_categories=3, search=SearchConfig(variance_threshold=0.02))
    recipe = FractalScenes(
        FractalScenesConfig(scenes=SceneConfig(num_scenes=2, num_points=500, objects=(1, 2)), fractals=fractals)
    )
    generate(recipe, tmp_path / "fractals", options=QUIET)
    scenes = open_scenes(ShardSource(folder=str(tmp_path / "fractals")))
    assert scenes.classes == ("000000", "000001", "000002")  # although the two scenes have fewer
    np.testing.assert_array_equal(scenes.scenes[1].points, recipe[1].points)
