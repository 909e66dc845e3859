"""Image sets on disk, as shards, as image folders or as WebDataset tars: made, checked, and read back.

out/             the images: shards with image, category, instance, num_redraws (SegRCDB: image, mask), or files
out/categories/  what defines each category, as a stored set of its own
out/param/       beside image folders: the same as one CSV file per category, as published
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from tqdm import tqdm

from pcfdsl.config import from_dict
from pcfdsl.formula.csv_io import format_ifs, read_ifs
from pcfdsl.formula.ifs import IFS
from pcfdsl.generate.driver import Recipe, generate, make_sample, manifest_of, plan
from pcfdsl.generate.files import compare_files, remove_other_files, write_image_files
from pcfdsl.generate.image_recipes import ImageCategoryRecipe, ImageRecipe, ImportedImageCategoryRecipe, PairRecipe
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.generate.workers import Engine
from pcfdsl.image.labelled import ImageSet, LabelledImage
from pcfdsl.image.sets import FRACTAL_SETS, ImageSetConfig
from pcfdsl.store.atomic import write_file
from pcfdsl.store.paths import as_path
from pcfdsl.store.stored import StoredSet, open_set

__all__ = ["IMAGE_FORMATS", "ImageFormat", "StoredImages", "generate_images", "plan_images", "verify_images"]

ImageFormat = Literal["shards", "folder", "webdataset"]
IMAGE_FORMATS = get_args(ImageFormat)

_CATEGORIES = "categories"
_CATEGORIES_PER_SHARD = 16  # a search takes longer than a picture
_SHARD_BYTES = 2**26


class StoredImages(ImageSet):
    """A stored set of labelled images: the same items as `open_images` gives, read instead of made.

    Attributes:
        stored: The samples as dictionaries of arrays.
        config: What they were made from.

    Raises:
        FileNotFoundError: If there is none, or it is not finished.
        ValueError: If the folder holds something else, or files of it are damaged.
    """

    def __init__(self, path: str | Path):
        self.stored: StoredSet = open_set(path)
        manifest = self.stored.manifest
        fields = {field.name for field in dataclasses.fields(ImageSetConfig)} - {"dataset", "segrcdb"}
        if manifest.recipe not in fields or "file_format" in manifest.inputs:
            what = f"a set of {manifest.recipe}" + (", as files" if "file_format" in manifest.inputs else "")
            raise ValueError(f"{path} holds {what}; expected shards of one of {', '.join(sorted(fields))}")
        self.config = from_dict(ImageSetConfig, {"dataset": manifest.recipe, manifest.recipe: manifest.config})
        super().__init__(self.config.chosen.num_categories, self.config.chosen.num_instances)
        self._parameters: StoredSet = open_set(as_path(path) / _CATEGORIES)

    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """The numbers that define a category."""
        return {key: array if array.ndim else array.item() for key, array in self._parameters[category].items()}

    def instance(self, category: int, instance: int) -> LabelledImage:
        """One image."""
        sample = self.stored[category * self.num_instances + instance]
        numbers = {key: int(sample[key]) for key in ("category", "instance", "num_redraws")}
        return LabelledImage(sample["image"], **numbers)


def generate_images(
    config: ImageSetConfig,
    out: str | Path,
    *,
    image_format: ImageFormat = "shards",
    categories: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    engine: Engine = "local",
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Make the categories, then the images, or whatever of both is missing.

    Args:
        config: The set.
        out: Its folder.
        image_format: Shards, or files that other programs read.
        categories: For fractals: folder of published CSV files, at any depth, to use instead of a search.
        shard, workers, engine, overwrite, progress: As for `pcfdsl.generate.driver.generate`.

    Returns:
        Summaries of both sets.

    Raises:
        ConfigError: If settings do not go together.
        ValueError, OSError: As `generate` and `read_systems`.
    """
    given = None if categories is None else read_systems(categories)
    _image_recipe(config, given, imported=given is not None)  # complains before the search, not after it
    recipe, per_shard = _category_recipe(config, given)
    how: dict[str, Any] = {"workers": workers, "engine": engine, "progress": progress}
    where = as_path(out) / _CATEGORIES
    found = generate(recipe, where, shard=shard, overwrite=overwrite, samples_per_shard=per_shard, **how)
    if not found.complete:
        found = generate(recipe, where, samples_per_shard=per_shard, **how)
    images = _image_recipe(config, given or _found_systems(config, where), imported=given is not None)
    if image_format == "shards":
        per_shard = samples_per_shard(config)
        if overwrite:
            make_sample(images, 0)  # settings from which nothing can be made shall not cost the set that is there
            remove_other_files(out, manifest_of(images, per_shard))
        made = generate(images, out, shard=shard, overwrite=overwrite, samples_per_shard=per_shard, **how)
    else:
        made = write_image_files(images, out, image_format, shard=shard, overwrite=overwrite, **how)
    if image_format == "folder":
        _write_parameters(config, where, as_path(out) / "param", progress=progress)
    return {"categories": dataclasses.asdict(found), "images": dataclasses.asdict(made)}


def verify_images(
    config: ImageSetConfig,
    out: str | Path,
    *,
    image_format: ImageFormat = "shards",
    categories: str | Path | None = None,
    num_samples: int | None = None,
    workers: int = 1,
    engine: Engine = "local",
    progress: bool = True,
) -> dict[str, Any]:
    """Make categories and images again and compare them with the stored ones; arguments as `generate_images`.

    Args:
        num_samples: How many of each to make again; all if None. Of files, drawn in this process.

    Raises:
        ValueError: Naming what is not the same.
    """
    given = None if categories is None else read_systems(categories)
    recipe, per_shard = _category_recipe(config, given)
    where = as_path(out) / _CATEGORIES
    how: dict[str, Any] = {"num_samples": num_samples, "workers": workers, "engine": engine, "progress": progress}
    report = dataclasses.asdict(verify(recipe, where, samples_per_shard=per_shard, **how))
    images = _image_recipe(config, given or _found_systems(config, where), imported=given is not None)
    if image_format == "shards":
        checked = dataclasses.asdict(verify(images, out, samples_per_shard=samples_per_shard(config), **how))
    else:
        count, mismatches = compare_files(images, out, image_format, num_samples=num_samples)
        checked = {"path": str(out), "num_compared": count, "mismatches": mismatches}
    for part in (report, checked):
        require_no_mismatches(part["path"], part["mismatches"])
    return {"categories": report, "images": checked}


def plan_images(config: ImageSetConfig, *, categories: str | Path | None = None, workers: int = 1) -> dict[str, Any]:
    """What `generate_images` would take, judged by two seconds of categories and images. Writes nothing.

    Bytes are those of shards; as PNG files, most sets take a tenth to a third of them.
    """
    given = None if categories is None else read_systems(categories)
    recipe, per_shard = _category_recipe(config, given)
    found = plan(recipe, samples_per_shard=per_shard, workers=workers)
    images = _image_recipe(config, given, imported=given is not None)
    made = plan(images, samples_per_shard=samples_per_shard(config), workers=workers)
    return {"categories": dataclasses.asdict(found), "images": dataclasses.asdict(made)}


def read_systems(folder: str | Path) -> list[IFS]:
    """Systems of all CSV files below a folder, by file name: a published `csv_rate0.2_category1000`, or `3DIFS_param`.

    Raises:
        ValueError: If there are none, or naming file, row and column of what cannot be used.
        OSError: If the folder cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected one of published .csv files")
    files = sorted(Path(folder).rglob("*.csv"), key=lambda file: file.name)
    if not files:
        raise ValueError(f"{folder} holds no .csv files; expected a published folder such as csv_rate0.2_category1000")
    return [read_ifs(file) for file in files]


def samples_per_shard(config: ImageSetConfig) -> int:
    """As many images as make a shard of about 64 MB, a power of two."""
    chosen = config.chosen
    channels = 3 if getattr(getattr(chosen, "draw", None), "color", False) else 1
    return 2 ** max(4, min(12, (_SHARD_BYTES // (chosen.image_size**2 * channels)).bit_length() - 1))


def _category_recipe(config: ImageSetConfig, given: Sequence[IFS] | None) -> tuple[Recipe, int]:
    if given is not None:
        return ImportedImageCategoryRecipe(config.dataset, given), _CATEGORIES_PER_SHARD
    # The published sequences run through all categories: splitting them would repeat their beginning.
    official = getattr(config.chosen, "variant", "native") == "official"
    return ImageCategoryRecipe(config), config.chosen.num_categories if official else _CATEGORIES_PER_SHARD


def _image_recipe(config: ImageSetConfig, systems: Sequence[IFS] | None, *, imported: bool) -> ImageRecipe | PairRecipe:
    return PairRecipe(config) if config.dataset == "segrcdb" else ImageRecipe(config, systems, imported=imported)


def _found_systems(config: ImageSetConfig, path: Path) -> list[IFS] | None:
    if config.dataset not in FRACTAL_SETS:
        return None
    return [IFS(s["matrices"], s["offsets"], s["probabilities"]) for s in open_set(path)]


def _write_parameters(config: ImageSetConfig, path: Path, folder: Path, *, progress: bool) -> None:
    """One CSV per category: of fractals a row per map, as published; of others a key and its value per row."""
    first = 1 if config.dataset == "segrcdb" else 0  # its files go by labels
    for k, sample in enumerate(tqdm(open_set(path), desc="param", unit=" files", disable=not progress)):
        if "matrices" in sample:
            text = format_ifs(IFS(sample["matrices"], sample["offsets"], sample["probabilities"]))
        else:
            text = _rows(config, sample)
        write_file(folder / f"{k + first:05d}.csv", text.encode(), durable=False)


# What the released RCDB script calls its nine parameters, in its order.
_PUBLISHED_ROWS = {
    "Vertex": ("num_vertices", 0),
    "Perlin_noise": ("noise", 0),
    "line_width": ("step", 0),
    "Center_rad": ("radius", 0),
    "Line_num": ("num_polygons", 0),
    "Oval_rate_x": ("oval", 0),
    "Oval_rate_y": ("oval", 1),
    "start_pos_h": ("start", 0),
    "start_pos_w": ("start", 1),
}


def _rows(config: ImageSetConfig, sample: dict[str, np.ndarray]) -> str:
    content = io.StringIO()
    writer = csv.writer(content)  # ends lines with \r\n, as the released script's files do
    if config.dataset == "rcdb" and config.rcdb.variant == "official":
        sample = {name: np.atleast_1d(sample[key])[i] for name, (key, i) in _PUBLISHED_ROWS.items()}
    for key, value in sample.items():
        writer.writerow([key, *np.atleast_1d(value).tolist()])
    return content.getvalue()
