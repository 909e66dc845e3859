"""FractalDB as its released scripts make it (`variant: released`): the same pixels where these are deterministic.

The search, seeded with 1, finds the 1,000 released categories; seed 1 is therefore the released set. Quirks kept:

- One sequence of random numbers, legacy seed 100, plays the orbit of every picture of every category: instances differ
  by weight, masks and flips alone.
- Each axis is stretched by itself, from 0 where it has no negative coordinate, and truncated (`formula.released`).
- A patch lies below and to the right of its point: the mask's top left pixel is one off on both axes, so the pixel of
  the point itself stays as it was.
- The finished picture is turned upside down, then flipped, but never rotated.
- Diverged orbits are drawn up to where `cut_before_nan` truncates them; the picture may be blank.
- Files are RGB, and colours have red and blue swapped.

The scripts draw masks from Python's unseeded generator, so they cannot be reproduced; here they come from pcfdsl's
streams. `released_picture` accepts any masks.

Fewer instances than 25 x num_patches x 4 are the first in the released order. One instance gives the one-instance set
(OFDB, ICCV 2023) with its trap: the first row of weights is not the identity but multiplies a by 1 - 2 weight.
"""

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from pcfdsl.formula import released
from pcfdsl.formula.ifs import IFS
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig, orient
from pcfdsl.image.labelled import LabelledImage
from pcfdsl.image.metrics import isolated_fraction
from pcfdsl.image.raster import NUM_HUES, released_hues
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = ["ReleasedFractalDB", "released_picture"]

_PAD = 6
_ORBIT_SEED = 100


class ReleasedFractalDB(FractalDB):
    """`FractalDB` by the released scripts' rules. Categories are found in order, so the 1,000th requires all others."""

    variants = ("released",)

    def __init__(self, config: FractalDBConfig, categories: Sequence[IFS] | None = None):
        super().__init__(config, categories)
        self._lock = threading.Lock()
        self._search: Iterator[released.Accepted] | None = None
        self._found: list[IFS] = []

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_lock": None, "_search": None, "_found": []}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state | {"_lock": threading.Lock()})

    def search(self, category: int) -> IFS:
        """Continue the search from the last category found up to this one."""
        search = self.config.search
        with self._lock:
            if self._search is None:
                self._search = released.search_2d(
                    np.random.RandomState(self.config.seed),
                    threshold=search.filling_threshold,
                    num_points=search.num_points,
                    size=search.image_size,
                )
            while len(self._found) <= category:
                self._found.append(next(self._search).ifs)
        return self._found[category]

    def combination(self, category: int, instance: int) -> tuple[int, int, int]:
        """Weight, patch and flip of an instance: always the first ones in the released order."""
        weight, rest = divmod(instance, self.config.num_patches * self.config.num_flips)
        return weight, *divmod(rest, self.config.num_flips)

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance, RGB."""
        config = self.config
        weight, patch, flip = self.combination(category, instance)
        masks = None
        if config.draw.style == "patch":
            rng = stream(config.seed, "masks", category, weight, patch)
            masks = rng.integers(1, 512, config.num_points)
        image = released_picture(
            self.weighted_system(category, weight, 0),
            config.num_points,
            config.image_size,
            masks=masks,
            color=config.draw.color,
        )
        return LabelledImage(orient(image, flip), category, instance)

    def isolated_fraction(self, index: int) -> float:
        """As for the native set, with points drawn as dots."""
        category, instance = divmod(self._checked(index), self.num_instances)
        weight, _, _ = self.combination(category, instance)
        system = self.weighted_system(category, weight, 0)
        return isolated_fraction(released_picture(system, self.config.num_points, self.config.image_size))


def released_picture(
    ifs: IFS, num_points: int, size: int, *, masks: np.ndarray | None = None, color: bool = False
) -> np.ndarray:
    """The released renderer's picture before its flips (flip0), uint8 [size, size, 3].

    Args:
        ifs: The weighted system.
        num_points: Number of points, including the origin.
        size: Side of the picture, in pixels.
        masks: [num_points] in 1..511 for patches: bit 8 is the top left pixel, then row by row. None draws dots.
        color: Hue by point number instead of grey 127.
    """
    points = released.orbit(ifs, np.random.RandomState(_ORBIT_SEED).random_sample(num_points))
    points = released.cut_before_nan(released.cut_before_nan(points, axis=0), axis=1)
    plane = np.zeros((size, size), np.uint8)
    if len(points):
        columns, rows = (released.pixels(points[:, d], size, _PAD) for d in range(2))
        if masks is None:
            _draw_dots(columns, rows, plane)
        else:
            _draw_patches(columns, rows, masks, plane)
    inks = released_hues() if color else np.full((NUM_HUES, 3), 127, np.uint8)
    return np.concatenate([np.zeros((1, 3), np.uint8), inks])[plane[::-1]]


@kernel
def _draw_dots(columns, rows, plane):
    """Set each hit pixel to 1 + (number of its last point modulo the number of hues)."""
    for i in range(len(columns)):
        if rows[i] < plane.shape[0] and columns[i] < plane.shape[1]:
            plane[rows[i], columns[i]] = 1 + i % NUM_HUES


@kernel
def _draw_patches(columns, rows, masks, plane):
    for i in range(len(columns)):
        for bit in range(9):
            row, column = rows[i] + 1 + bit // 3, columns[i] + 1 + bit % 3
            if row < plane.shape[0] and column < plane.shape[1]:
                plane[row, column] = 1 + i % NUM_HUES if masks[i] >> (8 - bit) & 1 else 0
