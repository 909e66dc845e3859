"""SegRCDB: many contours in one picture, with a segmentation mask of their categories.

A category is a contour without its centre; its label is its number plus one, and 0 is the background. Three masks are
released: M1, the lines themselves; M2, the ring between the first and the last polygon; M3, all within the last one.
Unlike in the released script, the hole of a ring is transparent and does not erase what lies beneath.
(Shinoda et al., SegRCDB: Semantic Segmentation via Formula-Driven Supervised Learning, ICCV 2023.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, overload

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.contour import RadialContour
from pcfdsl.image.contours import (
    ContourDrawConfig,
    background_ink,
    blank,
    contour_polygons,
    descending_ranges,
    draw_inks,
    draw_vertices,
    finish,
    unlikely_vertices,
)
from pcfdsl.image.fill import fill_even_odd
from pcfdsl.image.labelled import ImageRecipe
from pcfdsl.image.lines import draw_polygons
from pcfdsl.rng import stream

__all__ = ["SegRCDB", "SegRCDBConfig", "SegmentedImage"]

_DRAW = ContourDrawConfig(background=0)


@dataclass(frozen=True, kw_only=True)
class SegRCDBConfig:
    """Everything a SegRCDB depends on. Lengths are in pixels of `draw.canvas`; ranges are the released script's."""

    seed: int = option(0, "root of every random decision")
    num_categories: int = option(
        254, "categories; 0 is the background's label and 255 stays free", minimum=1, maximum=254
    )
    num_images: int = option(20_000, "images", minimum=1, maximum=1_000_000_000)
    num_instances: int = option(32, "contours in an image, each of a random category", minimum=1, maximum=100_000)
    image_size: int = option(512, "side of an image in pixels", minimum=1, maximum=8_192)
    mask: Literal["M1", "M2", "M3"] = option(
        "M1", "labelled pixels: the lines, the ring between them, or the whole area"
    )
    vertices: tuple[int, int] = option(
        (3, 500), "range of the number of vertices; exponential within it", minimum=3, maximum=1_000_000
    )
    mean_vertices: float = option(100.0, "mean of that exponential before it is truncated to the range", minimum=1)
    polygons: tuple[int, int] = option((1, 50), "range of the number of polygons", minimum=1, maximum=100_000)
    noise: tuple[float, float] = option((0.0, 4.0), "range of the noise coefficient", minimum=0)
    step: tuple[float, float] = option((0.0, 0.1), "range of the outward step per polygon ('line width')", minimum=0)
    radius: tuple[int, int] = option((0, 50), "range of the radius", minimum=0)
    oval: tuple[float, float] = option((1.0, 2.0), "range of the resizing factor along each axis", minimum=0)
    start: int = option(512, "width of the square, around the middle, in which centres lie", minimum=0)
    draw: ContourDrawConfig = option(_DRAW, "how contours are drawn")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from unlikely_vertices(self)
        yield from descending_ranges(self, "vertices", "polygons", "noise", "step", "radius", "oval")
        if self.draw.supersample != 1:
            yield "draw", "sets supersample, which labels do not support; leave it at 1"


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """A picture and its segmentation mask.

    Attributes:
        image: uint8, [H, W] grey or [H, W, 3] RGB; row 0 is the top.
        mask: uint8 [H, W]: 0 for the background, else the number of a category plus one.
    """

    image: np.ndarray
    mask: np.ndarray


class SegRCDB(ImageRecipe, Sequence[SegmentedImage]):
    """The data set as a sequence; pair i depends on (config, i) alone.

    >>> db = SegRCDB(SegRCDBConfig(num_images=3, image_size=64))
    >>> pair = db[1]
    >>> len(db), pair.image.shape, pair.mask.shape, bool((pair.mask[pair.image > 0] > 0).all())
    (3, (64, 64), (64, 64), True)
    """

    name = "segrcdb"
    config: SegRCDBConfig

    def __init__(self, config: SegRCDBConfig):
        """Set up without drawing anything."""
        self.config, self.inputs = config, {}
        self.num_categories = config.num_categories

    def __len__(self) -> int:
        return self.config.num_images

    @overload
    def __getitem__(self, index: int) -> SegmentedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[SegmentedImage]: ...
    def __getitem__(self, index):
        """Pair by its number, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside this set of {len(self)} images")
        return self._pair(int(index) % len(self))

    def __iter__(self) -> Iterator[SegmentedImage]:
        return (self[i] for i in range(len(self)))

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The image and its mask."""
        return vars(self[index]).copy()

    def file_names(self, index: int) -> dict[str, str]:
        """The released names of image and mask."""
        return {key: f"{key}/{index:06d}.png" for key in ("image", "mask")}

    def interleaved(self, index: int) -> int:
        """The same number: every image has many categories."""
        return index

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """The fields of its contour."""
        contour = self.category(category)
        return {**asdict(contour), "oval": np.array(contour.oval), "waves": np.array(contour.waves)}

    def category(self, category: int) -> RadialContour:
        """A category's contour, in pixels of the canvas."""
        config, rng = self.config, stream(self.config.seed, "category", category)
        return RadialContour(
            num_vertices=draw_vertices(rng, *config.vertices, mean=config.mean_vertices),
            num_polygons=int(rng.integers(*config.polygons, endpoint=True)),
            noise=float(rng.uniform(*config.noise)),
            step=float(rng.uniform(*config.step)),
            radius=float(rng.uniform(*config.radius)),
            oval=(float(rng.uniform(*config.oval)), float(rng.uniform(*config.oval))),
        )

    def _pair(self, index: int) -> SegmentedImage:
        """Draw contours on top of one another, labels likewise: later ones hide earlier ones."""
        config, draw, size = self.config, self.config.draw, self.config.image_size
        rng, break_rng = stream(config.seed, "image", index), stream(config.seed, "breaks", index)
        picture, mask = blank(draw, size), np.zeros((size, size), np.uint8)
        scale = size / draw.canvas
        for _ in range(config.num_instances):
            category = int(rng.integers(config.num_categories))
            contour = self.category(category)
            centre = (draw.canvas + rng.uniform(-config.start, config.start, 2)) / 2 * scale
            inks = draw_inks(draw, contour.num_polygons, rng)
            polygons = contour_polygons(contour, draw, size, rng) + centre
            broken = None
            if draw.break_fraction > 0:
                broken = break_rng.random(polygons.shape[:2]) < draw.break_fraction
            draw_polygons(picture, polygons, inks, broken=broken, background=background_ink(draw))
            _label(mask, polygons, category + 1, config.mask)
        return SegmentedImage(finish(picture), mask)


def _label(mask: np.ndarray, polygons: np.ndarray, label: int, kind: str) -> None:
    """Write a contour into a mask. Filled shapes get their outlines too, so that thin parts are not lost."""
    if kind == "M1":
        outlines = polygons
    elif kind == "M2":
        outlines = polygons[[0, -1]]
        if len(polygons) > 1:
            fill_even_odd(mask, outlines, label)
    else:
        outlines = polygons[-1:]
        fill_even_odd(mask, outlines, label)
    draw_polygons(mask, outlines, np.full(len(outlines), label, np.uint8))
