"""Moire: two fringe patterns of nearly equal frequency laid over one another.

Where their lines drift in and out of step, slow fringes appear that neither pattern has: for straight lines with wave
vectors k1 and k2, waves of k1 - k2. A category is a pair of patterns, straight or circular, with frequencies and an
angle; position, orientation and colours vary by instance. Interference fringes as a mixing set for PixMix are due to
MoireDB (arXiv 2502.01490), whose code is not released; the ranges here are ours.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.image.palette import ToneConfig, ToneSet
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = ["Moire", "MoireConfig"]

_FREQUENCIES = (12.0, 40.0)  # of the first pattern, cycles over the picture
_RATIOS = (1.04, 1.25)  # of the second frequency to the first
_ANGLES = (0.0, 1 / 24)  # between straight patterns, turns
_NUM_TONES = 1024
_WAVE = ((1 + np.cos(2 * np.pi * np.arange(_NUM_TONES) / _NUM_TONES)) / 2).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class MoireConfig(ToneConfig):
    """Everything a set of moire patterns depends on."""


class Moire(ToneSet):
    """Moire patterns; picture (k, j) depends on (config, k, j) alone.

    >>> db = Moire(MoireConfig(num_instances=2, image_size=64))
    >>> len(db), sorted(db.category_parameters(0)), db[3].image.shape
    (200, ['angle', 'circular', 'frequencies'], (64, 64, 3))
    """

    name = "moire"
    config: MoireConfig

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Of the two patterns: cycles over the picture [2], whether they are circular [2], and the angle, in turns."""
        rng = stream(self.config.seed, "category", category)
        first = rng.uniform(*_FREQUENCIES)
        frequencies = np.array([first, first * rng.uniform(*_RATIOS)])
        return {"frequencies": frequencies, "circular": rng.integers(0, 2, 2), "angle": rng.uniform(*_ANGLES)}

    def tones(self, category: int, rng: np.random.Generator) -> np.ndarray:
        """The product of the two patterns, each a cosine between 0 and 1."""
        size = self.config.image_size
        fringes = self.category_parameters(category)
        turn = rng.random()
        angles = 2 * np.pi * np.array([turn, turn + fringes["angle"]])
        patterns = np.empty((2, 5), np.float32)  # centre x, y [pictures], cycles along x and y, circular
        patterns[:, :2] = rng.random((2, 2))
        patterns[:, 2] = fringes["frequencies"] * np.cos(angles)
        patterns[:, 3] = fringes["frequencies"] * np.sin(angles)
        patterns[:, 4] = fringes["circular"]
        tones = np.empty((size, size), np.uint8)
        _interfere(patterns, tones)
        return tones


@kernel
def _interfere(patterns, tones):
    size = len(tones)
    step = np.float32(1 / size)
    values = np.empty(size, np.float32)
    for row in range(size):
        values[:] = np.float32(255)
        for pattern in patterns:
            cx, cy, fx, fy, circular = pattern[0], pattern[1], pattern[2], pattern[3], pattern[4] > 0
            frequency = np.sqrt(fx * fx + fy * fy)
            y = row * step - cy
            for column in range(size):
                x = column * step - cx
                cycles = frequency * np.sqrt(x * x + y * y) if circular else fx * x + fy * y
                values[column] *= _WAVE[int(np.floor(cycles * _NUM_TONES)) & (_NUM_TONES - 1)]
        for column in range(size):
            tones[row, column] = np.uint8(values[column] + np.float32(0.5))
