"""Two-stage generation: first the parameters of each category, then the samples of all categories.

out/             the samples, made by the recipe of the data set
out/categories/  the parameters of each category, as a stored set of its own
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.config import option
from pcfdsl.formula.csv_io import read_ifs, systems_checksum
from pcfdsl.formula.diversity import Diversity, diversity
from pcfdsl.formula.ifs import IFS
from pcfdsl.generate.driver import SAMPLES_PER_SHARD, Recipe, RunOptions, Summary, generate
from pcfdsl.generate.plan import plan
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.readers.folders import files_below, has_ending
from pcfdsl.rng import stream
from pcfdsl.store.paths import as_path
from pcfdsl.store.stored import StoredSet, open_set

__all__ = [
    "Categories",
    "TwoStages",
    "diversity_of",
    "generate_both",
    "imported_categories",
    "open_categories",
    "plan_both",
    "read_systems",
    "systems_of",
    "verify_both",
]

_CATEGORIES_PER_SHARD = 16  # a search takes about a hundred times as long as a sample


@dataclass(frozen=True)
class Categories:
    """Recipe whose sample k holds the parameters of category k.

    Attributes:
        name: Name of the recipe.
        config: The settings that categories depend on, with `num_categories`.
        parameters: Category -> named arrays or numbers; picklable.
        inputs: As for `Recipe`.
    """

    name: str
    config: Any
    parameters: Callable[[int], Mapping[str, Any]]
    inputs: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.config.num_categories

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The parameters of category `index`."""
        return {key: np.asarray(value) for key, value in self.parameters(index).items()}


@dataclass(frozen=True, kw_only=True)
class ImportedCategoriesConfig:
    """The settings of imported categories: only their number."""

    num_categories: int = option(1, "categories", minimum=1)


def imported_categories(dataset: str, systems: Sequence[IFS]) -> Categories:
    """Recipe of existing categories, which need no search."""
    return Categories(
        name=f"{dataset}_imported_categories",
        config=ImportedCategoriesConfig(num_categories=len(systems)),
        parameters=partial(_given, tuple(systems)),
        inputs={"categories": systems_checksum(systems)},
    )


def _given(systems: Sequence[IFS], index: int) -> dict[str, np.ndarray]:
    return systems[index].arrays()


@dataclass(frozen=True, kw_only=True)
class TwoStages:
    """The recipes of a two-stage set.

    Attributes:
        categories: Recipe of the first stage.
        samples: Categories of the first stage -> recipe of the second; None if the categories do not matter, as when
            checking settings or planning.
        word: Name of the samples in results, such as "clouds".
        in_order: Whether categories must be searched for sequentially, in one process.
        samples_per_shard: Shard size of the second stage.
        note: Text at the end of the first stage's progress bar, see `generate`.
    """

    categories: Categories
    samples: Callable[[StoredSet | None], Recipe]
    word: str
    in_order: bool = False
    samples_per_shard: int = SAMPLES_PER_SHARD
    note: Callable[[int, dict[str, int]], str] | None = None

    @property
    def categories_per_shard(self) -> int:
        """Categories per shard; all in one if each part of the search would have to repeat the earlier ones."""
        return len(self.categories) if self.in_order else _CATEGORIES_PER_SHARD


def generate_both(
    stages: TwoStages,
    out: str | Path,
    *,
    options: RunOptions = RunOptions(),
    make: Callable[[Any], Summary] | None = None,
) -> dict[str, Any]:
    """Generate the categories, then the samples; resumes a set that is incomplete.

    Each of several jobs (`options.shard`) searches its own part of the categories, then all those still missing, since
    a sample may need any category.

    Args:
        stages: What to generate.
        out: Folder of the set, or its URL.
        options: As for `generate`.
        make: Makes the samples of a recipe; `generate` into `out` if None.

    Returns:
        Summaries of both sets as dictionaries, and the figures of `diversity_of` once both are complete.

    Raises:
        ConfigError: If settings are inconsistent.
        ValueError, OSError: As for `generate`.
    """
    stages.samples(None)  # fails before the search, not after it
    where = as_path(out) / "categories"
    search: dict[str, Any] = {"samples_per_shard": stages.categories_per_shard, "note": stages.note}
    found = generate(stages.categories, where, options=options, **search)
    if not found.complete:
        found = generate(stages.categories, where, options=replace(options, shard=(0, 1), overwrite=False), **search)
    samples = stages.samples(open_set(where))
    if make is None:
        made = generate(samples, out, options=options, samples_per_shard=stages.samples_per_shard)
    else:
        made = make(samples)
    figures = diversity_of(out) if made.complete else None
    result = {"categories": dataclasses.asdict(found), stages.word: dataclasses.asdict(made)}
    return result | ({"diversity": dataclasses.asdict(figures)} if figures else {})


def diversity_of(out: str | Path) -> Diversity | None:
    """How much the categories of a stored set differ; None if it has none, or they are not 3D systems.

    Raises:
        OSError, ValueError: As for `open_set`, about the categories.
    """
    if not (as_path(out) / "categories" / "manifest.json").is_file():
        return None
    categories = open_categories(out)
    if categories[0].get("matrices", np.empty(0)).shape[-1] != 3:
        return None
    return diversity(systems_of(categories), stream(0, "diversity"))


def verify_both(
    stages: TwoStages,
    out: str | Path,
    *,
    num_samples: int | None = None,
    options: RunOptions = RunOptions(),
    compare: Callable[[Any], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Regenerate categories and samples and compare them with the stored ones.

    Args:
        stages: The recipes of the set.
        out: Its folder.
        num_samples: How many of each to regenerate, drawn at random, of picture files spread evenly; all if None.
        options: Executor and progress, as for `generate`.
        compare: Compares the samples of a recipe with stored ones; `verify` if None. Its result has `path`,
            `num_compared` and `mismatches`.

    Returns:
        Reports on both sets as dictionaries.

    Raises:
        ValueError: If anything differs; the message names it.
        OSError: If something is missing.
    """
    where = as_path(out) / "categories"
    how: dict[str, Any] = {"num_samples": num_samples, "options": options}
    found = verify(stages.categories, where, samples_per_shard=stages.categories_per_shard, **how)
    samples = stages.samples(open_set(where))
    if compare is None:
        checked = dataclasses.asdict(verify(samples, out, samples_per_shard=stages.samples_per_shard, **how))
    else:
        checked = compare(samples)
    reports = {"categories": dataclasses.asdict(found), stages.word: checked}
    for report in reports.values():
        require_no_mismatches(report["path"], report["mismatches"])
    return reports


def plan_both(stages: TwoStages, *, workers: int = 1) -> dict[str, Any]:
    """Estimate the cost of `generate_both` from about a second each of categories and samples. Writes nothing."""
    found = plan(stages.categories, samples_per_shard=stages.categories_per_shard, workers=workers)
    made = plan(stages.samples(None), samples_per_shard=stages.samples_per_shard, workers=workers)
    return {"categories": dataclasses.asdict(found), stages.word: dataclasses.asdict(made)}


def open_categories(out: str | Path) -> StoredSet:
    """The stored categories of a set."""
    return open_set(as_path(out) / "categories")


def systems_of(categories: Iterable[Mapping[str, np.ndarray]]) -> list[IFS]:
    """The systems in stored categories."""
    return [IFS(sample["matrices"], sample["offsets"], sample["probabilities"]) for sample in categories]


def read_systems(folder: str | Path) -> tuple[list[IFS], list[str]]:
    """Systems of all .csv files below a folder such as the released 3DIFS_param, sorted by file name.

    Returns:
        The systems, and the names of all other files.

    Raises:
        ValueError: If there are none, or one is invalid; the message names file, row and column.
        OSError: If the folder cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected one of released .csv files")
    files: list[Path] = []
    others: list[str] = []
    for entry in sorted(files_below(folder), key=lambda entry: entry.name):
        if has_ending(entry, (".csv",)):
            files.append(entry)
        else:
            others.append(entry.name)
    if not files:
        raise ValueError(f"{folder} holds no .csv files; expected a released folder such as 3DIFS_param")
    return [read_ifs(file) for file in files], others
