"""PC-FractalDB on disk, categories and clouds as two stored sets: generating, verifying, reading and exporting.

out/             clouds: points, category, instance, num_redraws
out/categories/  systems: matrices, offsets, probabilities, and the statistics of each search
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from pcfdsl.config import check_argument, from_dict, option
from pcfdsl.formula.csv_io import format_ifs, systems_checksum
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.two_stage import (
    Categories,
    TwoStages,
    generate_both,
    imported_categories,
    open_categories,
    plan_both,
    read_systems,
    systems_of,
    verify_both,
)
from pcfdsl.pointcloud.pcfractal import CloudSequence, FractalCloud, PCFractalConfig, PCFractalDB, open_pcfractal
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.store.export import encode_ply, require_no_other_files
from pcfdsl.store.stored import StoredSet, open_set

__all__ = [
    "StoredPCFractalDB",
    "export_released",
    "generate_pcfractal",
    "plan_pcfractal",
    "searched_categories",
    "verify_pcfractal",
]


class StoredPCFractalDB(CloudSequence):
    """A stored PC-FractalDB: the same items as `PCFractalDB`, read from disk.

    Attributes:
        stored: The clouds as dictionaries of arrays.
        config: The settings that they were made from.
        categories: The systems.

    Raises:
        FileNotFoundError: If there is none, or it is incomplete.
        ValueError: If the folder holds another kind of set, or is damaged.
    """

    def __init__(self, path: str | Path):
        self.stored: StoredSet = open_set(path)
        manifest = self.stored.manifest
        if manifest.recipe != PCFractalDB.name:
            raise ValueError(
                f"{path} holds a set of {manifest.recipe}; expected one of {PCFractalDB.name} "
                "(pcfdsl export-pcfractal writes any set with --layout webdataset or parquet)"
            )
        self.config = from_dict(PCFractalConfig, manifest.config)
        categories = open_categories(path)
        found = categories.manifest
        if found.inputs != manifest.inputs or not found.config.items() <= manifest.config.items():
            raise ValueError(
                f"{path} holds clouds of one set and categories of another, perhaps from an interrupted overwrite; "
                "rerun that command, or the one that made the clouds with --overwrite"
            )
        self.categories = systems_of(categories)

    def __len__(self) -> int:
        return len(self.stored)

    def item(self, index: int) -> FractalCloud:
        """Cloud `index`, 0 to len - 1."""
        sample = self.stored[index]
        counts = {name: int(sample[name]) for name in ("category", "instance", "num_redraws")}
        return FractalCloud(sample["points"], **counts)


def generate_pcfractal(
    config: PCFractalConfig,
    out: str | Path,
    *,
    categories: str | Path | None = None,
    options: RunOptions = RunOptions(),
) -> dict[str, Any]:
    """Find the categories, then generate the clouds; resumes a set that is incomplete.

    Args:
        config: The data set.
        out: Its folder.
        categories: Folder of released CSV files to use instead of a search.
        options: As for `generate`; for `shard` see `generate_both`.

    Returns:
        As `generate_both`, and the names of ignored files in the CSV folder.

    Raises:
        ValueError, OSError: As for `generate` and `read_systems`.
    """
    check_argument("config", config, PCFractalConfig)
    given, ignored = (None, []) if categories is None else read_systems(categories)
    result = generate_both(_stages(config, given), out, options=options)
    return result | ({"ignored": ignored} if ignored else {})


def verify_pcfractal(
    config: PCFractalConfig,
    out: str | Path,
    *,
    categories: str | Path | None = None,
    num_samples: int | None = None,
    options: RunOptions = RunOptions(),
) -> dict[str, Any]:
    """Regenerate categories and clouds and compare them with the stored ones; see `verify_both`."""
    given = None if categories is None else read_systems(categories)[0]
    return verify_both(_stages(config, given), out, num_samples=num_samples, options=options)


def plan_pcfractal(
    config: PCFractalConfig, *, categories: str | Path | None = None, workers: int = 1
) -> dict[str, Any]:
    """Estimate the cost of `generate_pcfractal`; see `plan_both`."""
    given = None if categories is None else read_systems(categories)[0]
    return plan_both(_stages(config, given), workers=workers)


def export_released(path: str | Path, folder: str | Path, *, progress: bool = True) -> dict[str, int]:
    """Export a stored PC-FractalDB in the layout of the released scripts.

    `3DIFS_param/<category>.csv` and `3Dfractalmodel/<category>/<category>_<instance>.ply`, with numbers zero-padded to
    6 and 4 digits. The PLY files are binary little-endian; their float32 coordinates are lossless. Files are not synced
    to disk one by one, which takes four times as long; after a power failure, export again.

    Returns:
        The number of files of each kind.

    Raises:
        OSError, ValueError: As for `StoredPCFractalDB`, or if files cannot be written, or the folder holds files that
            this export would not replace.
    """
    database, folder = StoredPCFractalDB(path), Path(folder)
    instances = database.config.num_instances
    names = {f"3DIFS_param/{k:06d}.csv" for k in range(len(database.categories))}
    names |= {"3Dfractalmodel/{0:06d}/{0:06d}_{1:04d}.ply".format(*divmod(i, instances)) for i in range(len(database))}
    require_no_other_files(folder, names, parts=("3DIFS_param", "3Dfractalmodel"))
    systems = make_folder(folder / "3DIFS_param")
    for k, ifs in enumerate(database.categories):
        write_file(systems / f"{k:06d}.csv", format_ifs(ifs).encode(), durable=False)
    for cloud in tqdm(database, desc="export", unit=" files", disable=not progress):
        models = make_folder(folder / "3Dfractalmodel" / f"{cloud.category:06d}")
        name = f"{cloud.category:06d}_{cloud.instance:04d}.ply"
        write_file(models / name, encode_ply(cloud.points), durable=False)  # the stored set has it too
    return {"csv_files": len(database.categories), "ply_files": len(database)}


# A Sierpinski tetrahedron, where any system will do.
_ANY_SYSTEM = IFS.from_maps([np.eye(3) / 2] * 4, [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])


@dataclass(frozen=True, kw_only=True)
class SearchedCategoriesConfig:
    """The settings that categories depend on."""

    variant: Literal["native", "released"] = option(
        "native", "as in the whole recipe", formerly={"official": "released"}
    )
    seed: int = option(0, "root of every random decision")
    num_categories: int = option(1000, "categories", minimum=1, maximum=10_000_000)
    search: SearchConfig = option(SearchConfig(), "how categories are found")


def searched_categories(config: PCFractalConfig) -> Categories:
    """Recipe whose sample k is category k with its variances and search statistics."""
    own = {field.name: getattr(config, field.name) for field in dataclasses.fields(SearchedCategoriesConfig)}
    search = partial(_search, open_pcfractal(config))
    return Categories("pcfractal_categories", SearchedCategoriesConfig(**own), search)


def _search(database: PCFractalDB, category: int) -> dict[str, Any]:
    found = database.search(category)
    counts = {"num_draws": found.num_draws}
    counts |= {f"num_rejected_{reason}": count for reason, count in found.rejected.items()}
    return {**found.ifs.arrays(), "variances": np.array(found.variances), **counts}


def _stages(config: PCFractalConfig, given: Sequence[IFS] | None) -> TwoStages:
    def clouds(categories: Sequence[dict[str, np.ndarray]] | None) -> PCFractalDB:
        found = [_ANY_SYSTEM] * config.num_categories if categories is None else systems_of(categories)
        database = open_pcfractal(config, given or found)
        if given:
            database.inputs = {"categories": systems_checksum(given)}
        return database

    return TwoStages(
        categories=imported_categories("pcfractal", given) if given else searched_categories(config),
        samples=clouds,
        word="clouds",
        in_order=not given and config.variant == "released",
        note=_note_acceptance,
    )


def _note_acceptance(num_found: int, counters: dict[str, int]) -> str:
    draws = counters.get("num_draws", 0)
    return f"1 in {draws / num_found:,.0f} draws accepted" if draws else ""
