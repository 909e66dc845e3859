"""Dead leaves: opaque shapes that fall on one another until nothing of the ground is seen.

Radii follow a power law, which gives pictures the scale invariance of natural ones (Lee, Mumford and Huang, IJCV 2001;
as training pictures, without labels: Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021). A category is
a shape, an exponent and a smallest radius; all else varies by instance.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.image.palette import ToneConfig, ToneSet
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = ["DeadLeaves", "DeadLeavesConfig"]

_DISK = 1
_SIDES = (3, 4, 5, 6, 8, _DISK)
_EXPONENTS = (2.5, 3.5)  # 3 is scale invariant
_SMALLEST, _LARGEST = (1 / 64, 1 / 24), 1 / 3  # radii, over the side of the picture
_BATCH = 512  # leaves drawn at a time


@dataclass(frozen=True, kw_only=True)
class DeadLeavesConfig(ToneConfig):
    """Everything a set of dead leaves depends on."""


class DeadLeaves(ToneSet):
    """Dead leaves; picture (k, j) depends on (config, k, j) alone.

    >>> db = DeadLeaves(DeadLeavesConfig(num_instances=2, image_size=64))
    >>> len(db), sorted(db.category_parameters(0)), db[3].image.shape
    (200, ['exponent', 'num_sides', 'smallest'], (64, 64, 3))
    """

    name = "dead_leaves"
    config: DeadLeavesConfig

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Sides of a leaf (1 for a disk), exponent of the radii's density, smallest radius over the picture's side."""
        rng = stream(self.config.seed, "category", category)
        num_sides = _SIDES[rng.integers(len(_SIDES))]
        return {"num_sides": num_sides, "exponent": rng.uniform(*_EXPONENTS), "smallest": rng.uniform(*_SMALLEST)}

    def tones(self, category: int, rng: np.random.Generator) -> np.ndarray:
        """Leaves from the uppermost down, until every pixel is covered."""
        size = self.config.image_size
        leaf = self.category_parameters(category)
        smallest, largest, power = leaf["smallest"] * size, _LARGEST * size, 1 - leaf["exponent"]
        tones, missing = np.empty((size, size), np.uint8), size * size
        following, left = np.tile(np.arange(size + 1, dtype=np.int32), (size, 1)), np.full(size, size)
        while missing:
            where, angle, rank, tone = np.split(rng.random((_BATCH, 5), np.float32).astype(np.float64), [2, 3, 4], 1)
            radius = (smallest**power + rank[:, 0] * (largest**power - smallest**power)) ** (1 / power)
            # Centres beyond the border by up to the largest radius: leaves are as dense at the border as inside.
            centre = where * (size + 2 * largest) - largest
            ink = (256 * tone[:, 0]).astype(np.uint8)
            missing -= _fall(centre, radius, angle[:, 0], ink, int(leaf["num_sides"]), tones, following, left)
        return tones


@kernel
def _fall(centre, radius, angle, ink, num_sides, tones, following, left):
    """Put leaves below those that lie there; number of pixels newly covered.

    Args:
        centre, radius, angle, ink: [L, 2] and [L] each, in pixels and turns.
        num_sides: Sides of a leaf; _DISK for a disk.
        tones: [S, S], written where nothing was.
        following: [S, S + 1]: chains of columns that lead from a covered pixel to the next one in its row that is not.
        left: [S]: pixels of each row that are not covered.
    """
    size, count = len(tones), 0
    slopes, offsets, upper = np.empty(num_sides), np.empty(num_sides), np.empty(num_sides, np.bool_)
    for i in range(len(radius)):
        cx, cy, r = centre[i, 0], centre[i, 1], radius[i]
        if cx + r < 0 or cx - r > size - 1 or cy + r < 0 or cy - r > size - 1:
            continue
        if num_sides != _DISK:
            for side in range(num_sides):
                turn = 2 * np.pi * (angle[i] + side / num_sides)
                across = np.cos(turn)
                across = across if abs(across) > 1e-9 else 1e-9
                upper[side], slopes[side] = across > 0, np.sin(turn) / across
                offsets[side] = r * np.cos(np.pi / num_sides) / across  # the side's distance from the centre, along x
        for row in range(max(0, np.ceil(cy - r)), min(size - 1, np.floor(cy + r)) + 1):
            if left[row] == 0:
                continue
            low, high, y = cx - r, cx + r, row - cy
            if num_sides == _DISK:
                half = np.sqrt(r * r - y * y)
                low, high = cx - half, cx + half
            else:
                for side in range(num_sides):
                    x = cx + offsets[side] - slopes[side] * y
                    if upper[side]:
                        high = min(high, x)
                    else:
                        low = max(low, x)
            last = np.int64(min(size - 1.0, np.floor(high)))
            column = _open_from(following[row], np.int64(max(0.0, np.ceil(low))))
            while column <= last:
                tones[row, column] = ink[i]
                following[row, column] = column + 1
                left[row] -= 1
                count += 1
                column = _open_from(following[row], column + 1)
    return count


@kernel(inline="always")
def _open_from(following, column):
    """The first column from this one on that is not covered, or the width; shortens the chain on the way."""
    column = min(column, np.int64(len(following) - 1))
    while following[column] != column:
        following[column] = following[following[column]]
        column = np.int64(following[column])
    return column
