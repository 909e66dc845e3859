"""Objects r(direction) = |sum of a_lm Y_lm(direction)|, sampled uniformly over their area.

The sum is a polynomial in the direction (x, y, z): with w = x + iy it is Re(sum_m w^m C_m(z)), so points need no sines
of their own and lie exactly on the surface. Areas are tabulated on a grid of directions, exact at the middle of each
cell. (Compared as objects of formula-driven rooms with fractals and CAD models: "Randomized 3D Scene Generation",
arXiv 2306.04237; the distribution of the coefficients is our own.)
"""

import math
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre, polynomial

from pcfdsl.formula.surface import BLOCK, choose_cells, draw_key, interleave, position_in_cell, word
from pcfdsl.jit import kernel

__all__ = ["MAX_DEGREE", "draw_harmonics", "perturb_harmonics", "radius", "sample_harmonics"]

MAX_DEGREE = 10  # beyond, float32 loses the digits that the surface needs
_BANDS, _SECTORS = 48, 96  # cells of the grid, from pole to pole and around


def draw_harmonics(rng: np.random.Generator, *, degree: int) -> np.ndarray:
    """Coefficients of a shape of random degree from 2 to `degree`: [degree + 1, degree + 1] complex.

    a[l, m] multiplies Y_lm, m >= 0, of which the real part is taken; it is Gaussian with a standard deviation of
    1 / (l + 1), and zero beyond the shape's own degree.
    """
    own = int(rng.integers(2, degree + 1))
    parts = rng.standard_normal((2, degree + 1, degree + 1))
    return (parts[0] + 1j * parts[1]) * _deviations(degree) * (np.arange(degree + 1)[:, None] <= own)


def perturb_harmonics(rng: np.random.Generator, coefficients: np.ndarray, *, variation: float) -> np.ndarray:
    """Add Gaussian noise to each coefficient that is not zero, `variation` times as large as in `draw_harmonics`."""
    degree = len(coefficients) - 1
    parts = rng.standard_normal((2, degree + 1, degree + 1))
    noise = (parts[0] + 1j * parts[1]) * _deviations(degree)
    return coefficients + variation * noise * (coefficients != 0)


def radius(coefficients: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distance of the surface from the origin along unit vectors: [N, 3] -> [N], float64."""
    degree = len(coefficients) - 1
    w = directions[:, 0] + 1j * directions[:, 1]
    table = _polynomials(degree)
    total = np.zeros(len(directions))
    for m in range(degree + 1):
        total += (polynomial.polyval(directions[:, 2], coefficients[:, m] @ table[:, m]) * w**m).real
    return np.abs(total)


def sample_harmonics(rng: np.random.Generator, coefficients: np.ndarray, num_points: int) -> np.ndarray:
    """Points of a shape, uniform and evenly spread over its area: [num_points, 3] float32.

    Raises:
        ValueError: If the surface has no area.
    """
    degree = len(coefficients) - 1
    points = np.empty((num_points, 3), np.float32)
    rows, slopes, cosines, sines = _grid(degree)
    if not _sample(coefficients, _polynomials(degree), rows, slopes, cosines, sines, draw_key(rng), points):
        raise ValueError("these coefficients make a surface without area; give some that are finite and not all zero")
    return points


@lru_cache
def _deviations(degree: int) -> np.ndarray:
    """[l, m] standard deviation of each of the two parts of a coefficient; Y_lm has none for m > l."""
    l, m = np.mgrid[: degree + 1, : degree + 1]  # noqa: E741
    return np.where(m <= l, 1.0 / (l + 1), 0.0)


@lru_cache
def _polynomials(degree: int) -> np.ndarray:
    """[l, m, power of z]: the factor of w^m in Y_lm, real orthonormal spherical harmonics."""
    table = np.zeros((degree + 1, degree + 1, degree + 1))
    for l in range(degree + 1):  # noqa: E741
        for m in range(l + 1):
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
            in_z = legendre.leg2poly(legendre.legder([0] * l + [1], m))
            table[l, m, : len(in_z)] = in_z * norm * (math.sqrt(2) if m else 1)
    return table


@lru_cache
def _grid(degree: int) -> tuple[np.ndarray, ...]:
    """Middles of the cells: Y_lm along the meridian and its slope [band, l, m]; cosines and sines [m, sector]."""
    theta = (np.arange(_BANDS) + 0.5) * np.pi / _BANDS
    z, s, m = np.cos(theta), np.sin(theta), np.arange(degree + 1)
    table = _polynomials(degree)
    factors = polynomial.polyval(z, np.moveaxis(table, 2, 0)).transpose(2, 0, 1)
    slopes = polynomial.polyval(z, polynomial.polyder(np.moveaxis(table, 2, 0))).transpose(2, 0, 1)
    power = s[:, None] ** m
    inner = m * s[:, None] ** np.maximum(m - 1, 0) * z[:, None]
    down = inner[:, None] * factors - (power * s[:, None])[:, None] * slopes  # d/dtheta of s^m times a polynomial in z
    angles = m[:, None] * (np.arange(_SECTORS) + 0.5) * (2 * np.pi / _SECTORS)
    parts = (power[:, None] * factors, down, np.cos(angles), np.sin(angles))
    return tuple(np.ascontiguousarray(part, np.float32) for part in parts)


@kernel(fastmath={"contract"})
def _areas(coefficients, rows, slopes, cosines, sines, areas):
    """Area of each cell: its solid angle times r sqrt(r^2 + |gradient|^2) in the middle."""
    degree = len(coefficients) - 1
    value, down, around = np.empty(_SECTORS, np.float32), np.empty(_SECTORS, np.float32), np.empty(_SECTORS, np.float32)
    for i in range(_BANDS):
        value[:], down[:], around[:] = 0, 0, 0
        for m in range(degree + 1):
            c, s, dc, ds = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for l in range(m, degree + 1):  # noqa: E741
                real, imaginary = np.float32(coefficients[l, m].real), np.float32(coefficients[l, m].imag)
                c += real * rows[i, l, m]
                s -= imaginary * rows[i, l, m]
                dc += real * slopes[i, l, m]
                ds -= imaginary * slopes[i, l, m]
            for j in range(np.uintp(_SECTORS)):
                value[j] += c * cosines[m, j] + s * sines[m, j]
                down[j] += dc * cosines[m, j] + ds * sines[m, j]
                around[j] += np.float32(m) * (s * cosines[m, j] - c * sines[m, j])
        theta = np.pi / _BANDS
        solid = np.float32((np.cos(i * theta) - np.cos((i + 1) * theta)) * 2 * np.pi / _SECTORS)
        steepness = np.float32(1 / np.sin((i + 0.5) * theta) ** 2)
        for j in range(np.uintp(_SECTORS)):
            square = value[j] * value[j]
            gradient = down[j] * down[j] + around[j] * around[j] * steepness
            areas[i, j] = solid * np.sqrt(square * (square + gradient))


@kernel(fastmath={"contract"})
def _sample(coefficients, polynomials, rows, slopes, cosines, sines, key, points):
    degree = len(coefficients) - 1
    while degree > 0 and not np.any(coefficients[degree]):
        degree -= 1
    coefficients = coefficients[: degree + 1, : degree + 1]
    areas = np.empty((_BANDS, _SECTORS), np.float32)
    _areas(coefficients, rows, slopes, cosines, sines, areas)
    cells = np.empty(len(points), np.uint32)
    total = choose_cells(areas.reshape(areas.size), key, cells)
    if not (total > 0 and np.isfinite(total)):
        return False
    real, imaginary = _in_powers(coefficients, polynomials)
    heights = np.cos(np.arange(_BANDS + 1) * (np.pi / _BANDS)).astype(np.float32)
    edges = np.arange(_SECTORS) * (2 * np.pi / _SECTORS)
    edge_cos, edge_sin = np.cos(edges).astype(np.float32), np.sin(edges).astype(np.float32)
    x, y, z = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    scratch = np.empty((4, BLOCK), np.float32)
    for first in range(0, len(points), BLOCK):
        block = cells[first : first + BLOCK]
        _directions(key, first, block, heights, edge_cos, edge_sin, scratch[0], x, y, z)
        _radii(real, imaginary, scratch, x, y, z)
        interleave(x, y, z, points[first : first + BLOCK])
    return True


@kernel
def _in_powers(coefficients, polynomials):
    """Real and imaginary parts of C_m as a polynomial: [m, power of z]."""
    real, imaginary = np.zeros(coefficients.shape, np.float32), np.zeros(coefficients.shape, np.float32)
    for m in range(len(coefficients)):
        for power in range(len(coefficients) - m):
            total = 0j
            for l in range(m, len(coefficients)):  # noqa: E741
                total += coefficients[l, m] * polynomials[l, m, power]
            real[m, power], imaginary[m, power] = total.real, total.imag
    return real, imaginary


@kernel(fastmath={"contract"})
def _directions(key, first, cells, heights, edge_cos, edge_sin, depth, x, y, z):
    """Places in cells as (cos, sin) of the angle around and the height."""
    for k in range(np.uintp(len(cells))):  # by itself, as look-ups would keep the next loop from being vectorised
        band, sector = np.uintp(cells[k] // np.uint32(_SECTORS)), np.uintp(cells[k] % np.uint32(_SECTORS))
        x[k], y[k], z[k] = edge_cos[sector], edge_sin[sector], heights[band]
        depth[k] = heights[band + np.uintp(1)] - heights[band]
    step = np.float32(2 * np.pi / _SECTORS)
    for k in range(np.uintp(len(cells))):
        u, v = position_in_cell(word(key, np.uintp(first) + k))
        angle = u * step  # beyond the cell's edge: small, so that two terms of sine and cosine are enough
        square = angle * angle
        c = np.float32(1) - square * (np.float32(0.5) - square * np.float32(1 / 24))
        s = angle * (np.float32(1) - square * np.float32(1 / 6))
        x[k], y[k], z[k] = x[k] * c - y[k] * s, y[k] * c + x[k] * s, z[k] + v * depth[k]


@kernel(fastmath={"contract"})
def _radii(real, imaginary, scratch, x, y, z):
    """From (cos, sin, height) of directions to points, in place; simple loops over the block, which are vectorised."""
    highest = len(real) - 1
    total, other, factor, turned = scratch[0], scratch[1], scratch[2], scratch[3]
    total[:], other[:] = 0, 0
    for k in range(np.uintp(BLOCK)):
        s = np.sqrt(max(np.float32(1) - z[k] * z[k], np.float32(0)))
        x[k] *= s
        y[k] *= s
    for above in range(highest + 1):
        m = highest - above
        factor[:], turned[:] = real[m, above], imaginary[m, above]
        done = above % 2
        if done:
            a, b = real[m, above - 1], imaginary[m, above - 1]
            for k in range(np.uintp(BLOCK)):
                factor[k] = factor[k] * z[k] + a
                turned[k] = turned[k] * z[k] + b
        for up in range(done, above, 2):  # two powers at a time spare half the traffic
            a, b = real[m, above - 1 - up], imaginary[m, above - 1 - up]
            c, d = real[m, above - 2 - up], imaginary[m, above - 2 - up]
            for k in range(np.uintp(BLOCK)):
                factor[k] = (factor[k] * z[k] + a) * z[k] + c
                turned[k] = (turned[k] * z[k] + b) * z[k] + d
        for k in range(np.uintp(BLOCK)):  # total * w + C_m(z), in two parts
            t = total[k] * x[k] - other[k] * y[k] + factor[k]
            other[k] = total[k] * y[k] + other[k] * x[k] + turned[k]
            total[k] = t
    for k in range(np.uintp(BLOCK)):
        r = abs(total[k])
        x[k] *= r
        y[k] *= r
        z[k] *= r
