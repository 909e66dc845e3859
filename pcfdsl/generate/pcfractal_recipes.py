"""PC-FractalDB as recipes for the driver: its categories, searched or given, and its clouds."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.csv_io import format_ifs
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import SearchConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.pointcloud.released import open_pcfractal

__all__ = ["CloudRecipe", "ImportedCategoryRecipe", "SearchedCategoryRecipe"]


@dataclass(frozen=True, kw_only=True)
class SearchedCategoriesConfig:
    """The settings that categories depend on."""

    variant: Literal["native", "official"] = option("native", "As in the whole recipe.")
    seed: int = option(0, "Root of every random decision.")
    num_categories: int = option(1000, "Categories.", minimum=1)
    search: SearchConfig = option(SearchConfig(), "How categories are found.")

    def __post_init__(self):
        validate(self)


class SearchedCategoryRecipe:
    """Recipe whose sample k is category k, found by search."""

    name = "pcfractal_categories"

    def __init__(self, config: PCFractalConfig):
        self._database = open_pcfractal(config)
        self.config = SearchedCategoriesConfig(
            variant=config.variant, seed=config.seed, num_categories=config.num_categories, search=config.search
        )

    def __len__(self) -> int:
        return self.config.num_categories

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The system, its variances, and the counts of its search."""
        found = self._database.search(index)
        counts = {"num_draws": found.num_draws}
        counts |= {f"num_rejected: {reason}": count for reason, count in found.rejected.items()}
        return {
            **_system_arrays(found.ifs),
            "variances": np.array(found.variances),
            **{key: np.array(count, np.int64) for key, count in counts.items()},
        }


@dataclass(frozen=True, kw_only=True)
class ImportedCategoriesConfig:
    """The settings of categories that were not searched for: none but their number."""

    num_categories: int = option(1, "Categories.", minimum=1)


class ImportedCategoryRecipe:
    """Recipe whose sample k is a system given."""

    name = "pcfractal_imported_categories"

    def __init__(self, systems: Sequence[IFS]):
        self._systems = list(systems)
        self.config = ImportedCategoriesConfig(num_categories=len(self._systems))
        self.inputs = {"categories": _systems_checksum(self._systems)}

    def __len__(self) -> int:
        return len(self._systems)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The system."""
        return _system_arrays(self._systems[index])


class CloudRecipe:
    """Recipe whose sample i is cloud i of a PC-FractalDB.

    Args:
        config: The data set.
        categories: Its systems.
        imported: Whether these came from outside; their checksum is then part of what the set is made from.
    """

    name = "pcfractal"

    def __init__(self, config: PCFractalConfig, categories: Sequence[IFS], *, imported: bool = False):
        self.config = config
        self.inputs = {"categories": _systems_checksum(categories)} if imported else {}
        self._database = open_pcfractal(config, categories)

    def __len__(self) -> int:
        return len(self._database)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The cloud, its labels, and how many degenerate ones were thrown away before it."""
        cloud = self._database[index]
        return {
            "points": cloud.points,
            "category": np.array(cloud.category, np.int64),
            "instance": np.array(cloud.instance, np.int64),
            "num_redraws": np.array(cloud.num_redraws, np.int64),
        }


def _system_arrays(ifs: IFS) -> dict[str, np.ndarray]:
    return {"matrices": ifs.matrices, "offsets": ifs.offsets, "probabilities": ifs.probabilities}


def _systems_checksum(systems: Sequence[IFS]) -> str:
    return hashlib.sha256("\n".join(map(format_ifs, systems)).encode()).hexdigest()
