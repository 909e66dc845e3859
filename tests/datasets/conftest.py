"""Small rooms that several tests use."""

import numpy as np
import pytest

from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import CameraConfig, RoomConfig, SceneConfig, SizeConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import Scenes


@pytest.fixture
def rooms() -> Scenes:
    settings = SceneConfig(num_points=1500, num_scenes=6, objects=(2, 5), sizes=SizeConfig(shape="metres"))
    return Scenes(settings, PrimitiveFurniture())


@pytest.fixture
def clean_rooms() -> Scenes:
    """Rooms without occlusion and noise: boxes hold exactly their points."""
    settings = SceneConfig(
        num_points=1500,
        num_scenes=6,
        noise=0.0,
        cameras=CameraConfig(number=(0, 0)),
        room=RoomConfig(roughness=0.0, clutter=(0, 0)),
    )
    return Scenes(settings, PrimitiveFurniture())


def same(a: Scene, b: Scene) -> bool:
    """Whether two scenes are equal bit for bit."""
    left, right = a.arrays(), b.arrays()
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)
