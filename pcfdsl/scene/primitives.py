"""Furniture built from blocks, cylinders and ellipsoids: a fine-tuning target that needs no real data.

Each class is a function from proportions to parts, in metres, standing on z = 0 with its front towards -y. The range
of every proportion is cut into five bands: "val" objects use the second and fourth, "train" objects the other three, so
the splits share no proportion.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["CLASSES", "Part", "PrimitiveFurniture", "Proportions", "sample_parts"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A solid whose surface is sampled.

    Attributes:
        kind: "block", "cylinder" (upright, elliptic) or "ellipsoid".
        center: Middle of its bounding box, metres.
        size: Full extents, metres.
        top: Ratio of a cylinder's top radius to its bottom radius.
    """

    kind: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    top: float = 1.0

    @property
    def area(self) -> float:
        """Surface area, square metres; approximate for round parts."""
        x, y, z = self.size
        if self.kind == "block":
            return 2 * (x * y + y * z + z * x)
        if self.kind == "ellipsoid":
            return np.pi * (((x * y) ** 1.6 + (y * z) ** 1.6 + (z * x) ** 1.6) / 3) ** (1 / 1.6)
        mean_radius = (x + y) / 4 * (1 + self.top) / 2
        return 2 * np.pi * mean_radius * z + np.pi / 4 * x * y * (1 + self.top**2)


class Proportions:
    """Draws numbers from the bands of a range that belong to a split."""

    def __init__(self, rng: np.random.Generator, split: str):
        self.rng, self.bands = rng, {"train": (0, 2, 4), "val": (1, 3)}[split]

    def __call__(self, low: float, high: float) -> float:
        band = self.bands[int(self.rng.integers(len(self.bands)))]
        return low + (high - low) * (band + self.rng.random()) / 5

    def maybe(self, probability: float) -> bool:
        """Whether to add an optional part."""
        return bool(self.rng.random() < probability)


class PrimitiveFurniture:
    """Objects of ten furniture classes in real size, as an `ObjectSource`.

    Args:
        split: "train" or "val": the proportions of the objects.
        classes: Names from `CLASSES`, in the order of the categories; by default all.

    Raises:
        ValueError: If the split or a class is unknown.
    """

    def __init__(self, split: str = "train", *, classes: tuple[str, ...] | None = None):
        if split not in ("train", "val"):
            raise ValueError(f"unknown split {split!r}; expected 'train' or 'val'")
        self.split, self.classes = split, classes or tuple(CLASSES)
        if unknown := set(self.classes) - set(CLASSES):
            raise ValueError(f"unknown furniture {', '.join(sorted(unknown))}; expected some of {', '.join(CLASSES)}")

    @property
    def num_categories(self) -> int:
        return len(self.classes)

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        points, category, _, _ = self.sample_in_parts(rng, num_points)
        return points, category

    def sample_in_parts(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int, np.ndarray, int]:
        """See `pcfdsl.scene.objects.PartSource`."""
        category = int(rng.integers(self.num_categories))
        parts = CLASSES[self.classes[category]](Proportions(rng, self.split))
        points, owner = sample_parts(rng, parts, num_points=num_points)
        return points, category, owner, len(parts)


def sample_parts(rng: np.random.Generator, parts: list[Part], *, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the surfaces of parts, proportional to their areas, in random order.

    Returns:
        [num_points, 3] float32, and the part of each, [num_points] int64.
    """
    areas = np.array([part.area for part in parts])
    owner = rng.choice(len(parts), num_points, p=areas / areas.sum())
    points = np.empty((num_points, 3))
    for index, part in enumerate(parts):
        rows = np.flatnonzero(owner == index)
        points[rows] = part.center + _SURFACES[part.kind](rng, part, len(rows)) * np.array(part.size) / 2
    return points.astype(np.float32), owner


def _block_surface(rng, part, num_points):
    x, y, z = part.size
    points = rng.uniform(-1, 1, (num_points, 3))
    axis = rng.choice(3, num_points, p=np.array([y * z, z * x, x * y]) / (x * y + y * z + z * x))
    points[np.arange(num_points), axis] = np.where(points[np.arange(num_points), axis] < 0, -1, 1)
    return points


def _cylinder_surface(rng, part, num_points):
    x, y, _ = part.size
    angle = rng.uniform(-np.pi, np.pi, num_points)
    foot = np.pi / 4 * x * y
    where = rng.random(num_points) * part.area
    on_foot, on_top = where < foot, where > part.area - foot * part.top**2
    height = np.where(on_foot, -1.0, np.where(on_top, 1.0, rng.uniform(-1, 1, num_points)))
    radius = 1 + (part.top - 1) * (height + 1) / 2
    radius = np.where(on_foot | on_top, radius * np.sqrt(rng.random(num_points)), radius)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _ellipsoid_surface(rng, part, num_points):
    direction = rng.normal(size=(num_points, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


_SURFACES = {"block": _block_surface, "cylinder": _cylinder_surface, "ellipsoid": _ellipsoid_surface}


def _block(low: tuple[float, float, float], high: tuple[float, float, float]) -> Part:
    """The block between two corners."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    return Part(kind="block", center=((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2), size=(x1 - x0, y1 - y0, z1 - z0))


def _cylinder(diameter: float, low: float, high: float, *, at=(0.0, 0.0), top: float = 1.0) -> Part:
    center = (at[0], at[1], (low + high) / 2)
    return Part(kind="cylinder", center=center, size=(diameter, diameter, high - low), top=top)


def _legs(width: float, depth: float, height: float, thickness: float) -> list[Part]:
    x, y = width / 2 - thickness / 2, depth / 2 - thickness / 2
    return [_cylinder(thickness, 0, height, at=(sx * x, sy * y)) for sx in (-1, 1) for sy in (-1, 1)]


def _chair(p: Proportions) -> list[Part]:
    width, depth, seat, back = p(0.38, 0.58), p(0.4, 0.58), p(0.4, 0.5), p(0.35, 0.6)
    parts = [_block((-width / 2, -depth / 2, seat - 0.05), (width / 2, depth / 2, seat))]
    parts.append(_block((-width / 2, depth / 2 - 0.05, seat), (width / 2, depth / 2, seat + back)))
    if p.maybe(0.3):
        return [*parts, _cylinder(0.06, 0.05, seat - 0.05), _cylinder(width * 0.9, 0, 0.05)]
    return parts + _legs(width, depth, seat - 0.05, p(0.03, 0.06))


def _stool(p: Proportions) -> list[Part]:
    diameter, height = p(0.3, 0.45), p(0.4, 0.75)
    legs = _legs(diameter * 0.75, diameter * 0.75, height - 0.05, 0.035)
    return [_cylinder(diameter, height - 0.05, height), *legs]


def _table(p: Proportions) -> list[Part]:
    width, depth, height = p(0.7, 1.9), p(0.6, 1.0), p(0.4, 0.78)
    if p.maybe(0.3):
        diameter = depth * 1.1
        return [_cylinder(diameter, height - 0.04, height), _cylinder(0.1, 0, height), _cylinder(diameter / 2, 0, 0.04)]
    top = _block((-width / 2, -depth / 2, height - 0.04), (width / 2, depth / 2, height))
    return [top, *_legs(width, depth, height - 0.04, p(0.04, 0.09))]


def _desk(p: Proportions) -> list[Part]:
    width, depth, height, drawers = p(1.0, 1.7), p(0.5, 0.8), p(0.7, 0.78), p(0.3, 0.5)
    side, top = width / 2, height - 0.04
    return [
        _block((-side, -depth / 2, top), (side, depth / 2, height)),
        _block((side - drawers, -depth / 2, 0.05), (side, depth / 2, top)),
        _block((-side, -depth / 2, 0), (-side + 0.04, depth / 2, top)),
        _block((-side, depth / 2 - 0.03, height / 2), (side - drawers, depth / 2, top)),
    ]


def _bed(p: Proportions) -> list[Part]:
    width, length, mattress, head = p(0.85, 1.9), p(1.85, 2.2), p(0.35, 0.6), p(0.75, 1.2)
    parts = [
        _block((-width / 2, -length / 2, 0.1), (width / 2, length / 2, mattress)),
        _block((-width / 2, length / 2, 0), (width / 2, length / 2 + 0.06, head)),
    ]
    pillows = 2 if width > 1.3 else 1
    for i in range(pillows):
        x = (i - (pillows - 1) / 2) * width / 2
        parts.append(Part(kind="ellipsoid", center=(x, length / 2 - 0.3, mattress + 0.05), size=(0.6, 0.4, 0.16)))
    return parts


def _sofa(p: Proportions) -> list[Part]:
    width, depth, seat, back, arm = p(0.9, 2.4), p(0.75, 1.0), p(0.36, 0.48), p(0.7, 0.95), p(0.12, 0.25)
    half, front, rear = width / 2, -depth / 2, depth / 2
    return [
        _block((-half + arm, front, 0.05), (half - arm, rear - 0.2, seat)),
        _block((-half, rear - 0.22, 0.05), (half, rear, back)),
        _block((-half, front, 0.05), (-half + arm, rear - 0.2, seat + 0.2)),
        _block((half - arm, front, 0.05), (half, rear - 0.2, seat + 0.2)),
    ]


def _shelf(p: Proportions) -> list[Part]:
    width, depth, height, boards = p(0.5, 1.3), p(0.22, 0.42), p(0.8, 2.1), int(p(3, 7))
    half, y = width / 2, depth / 2
    parts = [_block((sign * half - 0.015, -y, 0), (sign * half + 0.015, y, height)) for sign in (-1, 1)]
    parts += [_block((-half, -y, z), (half, y, z + 0.02)) for z in np.linspace(0.05, height - 0.02, boards)]
    return [*parts, _block((-half, y - 0.01, 0), (half, y, height))] if p.maybe(0.6) else parts


def _cabinet(p: Proportions) -> list[Part]:
    width, depth, height, foot = p(0.4, 1.5), p(0.35, 0.65), p(0.5, 2.0), p(0.0, 0.15)
    body = _block((-width / 2, -depth / 2, foot), (width / 2, depth / 2, height))
    knobs = [
        Part(kind="ellipsoid", center=(x, -depth / 2 - 0.015, (foot + height) / 2), size=(0.04, 0.03, 0.04))
        for x in (-0.05, 0.05)
    ]
    return [body, *knobs, *_legs(width, depth, max(foot, 0.01), 0.05)]


def _lamp(p: Proportions) -> list[Part]:
    height, shade, tall = p(1.2, 1.8), p(0.28, 0.5), p(0.22, 0.35)
    return [
        _cylinder(shade * 0.8, 0, 0.03),
        _cylinder(0.035, 0, height - tall / 2),
        _cylinder(shade, height - tall, height, top=p(0.4, 0.9)),
    ]


def _toilet(p: Proportions) -> list[Part]:
    width, length, seat, tank = p(0.34, 0.42), p(0.6, 0.75), p(0.38, 0.46), p(0.7, 0.9)
    y = -length / 2 + 0.26
    return [
        Part(kind="cylinder", center=(0, y, seat / 2), size=(width * 0.6, 0.36, seat), top=1.5),
        Part(kind="cylinder", center=(0, y, seat), size=(width, 0.5, 0.04)),
        _block((-width / 2, length / 2 - 0.2, seat * 0.8), (width / 2, length / 2, tank)),
        _block((-width / 4, y, 0), (width / 4, length / 2 - 0.05, seat * 0.8)),
    ]


CLASSES: dict[str, Callable[[Proportions], list[Part]]] = {
    "bed": _bed,
    "cabinet": _cabinet,
    "chair": _chair,
    "desk": _desk,
    "lamp": _lamp,
    "shelf": _shelf,
    "sofa": _sofa,
    "stool": _stool,
    "table": _table,
    "toilet": _toilet,
}
