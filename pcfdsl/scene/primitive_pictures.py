"""Pictures of the furniture of primitives: a stand-in for photographs that every machine can draw.

Each picture shows one object, in colours, on a background, under a light and from a viewpoint of its own. Rays are
intersected with blocks, cylinders (frusta) and ellipsoids exactly; four rays make a pixel.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.rng import stream
from pcfdsl.scene.primitives import CLASSES, Part, Proportions

__all__ = ["PrimitivePictures"]

_SEED = 0
_FIELD_OF_VIEW = 0.7  # width of the picture over the distance that it is taken from
_AMBIENT = 0.35


class PrimitivePictures:
    """Pictures of ten classes of furniture, drawn when asked for; picture i depends on (split, size, i) alone.

    The splits share neither proportions nor draws. A picture takes some milliseconds.

    Attributes:
        labels: [10 * num_per_class] int64, indices into `classes`, ascending.
        classes: Names of the classes.

    >>> pictures = PrimitivePictures("val", size=32, num_per_class=3)
    >>> pictures.classes[pictures.labels[4]], pictures.picture(4).shape
    ('cabinet', (32, 32, 3))
    """

    def __init__(self, split: str = "train", *, size: int, num_per_class: int):
        """Set up without drawing anything.

        Args:
            split: "train" or "val": the proportions of the objects.
            size: Side of a picture, pixels.
            num_per_class: Pictures of each class.

        Raises:
            ValueError: If the split is unknown.
        """
        if split not in ("train", "val"):
            raise ValueError(f"unknown split {split!r}; expected 'train' or 'val'")
        self.split, self.size = split, size
        self.classes = tuple(CLASSES)
        self.labels = np.repeat(np.arange(len(CLASSES)), num_per_class)
        self.num_per_class = num_per_class

    def picture(self, i: int) -> np.ndarray:
        """Picture i, uint8 [size, size, 3]."""
        category, instance = divmod(i, self.num_per_class)
        rng = stream(_SEED, "furniture picture", self.split, category, instance)
        parts = CLASSES[self.classes[category]](Proportions(rng, self.split))
        return _drawn(rng, parts, self.size)


@dataclass(frozen=True, eq=False)
class _Hit:
    """Where rays enter a part: distance, infinite for a miss, [R], and outward normals [R, 3]."""

    distance: np.ndarray
    normal: np.ndarray


def _drawn(rng: np.random.Generator, parts: list[Part], size: int) -> np.ndarray:
    low = np.min([np.array(part.center) - np.array(part.size) / 2 for part in parts], axis=0)
    high = np.max([np.array(part.center) + np.array(part.size) / 2 for part in parts], axis=0)
    middle, extent = (low + high) / 2, float(np.linalg.norm(high - low))
    origin, rays = _camera(rng, middle, extent, 2 * size)
    light = _direction(rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.2))
    base = rng.uniform(0.15, 1, 3)
    nearest = np.full(len(rays), np.inf)
    colors = _background(rng, 2 * size)
    for part in parts:
        color = np.clip(base * rng.uniform(0.6, 1.4) + rng.normal(0, 0.1, 3), 0, 1)
        hit = _INTERSECTIONS[part.kind](origin - np.array(part.center), rays, part)
        closer = hit.distance < nearest
        nearest = np.where(closer, hit.distance, nearest)
        shade = _AMBIENT + (1 - _AMBIENT) * np.maximum(hit.normal[closer] @ light, 0)
        colors[closer] = color * shade[:, None]
    colors = colors.reshape(size, 2, size, 2, 3).mean((1, 3))
    return (255 * np.clip(colors + rng.normal(0, 0.02, colors.shape), 0, 1)).round().astype(np.uint8)


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector from azimuth and elevation, radians."""
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def _camera(
    rng: np.random.Generator, middle: np.ndarray, extent: float, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """Position, metres, and directions [R * R, 3], row by row from the top left; upright, from all around."""
    backward = _direction(rng.uniform(-np.pi, np.pi), rng.uniform(0.0, 0.9))
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    distance = extent / _FIELD_OF_VIEW * rng.uniform(0.95, 1.5)
    shift = rng.uniform(-0.12, 0.12, 2) * extent
    origin = middle + distance * backward + shift[0] * right + shift[1] * up
    across = ((np.arange(resolution) + 0.5) / resolution - 0.5) * _FIELD_OF_VIEW
    rays = -backward + across[None, :, None] * right - across[:, None, None] * up
    return origin, rays.reshape(-1, 3)


def _background(rng: np.random.Generator, resolution: int) -> np.ndarray:
    """[R * R, 3] in 0..1: a wall and a floor, each of one colour that grows lighter or darker to one side."""
    wall, floor = rng.uniform(0, 1, (2, 3))
    horizon, slope = rng.uniform(0.2, 0.8), rng.uniform(-0.2, 0.2)
    x, y = np.meshgrid(*2 * [(np.arange(resolution) + 0.5) / resolution])
    below = y > horizon + slope * (x - 0.5)
    gradient = 1 + rng.uniform(-0.3, 0.3) * (x - 0.5) + rng.uniform(-0.3, 0.3) * (y - 0.5)
    return (np.where(below[..., None], floor, wall) * gradient[..., None]).reshape(-1, 3)


def _block(origin: np.ndarray, rays: np.ndarray, part: Part) -> _Hit:
    """Slabs: the latest entry must come before the earliest exit."""
    half = np.array(part.size) / 2
    steps = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    near = (-np.sign(steps) * half - origin) / steps
    far = (np.sign(steps) * half - origin) / steps
    axis = near.argmax(1)
    enter, rows = near.max(1), np.arange(len(rays))
    normal = np.zeros_like(rays)
    normal[rows, axis] = -np.sign(steps[rows, axis])
    return _Hit(np.where((enter <= far.min(1)) & (enter > 0), enter, np.inf), normal)


def _ellipsoid(origin: np.ndarray, rays: np.ndarray, part: Part) -> _Hit:
    """A unit sphere, once space is scaled by the half axes."""
    half = np.array(part.size) / 2
    o, d = origin / half, rays / half
    distance, _ = _crossings((d * d).sum(1), d @ o, np.full(len(d), o @ o - 1))
    normal = (o + np.where(np.isfinite(distance), distance, 0)[:, None] * d) / half
    return _Hit(distance, normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _cylinder(origin: np.ndarray, rays: np.ndarray, part: Part) -> _Hit:
    """An elliptic frustum: in units of the half axes its radius goes from 1 at the bottom to `part.top` at the top."""
    half = np.array(part.size) / 2
    o, d = origin / half, rays / half
    growth = (part.top - 1) / 2
    radius, slope = 1 + growth * (o[2] + 1), growth * d[:, 2]  # radius along a ray: radius + t * slope
    a = d[:, 0] ** 2 + d[:, 1] ** 2 - slope**2
    b = d[:, :2] @ o[:2] - radius * slope
    side = np.full(len(d), np.inf)
    for found in _crossings(a, b, np.full(len(d), o[0] ** 2 + o[1] ** 2 - radius**2)):  # with both cones
        height = o[2] + np.where(np.isfinite(found), found, 0) * d[:, 2]
        own = (np.abs(height) <= 1) & (1 + growth * (height + 1) > 0)
        side = np.where(own & (found < side), found, side)
    reached = o + np.where(np.isfinite(side), side, 0)[:, None] * d
    outward = 1 + growth * (reached[:, 2] + 1)
    normal = np.stack([reached[:, 0], reached[:, 1], -growth * outward], axis=1) / half
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    distance = side
    steps = np.where(np.abs(d[:, 2]) < 1e-12, 1e-12, d[:, 2])
    for height, limit in ((-1.0, 1.0), (1.0, part.top)):
        cap = (height - o[2]) / steps
        at = o[:2] + cap[:, None] * d[:, :2]
        first = (cap > 0) & ((at * at).sum(1) <= limit**2) & (cap < distance)
        distance = np.where(first, cap, distance)
        normal = np.where(first[:, None], [0.0, 0.0, height], normal)
    return _Hit(distance, normal)


def _crossings(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two t with a t^2 + 2 b t + c = 0, the smaller first; infinite where there is none, or it is not positive."""
    square = b * b - a * c
    there = square >= 0
    safe = np.where(np.abs(a) < 1e-12, 1e-12, a)
    root = np.sqrt(np.maximum(square, 0)) * np.sign(safe)
    first, second = (-b - root) / safe, (-b + root) / safe
    return np.where(there & (first > 0), first, np.inf), np.where(there & (second > 0), second, np.inf)


_INTERSECTIONS = {"block": _block, "cylinder": _cylinder, "ellipsoid": _ellipsoid}
