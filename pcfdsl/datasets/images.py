"""Labelled pictures from a recipe, shards, a folder, a .npz file or one of torchvision's data sets."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.generate.images import StoredImages
from pcfdsl.image.labelled import ImageSet
from pcfdsl.image.sets import ImageSetConfig, open_labelled_images
from pcfdsl.readers.arrays import read_arrays
from pcfdsl.readers.folders import files_below, folders_in
from pcfdsl.readers.pictures import PICTURE_FILES, check_picture, pixels_of, read_picture
from pcfdsl.rng import stream

__all__ = ["ArrayPictures", "ImageSourceConfig", "Pictures", "Subset", "few_per_class", "open_pictures"]


class Pictures(Protocol):
    """Labelled pictures; picklable, so that loaders can have several workers.

    Attributes:
        labels: [N] int64, indices into `classes`.
        classes: Names, in order.
    """

    labels: np.ndarray
    classes: tuple[str, ...]

    def picture(self, i: int) -> np.ndarray:
        """Picture i: uint8, [H, W] grey or [H, W, 3] RGB."""
        ...


@dataclass(frozen=True, kw_only=True)
class ImageSourceConfig:
    """Where pictures and labels come from."""

    kind: Literal["recipe", "shards", "folder", "npz", "torchvision", "none"] = option(
        "recipe",
        "recipe: generated on the fly; shards: written by generate_images; folder: CLASS/NAME.png; npz: arrays; "
        "torchvision: one of its sets, already on this machine",
        formerly={"stored": "shards"},
    )
    recipe: ImageSetConfig = option(ImageSetConfig(), "the recipe")
    path: str | None = option(None, "folder or file; for torchvision, its root")
    split: str | None = option(None, "folder: a sub-folder such as train or val; torchvision: train, test or another")
    images_key: str = option("images", "npz: uint8 [N, H, W] or [N, H, W, 3]")
    labels_key: str = option("labels", "npz: integers [N]")
    dataset: str | None = option(None, "torchvision: name of the class, such as CIFAR10 or OxfordIIITPet")
    fraction: float = option(1.0, "share of each class that is used; smaller shares are subsets of larger ones")
    per_class: int | None = option(None, "pictures of each class that are used; nested in the same way", minimum=1)
    subset_seed: int = option(0, "seed of that choice; keep it when comparing runs")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.kind in ("shards", "folder", "npz", "torchvision") and self.path is None:
            yield "path", f"is needed where kind is {self.kind}"
        if self.kind == "torchvision" and self.dataset is None:
            yield "dataset", "is needed where kind is torchvision, such as CIFAR10"
        if not 0 < self.fraction <= 1:
            yield "fraction", f"is {self.fraction}; expected more than 0, at most 1"
        if self.fraction < 1 and self.per_class is not None:
            yield "per_class", "give either fraction or per_class"


def open_pictures(config: ImageSourceConfig) -> Pictures:
    """Open a source of pictures. Nothing is downloaded; a recipe's categories are searched when first needed.

    Raises:
        OSError, ValueError: If files cannot be used.
        ConfigError: If the kind is none.
    """
    pictures = _open(config)
    if config.per_class is None and config.fraction == 1:
        return pictures
    return Subset(
        pictures,
        few_per_class(pictures.labels, fraction=config.fraction, per_class=config.per_class, seed=config.subset_seed),
    )


def few_per_class(
    labels: np.ndarray, *, per_class: int | None = None, fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Rows of a class-balanced subset, ascending; at least one of each class. Smaller subsets are parts of larger ones.

    Raises:
        ValueError: If a class has fewer than `per_class`.

    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> a, b = few_per_class(labels, per_class=1), few_per_class(labels, per_class=2)
    >>> labels[b].tolist(), set(a) < set(b)
    ([0, 0, 1, 1], True)
    """
    kept = []
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(rows))) if per_class is None else per_class
        if count > len(rows):
            raise ValueError(f"class {label} has {len(rows)} pictures, fewer than {count}; lower per_class")
        kept.append(stream(seed, "few per class", label).permutation(rows)[:count])
    return np.sort(np.concatenate(kept))


class ArrayPictures:
    """Pictures in memory.

    Args:
        images: uint8 [N, H, W] or [N, H, W, 3].
        labels: [N] integers from 0.
        classes: Class names; None: the numbers.

    Raises:
        ValueError: If shapes, types or labels do not fit.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None):
        labels = np.asarray(labels)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise ValueError(f"images are {images.dtype} {images.shape}; expected uint8 [N, H, W] or [N, H, W, 3]")
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or not len(labels):
            raise ValueError(f"labels are {labels.dtype} {labels.shape}; expected {len(images)} > 0 integers")
        self.images, self.labels = images, labels.astype(np.int64)
        self.classes = tuple(classes or map(str, range(int(labels.max()) + 1)))
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise ValueError(f"labels go from {labels.min()} to {labels.max()}; expected 0 to {len(self.classes) - 1}")

    def picture(self, i: int) -> np.ndarray:
        """Picture i."""
        return self.images[i]


class Subset:
    """A selection of other pictures, in the order of `rows`."""

    def __init__(self, pictures: Pictures, rows: np.ndarray):
        self.pictures, self.rows = pictures, rows
        self.labels, self.classes = pictures.labels[rows], pictures.classes

    def picture(self, i: int) -> np.ndarray:
        """Picture i of the selection."""
        return self.pictures.picture(int(self.rows[i]))


class _Generated:
    def __init__(self, images: ImageSet):
        self.set = images
        self.labels = np.repeat(np.arange(images.num_categories), images.num_instances)
        self.classes = tuple(f"{k:05d}" for k in range(images.num_categories))

    def picture(self, i: int) -> np.ndarray:
        return self.set[i].image


class _Folder:
    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        names = [entry.name for entry in folders_in(folder)]
        found = [files_below(folder / name, PICTURE_FILES) for name in names]
        bad = {path: why for files in found for path in files if (why := check_picture(path))}
        found = [[path for path in files if path not in bad] for files in found]
        listed = "".join(f"\n  {path.relative_to(folder)}: {why}" for path, why in bad.items())
        empty = [name for name, files in zip(names, found, strict=True) if not files]
        if not names or empty:
            what = f"classes without pictures: {', '.join(empty)}" if empty else "no sub-folders"
            raise ValueError(f"{folder} has {what}; expected one sub-folder with pictures for each class{listed}")
        if bad:
            print(f"note: {len(bad)} of the files in {folder} are left out:{listed}", file=sys.stderr)
        self.classes = tuple(names)
        self.files = [file for files in found for file in files]
        self.labels = np.repeat(np.arange(len(names)), [len(files) for files in found])

    def picture(self, i: int) -> np.ndarray:
        return read_picture(self.files[i])


class _Torchvision:
    def __init__(self, config: ImageSourceConfig):
        from torchvision import datasets

        assert config.dataset is not None
        make: Any = getattr(datasets, config.dataset, None)
        if not isinstance(make, type) or not issubclass(make, datasets.VisionDataset):
            raise ConfigError([("dataset", f"torchvision has no set {config.dataset!r}")])
        self.set = _local(make, config)
        labels = next((getattr(self.set, name) for name in _LABELS if hasattr(self.set, name)), None)
        if labels is None:  # sets that use another name
            labels = [self.set[i][1] for i in range(len(self.set))]
        self.labels = np.asarray(labels, np.int64)
        names = getattr(self.set, "classes", None) or range(int(self.labels.max()) + 1)
        self.classes = tuple(map(str, names))

    def picture(self, i: int) -> np.ndarray:
        return pixels_of(self.set[i][0])


_LABELS = ("targets", "_labels", "labels")


def _local(make: Any, config: ImageSourceConfig) -> Any:
    """Open a torchvision set. They take the split as `split`, as `train`, or not at all."""
    choices = [{}] if config.split is None else [{"split": config.split}, {"train": config.split == "train"}]
    for choice in choices:
        try:
            return make(config.path, **choice)
        except TypeError:
            continue
        except RuntimeError as error:
            raise FileNotFoundError(f"{config.path} does not hold {config.dataset} ({error})") from error
    raise ConfigError([("split", f"is {config.split!r}, but torchvision's {config.dataset} does not take it")])


def _open(config: ImageSourceConfig) -> Pictures:
    if config.kind == "none":
        raise ConfigError(
            [("kind", "is none, which has no pictures; choose recipe, shards, folder, npz or torchvision")]
        )
    if config.kind == "recipe":
        return _Generated(open_labelled_images(config.recipe))
    assert config.path is not None
    if config.kind == "shards":
        return _Generated(StoredImages(config.path))
    if config.kind == "folder":
        return _Folder(Path(config.path) / (config.split or ""))
    if config.kind == "torchvision":
        return _Torchvision(config)
    try:
        arrays = read_arrays(config.path, (config.images_key, config.labels_key))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {config.path}") from None
    return ArrayPictures(arrays[config.images_key], arrays[config.labels_key])
