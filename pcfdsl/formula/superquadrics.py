"""Superquadrics, ellipsoids and toroids with exponents (Barr, 1981), sampled uniformly over their area.

A superquadric is the product of two superellipses, |x|^(2/e) + |y|^(2/e) = 1: one is carried around the other. Both are
tabulated as polygons of one quadrant, so the surface becomes flat trapezoids, whose areas are exact; points are uniform
on those, which are within some thousandths of the surface's size of it. The other octants are reflections.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.surface import BLOCK, choose_cells, draw_key, interleave, position_in_cell, word
from pcfdsl.jit import kernel

__all__ = ["Superquadric", "draw_superquadric", "implicit", "perturb_superquadric", "sample_superquadric"]

_STEPS = 32  # sides of a polygon in a quadrant; even, so that the corner of a square is among their ends
_COSINES = np.append(np.cos(np.arange(_STEPS) * (np.pi / 2 / _STEPS)), 0.0)
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
    exponents = np.exp(rng.uniform(low, high, 2)).tolist()
    axes = np.exp(rng.uniform(np.log(0.3), 0, 3)).tolist()
    hole = 0.0 if rng.random() < 2 / 3 else rng.uniform(1.2, 4.0)
    return _superquadric(exponents, axes, hole)


def perturb_superquadric(rng: np.random.Generator, shape: Superquadric, *, variation: float) -> Superquadric:
    """Multiply each number by its own log-normal factor, exp of a Gaussian with a deviation of `variation`."""
    factors = np.exp(variation * rng.standard_normal(6)).tolist()
    exponents = [exponent * factor for exponent, factor in zip(shape.exponents, factors[:2], strict=True)]
    axes = [axis * factor for axis, factor in zip(shape.axes, factors[2:5], strict=True)]
    hole = max(1.0 + (shape.hole - 1) * factors[5], 1.05) if shape.hole else 0.0
    return _superquadric(exponents, axes, hole)


def implicit(shape: Superquadric, points: np.ndarray) -> np.ndarray:
    """How far out points lie: [N, 3] -> [N], 1 on the surface, in units of the distance from the centre or the tube's
    central line.
    """
    meridian, section = shape.exponents
    x, y, z = np.abs(points / np.array(shape.axes, np.float64)).T
    around = (x ** (2 / section) + y ** (2 / section)) ** (section / 2)
    return (np.abs(around - shape.hole) ** (2 / meridian) + z ** (2 / meridian)) ** (meridian / 2)


def sample_superquadric(rng: np.random.Generator, shape: Superquadric, num_points: int) -> np.ndarray:
    """Points of a shape, uniform and evenly spread over its area: [num_points, 3] float32.

    Raises:
        ValueError: If the surface has no area.
    """
    points = np.empty((num_points, 3), np.float32)
    if not _sample(shape.exponents, shape.axes, shape.hole, draw_key(rng), points):
        raise ValueError(f"{shape} has no surface to draw from; give exponents and axes that are finite and positive")
    return points


def _superquadric(exponents: list[float], axes: list[float], hole: float) -> Superquadric:
    """A shape with its exponents clipped to those allowed, and its axes scaled so that the longest is 1."""
    low, high = _EXPONENTS
    meridian, section = (min(max(exponent, low), high) for exponent in exponents)
    x, y, z = (axis / max(axes) for axis in axes)
    return Superquadric(exponents=(meridian, section), axes=(x, y, z), hole=hole)


@kernel
def _meridian(exponent, hole, height):
    """Polygon of the distances from the axis and of the heights, float32 [R + 1] each."""
    falling = (_COSINES**exponent).astype(np.float32)
    out, up = falling, falling[::-1] * np.float32(height)
    if hole > 0:  # the tube's outer half and its inner half
        hole = np.float32(hole)
        out, up = np.concatenate((hole + out, hole - out[-2::-1])), np.concatenate((up, up[-2::-1]))
    return out, up


@kernel(fastmath={"contract"})
def _sample(exponents, axes, hole, key, points):
    out, up = _meridian(exponents[0], hole, axes[2])
    falling = (_COSINES ** exponents[1]).astype(np.float32)  # dense where it bends, sparse where it is straight
    x, y = falling * np.float32(axes[0]), falling[::-1] * np.float32(axes[1])
    cells = np.empty(len(points), np.uint32)
    total = choose_cells(_areas(out, up, x, y), key, cells)
    if not (total > 0 and np.isfinite(total)):
        return False
    corners = np.empty((8, BLOCK), np.float32)
    x_of, y_of, z_of = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for first in range(0, len(points), BLOCK):
        block = cells[first : first + BLOCK]
        _corners(out, up, x, y, block, corners)
        _places(key, first, len(block), corners, x_of, y_of, z_of)
        interleave(x_of, y_of, z_of, points[first : first + BLOCK])
    return True


@kernel
def _corners(out, up, x, y, cells, corners):
    """Look up the two ends of each cell's ring (distance, height) and of its side (x, y)."""
    for k in range(np.uintp(len(cells))):  # unsigned indices avoid the check for negative ones
        i, j = np.uintp(cells[k] // np.uint32(_STEPS)), np.uintp(cells[k] % np.uint32(_STEPS))
        corners[0, k], corners[1, k] = out[i], out[i + np.uintp(1)]
        corners[2, k], corners[3, k] = up[i], up[i + np.uintp(1)]
        corners[4, k], corners[5, k] = x[j], x[j + np.uintp(1)]
        corners[6, k], corners[7, k] = y[j], y[j + np.uintp(1)]


@kernel(fastmath={"contract"})
def _places(key, first, count, corners, x, y, z):
    """Points in cells with these corners, each in an octant of its own; a loop that is vectorised."""
    for k in range(np.uintp(count)):
        random = word(key, np.uintp(first) + k)
        u, v = position_in_cell(random)
        near, far = corners[0, k], corners[1, k]
        # Across the trapezoid the density is proportional to its width.
        v *= (near + far) / (near + np.sqrt(near * near + v * (far * far - near * near)))
        distance = near + v * (far - near)
        x[k] = _signed(distance * (corners[4, k] + u * (corners[5, k] - corners[4, k])), random >> np.uint64(32))
        y[k] = _signed(distance * (corners[6, k] + u * (corners[7, k] - corners[6, k])), random >> np.uint64(33))
        z[k] = _signed(corners[2, k] + v * (corners[3, k] - corners[2, k]), random >> np.uint64(34))


@kernel(fastmath={"contract"})
def _areas(out, up, x, y):
    """Areas of the trapezoids, float32 [R * S]: the ring is i // S, the side i % S."""
    rings, sides = len(out) - 1, len(x) - 1
    areas = np.empty((rings, sides), np.float32)
    for i in range(rings):
        rise, run, middle = up[i + 1] - up[i], out[i + 1] - out[i], (out[i + 1] + out[i]) * np.float32(0.5)
        for j in range(np.uintp(sides)):
            dx, dy = x[j + np.uintp(1)] - x[j], y[j + np.uintp(1)] - y[j]
            moment = (x[j] * dy - y[j] * dx) * run  # the side's length and its distance from the axis, times the run
            areas[i, j] = middle * np.sqrt(moment * moment + (dx * dx + dy * dy) * rise * rise)
    return areas.reshape(areas.size)


@kernel
def _signed(value, random):
    """Minus the value if the lowest bit is set: no processor can guess it."""
    return value * (np.float32(1) - np.float32(np.uint32(random & np.uint64(1)) * np.uint32(2)))
