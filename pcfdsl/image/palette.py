"""Pictures of tones, coloured by a palette or left grey: what sets of such pictures have in common."""

import colorsys
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from pcfdsl.config import Settings, option
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.raster import coloured
from pcfdsl.rng import stream

__all__ = ["ToneConfig", "ToneSet", "draw_palette"]


@dataclass(frozen=True, kw_only=True)
class ToneConfig(Settings):
    """What every set of tones depends on."""

    seed: int = option(0, "root of every random decision")
    num_categories: int = option(100, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(256, "side of an image in pixels", minimum=8, maximum=8_192)
    color: bool = option(True, "tones of a random palette per image; else greys")


class ToneSet(ImageSet):
    """Labelled pictures of tones; picture (k, j) depends on (config, k, j) alone. Subclasses implement `tones`."""

    config: ToneConfig

    def __init__(self, config: ToneConfig):
        """Set up without drawing anything."""
        super().__init__(config.num_categories, config.num_instances)
        self.config = config

    @abstractmethod
    def tones(self, category: int, rng: np.random.Generator) -> np.ndarray:
        """Tones of one instance, uint8 [S, S]; what varies within the category is drawn from `rng`."""

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance."""
        rng = stream(self.config.seed, "instance", category, instance)
        palette = draw_palette(rng)
        tones = self.tones(category, rng)
        return LabelledImage(coloured(tones, palette) if self.config.color else tones, category, instance)


def draw_palette(rng: np.random.Generator) -> np.ndarray:
    """256 colours on a line from a dark one to a bright one of another hue, uint8 [256, 3]."""
    dark, bright = rng.random((2, 3))
    first = colorsys.hsv_to_rgb(dark[0], dark[1], 0.3 * dark[2])
    last = colorsys.hsv_to_rgb(bright[0], bright[1], 0.7 + 0.3 * bright[2])
    return (255 * np.linspace(first, last, 256)).round().astype(np.uint8)
