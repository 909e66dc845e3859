"""VisualAtom: radial contours with two sinusoids around them, on black.

A category fixes everything but the centre, the greys and the noise, which every instance draws for itself.
(Takashima et al., Visual Atoms: Pre-training Vision Transformers with Sinusoidal Waves, CVPR 2023.)
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.contour import RadialContour
from pcfdsl.image.contours import ContourDrawConfig, descending_ranges, draw_contour
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.python_random import PythonRandom
from pcfdsl.image.released_contours import ReleasedContours, Start, released_inconsistencies
from pcfdsl.rng import stream

__all__ = ["ReleasedVisualAtom", "VisualAtom", "VisualAtomConfig", "open_visualatom"]

_DRAW = ContourDrawConfig(background=0)


@dataclass(frozen=True, kw_only=True)
class VisualAtomConfig:
    """Everything a VisualAtom depends on. Lengths are in pixels of `draw.canvas`; ranges are the released script's."""

    variant: Literal["native", "released"] = option(
        "native", "clean rules, or exactly those of the released script", formerly={"official": "released"}
    )
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(512, "side of an image in pixels", minimum=1, maximum=8_192)
    vertices: tuple[int, int] = option((200, 1000), "range of the number of vertices", minimum=3, maximum=1_000_000)
    polygons: tuple[int, int] = option((1, 200), "range of the number of polygons", minimum=1, maximum=100_000)
    noise: tuple[float, float] = option((0.0, 4.0), "range of the noise coefficient", minimum=0)
    step: tuple[float, float] = option((0.0, 0.1), "range of the outward step per polygon ('line width')", minimum=0)
    radius: tuple[int, int] = option((10, 60), "range of the radius", minimum=0)
    waves: tuple[int, int] = option((0, 20), "range of the two sinusoids' periods; equal only if 0", minimum=0)
    oval: tuple[float, float] = option((1.0, 2.0), "range of the resizing factor along each axis", minimum=0)
    start: int = option(512, "width of the square, around the middle, in which centres lie", minimum=0)
    jobs: int = option(
        1, "released variant only: processes the script is split into; the images depend on it", minimum=1
    )
    draw: ContourDrawConfig = option(_DRAW, "how contours are drawn")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from descending_ranges(self, "vertices", "polygons", "noise", "step", "radius", "waves", "oval")
        if self.waves[0] == self.waves[1] != 0:
            yield "waves", f"leaves both sinusoids {self.waves[0]} periods; widen the range"
        if self.variant == "released":
            yield from released_inconsistencies(self, ContourDrawConfig(background=0))


class VisualAtom(ImageSet):
    """The data set as a sequence.

    >>> db = VisualAtom(VisualAtomConfig(num_categories=4, num_instances=3, image_size=64))
    >>> len(db), db[7].category, db[7].instance, db[7].image.shape
    (12, 2, 1, (64, 64))
    """

    name = "visualatom"
    config: VisualAtomConfig

    def __init__(self, config: VisualAtomConfig):
        """Set up without drawing anything."""
        super().__init__(config.num_categories, config.num_instances)
        self.config = config

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """The fields of its contour."""
        contour = self.category(category)
        return {**asdict(contour), "oval": np.array(contour.oval), "waves": np.array(contour.waves)}

    def category(self, category: int) -> RadialContour:
        """A category's contour, in pixels of the canvas."""
        config, rng = self.config, stream(self.config.seed, "category", category)
        first, second = (int(n) for n in rng.integers(*config.waves, 2, endpoint=True))
        while first == second != 0:
            second = int(rng.integers(*config.waves, endpoint=True))
        return RadialContour(
            num_vertices=int(rng.integers(*config.vertices, endpoint=True)),
            num_polygons=int(rng.integers(*config.polygons, endpoint=True)),
            noise=float(rng.uniform(*config.noise)),
            step=float(rng.uniform(*config.step)),
            radius=float(rng.uniform(*config.radius)),
            oval=(float(rng.uniform(*config.oval)), float(rng.uniform(*config.oval))),
            waves=(first, second),
            gain=1.0,
        )

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance of one category."""
        config = self.config
        rng = stream(config.seed, "instance", category, instance)
        x, y = (config.draw.canvas + rng.uniform(-config.start, config.start, 2)) / 2
        image = draw_contour(
            self.category(category),
            config.draw,
            config.image_size,
            centre=(float(x), float(y)),
            rng=rng,
            break_rng=stream(config.seed, "breaks", category, instance),
        )
        return LabelledImage(image, category, instance)


def open_visualatom(config: VisualAtomConfig) -> ImageSet:
    """The data set of a recipe, native or as released by `config.variant`."""
    return (ReleasedVisualAtom if config.variant == "released" else VisualAtom)(config)


class ReleasedVisualAtom(ReleasedContours):
    """VisualAtom as its released script makes it, pixel for pixel; `seed` is added to the seed of every job."""

    name = "visualatom"
    config: VisualAtomConfig
    background = 0
    centre_first = True
    most_ink = 255

    def __init__(self, config: VisualAtomConfig):
        """Set up without drawing anything."""
        super().__init__(config, jobs=config.jobs)
        self.config = config

    def file_name(self, index: int) -> str:
        """The released name, which contains the number of vertices."""
        category, instance = divmod(self._checked(index), self.num_instances)
        vertices = self.category_parameters(category)["num_vertices"]
        return f"{category:05d}/vertex_{vertices:04d}_instance_{instance:04d}"

    def draw_category(self, random: PythonRandom) -> tuple[RadialContour, Start]:
        """A category's contour and the centre (row, column) of its first instance, in the released order."""
        config = self.config
        vertices, polygons = random.randint(*config.vertices), random.randint(*config.polygons)
        noise, step = random.uniform(*config.noise), random.uniform(*config.step)
        radius, first = random.randint(*config.radius), random.randint(*config.waves)
        second = random.randint(*config.waves)
        while first == second != 0:
            second = random.randint(*config.waves)
        oval = (random.uniform(*config.oval), random.uniform(*config.oval))
        contour = RadialContour(
            num_vertices=vertices,
            num_polygons=polygons,
            noise=noise,
            step=step,
            radius=radius,
            oval=oval,
            waves=(first, second),
            gain=1.0,
        )
        return contour, self.draw_start(random, config.start)

    def draw_next(self, random: PythonRandom, contour: RadialContour) -> tuple[RadialContour, Start]:
        """The contour and centre of the next instance; only the centre differs."""
        return contour, self.draw_start(random, self.config.start)
