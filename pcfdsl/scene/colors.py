"""Colours of a scene: formulas have none, so each thing gets a smooth random field, around a colour for each part.

One rule holds for objects, floor, walls, ceiling and clutter. A point's colour is the base colour of its part, plus a
field of a few long waves over the coordinates of the thing itself, which therefore turns and stretches with it. A
fractal, a mesh and a wall are of one part; furniture of primitives has as many as it was made of. One light then falls
on all, and every point has the noise of a sensor. Nothing in it depends on a category, so colours tell things apart
without telling what they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcfdsl.scene.boxes import axis_bounds

__all__ = ["Thing", "draw_colors"]

_WAVES = 4  # of a field
_PERIODS = 1.5  # of a wave along the longest side of a thing, at most
_STRENGTH = 0.12  # standard deviation of a field, about
_BRIGHTNESS = (0.6, 1.2)  # of the light
_CAST = 0.1  # the light's channels differ from its brightness by up to this factor
_NOISE = 0.02  # standard deviation of each channel of a point


@dataclass(frozen=True, eq=False, kw_only=True)
class Thing:
    """What has a field of its own.

    Attributes:
        points: [N, 3] in any frame and size of its own.
        parts: [N] int64, which part each point is of; None: there is one.
        num_parts: How many parts there are, whether or not they have points.
    """

    points: np.ndarray
    parts: np.ndarray | None = None
    num_parts: int = 1

    def first(self, num_points: int) -> "Thing":
        """The same with its first points alone."""
        return replace(
            self, points=self.points[:num_points], parts=None if self.parts is None else self.parts[:num_points]
        )


def draw_colors(rng: np.random.Generator, things: Sequence[Thing]) -> np.ndarray:
    """Colours of all points of a scene, thing after thing: [N, 3] float32 in 0..1.

    Args:
        rng: Source of all randomness.
        things: What the scene is made of.
    """
    colors = [_draw_thing(rng, thing) for thing in things]
    light = rng.uniform(*_BRIGHTNESS) * rng.uniform(1 - _CAST, 1 + _CAST, 3)
    found = np.concatenate([np.zeros((0, 3)), *colors]) * light
    return (found + rng.normal(0, _NOISE, found.shape)).clip(0, 1).astype(np.float32)


def _draw_thing(rng: np.random.Generator, thing: Thing) -> np.ndarray:
    # Colours of the whole cube, faded by a random share: most of what stands in rooms is dull.
    vivid = rng.random((thing.num_parts, 3))
    bases = vivid + rng.random((thing.num_parts, 1)) * (vivid.mean(axis=1, keepdims=True) - vivid)
    waves = rng.uniform(-_PERIODS, _PERIODS, (3, _WAVES))
    phases = rng.random(_WAVES)
    heights = rng.normal(0, _STRENGTH * np.sqrt(2 / _WAVES), (_WAVES, 3))
    if not len(thing.points):
        return np.zeros((0, 3))
    low, high = axis_bounds(thing.points)
    along = (thing.points - low) / max(float((high - low).max()), 1e-9)
    field = np.cos(2 * np.pi * (along @ waves + phases)) @ heights
    return field + (bases[0] if thing.parts is None else bases[thing.parts])
