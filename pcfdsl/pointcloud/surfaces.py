"""Clouds of the formulas of surfaces: spherical harmonics, superquadrics, composites of primitives, growth.

A category is a shape drawn at random, an instance a variation of it. Cloud (k, j) depends on (settings, k, j) alone.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pcfdsl.config import Settings, option
from pcfdsl.formula import composites, growth, superquadrics
from pcfdsl.formula import spherical_harmonics as harmonics
from pcfdsl.formula.normalize import center_min_max_joint
from pcfdsl.pointcloud.pcfractal import FractalCloud, check_cloud
from pcfdsl.rng import stream

__all__ = [
    "CompositesConfig",
    "GrowthConfig",
    "SphericalHarmonicsConfig",
    "SuperquadricsConfig",
    "SurfaceClouds",
    "SurfaceConfig",
]


@dataclass(frozen=True, kw_only=True)
class SurfaceConfig(Settings):
    """What the formulas of surfaces have in common."""

    share: float = option(1.0, "how often rooms have objects of this formula, relative to the others", minimum=1e-6)
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(64, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    num_points: int = option(10_000, "points per cloud", minimum=10, maximum=10_000_000)
    variation: float = option(
        0.1,
        "how far instances differ from their category; 1 makes them as different as categories",
        minimum=0.0,
        maximum=3.0,  # from 10, shapes degenerate to needles and overflow
    )


@dataclass(frozen=True, kw_only=True)
class SphericalHarmonicsConfig(SurfaceConfig):
    """Objects whose radius is a random sum of spherical harmonics."""

    formula: Literal["spherical_harmonics"] = option(
        "spherical_harmonics", "the radius is a random sum of spherical harmonics"
    )
    degree: int = option(8, "highest degree of the harmonics", minimum=2, maximum=harmonics.MAX_DEGREE)


@dataclass(frozen=True, kw_only=True)
class SuperquadricsConfig(SurfaceConfig):
    """Superquadrics: ellipsoids and toroids of any roundness, from blocks to stars."""

    formula: Literal["superquadrics"] = option(
        "superquadrics", "ellipsoids and toroids of any roundness, from blocks to stars"
    )


@dataclass(frozen=True, kw_only=True)
class CompositesConfig(SurfaceConfig):
    """Primitives that grow out of one another, some displaced, cut or reduced to wires."""

    formula: Literal["composites"] = option(
        "composites", "boxes, ellipsoids, cylinders, cones and tori that grow out of one another"
    )
    max_primitives: int = option(9, "most primitives in an object", minimum=1, maximum=composites.MAX_PRIMITIVES)
    heights: float = option(0.3, "share of the primitives whose surface has hills", minimum=0.0, maximum=1.0)
    cuts: float = option(0.3, "share of the objects out of which a primitive or two is cut", minimum=0.0, maximum=1.0)
    wires: float = option(0.2, "share of the objects with primitives made of wire", minimum=0.0, maximum=1.0)


@dataclass(frozen=True, kw_only=True)
class GrowthConfig(SurfaceConfig):
    """Tubes that branch into tubes by one rule, as plants do."""

    formula: Literal["growth"] = option("growth", "tubes that branch into tubes by one rule, as plants do")
    max_depth: int = option(5, "how often tubes branch at most", minimum=1, maximum=growth.MAX_DEPTH)


class SurfaceClouds:
    """Numbered clouds of one formula, made when they are asked for; it pickles.

    Args:
        config: Its settings.

    >>> SurfaceClouds(SphericalHarmonicsConfig()).cloud(3, 7).points.shape
    (10000, 3)
    """

    def __init__(self, config: SurfaceConfig):
        self.config = config
        self._formula = _formula(config)
        self._shape = functools.lru_cache(1024)(self._draw)

    def __reduce__(self):
        return type(self), (self.config,)

    def cloud(self, category: int, instance: int, *, num_points: int | None = None) -> FractalCloud:
        """One instance, with `num_points` points if not None; any part of them is spread over the whole.

        Its mean is the origin, and its coordinates about within [-1, 1].

        Raises:
            IndexError: If there is no such category, or no such instance of it.
            ValueError: If the instance has no extent.
        """
        numbers = {"num_categories": self.config.num_categories, "num_instances": self.config.num_instances}
        check_cloud(category, instance, **numbers)
        formula, shape = self._formula, self._shape(category)
        rng = stream(self.config.seed, formula.name, "instance", category, instance)
        if self.config.variation:
            shape = formula.perturb(rng, shape, variation=self.config.variation)
        points = formula.sample(rng, shape, num_points or self.config.num_points)
        if not center_min_max_joint(points):
            raise ValueError(f"instance {instance} of category {category} of {formula.name} has no extent")
        return FractalCloud(points, category, instance)

    def _draw(self, category: int) -> Any:
        return self._formula.draw(stream(self.config.seed, self._formula.name, "category", category))


@dataclass(frozen=True)
class _Formula:
    """The functions of a formula: a shape at random, a variation of it, points on it."""

    name: str
    draw: Callable[[np.random.Generator], Any]
    perturb: Callable[..., Any]
    sample: Callable[[np.random.Generator, Any, int], np.ndarray]


def _formula(config: SurfaceConfig) -> _Formula:
    match config:
        case SphericalHarmonicsConfig():
            draw = functools.partial(harmonics.draw_harmonics, degree=config.degree)
            return _Formula(config.formula, draw, harmonics.perturb_harmonics, harmonics.sample_harmonics)
        case SuperquadricsConfig():
            draw, perturb = superquadrics.draw_superquadric, superquadrics.perturb_superquadric
            return _Formula(config.formula, draw, perturb, superquadrics.sample_superquadric)
        case CompositesConfig():
            draw = functools.partial(
                composites.draw_composite,
                max_primitives=config.max_primitives,
                heights=config.heights,
                cuts=config.cuts,
                wires=config.wires,
            )
            return _Formula(config.formula, draw, composites.perturb_composite, composites.sample_composite)
        case GrowthConfig():
            draw = functools.partial(growth.draw_growth, max_depth=config.max_depth)
            return _Formula(config.formula, draw, growth.perturb_growth, growth.sample_growth)
    raise TypeError(f"config is a {type(config).__name__}; expected the settings of a formula of surfaces")
