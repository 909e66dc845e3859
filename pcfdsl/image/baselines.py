"""The baselines that FractalDB is compared with: Bezier curves (144, 1,024 categories), Perlin noise (100, 1,296).

Their code was never released, and the papers say little more than these numbers, all of them squares. This is our
interpretation: categories are the cells of a square grid of two integer parameters; all else varies by instance.
(Kataoka et al., Pre-training without Natural Images, ACCV 2020, IJCV 2022.)
"""

import math
from dataclasses import dataclass

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.bezier import bezier_curves
from pcfdsl.formula.noise import fractal_noise_2d
from pcfdsl.image.contours import descending_ranges
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.lines import draw_polygons
from pcfdsl.image.raster import average_down
from pcfdsl.rng import stream

__all__ = ["Bezier", "BezierConfig", "Perlin", "PerlinConfig"]


@dataclass(frozen=True, kw_only=True)
class BezierConfig:
    """Everything a set of Bezier curves depends on."""

    seed: int = option(0, "root of every random decision")
    num_categories: int = option(
        144, "categories; numbers of control points times numbers of curves", minimum=1, maximum=10_000_000
    )
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(256, "side of an image in pixels", minimum=1, maximum=8_192)
    controls_min: int = option(3, "fewest control points of a curve", minimum=2)
    curves_min: int = option(1, "fewest curves of an image", minimum=1)
    ink: tuple[int, int] = option((64, 255), "range of greys of the curves, on black", minimum=0, maximum=255)
    supersample: int = option(
        1, "draw at this multiple of the size, then average; thinner lines in small images", minimum=1, maximum=8
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from descending_ranges(self, "ink")


class Bezier(ImageSet):
    """Bezier curves: a category is a number of control points per curve and a number of curves.

    >>> db = Bezier(BezierConfig(num_instances=2, image_size=64))
    >>> len(db), db.category_parameters(13), db[27].image.shape
    (288, {'num_controls': 4, 'num_curves': 2}, (64, 64))
    """

    name = "bezier"
    config: BezierConfig

    def __init__(self, config: BezierConfig):
        """Set up without drawing anything."""
        super().__init__(config.num_categories, config.num_instances)
        self.config = config

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Numbers of control points and of curves."""
        return dict(zip(("num_controls", "num_curves"), self.category(category), strict=True))

    def category(self, category: int) -> tuple[int, int]:
        """Numbers of control points and of curves."""
        row, column = divmod(category, _grid_side(self.num_categories))
        return self.config.controls_min + row, self.config.curves_min + column

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance; control points are uniform over the image."""
        config, (num_controls, num_curves) = self.config, self.category(category)
        rng = stream(config.seed, "instance", category, instance)
        pixels = config.image_size * config.supersample
        inks = rng.integers(*config.ink, num_curves, dtype=np.uint8, endpoint=True)
        controls = rng.random((num_curves, num_controls, 2)) * pixels
        # The higher the degree, the sharper a curve bends near its ends; fewer points would show corners there.
        curves = bezier_curves(controls, 8 * num_controls)
        image = np.zeros((pixels, pixels), np.uint8)
        draw_polygons(image, curves, inks, closed=False)
        return LabelledImage(average_down(image, config.supersample), category, instance)


@dataclass(frozen=True, kw_only=True)
class PerlinConfig:
    """Everything a set of Perlin noise depends on."""

    seed: int = option(0, "root of every random decision")
    num_categories: int = option(
        100, "categories; frequencies along y times frequencies along x", minimum=1, maximum=10_000_000
    )
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(256, "side of an image in pixels", minimum=1, maximum=8_192)
    frequency_min: int = option(1, "lowest frequency, in lattice cells over the image", minimum=1)
    octaves: int = option(1, "octaves of noise", minimum=1, maximum=16)
    gain: float = option(0.5, "strength of each octave against the one before", minimum=0, maximum=1)

    def __post_init__(self):
        validate(self)


class Perlin(ImageSet):
    """Perlin noise: a category is a frequency along y and one along x.

    >>> db = Perlin(PerlinConfig(num_instances=2, image_size=64))
    >>> len(db), db.category_parameters(12), db[25].image.shape
    (200, {'frequency_y': 2, 'frequency_x': 3}, (64, 64))
    """

    name = "perlin"
    config: PerlinConfig

    def __init__(self, config: PerlinConfig):
        """Set up without drawing anything."""
        super().__init__(config.num_categories, config.num_instances)
        self.config = config

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Lattice cells over the image, along y and along x."""
        return dict(zip(("frequency_y", "frequency_x"), self.category(category), strict=True))

    def category(self, category: int) -> tuple[int, int]:
        """Lattice cells over the image, (along y, along x)."""
        row, column = divmod(category, _grid_side(self.num_categories))
        return self.config.frequency_min + row, self.config.frequency_min + column

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance: a random window into the noise."""
        config = self.config
        rng = stream(config.seed, "instance", category, instance)
        y, x = rng.random(2) * 256
        values = fractal_noise_2d(
            (config.image_size, config.image_size),
            frequency=self.category(category),
            origin=(float(y), float(x)),
            octaves=config.octaves,
            gain=config.gain,
            salt=int(rng.integers(2**32)),
        )
        image = np.clip((values / _PERLIN_BOUND + 1) * 127.5, 0, 255).round().astype(np.uint8)
        return LabelledImage(image, category, instance)


_PERLIN_BOUND = 0.71  # bound on the magnitude of the noise


def _grid_side(num_categories: int) -> int:
    """Side of the smallest square grid with at least this many cells."""
    return math.isqrt(num_categories - 1) + 1
