"""PC-FractalDB as its released scripts make it (`variant: released`), bugs included, with the seeds they lack.

The scripts draw from NumPy's and Python's global generators, unseeded in two of three places, so their files cannot be
reproduced, only their rules. The search runs on `RandomState(seed)`, category after category, so category k requires
all earlier ones. Clouds take their uniforms from pcfdsl's streams and remain functions of (config, category, instance).

- `split_iterations`: ratio r of n iterations goes to the main cloud and int(n (1 - r)) + 1 to the partner, and each
  orbit has one point fewer than iterations: 7,999 + 1,999 = 9,998 points for n = 10,000 and r = 0.8.
- `shared_partners`: all categories share one list of distinct partners, so a category can be mixed with itself and
  there can be no more instances than categories.
- The main cloud of a category is the same in all its instances.
- Means divide by n, not by the number of points, so every cloud is slightly off-centre.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np

from pcfdsl.config import ConfigError
from pcfdsl.formula import released
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import CategorySearch
from pcfdsl.pointcloud.pcfractal import FractalCloud, PCFractalConfig, PCFractalDB, check_cloud, split_iterations
from pcfdsl.rng import stream

__all__ = ["ReleasedPCFractalDB", "shared_partners"]


class ReleasedPCFractalDB(PCFractalDB):
    """`PCFractalDB` by the released scripts' rules; `num_points` counts iterations, clouds have two points fewer."""

    variant = "released"

    def __init__(self, config: PCFractalConfig, categories: Sequence[IFS] | None = None):
        super().__init__(config, categories)
        if config.num_instances > config.num_categories:
            message = (
                f"is {config.num_instances}; the released scripts draw partners without repetition and allow "
                f"no more instances than categories, here {config.num_categories}"
            )
            raise ConfigError([("num_instances", message)])
        self._partners = shared_partners(config.seed, config.num_categories, config.num_instances)
        self._search: Iterator[CategorySearch] | None = None
        self._found: list[CategorySearch] = []

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_partners": self._partners, "_search": None, "_found": []}

    def search(self, category: int) -> CategorySearch:
        """Continue the search from the last category found up to this one."""
        with self._lock:
            if self._search is None:
                self._search = _released_search(self.config)
            while len(self._found) <= category:
                self._found.append(next(self._search))
        return self._found[category]

    def cloud(self, category: int, instance: int, *, num_points: int | None = None) -> FractalCloud:
        """One instance. Degenerate clouds, which the scripts skip or write as NaN, raise an error here.

        Raises:
            IndexError: If there is no such category, or no such instance of it.
            ValueError: If a coordinate is not finite.
        """
        config = self.config
        check_cloud(category, instance, num_categories=config.num_categories, num_instances=config.num_instances)
        n = num_points or config.num_points
        main_iterations, partner_iterations = split_iterations(n, 1 - config.mix.noise_ratio)
        seed, partner = config.seed, self._partners[instance]
        parts = [
            released.orbit(self.category(category), stream(seed, "main", category).random(main_iterations)),
            released.orbit(
                self.category(partner), stream(seed, "partner", category, instance).random(partner_iterations)
            ),
        ]
        points = np.concatenate([released.normalize_3d(part, num_iterations=n) for part in parts])
        points = released.center_by_wrong_count(points, num_iterations=n).astype(np.float32)
        if not np.isfinite(points).all():
            raise ValueError(f"instance {instance} of category {category} (partner {partner}) is not finite")
        return FractalCloud(points, category, instance)


def shared_partners(seed: int, num_categories: int, num_instances: int) -> list[int]:
    """The partner category of each instance number, the same for every category (Python's `random.sample`)."""
    return random.Random(seed).sample(range(num_categories), num_instances)


def _released_search(config: PCFractalConfig) -> Iterator[CategorySearch]:
    legacy = np.random.RandomState(config.seed)
    before = 0
    for accepted in released.search_3d(
        legacy, threshold=config.search.variance_threshold, num_points=config.search.num_points
    ):
        num_draws = accepted.num_candidates - before
        before = accepted.num_candidates
        yield CategorySearch(accepted.ifs, accepted.values, num_draws, {"too_flat": num_draws - 1})
