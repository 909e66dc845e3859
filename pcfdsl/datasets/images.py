"""Labelled pictures from a recipe, shards, folders, published files, torchvision's data sets, or drawn furniture."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pcfdsl.config import REQUIRED, ConfigError, Settings, option, within
from pcfdsl.datasets.pictures import ArrayPictures, Pictures
from pcfdsl.generate.images import StoredImages
from pcfdsl.image.labelled import ImageSet
from pcfdsl.image.multi_fractal import MultiFractal
from pcfdsl.image.sets import ImageSetConfig, open_images, open_labelled_images
from pcfdsl.readers.arrays import read_arrays
from pcfdsl.readers.cifar import find_cifar, read_cifar
from pcfdsl.readers.folders import files_below, folders_in, has_ending
from pcfdsl.readers.idx import find_idx, read_idx
from pcfdsl.readers.pictures import PICTURE_FILES, check_picture, pixels_of, read_picture
from pcfdsl.scene.primitive_pictures import PrimitivePictures

__all__ = [
    "DownloadedPictures",
    "FolderPictures",
    "FurniturePictures",
    "NoPictures",
    "NpzPictures",
    "PictureSource",
    "RecipePictures",
    "ShardPictures",
    "TorchvisionPictures",
    "open_pictures",
    "pictures_in",
]


@dataclass(frozen=True, kw_only=True)
class RecipePictures(Settings):
    """Pictures of an image set, generated on the fly."""

    kind: Literal["recipe"] = option("recipe", "pictures of an image set, generated on the fly")
    recipe: ImageSetConfig = option(ImageSetConfig(), "the image set")


@dataclass(frozen=True, kw_only=True)
class ShardPictures(Settings):
    """Pictures generated earlier and stored as shards."""

    kind: Literal["shards"] = option("shards", "pictures written by generate-images", formerly={"stored": "shards"})
    path: str = option(REQUIRED, "folder of the set")


@dataclass(frozen=True, kw_only=True)
class FolderPictures(Settings):
    """Pictures in a folder with a sub-folder for each class."""

    kind: Literal["folder"] = option("folder", "a folder of pictures, CLASS/NAME.png")
    path: str = option(REQUIRED, "the folder")
    split: str | None = option(None, "its sub-folder that is used, such as train or val; null: the folder itself")


@dataclass(frozen=True, kw_only=True)
class DownloadedPictures(Settings):
    """A small data set in the files that its authors publish."""

    kind: Literal["downloaded"] = option(
        "downloaded", "MNIST, Fashion-MNIST (idx files, packed or not), CIFAR-10 or CIFAR-100 (pickles or binary)"
    )
    path: str = option(REQUIRED, "folder of its files")
    split: Literal["train", "test"] = option("train", "which part")


@dataclass(frozen=True, kw_only=True)
class FurniturePictures(Settings):
    """Pictures of the furniture of primitives, drawn on the fly."""

    kind: Literal["furniture"] = option("furniture", "pictures of furniture made of primitives, drawn on the fly")
    split: Literal["train", "val"] = option("train", "train and val have furniture of different proportions")
    size: int = option(32, "side of a picture, pixels", minimum=8, maximum=4_096)
    num_per_class: int = option(300, "pictures of each of the ten classes", minimum=1, maximum=10_000_000)


@dataclass(frozen=True, kw_only=True)
class NpzPictures(Settings):
    """Pictures and labels in a .npz file."""

    kind: Literal["npz"] = option("npz", "arrays in a .npz file")
    path: str = option(REQUIRED, "the file")
    images_key: str = option("images", "name of the array of pictures, uint8 [N, H, W] or [N, H, W, 3]")
    labels_key: str = option("labels", "name of the array of labels, integers [N]")


@dataclass(frozen=True, kw_only=True)
class TorchvisionPictures(Settings):
    """A data set of torchvision that is on this machine already."""

    kind: Literal["torchvision"] = option("torchvision", "a data set of torchvision; nothing is downloaded")
    dataset: str = option(REQUIRED, "name of its class, such as CIFAR10 or OxfordIIITPet")
    path: str = option(REQUIRED, "root folder that torchvision is given")
    split: str | None = option(None, "train, test or another; null for sets without splits")


@dataclass(frozen=True, kw_only=True)
class NoPictures(Settings):
    """No pictures."""

    kind: Literal["none"] = option("none", "no pictures")


PictureSource = (
    RecipePictures
    | ShardPictures
    | FolderPictures
    | DownloadedPictures
    | FurniturePictures
    | NpzPictures
    | TorchvisionPictures
    | NoPictures
)


def open_pictures(source: PictureSource, *, place: str = "data") -> Pictures:
    """Open a source of pictures. Nothing is downloaded; a recipe's categories are searched when first needed.

    Args:
        source: Which pictures.
        place: Where the source stands in the settings, for the key paths of problems, a failing search's too.

    Raises:
        OSError, ValueError: If files cannot be used.
        ConfigError: If the source is none, or torchvision has no such data set.
    """
    with within(place):
        return _opened(source, place)


def _opened(source: PictureSource, place: str) -> Pictures:
    match source:
        case RecipePictures():
            place = f"{place}.recipe.{source.recipe.dataset}"
            if source.recipe.dataset == "multi_fractal":
                images = open_images(source.recipe)
                assert isinstance(images, MultiFractal)
                return _ManyLabels(images, place)
            with within("recipe"):
                return _Generated(open_labelled_images(source.recipe), place)
        case ShardPictures():
            return _Generated(StoredImages(source.path), place)
        case FolderPictures():
            return _Folder(Path(source.path) / (source.split or ""))
        case DownloadedPictures():
            return _downloaded(Path(source.path), source.split)
        case FurniturePictures():
            return PrimitivePictures(source.split, size=source.size, num_per_class=source.num_per_class)
        case NpzPictures():
            try:
                arrays = read_arrays(source.path, (source.images_key, source.labels_key))
            except FileNotFoundError:
                raise FileNotFoundError(f"there is no file {source.path}") from None
            return ArrayPictures(arrays[source.images_key], arrays[source.labels_key])
        case TorchvisionPictures():
            return _Torchvision(source)
        case NoPictures():
            raise ConfigError([("kind", "is none, which has no pictures; choose another kind")])


def pictures_in(folder: str | Path) -> tuple[PictureSource, PictureSource]:
    """The sources of training and test pictures in a folder, told by its files.

    Raises:
        FileNotFoundError: If it holds neither the files of a known set nor train/CLASS and val/ or test/CLASS.
    """
    folder = Path(folder)
    if find_idx(folder, "train") or find_cifar(folder, "train"):
        return DownloadedPictures(path=str(folder)), DownloadedPictures(path=str(folder), split="test")
    tests = [name for name in ("test", "val") if (folder / name).is_dir()]
    if (folder / "train").is_dir() and tests:
        return FolderPictures(path=str(folder), split="train"), FolderPictures(path=str(folder), split=tests[0])
    raise FileNotFoundError(
        f"{folder} holds no pictures that can be used: expected idx files (train-images-idx3-ubyte.gz and three more), "
        "CIFAR's batches, or the folders train/CLASS and test/CLASS"
    )


def _downloaded(folder: Path, split: str) -> ArrayPictures:
    if (idx := find_idx(folder, split)) is not None:
        images, labels = map(read_idx, idx)
        classes = None
    elif (cifar := find_cifar(folder, split)) is not None:
        images, labels, classes = read_cifar(cifar)
    else:
        raise FileNotFoundError(
            f"{folder} has no {split} part of a known set; expected the idx files of MNIST or Fashion-MNIST, or the "
            "unpacked archive of CIFAR-10 or CIFAR-100"
        )
    try:
        return ArrayPictures(images, labels, classes)
    except ValueError as error:
        raise ValueError(f"the {split} part in {folder} cannot be used: {error}") from None


class _Generated:
    def __init__(self, images: ImageSet, place: str):
        self.set, self.place = images, place
        self.labels = np.repeat(np.arange(images.num_categories), images.num_instances)
        self.classes = tuple(f"{k:05d}" for k in range(images.num_categories))

    def picture(self, i: int) -> np.ndarray:
        with within(self.place):
            return self.set[i].image


class _ManyLabels:
    def __init__(self, images: MultiFractal, place: str):
        self.set, self.place = images, place
        self.labels = images.labels()
        self.classes = tuple(f"{k:05d}" for k in range(images.num_categories))

    def picture(self, i: int) -> np.ndarray:
        with within(self.place):
            return self.set.arrays(i)["image"]


_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


class _Folder:
    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        names = [entry.name for entry in folders_in(folder)]
        if names and _SPLITS.issuperset(map(str.lower, names)):
            raise ValueError(
                f"{folder} has the sub-folders {', '.join(names)}: splits, not classes; choose one by split"
            )
        entries = [files_below(folder / name) for name in names]
        others = [path for files in entries for path in files if not has_ending(path, PICTURE_FILES)]
        found = [[path for path in files if has_ending(path, PICTURE_FILES)] for files in entries]
        bad = {path: why for files in found for path in files if (why := check_picture(path))}
        found = [[path for path in files if path not in bad] for files in found]
        listed = "".join(f"\n  {path.relative_to(folder)}: {why}" for path, why in bad.items())
        empty = [name for name, files in zip(names, found, strict=True) if not files]
        if not names or empty:
            what = f"classes without pictures: {', '.join(empty)}" if empty else "no sub-folders"
            raise ValueError(f"{folder} has {what}; expected one sub-folder with pictures for each class{listed}")
        if bad:
            print(f"note: {len(bad)} of the files in {folder} are left out:{listed}", file=sys.stderr)
        if others:
            print(f"note: {len(others)} files in {folder} are no pictures, such as {others[0].name}", file=sys.stderr)
        self.classes = tuple(names)
        self.files = [file for files in found for file in files]
        self.labels = np.repeat(np.arange(len(names)), [len(files) for files in found])

    def picture(self, i: int) -> np.ndarray:
        return read_picture(self.files[i])


class _Torchvision:
    def __init__(self, source: TorchvisionPictures):
        from torchvision import datasets

        make: Any = getattr(datasets, source.dataset, None)
        if not isinstance(make, type) or not issubclass(make, datasets.VisionDataset):
            raise ConfigError([("dataset", f"torchvision has no set {source.dataset!r}")])
        self.set = _local(make, source)
        labels = next((getattr(self.set, name) for name in _LABELS if hasattr(self.set, name)), None)
        if labels is None:  # sets that use another name
            labels = [self.set[i][1] for i in range(len(self.set))]
        self.labels = np.asarray(labels, np.int64)
        names = getattr(self.set, "classes", None) or range(int(self.labels.max()) + 1)
        self.classes = tuple(map(str, names))

    def picture(self, i: int) -> np.ndarray:
        return pixels_of(self.set[i][0])


_LABELS = ("targets", "_labels", "labels")


def _local(make: Any, source: TorchvisionPictures) -> Any:
    """Open a torchvision set. They take the split as `split`, as `train`, or not at all."""
    choices: list[dict[str, Any]] = [{}] if source.split is None else [{"split": source.split}]
    if source.split in ("train", "test"):
        choices.append({"train": source.split == "train"})
    for choice in choices:
        try:
            return make(source.path, **choice)
        except TypeError:
            continue
        except RuntimeError as error:
            raise FileNotFoundError(f"{source.path} does not hold {source.dataset} ({error})") from error
    raise ConfigError([("split", f"is {source.split!r}, but torchvision's {source.dataset} does not take it")])
