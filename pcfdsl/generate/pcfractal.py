"""PC-FractalDB on disk: its categories and its clouds as two stored sets, made, checked, read and exported.

out/             clouds: points, category, instance, num_redraws
out/categories/  systems: matrices, offsets, probabilities, and how the search for each went
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from tqdm import tqdm

from pcfdsl.config import from_dict
from pcfdsl.formula.csv_io import format_ifs, read_ifs
from pcfdsl.formula.ifs import IFS
from pcfdsl.generate.driver import Recipe, generate, plan
from pcfdsl.generate.pcfractal_recipes import CloudRecipe, ImportedCategoryRecipe, SearchedCategoryRecipe
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.generate.workers import Engine
from pcfdsl.pointcloud.pcfractal import FractalCloud, PCFractalConfig
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.store.export import encode_ply, require_no_other_files
from pcfdsl.store.paths import as_path
from pcfdsl.store.stored import StoredSet, open_set

__all__ = [
    "StoredPCFractalDB",
    "export_published",
    "generate_pcfractal",
    "plan_pcfractal",
    "read_categories",
    "verify_pcfractal",
]

_CATEGORIES = "categories"
_CATEGORIES_PER_SHARD = 16  # a search takes some hundred times as long as a cloud


class StoredPCFractalDB(Sequence[FractalCloud]):
    """A stored PC-FractalDB: the same items as `PCFractalDB`, read instead of made.

    Attributes:
        stored: The clouds as dictionaries of arrays.
        config: What they were made from.
        categories: The systems.

    Raises:
        FileNotFoundError: If there is none, or it is not finished.
        ValueError: If the folder holds something else, or files of it are damaged.
    """

    def __init__(self, path: str | Path):
        self.stored: StoredSet = open_set(path)
        manifest = self.stored.manifest
        if manifest.recipe != CloudRecipe.name:
            raise ValueError(f"{path} holds a set of {manifest.recipe}; expected one of {CloudRecipe.name}")
        self.config = from_dict(PCFractalConfig, manifest.config)
        found = open_set(as_path(path) / _CATEGORIES).manifest
        if found.inputs != manifest.inputs or not found.config.items() <= manifest.config.items():
            raise ValueError(
                f"{path} holds clouds of one set and categories of another, as when overwriting it was interrupted; "
                "run that command again, or the one that made the clouds with --overwrite"
            )
        self.categories = _read_systems(as_path(path) / _CATEGORIES)

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int) -> FractalCloud: ...
    @overload
    def __getitem__(self, index: slice) -> list[FractalCloud]: ...
    def __getitem__(self, index):
        """Cloud by its number, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sample = self.stored[index]
        counts = {name: int(sample[name]) for name in ("category", "instance", "num_redraws")}
        return FractalCloud(sample["points"], **counts)


def generate_pcfractal(
    config: PCFractalConfig,
    out: str | Path,
    *,
    categories: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    engine: Engine = "local",
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Find the categories, then make the clouds, or whatever of both is missing.

    Of several jobs (`shard`) each searches its own part of the categories first and then those that the others have
    not found yet, since every cloud may need any category.

    Args:
        config: The data set.
        out: Its folder.
        categories: Folder of published CSV files to use instead of a search.
        shard, workers, engine, overwrite, progress: As for `generate`.

    Returns:
        Summaries of both sets, and the names in the CSV folder that were passed over.

    Raises:
        ValueError, OSError: As `generate` and `read_categories`.
    """
    given, ignored = (None, []) if categories is None else read_categories(categories)
    CloudRecipe(config, given or [_ANY_SYSTEM] * config.num_categories)  # complains before the search, not after it
    recipe, per_shard = _category_recipe(config, given)
    how: dict[str, Any] = {"workers": workers, "engine": engine, "progress": progress}
    search = {"samples_per_shard": per_shard, "note": _note_acceptance, **how}
    where = as_path(out) / _CATEGORIES
    found = generate(recipe, where, shard=shard, overwrite=overwrite, **search)
    if not found.complete:
        found = generate(recipe, where, **search)
    clouds = CloudRecipe(config, given or _read_systems(where), imported=given is not None)
    made = generate(clouds, out, shard=shard, overwrite=overwrite, **how)
    result = {"categories": dataclasses.asdict(found), "clouds": dataclasses.asdict(made)}
    return result | ({"ignored": ignored} if ignored else {})


def verify_pcfractal(
    config: PCFractalConfig,
    out: str | Path,
    *,
    categories: str | Path | None = None,
    num_samples: int | None = None,
    workers: int = 1,
    engine: Engine = "local",
    progress: bool = True,
) -> dict[str, Any]:
    """Make categories and clouds again and compare them with the stored ones; arguments as `generate_pcfractal`.

    Args:
        num_samples: How many of each to make again, drawn at random; all if None.

    Raises:
        ValueError: Naming what is not bit for bit the same.
    """
    given = None if categories is None else read_categories(categories)[0]
    recipe, per_shard = _category_recipe(config, given)
    where = as_path(out) / _CATEGORIES
    settings: dict[str, Any] = {
        "num_samples": num_samples,
        "workers": workers,
        "engine": engine,
        "progress": progress,
    }
    reports = [verify(recipe, where, samples_per_shard=per_shard, **settings)]
    clouds = CloudRecipe(config, given or _read_systems(where), imported=given is not None)
    reports.append(verify(clouds, out, **settings))
    for report in reports:
        require_no_mismatches(report.path, report.mismatches, what="arrays")
    return dict(zip(("categories", "clouds"), map(dataclasses.asdict, reports), strict=True))


def plan_pcfractal(
    config: PCFractalConfig, *, categories: str | Path | None = None, workers: int = 1
) -> dict[str, Any]:
    """What `generate_pcfractal` would take, judged by two seconds of searches and clouds. Writes nothing."""
    given = None if categories is None else read_categories(categories)[0]
    recipe, per_shard = _category_recipe(config, given)
    search = plan(recipe, samples_per_shard=per_shard, workers=workers)
    systems = given or [_ANY_SYSTEM] * config.num_categories
    clouds = plan(CloudRecipe(config, systems, imported=given is not None), workers=workers)
    return {"categories": dataclasses.asdict(search), "clouds": dataclasses.asdict(clouds)}


def read_categories(folder: str | Path) -> tuple[list[IFS], list[str]]:
    """Systems of a published folder (`3DIFS_param`), by file name.

    Returns:
        The systems of its *.csv files, and the names of everything else in it.

    Raises:
        ValueError: If there are none, or naming file, row and column of what cannot be used.
        OSError: If the folder cannot be read.
    """
    entries = sorted(Path(folder).iterdir())
    files = [entry for entry in entries if entry.suffix.lower() == ".csv" and entry.is_file()]
    if not files:
        raise ValueError(f"{folder} holds no .csv files; expected a published folder such as 3DIFS_param")
    return [read_ifs(file) for file in files], [entry.name for entry in entries if entry not in files]


def export_published(path: str | Path, folder: str | Path, *, progress: bool = True) -> dict[str, int]:
    """Write a stored PC-FractalDB as the released scripts lay it out.

    `3DIFS_param/<category>.csv` and `3Dfractalmodel/<category>/<category>_<instance>.ply`, numbers with leading zeros
    to 6 and 4 digits. The PLY files are binary little-endian; their coordinates are float32, which loses nothing.

    Returns:
        How many files of each kind were written.

    Raises:
        OSError, ValueError: As `StoredPCFractalDB`, or if files cannot be written, or the folder holds files that
            this export would not replace, so that two sets would be mixed.
    """
    database, folder = StoredPCFractalDB(path), Path(folder)
    instances = database.config.num_instances
    names = {f"3DIFS_param/{k:06d}.csv" for k in range(len(database.categories))}
    names |= {"3Dfractalmodel/{0:06d}/{0:06d}_{1:04d}.ply".format(*divmod(i, instances)) for i in range(len(database))}
    require_no_other_files(folder, names, parts=("3DIFS_param", "3Dfractalmodel"))
    systems = make_folder(folder / "3DIFS_param")
    for k, ifs in enumerate(database.categories):
        write_file(systems / f"{k:06d}.csv", format_ifs(ifs).encode())
    for cloud in tqdm(database, desc="export", unit=" files", disable=not progress):
        models = make_folder(folder / "3Dfractalmodel" / f"{cloud.category:06d}")
        write_file(models / f"{cloud.category:06d}_{cloud.instance:04d}.ply", encode_ply(cloud.points))
    return {"csv_files": len(database.categories), "ply_files": len(database)}


# A Sierpinski tetrahedron, where any system does.
_ANY_SYSTEM = IFS.from_maps([np.eye(3) / 2] * 4, [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])


def _category_recipe(config: PCFractalConfig, given: Sequence[IFS] | None) -> tuple[Recipe, int]:
    if given is not None:
        return ImportedCategoryRecipe(given), _CATEGORIES_PER_SHARD
    # The published search is one sequence for all categories: splitting it would repeat its beginning.
    per_shard = config.num_categories if config.variant == "official" else _CATEGORIES_PER_SHARD
    return SearchedCategoryRecipe(config), per_shard


def _read_systems(path: Path) -> list[IFS]:
    return [IFS(s["matrices"], s["offsets"], s["probabilities"]) for s in open_set(path)]


def _note_acceptance(num_found: int, counters: dict[str, int]) -> str:
    draws = counters.get("num_draws", 0)
    return f"1 in {draws / num_found:,.0f} draws accepted" if draws else ""
