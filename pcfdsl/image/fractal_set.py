"""The common base of FractalDB and ExFractalDB: categories are systems, given or searched for on first use."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import given_systems
from pcfdsl.image.labelled import ImageSet
from pcfdsl.pointcloud.mix import Playable, remember
from pcfdsl.rng import stream

__all__ = ["MOST_HALVINGS", "FractalSet", "chosen_combination"]

MOST_HALVINGS = 6


class FractalSet(ImageSet):
    """Pictures whose categories are iterated function systems.

    Systems and their prepared forms are cached. Thread-safe: two threads may search for the same category, but find the
    same system. Pickles with the categories found so far.
    """

    def __init__(self, num_categories: int, num_instances: int, categories: Sequence[IFS] | None, *, dim: int):
        """Set up without generating anything.

        Raises:
            ConfigError: If the number of categories differs from the configured one, or one has another dimension.
        """
        super().__init__(num_categories, num_instances)
        self._systems = given_systems(categories, number=num_categories, dim=dim)
        self._playable: OrderedDict[tuple[int, int, int], Playable] = OrderedDict()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_systems": dict(self._systems), "_playable": OrderedDict()}

    @abstractmethod
    def search(self, category: int) -> IFS:
        """Search for the system of a category, ignoring the cache."""

    @abstractmethod
    def weighted_system(self, category: int, weight: int, halvings: int) -> IFS:
        """The category's system in one of its weightings; the step is halved `halvings` times."""

    def category(self, category: int) -> IFS:
        """The system of a category."""
        if category not in self._systems:
            self._systems[category] = self.search(category)
        return self._systems[category]

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """Matrices [K, D, D], offsets [K, D] and probabilities [K] of the system."""
        return dict(self.category(category).arrays())

    def ready(self, category: int, weight: int, halvings: int) -> Playable:
        """`weighted_system`, prepared for playing and cached."""
        playable = self._playable.get((category, weight, halvings))
        if playable is None:
            playable = Playable.of(self.weighted_system(category, weight, halvings))
            remember(self._playable, (category, weight, halvings), playable)
        return playable


def chosen_combination(seed: int, category: int, instance: int, num_instances: int, num_combinations: int) -> int:
    """Index of an instance's combination of weight, patch, flip or view.

    All combinations in order if there are as many instances; otherwise a sorted sample per category, without
    replacement.
    """
    if num_instances == num_combinations:
        return instance
    drawn = stream(seed, "combinations", category).permutation(num_combinations)[:num_instances]
    return int(np.sort(drawn)[instance])
