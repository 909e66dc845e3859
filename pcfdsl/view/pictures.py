"""Pictures to look at: recipes of image sets, stored ones, tars, and folders of picture files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcfdsl.config import load
from pcfdsl.image.segrcdb import SegRCDB
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.store.pictures import PICTURE_ENDINGS, decode_png, read_image, read_tar
from pcfdsl.store.stored import StoredSet
from pcfdsl.view.page import Picture

__all__ = [
    "PICTURE_KINDS",
    "PictureCatalogue",
    "fit",
    "picture_of_file",
    "pictures_of_folder",
    "pictures_of_recipe",
    "pictures_of_set",
]

PICTURE_KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PictureCatalogue:
    """How many pictures there are, and how to read picture i; nothing is read before it is chosen."""

    num_items: int
    read: Callable[[int], Picture]


def pictures_of_recipe(path: Path) -> PictureCatalogue:
    """Images of a recipe, drawn as they are asked for."""
    config = load(ImageSetConfig, path)
    if config.dataset == "segrcdb":
        pairs = SegRCDB(config.chosen)

        def read_pair(i: int) -> Picture:
            pair = pairs[i]
            return _pair(pair.image, pair.mask, f"image {i}")

        return PictureCatalogue(len(pairs), read_pair)
    images = open_images(config)

    def read(i: int) -> Picture:
        item = images[i]
        return Picture(_rgb(item.image), _caption(item.category, item.instance))

    return PictureCatalogue(len(images), read)


def pictures_of_set(stored: StoredSet) -> PictureCatalogue:
    """Images, or images and masks, that were stored as shards."""

    def read(i: int) -> Picture:
        sample = stored[i]
        if "mask" in sample:
            return _pair(sample["image"], sample["mask"], f"image {i}")
        return Picture(_rgb(sample["image"]), _caption(int(sample["category"]), int(sample["instance"])))

    return PictureCatalogue(len(stored), read)


def pictures_of_folder(folder: Path) -> PictureCatalogue:
    """Picture files below a folder by name, or those in its tars; a mask stands beside its image.

    Raises:
        ValueError: When one is read that is not a picture, naming it.
    """
    tars = sorted(folder.glob("*.tar"))
    if tars:
        names = [(tar, name) for tar in tars for name in sorted(read_tar(tar)) if _is_image(name)]
        return PictureCatalogue(len(names), lambda i: _of_tar(*names[i]))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PICTURE_KINDS and file.is_file())
    return PictureCatalogue(len(files), lambda i: picture_of_file(files[i], str(files[i].relative_to(folder))))


def picture_of_file(file: Path, caption: str) -> Picture:
    """One picture file."""
    return Picture(_rgb(read_image(file)), caption)


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture [H, W, 3] as large as a contact sheet can take: small ones are magnified by whole numbers."""
    longest = max(picture.shape[:2])
    if longest <= size:
        times = max(1, size // longest)
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    height, width = (max(1, round(side * size / longest)) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def _caption(category: int, instance: int) -> str:
    return f"category {category}, instance {instance}"


def _is_image(name: str) -> bool:
    return name.endswith(PICTURE_ENDINGS["image"]) and not name.endswith(PICTURE_ENDINGS["mask"])


def _of_tar(tar: Path, name: str) -> Picture:
    members = read_tar(tar)
    image, mask = decode_png(members[name]), members.get(name.removesuffix(".png") + PICTURE_ENDINGS["mask"])
    if mask is not None:
        return _pair(image, decode_png(mask), name)
    label = members.get(name.removesuffix(".png") + ".cls", b"?").decode()
    return Picture(_rgb(image), f"{name}: category {label}")


def _pair(image: np.ndarray, mask: np.ndarray, caption: str) -> Picture:
    """An image, and beside it its mask in colours that neighbouring labels do not share."""
    labels = np.arange(256)
    palette = np.stack([labels * 97 % 206, labels * 57 % 206, labels * 23 % 206], axis=1) + 50
    palette[0] = 0
    return Picture(np.hstack([_rgb(image), palette.astype(np.uint8)[mask]]), caption)


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
