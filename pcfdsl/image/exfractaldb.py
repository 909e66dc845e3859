"""ExFractalDB: pictures of 3D fractals from random viewpoints, and MV-FractalDB's twelve views around them.

A category is a 3D system that passes the variance check; an instance weights one kind of its parameters, plays its own
orbit and renders it from its own viewpoint. `ExFractalDB.pair` also returns the rendered cloud.

The script released for ExFractalDB makes MV-FractalDB, and its authors say to randomise the viewpoints; "uniform on
the sphere" is our interpretation. (Kataoka et al., Replacing Labeled Real-image Datasets with Auto-generated Contours,
CVPR 2022; Yamada et al., MV-FractalDB, IROS 2021.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate, within
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import SearchConfig, search_category
from pcfdsl.image.camera import render_points, ring_rotation, sphere_rotation
from pcfdsl.image.fractal_set import MOST_HALVINGS, FractalSet, chosen_combination
from pcfdsl.image.labelled import LabelledImage, arrays_of
from pcfdsl.image.raster import count_ink
from pcfdsl.pointcloud.mix import mix, num_weightings, weighted
from pcfdsl.rng import stream

__all__ = ["ExFractalDB", "ExFractalDBConfig"]

_RING_JITTER = np.radians(np.pi)  # released: a number drawn in radians is used as degrees, hence at most 3.14 degrees


@dataclass(frozen=True, kw_only=True)
class ExFractalDBConfig:
    """Everything an ExFractalDB depends on."""

    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    image_size: int = option(224, "side of a picture, pixels", minimum=1, maximum=8_192)
    num_points: int = option(10_000, "points per picture", minimum=10, maximum=100_000_000)
    views: Literal["sphere", "ring"] = option(
        "sphere", "viewpoints: uniform on the sphere, or num_views around the y axis as in MV-FractalDB"
    )
    num_views: int = option(12, "viewpoints of the ring", minimum=1, maximum=10_000_000)
    parameter_step: float = option(
        0.1, "step of the weights: one matrix entry or offset, in all maps, times 1 + m * step; 0: none", minimum=0.0
    )
    parameter_steps: int = option(6, "largest |m| of those weights; 6 steps of 0.1 are the released 145", minimum=1)
    field_of_view: float = option(45.0, "angle across the side of the picture, degrees", minimum=1.0, maximum=170.0)
    distance: float = option(4.0, "distance of the camera from the centre of the cloud (within +-1)", minimum=1.0)
    point_size: int = option(1, "side of a point, pixels", minimum=1, maximum=16_384)
    shade_by_depth: bool = option(False, "grey by depth instead of white")
    clouds: bool = option(False, "stored sets hold the cloud in each picture too: pairs for 2D and 3D networks")
    degenerate: Literal["halve", "keep"] = option(
        "halve", "a diverged or nearly blank picture: halve its weight until it is neither, or keep it"
    )
    least_ink: float = option(0.005, "share of min(pixels, points) below which a picture is nearly blank", minimum=0.0)
    search: SearchConfig = option(
        SearchConfig(variance_threshold=0.05), "how categories are found; the released scripts use 0.05"
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        possible = self.num_weights * self.num_views
        if self.views == "ring" and self.num_instances > possible:
            yield (
                "num_instances",
                f"is {self.num_instances}, but {self.num_weights} weights x num_views = {self.num_views} "
                f"give {possible}",
            )

    @property
    def num_weights(self) -> int:
        """Weightings of a system: the identity, and +-1..+-parameter_steps for each of its 12 parameters."""
        return num_weightings(3, self.parameter_steps) if self.parameter_step else 1


class ExFractalDB(FractalSet):
    """The data set as a sequence; picture (k, j) depends on (config, k, j) alone.

    On the sphere, every instance draws its weight and viewpoint. On the ring, instances are all combinations of weights
    and views, or a sample of them. Categories are searched for on first use (about 20 ms each) and cached.

    >>> db = ExFractalDB(ExFractalDBConfig(num_categories=2, num_instances=3))
    >>> image, cloud = db.pair(4)
    >>> image.category, image.image.shape, cloud.shape
    (1, (224, 224), (10000, 3))
    """

    name = "exfractaldb"
    config: ExFractalDBConfig

    def __init__(self, config: ExFractalDBConfig, categories: Sequence[IFS] | None = None):
        """Set up without generating anything.

        Args:
            config: The recipe.
            categories: Systems of a stored set or a released CSV folder; searched for if None.

        Raises:
            ConfigError: If the number of categories differs from the configured one, or one is not 3D.
        """
        super().__init__(config.num_categories, config.num_instances, categories, dim=3)
        self.config = config

    def search(self, category: int) -> IFS:
        """Search for the system of a category, ignoring the cache."""
        with within("search"):
            return search_category(self.config.search, self.config.seed, category).ifs

    def weighted_system(self, category: int, weight: int, halvings: int) -> IFS:
        """The category's system in one of its weightings; the step is halved `halvings` times, finally set to 0."""
        if halvings == MOST_HALVINGS:
            return self.category(category)
        step = self.config.parameter_step / 2**halvings
        return weighted(self.category(category), weight, step=step, steps=self.config.parameter_steps)

    def file_name(self, index: int) -> str:
        """Category, and instance or (released, on the ring) weight and view."""
        category, instance = divmod(self._checked(index), self.num_instances)
        if self.config.views == "sphere":
            return f"{category:05d}/{category:05d}_{instance:05d}"
        weight, view = self._ring_keys(category, instance)
        return f"{category:05d}/{category:05d}_{weight:05d}_{view:03d}"

    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance; a degenerate one that is kept may be blank.

        Raises:
            ValueError: If the category's unweighted system diverges or stays on a point.
        """
        return self._draw(category, instance)[0]

    def pair(self, index: int) -> tuple[LabelledImage, np.ndarray]:
        """Picture `index` and its cloud, float32 [num_points, 3], normalised and not rotated.

        The cloud is empty, [0, 3], if the orbit diverged and degenerate instances are kept.
        """
        return self._draw(*divmod(self._checked(index), self.num_instances))

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Item `index` as stored: the arrays of `ImageSet`, plus the points if `clouds` is set."""
        item, points = self.pair(index)
        return arrays_of(item) | ({"points": points} if self.config.clouds else {})

    def _draw(self, category: int, instance: int) -> tuple[LabelledImage, np.ndarray]:
        config = self.config
        rng = stream(config.seed, "instance", category, instance)
        if config.views == "sphere":
            weight, rotation = int(rng.integers(config.num_weights)), sphere_rotation(rng)
        else:
            weight, view = self._ring_keys(category, instance)
            rotation = ring_rotation(view, config.num_views, jitter=rng.uniform(-_RING_JITTER, _RING_JITTER))
            rng = stream(config.seed, "cloud", category, weight)  # all views show the same cloud
        states = rng.bit_generator.state
        least = config.least_ink * min(config.image_size**2, config.num_points)
        for halvings in range(MOST_HALVINGS + 1):
            rng.bit_generator.state = states
            playable = self.ready(category, weight, halvings)
            points = mix(playable, playable, config.num_points, rng, noise_ratio=0.0)
            image = render_points(
                np.zeros((0, 3), np.float32) if points is None else points,
                rotation,
                config.image_size,
                field_of_view=config.field_of_view,
                distance=config.distance,
                point_size=config.point_size,
                shade_by_depth=config.shade_by_depth,
            )
            enough = halvings == MOST_HALVINGS or count_ink(image) >= least
            if config.degenerate == "keep" or (points is not None and enough):
                points = np.zeros((0, 3), np.float32) if points is None else points
                return LabelledImage(image, category, instance, num_redraws=halvings), points
        raise ValueError(f"the system of category {category} itself diverges or stays on a point; search for another")

    def _ring_keys(self, category: int, instance: int) -> tuple[int, int]:
        config = self.config
        possible = config.num_weights * config.num_views
        combination = chosen_combination(config.seed, category, instance, config.num_instances, possible)
        return divmod(combination, config.num_views)
