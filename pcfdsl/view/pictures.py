"""Pictures to look at: of recipes and stored image sets, in tars, and in folders of picture files."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.readers.folders import files_below, files_in
from pcfdsl.readers.pictures import NO_PICTURE, PICTURE_FILES, pixels_of, read_picture
from pcfdsl.store.pictures import PICTURE_ENDINGS, decode_png, read_tar
from pcfdsl.store.stored import StoredSet
from pcfdsl.view.page import PageItem, Picture

__all__ = [
    "Catalogue",
    "fit",
    "picture_of_file",
    "pictures_of_folder",
    "pictures_of_recipe",
    "pictures_of_set",
]


@dataclass(frozen=True)
class Catalogue:
    """How many items there are, and a function that reads item i; nothing is read before that."""

    num_items: int
    read: Callable[[int], PageItem | Picture]


def pictures_of_recipe(config: ImageSetConfig) -> Catalogue:
    """The images of a recipe, drawn when they are read."""
    images = open_images(config)
    return _pictures(len(images), images.arrays)


def pictures_of_set(stored: StoredSet) -> Catalogue:
    """The images of shards."""
    return _pictures(len(stored), stored.__getitem__)


def _pictures(count: int, arrays: Callable[[int], Mapping[str, np.ndarray]]) -> Catalogue:
    """Images by their arrays, with any masks beside them."""

    def read(i: int) -> Picture:
        sample = arrays(i)
        if "mask" in sample:
            return _pair(sample["image"], sample["mask"], f"image {i}")
        if "category_mask" in sample:
            present = ", ".join(map(str, np.flatnonzero(sample["category_mask"])))
            return Picture(_rgb(sample["image"]), f"image {i}, categories {present}")
        return Picture(_rgb(sample["image"]), _caption(int(sample["category"]), int(sample["instance"])))

    return Catalogue(count, read)


def pictures_of_folder(folder: Path) -> Catalogue:
    """Picture files below a folder, by name, or those in its tars with any masks beside them.

    Raises:
        ValueError: On reading a file that is not a picture.
    """
    tars = files_in(folder, (".tar",))
    if tars:
        names = [(tar, name) for tar in tars for name in sorted(read_tar(tar)) if _is_image(name)]
        return Catalogue(len(names), lambda i: _of_tar(*names[i]))
    files = files_below(folder, PICTURE_FILES)
    return Catalogue(len(files), lambda i: picture_of_file(files[i], str(files[i].relative_to(folder))))


def picture_of_file(file: Path, caption: str) -> Picture:
    """One picture file."""
    return Picture(_rgb(read_picture(file)), caption)


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture [H, W, 3] scaled to fit `size`: small ones are enlarged by a whole factor."""
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
    mask = members.get(name.removesuffix(".png") + PICTURE_ENDINGS["mask"])
    try:
        with Image.open(io.BytesIO(members[name])) as opened:
            image = pixels_of(opened)
    except NO_PICTURE as error:
        raise ValueError(f"{name} of {tar} cannot be read as a picture: {error}") from error
    if mask is not None:
        return _pair(image, decode_png(mask), name)
    label = members.get(name.removesuffix(".png") + ".cls", b"?").decode()
    return Picture(_rgb(image), f"{name}: category {label}")


def _pair(image: np.ndarray, mask: np.ndarray, caption: str) -> Picture:
    """An image with its mask beside it, in colours that differ between neighbouring labels."""
    labels = np.arange(256)
    palette = np.stack([labels * 97 % 206, labels * 57 % 206, labels * 23 % 206], axis=1) + 50
    palette[0] = 0
    return Picture(np.hstack([_rgb(image), palette.astype(np.uint8)[mask]]), caption)


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
