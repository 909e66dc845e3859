"""RCDB: radial contours whose category is their numbers of vertices and polygons, their noise and their step.

Everything else (radius, oval, centre, greys, and the noise itself) is drawn separately for every instance.
(Kataoka et al., Replacing Labeled Real-Image Datasets with Auto-Generated Contours, CVPR 2022.)
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.contour import RadialContour
from pcfdsl.image.contours import (
    ContourDrawConfig,
    descending_ranges,
    draw_contour,
    draw_vertices,
    unlikely_vertices,
)
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.python_random import PythonRandom
from pcfdsl.image.released_contours import ReleasedContours, Start, redraw_vertices, released_inconsistencies
from pcfdsl.rng import stream

__all__ = ["RCDB", "ReleasedRCDB", "RCDBCategory", "RCDBConfig", "open_rcdb"]


@dataclass(frozen=True, kw_only=True)
class RCDBConfig:
    """Everything an RCDB depends on. Lengths are in pixels of `draw.canvas`."""

    variant: Literal["native", "released"] = option(
        "native", "clean rules, or exactly those of the released script", formerly={"official": "released"}
    )
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(512, "side of an image in pixels", minimum=1, maximum=8_192)
    vertices: tuple[int, int] = option(
        (3, 200), "range of the number of vertices; exponential within it", minimum=3, maximum=1_000_000
    )
    mean_vertices: float = option(100.0, "mean of that exponential before it is truncated to the range", minimum=1)
    polygons: tuple[int, int] = option((1, 200), "range of the number of polygons", minimum=1, maximum=100_000)
    noise: tuple[float, float] = option((0.0, 4.0), "range of the noise coefficient", minimum=0)
    step: tuple[float, float] = option((0.0, 0.1), "range of the outward step per polygon ('line width')", minimum=0)
    radius: tuple[int, int] = option((0, 100), "range of an instance's radius", minimum=0)
    oval: tuple[float, float] = option((1.0, 2.0), "range of an instance's resizing factor along each axis", minimum=0)
    start: int = option(400, "width of the square, around the middle, in which centres lie", minimum=0)
    jobs: int = option(
        10, "released variant only: processes the script is split into; the images depend on it", minimum=1
    )
    draw: ContourDrawConfig = option(ContourDrawConfig(), "how contours are drawn")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from unlikely_vertices(self, redrawn=self.variant == "released")
        yield from descending_ranges(self, "vertices", "polygons", "noise", "step", "radius", "oval")
        if self.variant == "released":
            yield from released_inconsistencies(self, ContourDrawConfig())


@dataclass(frozen=True, kw_only=True)
class RCDBCategory:
    """The parameters shared by all instances of a category; see `RadialContour`."""

    num_vertices: int
    num_polygons: int
    noise: float
    step: float


class RCDB(ImageSet):
    """The data set as a sequence.

    >>> db = RCDB(RCDBConfig(num_categories=4, num_instances=3, image_size=64))
    >>> len(db), db[7].category, db[7].instance, db[7].image.shape
    (12, 2, 1, (64, 64))
    """

    name = "rcdb"
    config: RCDBConfig

    def __init__(self, config: RCDBConfig):
        """Set up without drawing anything."""
        super().__init__(config.num_categories, config.num_instances)
        self.config = config

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Vertices, polygons, noise and step."""
        return asdict(self.category(category))

    def category(self, category: int) -> RCDBCategory:
        """The parameters of a category."""
        config, rng = self.config, stream(self.config.seed, "category", category)
        return RCDBCategory(
            num_vertices=draw_vertices(rng, *config.vertices, mean=config.mean_vertices),
            num_polygons=int(rng.integers(*config.polygons, endpoint=True)),
            noise=float(rng.uniform(*config.noise)),
            step=float(rng.uniform(*config.step)),
        )

    def contour(self, category: int, instance: int) -> tuple[RadialContour, tuple[float, float]]:
        """An instance's contour and its centre (x, y), in pixels of the canvas."""
        config, rng = self.config, stream(self.config.seed, "instance", category, instance)
        contour = RadialContour(
            **asdict(self.category(category)),
            radius=float(rng.uniform(*config.radius)),
            oval=(float(rng.uniform(*config.oval)), float(rng.uniform(*config.oval))),
        )
        x, y = (config.draw.canvas + rng.uniform(-config.start, config.start, 2)) / 2
        return contour, (float(x), float(y))

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance of one category."""
        config = self.config
        contour, centre = self.contour(category, instance)
        image = draw_contour(
            contour,
            config.draw,
            config.image_size,
            centre=centre,
            rng=stream(config.seed, "lines", category, instance),
            break_rng=stream(config.seed, "breaks", category, instance),
        )
        return LabelledImage(image, category, instance)


def open_rcdb(config: RCDBConfig) -> ImageSet:
    """The data set of a recipe, native or as released by `config.variant`."""
    return (ReleasedRCDB if config.variant == "released" else RCDB)(config)


class ReleasedRCDB(ReleasedContours):
    """RCDB as its released script makes it, pixel for pixel; `seed` is added to the seed of every job.

    `category_parameters` includes the radius, ovals and centre that the script records, which describe instance 0 only.
    """

    name = "rcdb"
    config: RCDBConfig

    def __init__(self, config: RCDBConfig):
        """Set up without drawing anything."""
        super().__init__(config, jobs=config.jobs)
        self.config = config
        self.most_ink = config.image_size // 2

    def draw_category(self, random: PythonRandom) -> tuple[RadialContour, Start]:
        """A category's contour and the centre (row, column) of its first instance, in the released order."""
        config = self.config
        vertices = redraw_vertices(random, *config.vertices, mean=config.mean_vertices)
        polygons = random.randint(*config.polygons)
        noise, step = random.uniform(*config.noise), random.uniform(*config.step)
        radius = random.randint(*config.radius)
        oval = (random.uniform(*config.oval), random.uniform(*config.oval))
        contour = RadialContour(
            num_vertices=vertices, num_polygons=polygons, noise=noise, step=step, radius=radius, oval=oval
        )
        return contour, self.draw_start(random, config.start)

    def draw_next(self, random: PythonRandom, contour: RadialContour) -> tuple[RadialContour, Start]:
        """The contour and centre of the next instance."""
        oval = (random.uniform(*self.config.oval), random.uniform(*self.config.oval))
        contour = replace(contour, oval=oval, radius=random.randint(*self.config.radius))
        return contour, self.draw_start(random, self.config.start)
