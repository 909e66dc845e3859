"""Points uniform over the area of a surface that is cut into cells: the kernels that the formulas of surfaces share.

A formula tabulates the area of its cells once per shape. `choose_cells` then gives all points their cells at once, as
evenly as the areas allow. A point's 64-bit `word` has its place in the cell in the lower half (`position_in_cell`).
"""

import math

import numpy as np

from pcfdsl.jit import kernel

__all__ = [
    "BLOCK",
    "SPARE",
    "cells_in_order",
    "choose_cells",
    "circle",
    "draw_key",
    "golden_steps",
    "interleave",
    "position_in_cell",
    "running_areas",
    "word",
]

BLOCK = 128  # points that are computed side by side: in the vector registers, and their arrays in the nearest cache
_AT_ONCE = 8  # places that are given to a cell before it is known how many it needs
SPARE = _AT_ONCE + 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draw_key(rng: np.random.Generator) -> np.uint64:
    """The key of a sequence of `word`s."""
    return np.uint64(rng.bit_generator.random_raw())


@kernel
def word(key, i):
    """The i-th 64-bit word of a key: SplitMix64, which reaches any place of its sequence directly."""
    x = np.uint64(key) + (np.uint64(i) + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
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
    before = running_areas(areas)
    total = before[len(areas)]
    if not (total > 0 and np.isfinite(total)):
        return total
    num_points = np.uintp(len(cells))
    in_order = np.empty(num_points + SPARE, np.uint32)
    cells_in_order(before, key, in_order)
    i, step = golden_steps(key, num_points)
    for k in range(num_points):
        cells[k] = in_order[i]
        i += step
        i -= num_points if i >= num_points else np.uintp(0)
    return total


@kernel
def running_areas(areas):
    """[C + 1] float64 sums of the areas of the cells before each one, and of all."""
    total, before = 0.0, np.empty(len(areas) + 1)
    for c in range(np.uintp(len(areas))):  # unsigned indices avoid the check for negative ones
        before[c] = total
        total += areas[c]
    before[len(areas)] = total
    return before


@kernel
def cells_in_order(before, key, in_order):
    """The cells that `choose_cells` chooses, in ascending order.

    Args:
        before: [C + 1] of `running_areas`.
        key: As there.
        in_order: [N + SPARE] uint32; the first N become the cells.
    """
    num_cells, num_points = np.uintp(len(before) - 1), np.uintp(len(in_order) - SPARE)
    scale = num_points / before[num_cells]
    start = np.float64(word(key, num_points) >> np.uint64(32)) * 2.0**-32
    done = np.uintp(0)
    for c in range(num_cells):
        # Its first point, or where it has none that of the next cell, which takes its places. Cells may begin at the
        # end and, by rounding, one beyond.
        first = np.uintp(before[c] * scale + start)
        while done < first:  # more than were written at once
            in_order[done] = np.uint32(c) - np.uint32(1)
            done += np.uintp(1)
        for k in range(np.uintp(_AT_ONCE)):
            in_order[first + k] = c
        done = first + np.uintp(_AT_ONCE)
    while done < num_points:
        in_order[done] = np.uint32(num_cells) - np.uint32(1)
        done += np.uintp(1)


@kernel
def golden_steps(key, num_points):
    """Where to begin among N points, and how far to go from one to the next, modulo N, so as to meet all of them."""
    step = np.uintp(num_points * 0.618034)
    while math.gcd(step, num_points) > 1:
        step += np.uintp(1)
    return np.uintp(word(key, num_points) % np.uint64(num_points)), step


@kernel
def position_in_cell(random):
    """Two numbers uniform in (0, 1) of the lower 32 bits of a word."""
    scale, half = np.float32(2.0**-16), np.float32(0.5)
    u = np.float32(np.uint32(random) & np.uint32(0xFFFF)) + half
    v = np.float32(np.uint32(random >> np.uint64(16)) & np.uint32(0xFFFF)) + half
    return u * scale, v * scale


@kernel(fastmath={"contract"})
def circle(v):
    """A place on the unit circle for v from 0 to 1: cosine and sine of 2 pi v - pi, which is 0.004 off at most."""
    one, two = np.float32(1), np.float32(2)
    x = (v - np.float32(0.5)) * np.float32(np.pi)  # half the angle
    square = x * x
    series = square * (np.float32(1 / 120) - square * (np.float32(1 / 5040) - square * np.float32(1 / 362880)))
    s = x * (one - square * (np.float32(1 / 6)) + square * series)
    return one - two * s * s, two * s * np.sqrt(max(one - s * s, np.float32(0)))


@kernel
def interleave(x, y, z, points):
    """Write coordinates, at least N each, as points [N, 3]."""
    for k in range(np.uintp(len(points))):
        points[k, 0], points[k, 1], points[k, 2] = x[k], y[k], z[k]
