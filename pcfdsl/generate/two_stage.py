"""Sets made in two stages: first what defines each category, then the samples of all categories.

out/             the samples, made by the recipe of the data set
out/categories/  what defines each category, as a stored set of its own
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
from pcfdsl.formula.ifs import IFS
from pcfdsl.generate.driver import SAMPLES_PER_SHARD, Recipe, RunOptions, Summary, generate, plan
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.store.paths import as_path
from pcfdsl.store.stored import StoredSet, open_set

__all__ = [
    "Categories",
    "TwoStages",
    "generate_both",
    "imported_categories",
    "open_categories",
    "plan_both",
    "read_systems",
    "systems_of",
    "verify_both",
]

_CATEGORIES_PER_SHARD = 16  # a search takes some hundred times as long as a sample


@dataclass(frozen=True)
class Categories:
    """Recipe whose sample k is what defines category k.

    Attributes:
        name: Of the kind of set.
        config: The settings that categories depend on, with `num_categories`.
        parameters: Category -> named arrays or numbers; pickles.
        inputs: As of `Recipe`.
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
    """The settings of categories that were not searched for: only their number."""

    num_categories: int = option(1, "Categories.", minimum=1)


def imported_categories(dataset: str, systems: Sequence[IFS]) -> Categories:
    """Recipe of categories that are given, not searched for."""
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
    """What a set is made by.

    Attributes:
        categories: Recipe of the first stage.
        samples: Recipe of the second stage, from the categories of the first; None stands for categories that do not
            matter, as when settings are checked or a plan is made.
        word: What a sample is called in results, such as "clouds".
        in_order: Categories have to be searched one after the other, in one process.
        samples_per_shard: Of the second stage.
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
        """Categories in a shard; all, where splitting the search would repeat its beginning."""
        return len(self.categories) if self.in_order else _CATEGORIES_PER_SHARD


def generate_both(
    stages: TwoStages,
    out: str | Path,
    *,
    options: RunOptions = RunOptions(),
    make: Callable[[Any], Summary] | None = None,
) -> dict[str, Any]:
    """Generate the categories, then the samples, or what is missing of either.

    Of several jobs (`options.shard`) each searches its own part of the categories first and then those that the others
    have not found yet, since every sample may need any category.

    Args:
        stages: What to generate.
        out: Folder of the set, or its URL.
        options: As for `generate`.
        make: Makes the samples of a recipe; `generate` into `out` if None.

    Returns:
        Summaries of both sets as dictionaries.

    Raises:
        ConfigError: If settings do not go together.
        ValueError, OSError: As `generate`.
    """
    stages.samples(None)  # complains before the search, not after it
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
    return {"categories": dataclasses.asdict(found), stages.word: dataclasses.asdict(made)}


def verify_both(
    stages: TwoStages,
    out: str | Path,
    *,
    num_samples: int | None = None,
    options: RunOptions = RunOptions(),
    compare: Callable[[Any], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Generate categories and samples again and compare them with the stored ones.

    Args:
        stages: What the set was made by.
        out: Its folder.
        num_samples: How many of each to generate again, drawn at random; all if None.
        options: Executor and progress, as for `generate`.
        compare: Compares the samples of a recipe with stored ones; `verify` if None. Its result has `path`,
            `num_compared` and `mismatches`.

    Returns:
        Reports on both sets as dictionaries.

    Raises:
        ValueError: Naming what is not bit for bit the same.
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
    """What `generate_both` would take, judged by two seconds of categories and samples. Writes nothing."""
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
    """Systems of the .csv files below a folder by file name, such as the published 3DIFS_param.

    Returns:
        The systems, and the names of all other files.

    Raises:
        ValueError: If there are none, or naming file, row and column of what cannot be used.
        OSError: If the folder cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected one of published .csv files")
    entries = sorted((entry for entry in Path(folder).rglob("*") if entry.is_file()), key=lambda entry: entry.name)
    files = [entry for entry in entries if entry.suffix.lower() == ".csv"]
    if not files:
        raise ValueError(f"{folder} holds no .csv files; expected a published folder such as 3DIFS_param")
    return [read_ifs(file) for file in files], [entry.name for entry in entries if entry not in files]
