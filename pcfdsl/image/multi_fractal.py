"""Several coloured fractals of different categories in one picture, on a background of noise; the label is all of them.

Pictures with 1 to 5 fractals as a multi-label task are due to Anderson and Farrell (Improving Fractal Pre-training,
WACV 2022); the ranges of sizes are theirs. Their textures of the diamond-square rule are spectrum noise here.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pcfdsl.config import option, validate, within
from pcfdsl.formula.ifs import IFS
from pcfdsl.image.contours import descending_ranges
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig
from pcfdsl.image.labelled import ImageRecipe
from pcfdsl.image.palette import draw_palette
from pcfdsl.image.raster import DrawConfig, coloured
from pcfdsl.image.spectrum import spectrum_noise
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = ["MultiFractal", "MultiFractalConfig"]

_BLOCK = 1024  # pictures whose categories are drawn together
_EXPONENTS = (1.0, 2.5)  # of the background's spectrum


@dataclass(frozen=True, kw_only=True)
class MultiFractalConfig:
    """Everything a set of pictures with several fractals depends on."""

    seed: int = option(0, "root of every random decision, in place of that of the fractals")
    num_images: int = option(1_000_000, "pictures", minimum=1, maximum=1_000_000_000)
    image_size: int = option(256, "side of a picture, pixels", minimum=16, maximum=8_192)
    objects: tuple[int, int] = option((1, 5), "least and greatest number of fractals in a picture", minimum=1)
    extent: tuple[float, float] = option(
        (0.15, 0.6), "range of a fractal's side over that of the picture", minimum=0.01, maximum=1.0
    )
    fractals: FractalDBConfig = option(
        FractalDBConfig(image_size=128, num_points=20_000, draw=DrawConfig(style="density", pad=0)),
        "the fractals, drawn in grey at image_size and then shrunk to the size that they have in the picture",
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from descending_ranges(self, "objects", "extent")
        if self.fractals.num_categories < self.objects[1]:
            yield (
                "objects",
                f"is up to {self.objects[1]} different categories, but the fractals have {self.num_categories}",
            )
        if self.fractals.draw.color or self.fractals.variant != "native":
            yield "fractals", "must be grey and native; colours are drawn for each fractal in a picture"

    @property
    def num_categories(self) -> int:
        """Categories of the fractals."""
        return self.fractals.num_categories


class MultiFractal(ImageRecipe):
    """The pictures by number; picture i depends on (config, i) alone.

    >>> fractals = FractalDBConfig(num_categories=6, image_size=32, num_points=2000, draw=DrawConfig(style="density"))
    >>> db = MultiFractal(MultiFractalConfig(num_images=3, image_size=64, fractals=fractals))
    >>> sample = db.arrays(1)
    >>> sample["image"].shape, sample["category_mask"].shape, db.categories_of(1).tolist()
    ((64, 64, 3), (6,), [2, 0, 4])
    """

    name = "multi_fractal"
    config: MultiFractalConfig

    def __init__(self, config: MultiFractalConfig, categories: Sequence[IFS] | None = None):
        """Set up without drawing anything.

        Args:
            config: The recipe.
            categories: Systems of a stored set or a released CSV folder; searched for if None.

        Raises:
            ConfigError: If the number of categories differs from the configured one, or one is not 2D.
        """
        self.config, self.inputs = config, {}
        self.num_categories = config.num_categories
        self.fractals = FractalDB(replace(config.fractals, seed=config.seed), categories)

    def __len__(self) -> int:
        return self.config.num_images

    def labels(self) -> np.ndarray:
        """Categories in each picture, all different, [num_images, most objects] int64; -1 where there are fewer."""
        count = self.config.num_images
        blocks = [_drawn_categories(self.config, block) for block in range(-(-count // _BLOCK))]
        return np.concatenate(blocks)[:count]

    def categories_of(self, index: int) -> np.ndarray:
        """Categories in one picture, the hindmost first."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside this set of {len(self)} images")
        row = _drawn_categories(self.config, index // _BLOCK)[index % _BLOCK]
        return row[row >= 0]

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The picture, uint8 [H, W, 3], and which categories are in it, bool [num_categories]."""
        config, size = self.config, self.config.image_size
        present = self.categories_of(index)
        rng = stream(config.seed, "image", index)
        palette = draw_palette(rng)
        image = coloured(spectrum_noise(rng, size, *rng.uniform(*_EXPONENTS, 2)), palette)
        for category in present.tolist():
            with within("fractals"):
                grey = self.fractals.instance(category, int(rng.integers(self.fractals.num_instances))).image
            side = max(1, round(size * rng.uniform(*config.extent)))
            # Centres lie in the picture, so at least a quarter of a fractal's square does.
            left, top = (rng.integers(size, size=2) - side // 2).tolist()
            _lay(image, grey, _hues(rng), left, top, side)
        mask = np.zeros(self.num_categories, np.bool_)
        mask[present] = True
        return {"image": image, "category_mask": mask}

    def file_names(self, index: int) -> dict[str, str]:
        """One folder of pictures named by number and categories: image/000012_00003_00041.png."""
        categories = "".join(f"_{k:05d}" for k in sorted(self.categories_of(index).tolist()))
        return {"image": f"image/{index:06d}{categories}.png"}

    def interleaved(self, index: int) -> int:
        """The same number: every picture has its own categories."""
        return index

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Matrices, offsets and probabilities of a category's system."""
        with within("fractals"):
            return self.fractals.category_parameters(category)


@lru_cache(maxsize=8)
def _drawn_categories(config: MultiFractalConfig, block: int) -> np.ndarray:
    """Categories of a block of pictures, [_BLOCK, most objects] int64, -1 where there are fewer."""
    rng = stream(config.seed, "categories", block)
    fewest, most = config.objects
    drawn = np.empty((_BLOCK, most), np.int64)
    for k in range(most):
        # A number among those that are left: shifted past the smaller ones that are taken (sampling by gaps).
        choice = rng.integers(config.num_categories - k, size=_BLOCK)
        for taken in np.sort(drawn[:, :k], axis=1).T:
            choice += choice >= taken
        drawn[:, k] = choice
    drawn[np.arange(most) >= rng.integers(fewest, most, _BLOCK, endpoint=True)[:, None]] = -1
    return drawn


def _hues(rng: np.random.Generator) -> np.ndarray:
    """Colours of one fractal by its tones, uint8 [256, 3]: one saturation and value, and a stretch of hues."""
    hue, stretch = rng.random(), rng.uniform(-0.5, 0.5)
    saturation, value = rng.uniform(0.3, 1), rng.uniform(0.5, 1)
    colors = [colorsys.hsv_to_rgb((hue + stretch * tone / 255) % 1, saturation, value) for tone in range(0, 256, 8)]
    return np.repeat((255 * np.array(colors)).round().astype(np.uint8), 8, axis=0)


@kernel
def _lay(image, grey, palette, left, top, side):
    """Lay a fractal over the picture, side x side pixels; each takes the brightest of the pixels that it stands for."""
    height, width, own = image.shape[0], image.shape[1], len(grey)
    begin = np.arange(side + 1) * own // side  # of the pixels that each stands for; if enlarged, one for many
    brightest = np.empty(own, np.uint8)
    for row in range(max(0, top), min(height, top + side)):
        brightest[:] = grey[begin[row - top]]
        for other in range(begin[row - top] + 1, begin[row - top + 1]):
            for k in range(np.uintp(own)):  # unsigned indices avoid the check for negative ones
                brightest[k] = max(brightest[k], grey[other, k])
        for column in range(np.uintp(max(0, left)), np.uintp(min(width, left + side))):
            first, last = begin[column - np.uintp(left)], begin[column - np.uintp(left) + np.uintp(1)]
            tone = brightest[first]
            for other in range(first + 1, last):
                tone = max(tone, brightest[other])
            if tone > 0:
                for channel in range(3):
                    image[row, column, channel] = palette[tone, channel]
