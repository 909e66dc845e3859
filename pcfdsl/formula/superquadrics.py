"""Superquadrics, ellipsoids and toroids with exponents (Barr, 1981), sampled uniformly over their area.

A superquadric is the product of two superellipses, |x|^(2/e) + |y|^(2/e) = 1: one is carried around the other. Both are
tabulated as polygons of one quadrant, so the surface becomes flat trapezoids, whose areas are exact; points are uniform
on those, which are within some thousandths of the surface's size of it. The other octants are reflections.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from pcfdsl.formula.surface import choose_cells, draw_key, position_in_cell, word

__all__ = ["Superquadric", "draw_superquadric", "implicit", "perturb_superquadric", "sample_superquadric"]

_STEPS = 32  # sides of a polygon in a quadrant; even, so that the corner of a square is among their ends
_EXPONENTS = 0.1, 2.5  # from nearly a block through the ellipsoid (1) and the octahedron (2) to a star


@dataclass(frozen=True, kw_only=True)
class Superquadric:
    """A shape.

    Attributes:
        exponents: Of the meridian and of the horizontal section.
        axes: Half extents of an ellipsoid, and of the tube of a toroid in units of which `hole` is given: x, y, z.
        hole: Radius of a toroid's central line in units of that of the tube, above 1; 0 for an ellipsoid.
    """

    exponents: tuple[float, float]
    axes: tuple[float, float, float]
    hole: float = 0.0


def draw_superquadric(rng: np.random.Generator) -> Superquadric:
    """A random shape: two in three are ellipsoids; exponents and axes are log-uniform."""
    low, high = np.log(_EXPONENTS)
    exponents = np.exp(rng.uniform(low, high, 2))
    axes = np.exp(rng.uniform(np.log(0.3), 0, 3))
    hole = 0.0 if rng.random() < 2 / 3 else rng.uniform(1.2, 4.0)
    return _superquadric(exponents, axes, hole)


def perturb_superquadric(rng: np.random.Generator, shape: Superquadric, *, variation: float) -> Superquadric:
    """Multiply each number by its own log-normal factor, exp of a Gaussian with a deviation of `variation`."""
    factors = np.exp(variation * rng.standard_normal(6))
    hole = max(1.0 + (shape.hole - 1) * factors[5], 1.05) if shape.hole else 0.0
    return _superquadric(shape.exponents * factors[:2], shape.axes * factors[2:5], hole)


def implicit(shape: Superquadric, points: np.ndarray) -> np.ndarray:
    """How far out points lie: [N, 3] -> [N], 1 on the surface, in units of the distance from the centre or the tube's
    central line.
    """
    meridian, section = shape.exponents
    x, y, z = np.abs(points / np.array(shape.axes, np.float64)).T
    around = (x ** (2 / section) + y ** (2 / section)) ** (section / 2)
    return (np.abs(around - shape.hole) ** (2 / meridian) + z ** (2 / meridian)) ** (meridian / 2)


def sample_superquadric(rng: np.random.Generator, shape: Superquadric, num_points: int) -> np.ndarray:
    """Points of a shape, uniform and evenly spread over its area: [num_points, 3] float32."""
    meridian, section = (_quadrant(exponent) for exponent in shape.exponents)
    if shape.hole:  # the tube's outer half and its inner half
        inner = meridian[-2::-1] * (-1, 1)
        meridian = np.concatenate([meridian, inner])
        meridian[:, 0] += shape.hole
    meridian, section = meridian * (1, shape.axes[2]), section * shape.axes[:2]
    points = np.empty((num_points, 3), np.float32)
    _sample(meridian.astype(np.float32), section.astype(np.float32), draw_key(rng), points)
    return points


def _superquadric(exponents, axes, hole: float) -> Superquadric:
    meridian, section = np.clip(exponents, *_EXPONENTS).tolist()
    x, y, z = (np.asarray(axes) / np.max(axes)).tolist()
    return Superquadric(exponents=(meridian, section), axes=(x, y, z), hole=float(hole))


def _quadrant(exponent: float) -> np.ndarray:
    """Polygon of a superellipse from (1, 0) to (0, 1): [_STEPS + 1, 2]."""
    angle = np.linspace(0, np.pi / 2, _STEPS + 1)
    both = np.stack([np.cos(angle), np.sin(angle)], axis=1).clip(0)
    both[-1, 0] = 0
    return both**exponent  # dense where it bends, sparse where it is straight


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _sample(meridian, section, key, points):
    """Fill points from polygons of (distance from the axis, height) and of (x, y)."""
    rings, sides = len(meridian) - 1, len(section) - 1
    areas = np.empty((rings, sides), np.float32)
    for j in range(sides):
        dx, dy = section[j + 1, 0] - section[j, 0], section[j + 1, 1] - section[j, 1]
        length = np.sqrt(dx * dx + dy * dy)
        distance = (section[j, 0] * dy - section[j, 1] * dx) / length  # of the side from the axis
        for i in range(rings):
            out, up = meridian[i + 1, 0] - meridian[i, 0], meridian[i + 1, 1] - meridian[i, 1]
            mean = (meridian[i + 1, 0] + meridian[i, 0]) * np.float32(0.5)
            areas[i, j] = length * mean * np.sqrt(out * out * distance * distance + up * up)
    cells = np.empty(len(points), np.uint32)
    choose_cells(areas.reshape(areas.size), key, cells)
    for k in range(np.uintp(len(points))):
        random = word(key, k)
        u, v = position_in_cell(random)
        i, j = np.uintp(cells[k] // np.uint32(_STEPS)), np.uintp(cells[k] % np.uint32(_STEPS))
        near, far = meridian[i, 0], meridian[i + np.uintp(1), 0]
        # Across the trapezoid the density is proportional to its width.
        v *= (near + far) / (near + np.sqrt(near * near + v * (far * far - near * near)))
        out = near + v * (far - near)
        up = meridian[i, 1] + v * (meridian[i + np.uintp(1), 1] - meridian[i, 1])
        x = out * (section[j, 0] + u * (section[j + np.uintp(1), 0] - section[j, 0]))
        y = out * (section[j, 1] + u * (section[j + np.uintp(1), 1] - section[j, 1]))
        points[k, 0] = x if random & np.uint64(1 << 32) else -x
        points[k, 1] = y if random & np.uint64(1 << 33) else -y
        points[k, 2] = up if random & np.uint64(1 << 34) else -up
