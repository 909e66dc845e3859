"""Objects and settings that several tests of scenes use."""

import numpy as np
import pytest

from pcfdsl.scene.config import CameraConfig, RoomConfig, SceneConfig


class Shells:
    """A stand-in object source: spheres, one category for each of three stretches."""

    num_categories = 3

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        category = int(rng.integers(3))
        direction = rng.normal(size=(num_points, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return (direction * (1, 1 + category, 1)).astype(np.float32), category


@pytest.fixture
def shells() -> Shells:
    return Shells()


@pytest.fixture
def everything_seen() -> SceneConfig:
    """No camera, no noise: the boxes must hold exactly their points."""
    return SceneConfig(num_points=4000, cameras=CameraConfig(number=(0, 0)), noise=0.0, room=RoomConfig(roughness=0.0))
