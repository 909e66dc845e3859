import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from pcfdsl.data.generated import GeneratedScenes
from pcfdsl.generate import generate


def test_stored_scenes_equal_those_of_the_recipe(rooms, tmp_path):
    generate(rooms, tmp_path / "set", samples_per_shard=4, progress=False)
    stored = GeneratedScenes(tmp_path / "set")
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
    generate(Numbers(), tmp_path / "set", progress=False)
    with pytest.raises(ValueError, match="no set of scenes: its samples have no boxes, categories, instance_ids"):
        GeneratedScenes(tmp_path / "set")
