"""Spectrum noise: random phases under a power law of the frequency.

The magnitude at (f_y, f_x) is 1 / (|f_y|^a + |f_x|^b); natural pictures are near a = b = 1. A category is (a, b);
phases and colours vary by instance. (Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021, where every
picture draws its own a and b in 0.5 .. 3.5.)
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from pcfdsl.config import option
from pcfdsl.image.contours import descending_ranges
from pcfdsl.image.palette import ToneConfig, ToneSet
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = ["Spectrum", "SpectrumConfig", "spectrum_noise"]

_DEVIATIONS = 3.0  # tones 0 and 255 lie this many standard deviations from the mean
_PHASES = np.exp(2j * np.pi * np.arange(256) / 256).astype(np.complex64)


@dataclass(frozen=True, kw_only=True)
class SpectrumConfig(ToneConfig):
    """Everything a set of spectrum noise depends on."""

    exponents: tuple[float, float] = option((0.5, 3.5), "range of the exponents of the frequency", minimum=0)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from descending_ranges(self, "exponents")


class Spectrum(ToneSet):
    """Spectrum noise; picture (k, j) depends on (config, k, j) alone.

    >>> db = Spectrum(SpectrumConfig(num_instances=2, image_size=64))
    >>> len(db), sorted(db.category_parameters(0)), db[3].image.shape
    (200, ['exponent_x', 'exponent_y'], (64, 64, 3))
    """

    name = "spectrum"
    config: SpectrumConfig

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Exponents of the frequency along y and along x."""
        return dict(zip(("exponent_y", "exponent_x"), self.category(category), strict=True))

    def category(self, category: int) -> tuple[float, float]:
        """Exponents of the frequency, (along y, along x)."""
        along_y, along_x = stream(self.config.seed, "category", category).uniform(*self.config.exponents, 2).tolist()
        return along_y, along_x

    def tones(self, category: int, rng: np.random.Generator) -> np.ndarray:
        """Noise with the exponents of the category."""
        return spectrum_noise(rng, self.config.image_size, *self.category(category))


def spectrum_noise(rng: np.random.Generator, size: int, exponent_y: float, exponent_x: float) -> np.ndarray:
    """Tones of one noise, uint8 [size, size], mean 127.5 and 3 standard deviations to either end of the range."""
    frequency_y = np.abs(fft.fftfreq(size, 1 / size)).astype(np.float32) ** np.float32(exponent_y)
    frequency_x = fft.rfftfreq(size, 1 / size).astype(np.float32) ** np.float32(exponent_x)
    power = frequency_y[:, None] + frequency_x
    power[0, 0] = np.inf  # no mean
    phases = np.frombuffer(rng.bytes(power.size), np.uint8).reshape(power.shape)
    waves = _PHASES.take(phases)
    waves *= 1 / power
    values = np.asarray(fft.irfft2(waves, (size, size), overwrite_x=True))
    tones = np.empty((size, size), np.uint8)
    _to_tones(values, np.float32(127.5 / (_DEVIATIONS * values.std())), tones)
    return tones


@kernel
def _to_tones(values, scale, tones):
    """Values times the scale about 127.5, rounded, within 0 and 255."""
    middle, low, high = np.float32(127.5), np.float32(0), np.float32(255)
    for row in range(len(values)):
        for column in range(np.uintp(values.shape[1])):
            tones[row, column] = np.uint8(np.rint(min(max(values[row, column] * scale + middle, low), high)))
