"""Image sets on disk, as shards, image folders or WebDataset tars: generating, verifying and reading.

out/             the images: shards with image, category, instance, num_redraws (SegRCDB: image, mask; several fractals
                 in one: image, category_mask), or files
out/categories/  the parameters of each category, as a stored set of its own
out/param/       for image folders: the same parameters as one CSV file per category, as released
"""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from tqdm import tqdm

from pcfdsl.config import check_argument, from_dict, to_dict, within
from pcfdsl.formula.csv_io import format_ifs, systems_checksum
from pcfdsl.formula.ifs import IFS
from pcfdsl.generate.driver import RunOptions, Summary, generate, make_sample, manifest_of
from pcfdsl.generate.files import compare_files, refuse_joint_removal, remove_other_files, write_image_files
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
from pcfdsl.image.fractaldb import FractalDB
from pcfdsl.image.labelled import ImageRecipe, ImageSet, LabelledImage
from pcfdsl.image.sets import FRACTAL_SETS, ImageSetConfig, ImageSetName, open_images
from pcfdsl.store.atomic import write_file
from pcfdsl.store.paths import as_path
from pcfdsl.store.stored import StoredSet, open_set

__all__ = [
    "IMAGE_FORMATS",
    "ImageFormat",
    "StoredImages",
    "generate_images",
    "plan_images",
    "searched_categories",
    "verify_images",
]

ImageFormat = Literal["shards", "folder", "webdataset"]
IMAGE_FORMATS = get_args(ImageFormat)

_SHARD_BYTES = 2**26


class StoredImages(ImageSet):
    """A stored set of labelled images: the same items as from `open_images`, read from disk.

    Attributes:
        stored: The samples as dictionaries of arrays.
        config: The settings that they were made from.

    Raises:
        FileNotFoundError: If there is none, or it is incomplete.
        ValueError: If the folder holds another kind of set, or is damaged.
    """

    def __init__(self, path: str | Path):
        self.stored: StoredSet = open_set(path)
        manifest = self.stored.manifest
        labelled = set(get_args(ImageSetName)) - {"segrcdb", "multi_fractal"}
        if manifest.recipe not in labelled or "file_format" in manifest.inputs:
            what = f"a set of {manifest.recipe}" + (", as files" if "file_format" in manifest.inputs else "")
            raise ValueError(f"{path} holds {what}; expected shards of one of {', '.join(sorted(labelled))}")
        self.name = manifest.recipe
        self.config = from_dict(ImageSetConfig, {"dataset": manifest.recipe, manifest.recipe: manifest.config})
        super().__init__(self.config.chosen.num_categories, self.config.chosen.num_instances)
        self._parameters: StoredSet = open_categories(path)

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
    options: RunOptions = RunOptions(),
) -> dict[str, Any]:
    """Find the categories, then draw the images; resumes a set that is incomplete.

    Args:
        config: The set.
        out: Its folder.
        image_format: Shards, or files for other programs.
        categories: For fractals: folder of released CSV files, at any depth, to use instead of a search.
        options: As for `pcfdsl.generate.driver.generate`.

    Returns:
        Summaries of both sets.

    Raises:
        ConfigError: If settings are inconsistent.
        ValueError, OSError: As for `generate` and `read_systems`.
    """
    check_argument("config", config, ImageSetConfig)
    if options.overwrite:
        refuse_joint_removal(out, to_dict(config.chosen), image_format, options.shard)
    stages = _stages(config, None if categories is None else read_systems(categories)[0])

    def make(images: ImageRecipe) -> Summary:
        if isinstance(images, FractalDB) and options.shard[0] == 0 and (warning := images.sparsity_warning()):
            print(f"note: {warning}", file=sys.stderr)
        if image_format != "shards":
            return write_image_files(images, out, image_format, options=options)
        if options.overwrite:
            make_sample(images, 0)  # settings that cannot produce a sample must not destroy an existing set
            remove_other_files(out, manifest_of(images, stages.samples_per_shard))
        return generate(images, out, options=options, samples_per_shard=stages.samples_per_shard)

    result = generate_both(stages, out, options=options, make=make)
    if image_format == "folder":
        _write_parameters(config, out, progress=options.progress)
    return result


def verify_images(
    config: ImageSetConfig,
    out: str | Path,
    *,
    image_format: ImageFormat = "shards",
    categories: str | Path | None = None,
    num_samples: int | None = None,
    options: RunOptions = RunOptions(),
) -> dict[str, Any]:
    """Regenerate categories and images and compare them with the stored ones; see `verify_both`.

    Picture files are redrawn in this process.
    """
    stages = _stages(config, None if categories is None else read_systems(categories)[0])

    if image_format == "shards":
        return verify_both(stages, out, num_samples=num_samples, options=options)

    def compare(images: ImageRecipe) -> dict[str, Any]:
        count, mismatches = compare_files(images, out, image_format, num_samples=num_samples)
        return {"path": str(out), "num_compared": count, "mismatches": mismatches}

    return verify_both(stages, out, num_samples=num_samples, options=options, compare=compare)


def plan_images(config: ImageSetConfig, *, categories: str | Path | None = None, workers: int = 1) -> dict[str, Any]:
    """Estimate the cost of `generate_images`; see `plan_both`.

    Sizes are those of shards; as PNG files, most sets take a tenth to a third of that.
    """
    return plan_both(_stages(config, None if categories is None else read_systems(categories)[0]), workers=workers)


def samples_per_shard(config: ImageSetConfig) -> int:
    """Number of images in a shard of about 64 MB, a power of two."""
    chosen = config.chosen
    channels = 3 if getattr(getattr(chosen, "draw", chosen), "color", config.dataset == "multi_fractal") else 1
    return 2 ** max(4, min(12, (_SHARD_BYTES // (chosen.image_size**2 * channels)).bit_length() - 1))


def searched_categories(config: ImageSetConfig) -> Categories:
    """Recipe whose sample k holds the parameters of category k, which for fractals are searched for."""
    images = open_images(config)
    return Categories(f"{images.name}_categories", config.chosen, _Parameters(images, config.dataset))


@dataclass(frozen=True, eq=False)
class _Parameters:
    """Parameters of a category; problems of a search have the key paths of `ImageSetConfig`."""

    images: ImageRecipe
    place: str

    def __call__(self, category: int) -> dict[str, np.ndarray | float]:
        with within(self.place):
            return self.images.category_parameters(category)


def _stages(config: ImageSetConfig, given: Sequence[IFS] | None) -> TwoStages:
    def images(categories: Sequence[dict[str, np.ndarray]] | None) -> ImageRecipe:
        systems = given
        if systems is None and categories is not None and config.dataset in FRACTAL_SETS:
            systems = systems_of(categories)
        images = open_images(config, systems)
        if given:
            images.inputs = {"categories": systems_checksum(given)}
        return images

    return TwoStages(
        categories=imported_categories(config.dataset, given) if given else searched_categories(config),
        samples=images,
        word="images",
        in_order=not given and getattr(config.chosen, "variant", "native") == "released",
        samples_per_shard=samples_per_shard(config),
    )


def _write_parameters(config: ImageSetConfig, out: str | Path, *, progress: bool) -> None:
    """Write one CSV per category: for fractals one row per map, as released; for others a key and value per row."""
    folder = as_path(out) / "param"
    first = 1 if config.dataset == "segrcdb" else 0  # its files are numbered by label
    for k, sample in enumerate(tqdm(open_categories(out), desc="param", unit=" files", disable=not progress)):
        text = format_ifs(systems_of([sample])[0]) if "matrices" in sample else _rows(config, sample)
        write_file(folder / f"{k + first:05d}.csv", text.encode(), durable=False)


# Names and order of the nine parameters in the released RCDB script.
_RELEASED_ROWS = {
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
    if config.dataset == "rcdb" and config.rcdb.variant == "released":
        sample = {name: np.atleast_1d(sample[key])[i] for name, (key, i) in _RELEASED_ROWS.items()}
    for key, value in sample.items():
        writer.writerow([key, *np.atleast_1d(value).tolist()])
    return content.getvalue()
