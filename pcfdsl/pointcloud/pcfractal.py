"""PC-FractalDB: point clouds of 3D fractals, generated on the fly.

A category is a system that passes the variance check; an instance mixes its cloud with some points of another category.
Cloud (k, j) depends on (config, k, j) alone.
(Yamada et al., Point Cloud Pre-training with Natural 3D Structures, CVPR 2022.)
"""

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from tqdm import tqdm

from pcfdsl.config import ConfigError, check_argument, option, validate, within
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import CategorySearch, SearchConfig, given_systems, search_category
from pcfdsl.pointcloud.mix import Augmentation, MixConfig, Playable, augment, mix, num_weightings, remember, weighted
from pcfdsl.rng import stream

__all__ = [
    "CloudSequence",
    "FractalCloud",
    "PCFractalConfig",
    "PCFractalDB",
    "category_names",
    "check_cloud",
    "open_pcfractal",
]

_MAX_REDRAWS = 100


@dataclass(frozen=True, kw_only=True)
class PCFractalConfig:
    """Everything a PC-FractalDB depends on."""

    variant: Literal["native", "released"] = option(
        "native", "clean rules, or exactly those of the released scripts", formerly={"official": "released"}
    )
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    num_instances: int = option(1000, "instances per category", minimum=1, maximum=10_000_000)
    num_points: int = option(10_000, "points per cloud", minimum=10, maximum=10_000_000)
    search: SearchConfig = option(SearchConfig(), "how categories are found")
    mix: MixConfig = option(MixConfig(), "FractalNoiseMix")
    augmentation: Augmentation = option(Augmentation(), "variation of instances beyond the mix")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        if self.mix.noise_ratio > 0 and self.num_categories < 2:
            yield "num_categories", "1 leaves no partner to mix with; use at least 2, or mix.noise_ratio=0"
        if self.variant == "released":
            yield from self._not_released()

    def _not_released(self):
        if self.augmentation != Augmentation():
            yield "augmentation", "is not part of the released scripts; leave it at its defaults or use variant=native"
        if self.search.sampler != "uniform":
            yield "search.sampler", f"is {self.search.sampler}, but released scripts draw uniformly; use variant=native"
        checked = {"variance_threshold": self.search.variance_threshold, "num_points": self.search.num_points}
        if self.search != SearchConfig(**checked, sampler=self.search.sampler):
            yield "search", "has settings that the released scripts do not have; leave all but the check's out"
        if min(split_iterations(self.num_points, 1 - self.mix.noise_ratio)) < 3:
            yield "mix.noise_ratio", "leaves a cloud of less than two points, which the released scripts cannot scale"


def split_iterations(num_iterations: int, ratio: float) -> tuple[int, int]:
    """Iterations of main and partner cloud, in the released arithmetic: the partner gets a truncated product plus one.

    >>> split_iterations(10_000, 0.8)
    (8000, 2000)
    """
    return int(num_iterations * ratio), int(num_iterations * (1 - ratio)) + 1


@dataclass(frozen=True, eq=False)
class FractalCloud:
    """One instance.

    Attributes:
        points: [N, 3] float32, mean at the origin, about within [-1.2, 1.2].
        category: Index of its category.
        instance: Index within the category.
        num_redraws: Degenerate clouds (diverged, or without extent) that were discarded before this one.
    """

    points: np.ndarray
    category: int
    instance: int
    num_redraws: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """The cloud as named arrays for storage."""
        numbers = {"category": self.category, "instance": self.instance, "num_redraws": self.num_redraws}
        return {"points": self.points, **{key: np.array(number, np.int64) for key, number in numbers.items()}}


def category_names(number: int) -> tuple[str, ...]:
    """Names of the categories of formulas: six-digit numbers.

    >>> category_names(2)
    ('000000', '000001')
    """
    return tuple(f"{category:06d}" for category in range(number))


def check_cloud(category: int, instance: int, *, num_categories: int, num_instances: int) -> None:
    """Refuse a cloud that a set does not have.

    Raises:
        IndexError: If there is no such category, or no such instance of it.
    """
    if not 0 <= category < num_categories:
        raise IndexError(f"category {category} is outside this set of {num_categories}, 0 to {num_categories - 1}")
    if not 0 <= instance < num_instances:
        raise IndexError(
            f"instance {instance} of category {category} is outside its {num_instances}, 0 to {num_instances - 1}"
        )


class CloudSequence(Sequence[FractalCloud]):
    """Clouds that are made when they are indexed; subclasses define `__len__` and `item`."""

    @abstractmethod
    def item(self, index: int) -> FractalCloud:
        """Cloud `index`, 0 to len - 1."""

    @overload
    def __getitem__(self, index: int) -> FractalCloud: ...
    @overload
    def __getitem__(self, index: slice) -> list[FractalCloud]: ...
    def __getitem__(self, index):
        """Cloud by its number, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self.item(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside this set of {len(self)} clouds")
        return self.item(index % len(self))

    def __iter__(self) -> Iterator[FractalCloud]:
        return (self.item(i) for i in range(len(self)))

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Cloud `index`, its labels, and how many degenerate ones were discarded before it."""
        return self[index].arrays()


def open_pcfractal(config: PCFractalConfig, categories: Sequence[IFS] | None = None) -> "PCFractalDB":
    """The data set of a recipe, native or as released by `config.variant`; arguments as for `PCFractalDB`."""
    check_argument("config", config, PCFractalConfig)
    if config.variant == "native":
        return PCFractalDB(config, categories)
    from pcfdsl.pointcloud.released import ReleasedPCFractalDB  # imports this module

    return ReleasedPCFractalDB(config, categories)


class PCFractalDB(CloudSequence):
    """The data set as a sequence: item i is instance i % num_instances of category i // num_instances.

    Categories are searched for on first use (about 50 ms each at threshold 0.15) and cached. Thread-safe; pickles with
    the categories found so far.

    >>> config = PCFractalConfig(num_categories=4, num_instances=3, search=SearchConfig(variance_threshold=0.05))
    >>> db = PCFractalDB(config)
    >>> len(db), db[7].category, db[7].instance, db[7].points.shape
    (12, 2, 1, (10000, 3))

    Also a `pcfdsl.generate.driver.Recipe`.
    """

    name = "pcfractal"
    variant = "native"

    def __init__(self, config: PCFractalConfig, categories: Sequence[IFS] | None = None):
        """Set up without generating anything.

        Args:
            config: The recipe.
            categories: Systems of a stored set or a released CSV folder; searched for if None.

        Raises:
            ConfigError: If the number of categories differs from the configured one, or one is not 3D; or for the other
                variant (`open_pcfractal` opens both).
        """
        if config.variant != self.variant:
            raise ConfigError([("variant", f"is {config.variant}: open the set with pcfdsl.open_pcfractal")])
        self.config = config
        self.inputs: Mapping[str, str] = {}
        self._systems = given_systems(categories, number=config.num_categories, dim=3)
        self._playable: OrderedDict[tuple[int, int], Playable] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.config.num_categories * self.config.num_instances

    def item(self, index: int) -> FractalCloud:
        """Cloud `index`, 0 to len - 1."""
        return self.cloud(*divmod(index, self.config.num_instances))

    def __getstate__(self) -> dict:
        return {"config": self.config, "inputs": dict(self.inputs), "_systems": dict(self._systems)}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _playable=OrderedDict(), _lock=threading.Lock())

    def search(self, category: int) -> CategorySearch:
        """Search for a category, ignoring the cache, and return the statistics of the search."""
        with within("search"):
            return search_category(self.config.search, self.config.seed, category)

    def prepare(self) -> None:
        """Search all categories now, not again in every worker process; may take a minute for a thousand."""
        for category in tqdm(range(self.config.num_categories), desc="categories", leave=False, disable=None):
            self.category(category)

    def category(self, category: int) -> IFS:
        """The system of a category.

        Raises:
            IndexError: If there is no such category.
        """
        if category not in self._systems:
            check_cloud(category, 0, num_categories=self.config.num_categories, num_instances=1)
            found = self.search(category).ifs
            with self._lock:
                self._systems.setdefault(category, found)
        return self._systems[category]

    def cloud(self, category: int, instance: int, *, num_points: int | None = None) -> FractalCloud:
        """One instance, with `num_points` points if not None.

        Raises:
            IndexError: If there is no such category, or no such instance of it.
            ValueError: If `_MAX_REDRAWS` clouds in a row were degenerate.
        """
        config = self.config
        check_cloud(category, instance, num_categories=config.num_categories, num_instances=config.num_instances)
        for attempt in range(_MAX_REDRAWS):
            rng = stream(config.seed, "instance", category, instance, attempt)
            main = self._ready(category, self._weighting(rng))
            partner = main if config.mix.noise_ratio == 0 else self._ready(self._partner(category, rng), 0)
            points = mix(main, partner, num_points or config.num_points, rng, noise_ratio=config.mix.noise_ratio)
            if points is not None:
                points = augment(points, rng, config.augmentation)
                return FractalCloud(points, category, instance, num_redraws=attempt)
        raise ValueError(
            f"instance {instance} of category {category} was degenerate {_MAX_REDRAWS} times in a row; "
            "check the category's system, or lower augmentation.parameter_step"
        )

    def _partner(self, category: int, rng: np.random.Generator) -> int:
        """Another category, drawn uniformly."""
        return (category + 1 + int(rng.integers(self.config.num_categories - 1))) % self.config.num_categories

    def _weighting(self, rng: np.random.Generator) -> int:
        augmentation = self.config.augmentation
        return int(rng.integers(num_weightings(3, augmentation.parameter_steps))) if augmentation.parameter_step else 0

    def _ready(self, category: int, weighting: int) -> Playable:
        playable = self._playable.get((category, weighting))
        if playable is None:
            augmentation = self.config.augmentation
            ifs = weighted(
                self.category(category),
                weighting,
                step=augmentation.parameter_step,
                steps=augmentation.parameter_steps,
            )
            playable = Playable.of(ifs)
            remember(self._playable, (category, weighting), playable)
        return playable
