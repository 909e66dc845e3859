"""Points uniform over the area of a surface that is cut into cells: the kernels that the formulas of surfaces share.

A formula tabulates the area of its cells once per shape. `choose_cells` then gives all points their cells at once, as
evenly as the areas allow. A point's 64-bit `word` has its place in the cell in the lower half (`position_in_cell`).
"""

import math

import numpy as np
from numba import njit

__all__ = ["BLOCK", "choose_cells", "draw_key", "interleave", "position_in_cell", "word"]

BLOCK = 128  # points that are computed side by side: in the vector registers, and their arrays in the nearest cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draw_key(rng: np.random.Generator) -> np.uint64:
    """The key of a sequence of `word`s."""
    return np.uint64(rng.bit_generator.random_raw())


@njit(cache=True, nogil=True, error_model="numpy")
def word(key, i):
    """The i-th 64-bit word of a key: SplitMix64, which reaches any place of its sequence directly."""
    x = np.uint64(key) + (np.uint64(i) + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True, error_model="numpy")
def choose_cells(areas, key, cells):
    """Choose a cell for each point: in each cell as many as its area says, rounded up or down at random.

    Cells of neighbouring numbers are far apart in the cloud, in steps of the golden section of its points: any part of
    a cloud is spread as evenly as the whole.

    Args:
        areas: [C] area of each cell, none negative.
        key: Of the `word`s of the points; the next one is used here.
        cells: [N] uint32, becomes the cell of each point.

    Returns:
        The total area; unless it is positive and finite, nothing is chosen.
    """
    total = 0.0
    before = np.empty(len(areas))
    for c in range(np.uintp(len(areas))):  # unsigned indices avoid the check for negative ones
        before[c] = total
        total += areas[c]
    if not (total > 0 and np.isfinite(total)):
        return total
    num_points = np.uintp(len(cells))
    random = word(key, num_points)
    start, scale = np.float64(random >> np.uint64(32)) * 2.0**-32, num_points / total
    in_order = np.zeros(num_points + np.uintp(2), np.uint32)  # cells that begin at the end, or by rounding beyond, too
    for c in range(np.uintp(len(areas))):
        if areas[c] > 0:  # its first point; where it has none, the next cell starts at the same one
            in_order[np.uintp(before[c] * scale + start)] = c
    cell = np.uint32(0)
    for i in range(num_points):
        cell = max(cell, in_order[i])
        in_order[i] = cell
    step = np.uintp(num_points * 0.618034)
    while math.gcd(step, num_points) > 1:
        step += np.uintp(1)
    i = np.uintp(random % np.uint64(num_points))
    for k in range(num_points):
        cells[k] = in_order[i]
        i += step
        i -= num_points if i >= num_points else np.uintp(0)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def position_in_cell(random):
    """Two numbers uniform in (0, 1) of the lower 32 bits of a word."""
    scale, half = np.float32(2.0**-16), np.float32(0.5)
    u = np.float32(np.uint32(random) & np.uint32(0xFFFF)) + half
    v = np.float32(np.uint32(random >> np.uint64(16)) & np.uint32(0xFFFF)) + half
    return u * scale, v * scale


@njit(cache=True, nogil=True, error_model="numpy")
def interleave(x, y, z, points):
    """Write coordinates, at least N each, as points [N, 3]."""
    for k in range(np.uintp(len(points))):
        points[k, 0], points[k, 1], points[k, 2] = x[k], y[k], z[k]
