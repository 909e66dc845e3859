"""What surrounds the objects of a scene and has no label: floor, walls, ceiling, and clutter on the floor."""

from dataclasses import dataclass

import numpy as np

from pcfdsl.scene.config import RoomConfig

__all__ = ["draw_surroundings"]


def draw_surroundings(
    rng: np.random.Generator, room: np.ndarray, num_points: int, *, config: RoomConfig
) -> list[np.ndarray]:
    """Points of all surfaces, at about the same density; of clutter 0.6 to 1.3 times as many, by its shape.

    Args:
        rng: Source of all randomness.
        room: [2] length (x) and width (y), metres, about the origin.
        num_points: Points in all.
        config: What there is.

    Returns:
        [N, 3] float64 metres of each surface and thing; an empty list without points, or in a bare room.
    """
    (length, width), height = room, rng.uniform(*config.height)
    x, y, up = np.diag([length / 2, width / 2, height / 2])  # half edges
    rectangles = []
    if config.floor:
        rectangles.append(_Rectangle(middle=0 * up, edges=(x, y)))
    if config.ceiling:
        rectangles.append(_Rectangle(middle=2 * up, edges=(x, y)))
    for out, along in ((x, y), (-x, y), (y, x), (-y, x)):
        if rng.random() < config.walls:
            rectangles.append(_Rectangle(middle=out + up, edges=(along, up)))
    clutter = [_draw_clutter(rng, room) for _ in range(rng.integers(config.clutter[0], config.clutter[1] + 1))]
    areas = np.array([surface.area for surface in (*rectangles, *clutter)])
    if num_points <= 0 or not len(areas):
        return []
    counts = np.diff(np.round(np.cumsum(areas) / areas.sum() * num_points).astype(np.int64), prepend=0).tolist()
    parts = [flat.sample(rng, count, config.roughness) for flat, count in zip(rectangles, counts, strict=False)]
    return parts + [thing.sample(rng, count) for thing, count in zip(clutter, counts[len(rectangles) :], strict=True)]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Rectangle:
    """A rectangle along the axes: its middle [3], and from there to the middles of two sides, [3] each; metres."""

    middle: np.ndarray
    edges: tuple[np.ndarray, np.ndarray]

    @property
    def area(self) -> float:
        first, second = self.edges
        return 4 * float(first.sum() * second.sum())

    def sample(self, rng: np.random.Generator, count: int, roughness: float) -> np.ndarray:
        """Uniform points with Gaussian noise across the rectangle."""
        edges = np.array(self.edges)
        points = self.middle + rng.uniform(-1, 1, (count, 2)) @ edges
        return points + rng.normal(0, roughness, (count, 1)) * (edges.sum(axis=0) == 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Clutter:
    """A super-ellipsoid: its middle [3], half size [3], metres; exponent 2 is an ellipsoid, a large one a block."""

    middle: np.ndarray
    half_size: np.ndarray
    exponent: float

    @property
    def area(self) -> float:
        """Roughly: 1.3 times that of a sphere, 0.7 times that of a cube."""
        return 16 * float(self.half_size.prod() ** (2 / 3))

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Points in random directions."""
        direction = rng.normal(size=(count, 3))
        direction /= (np.abs(direction) ** self.exponent).sum(axis=1, keepdims=True) ** (1 / self.exponent)
        return self.middle + direction * self.half_size


def _draw_clutter(rng: np.random.Generator, room: np.ndarray) -> _Clutter:
    half_size = rng.uniform(0.05, 0.2, 3)
    middle = np.array([*rng.uniform(-0.45, 0.45, 2) * room, half_size[2]])
    return _Clutter(middle=middle, half_size=half_size, exponent=float(rng.choice([2.0, 4.0, 12.0])))
