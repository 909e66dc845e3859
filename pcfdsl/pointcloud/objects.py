"""Clouds of several formulas as one set: the categories of one follow those of the other.

Cloud (k, j) depends on the settings of its formula, on j, and on the number of k within that formula alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import Settings, check_argument, option, within
from pcfdsl.pointcloud.pcfractal import (
    CloudSequence,
    FractalCloud,
    PCFractalConfig,
    PCFractalDB,
    category_names,
    check_cloud,
    open_pcfractal,
)
from pcfdsl.pointcloud.surfaces import (
    CompositesConfig,
    GrowthConfig,
    SphericalHarmonicsConfig,
    SuperquadricsConfig,
    SurfaceClouds,
)

__all__ = ["Formula", "IFSConfig", "ObjectClouds", "ObjectsConfig", "check_objects"]


@dataclass(frozen=True, kw_only=True)
class IFSConfig(PCFractalConfig):
    """The fractals of a PC-FractalDB as one formula among others."""

    formula: Literal["ifs"] = option("ifs", "the fractals of PC-FractalDB, attractors of iterated function systems")
    share: float = option(1.0, "how often rooms have objects of this formula, relative to the others", minimum=1e-6)


Formula = IFSConfig | SphericalHarmonicsConfig | SuperquadricsConfig | CompositesConfig | GrowthConfig


def check_objects(objects: Sequence[Formula]):
    """Yield (field, message) if a list of formulas is empty, or has a formula twice with the same seed.

    Category k of both would be drawn by the same numbers: the same shape, or nearly, under two labels.
    """
    if not objects:
        yield "objects", "is empty; give at least one formula, such as [{formula: spherical_harmonics}]"
    first: dict[tuple[str, int], int] = {}
    for number, own in enumerate(objects):
        earlier = first.setdefault((own.formula, own.seed), number)
        if earlier != number:
            yield (
                f"objects.{number}.seed",
                f"is {own.seed}, so objects.{number} repeats the {own.formula} of objects.{earlier} under other "
                "labels; give it another seed",
            )


@dataclass(frozen=True, kw_only=True)
class ObjectsConfig(Settings):
    """A set of clouds of one or more formulas."""

    objects: tuple[Formula, ...] = option((IFSConfig(),), "the formulas, each with its settings")

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from check_objects(self.objects)


class ObjectClouds(CloudSequence):
    """The set as a sequence, category by category; also a `pcfdsl.generate.driver.Recipe`, and it pickles.

    Attributes:
        config: The recipe.
        formulas: The clouds of each formula.
        first_categories: [F + 1] first category of each formula; the last entry is the number of all categories.

    >>> clouds = ObjectClouds(ObjectsConfig(objects=(SuperquadricsConfig(), SphericalHarmonicsConfig())))
    >>> len(clouds), clouds.num_categories, clouds[64_001].category, clouds[64_001].instance
    (128000, 128, 64, 1)
    """

    name = "objects"

    def __init__(self, config: ObjectsConfig):
        check_argument("config", config, ObjectsConfig)
        self.config = config
        self.inputs: Mapping[str, str] = {}
        self.formulas: list[PCFractalDB | SurfaceClouds] = [
            open_pcfractal(formula) if isinstance(formula, IFSConfig) else SurfaceClouds(formula)
            for formula in config.objects
        ]
        numbers = np.array([(formula.num_categories, formula.num_instances) for formula in config.objects])
        self.first_categories: np.ndarray = np.append(0, numbers[:, 0].cumsum())
        self._first_clouds = np.append(0, numbers.prod(1).cumsum())

    @property
    def num_categories(self) -> int:
        """The categories of all formulas."""
        return int(self.first_categories[-1])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories."""
        return category_names(self.num_categories)

    def __len__(self) -> int:
        return int(self._first_clouds[-1])

    def item(self, index: int) -> FractalCloud:
        """Cloud `index`, 0 to len - 1."""
        return self.cloud(*self.locate(index))

    def locate(self, index: int) -> tuple[int, int]:
        """Category and instance of a cloud by its number."""
        f = int(np.searchsorted(self._first_clouds, index, side="right")) - 1
        category, instance = divmod(index - int(self._first_clouds[f]), self.config.objects[f].num_instances)
        return int(self.first_categories[f]) + category, instance

    def cloud(self, category: int, instance: int, *, num_points: int | None = None) -> FractalCloud:
        """One instance, with `num_points` points if not None.

        Raises:
            IndexError: If there is no such category, or no such instance of it.
        """
        f = int(np.searchsorted(self.first_categories[1:-1], category, side="right"))
        instances = self.config.objects[f].num_instances
        check_cloud(category, instance, num_categories=self.num_categories, num_instances=instances)
        with within(f"objects.{f}"):
            cloud = self.formulas[f].cloud(category - int(self.first_categories[f]), instance, num_points=num_points)
        return FractalCloud(cloud.points, category, instance, num_redraws=cloud.num_redraws)

    def labels(self) -> np.ndarray:
        """Category of each cloud, [len(self)] int64."""
        each = np.repeat([formula.num_instances for formula in self.config.objects], np.diff(self.first_categories))
        return np.repeat(np.arange(self.num_categories), each)

    def prepare(self) -> None:
        """Search the categories of fractals now, not again in every worker process."""
        for f, formula in enumerate(self.formulas):
            if isinstance(formula, PCFractalDB):
                with within(f"objects.{f}"):
                    formula.prepare()
