"""The points of a scene as a network sees them: coordinates, then colours and height where they are used."""

import numpy as np

from pcfdsl.datasets.augment import Draws
from pcfdsl.scene.boxes import Scene, height_above_floor

__all__ = ["input_points", "require_points"]


def require_points(scene: Scene, index: int, *, use_color: bool) -> None:
    """Raise a ValueError that names the scene if it has no points, or no colours though they are used."""
    if len(scene.points) == 0:
        raise ValueError(f"scene {index} has no points; remove it from the set")
    if use_color and scene.colors is None:
        raise ValueError(
            f"scene {index} has no colours; set use_color to false, store colours, or generate them "
            "(scenes.colors=random)"
        )


def input_points(scene: Scene, draws: Draws, *, use_height: bool, use_color: bool) -> np.ndarray:
    """[N, 3 + C] float32 of the drawn points: xyz, colour minus 0.5, height above the floor.

    The height is that in the whole scene, before augmentation, times the scale.
    """
    points = draws.transform.points(scene.points.take(draws.rows, axis=0))
    columns = [points if draws.offsets is None else points + draws.offsets]
    if use_color and scene.colors is not None:
        colors = scene.colors.take(draws.rows, axis=0)
        columns.append((colors if draws.colors is None else draws.colors(colors)) - np.float32(0.5))
    if use_height:
        columns.append(height_above_floor(scene.points)[draws.rows, None] * np.float32(draws.transform.scale))
    return np.concatenate(columns, axis=1).astype(np.float32)
