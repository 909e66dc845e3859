"""The common part of the released contour scripts (RCDB, VisualAtom), random number for random number.

A script runs as several jobs; job j seeds Python's generator with j + 1 and makes its categories one after another, so
an image depends on everything its job drew before it, and on the number of jobs. To reach a category, this module draws
the random numbers of all earlier images without rendering them (about half a millisecond per image, once); sequential
access costs nothing extra.

For every polygon the script draws its grey, then the noise arguments of all x, then those of all y.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from pcfdsl.formula.contour import RadialContour, noise_from_arguments, radial_polygons
from pcfdsl.image.contours import ContourDrawConfig
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.lines import draw_polygons
from pcfdsl.image.python_random import PythonRandom

__all__ = ["ReleasedContours", "Start", "released_inconsistencies", "redraw_vertices"]

Start = tuple[float, float]  # centre (row, column) in pixels: multiples of one half
_Position = tuple[int, RadialContour, Start, Any]  # instance, its contour and centre, the generator's state before it


class ReleasedContours(ImageSet):
    """Contours drawn sequentially from one generator per job. Pickles without its cached positions.

    Attributes:
        background: Grey of the canvas.
        most_ink: Upper bound of the range of greys; more than 255 is drawn as 255.
        centre_first: Whether vertices grow from the centre, or it is added when drawing; sums round differently.
    """

    background = 255
    most_ink = 255
    centre_first = False

    def __init__(self, config: Any, *, jobs: int):
        super().__init__(config.num_categories, config.num_instances)
        self._seed, self._size = config.seed, config.image_size
        self._job_categories = config.num_categories // jobs
        self._beginnings: dict[int, _Position] = {}
        self._last: tuple[int, _Position] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_beginnings": {}, "_last": None}

    @abstractmethod
    def draw_category(self, random: PythonRandom) -> tuple[RadialContour, Start]:
        """A category's contour and the centre of its first instance, in the released order."""

    @abstractmethod
    def draw_next(self, random: PythonRandom, contour: RadialContour) -> tuple[RadialContour, Start]:
        """The contour and centre of the next instance."""

    def draw_start(self, random: PythonRandom, width: int) -> Start:
        """A centre in the central square of this width."""
        row, column = (self._size + random.randint(-width, width) for _ in range(2))
        return row / 2, column / 2

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """The category's contour, and centre (row, column) of its first instance."""
        _, contour, start, _ = self._beginning(category)
        return {**asdict(contour), "start": np.array(start)} | {
            "oval": np.array(contour.oval),
            "waves": np.array(contour.waves),
        }

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance; sequential access is fastest."""
        last = self._last
        begin = self._beginning(category)
        if last is not None and last[0] == category and last[1][0] <= instance:
            begin = last[1]
        number, contour, start, state = begin
        random = PythonRandom(0)
        random.state = state
        while number < instance:
            for _ in self._polygon_draws(random, contour):
                pass
            contour, start = self.draw_next(random, contour)
            number += 1
        draws = list(self._polygon_draws(random, contour))
        self._last = (category, (number + 1, *self.draw_next(random, contour), random.state))
        image = np.full((self._size, self._size), self.background, np.uint8)
        noise = noise_from_arguments(np.stack([uniforms for _, uniforms in draws]))
        inks = np.array([min(ink, 255) for ink, _ in draws], np.uint8)
        centre = (start[1], start[0])
        if self.centre_first:
            draw_polygons(image, radial_polygons(contour, noise, start=centre), inks)
        else:
            draw_polygons(image, radial_polygons(contour, noise), inks, origin=centre)
        return LabelledImage(image, category, instance)

    def _polygon_draws(self, random: PythonRandom, contour: RadialContour) -> Iterator[tuple[int, np.ndarray]]:
        """Grey and uniform numbers [2, V] of each polygon."""
        for _ in range(contour.num_polygons):
            ink = random.randint(0, self.most_ink)
            yield ink, random.random(2 * contour.num_vertices).reshape(2, -1)

    def _beginning(self, category: int) -> _Position:
        """Position of a category's first instance, reached through its job's earlier categories."""
        known = category
        while known not in self._beginnings and known % self._job_categories:
            known -= 1
        for k in range(known, category + 1):
            if k in self._beginnings:
                continue
            job, rest = divmod(k, self._job_categories)
            random = self._at_end(k - 1) if rest else PythonRandom(self._seed + job + 1)
            self._beginnings[k] = (0, *self.draw_category(random), random.state)
        return self._beginnings[category]

    def _at_end(self, category: int) -> PythonRandom:
        """The generator after all of a category's instances."""
        last, position = self._last, self._beginnings[category]
        if last is not None and last[0] == category:
            position = last[1]
        number, contour, _, state = position
        random = PythonRandom(0)
        random.state = state
        for _ in range(number, self.num_instances):
            for _ in self._polygon_draws(random, contour):
                pass
            contour, _ = self.draw_next(random, contour)
        return random


def redraw_vertices(random: PythonRandom, low: int, high: int, *, mean: float) -> int:
    """Integer part of an exponential variate, redrawn until it lies in the range."""
    while True:
        vertices = int(random.expovariate(1 / mean))
        if low <= vertices <= high:
            return vertices


def released_inconsistencies(config: Any, draw: ContourDrawConfig) -> Iterator[tuple[str, str]]:
    """(field, message) for settings that the released scripts do not support; `draw` holds their drawing settings."""
    if config.num_categories % config.jobs:
        yield (
            "jobs",
            f"is {config.jobs}, which does not divide num_categories = {config.num_categories}; the released script "
            "leaves out the rest; use a divisor",
        )
    if config.image_size % 2:
        yield "image_size", f"is {config.image_size}; the released script halves it: use an even one"
    if config.draw != draw:
        yield "draw", "is not part of the released script; leave it at its defaults or use variant=native"
