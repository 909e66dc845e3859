"""Annotations of instances in COCO's format: read, and checked entry by entry before anything is made of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcfdsl.readers.pictures import NO_PICTURE

__all__ = ["CocoFile", "mask_of", "read_coco", "read_unrotated"]

_FAR = 1e9  # no coordinate is beyond it, pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoFile:
    """What a file of annotations says.

    Attributes:
        path: The file.
        content: The file itself, as pycocotools takes it; `iscrowd` and `area` are there in every annotation.
        images: Its pictures: id, file_name, width, height.
        annotations: Annotations of each picture, in the order of `images`.
        categories: Ids of categories, in the order of the file.
        classes: Their names.
    """

    path: Path
    content: dict[str, Any]
    images: list[dict[str, Any]]
    annotations: list[list[dict[str, Any]]]
    categories: tuple[int, ...]
    classes: tuple[str, ...]


def read_coco(path: str | Path) -> CocoFile:
    """Read annotations such as instances_train2017.json.

    Raises:
        OSError: If there is no such file.
        ValueError: If an entry is not as COCO has it; the message names the file, the entry and its id.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON file ({error}); download or write it again") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; expected annotations of instances in COCO's format")
        for k, entry in enumerate(content[key]):
            problem = None if isinstance(entry, dict) else "is no object of JSON"
            if problem is None and not _whole(entry.get("id")):
                problem = "has no whole number as its id"
            if problem is None and key == "images":
                problem = _image_problem(entry)
            if problem:
                raise ValueError(_at(path, key, k, entry, problem))
        if key != "annotations" and len({entry["id"] for entry in content[key]}) < len(content[key]):
            raise ValueError(f"{path}: ids of {key} repeat; expected each once")
    images = {entry["id"]: entry for entry in content["images"]}
    categories = {entry["id"]: str(entry.get("name", entry["id"])) for entry in content["categories"]}
    own: dict[int, list] = {number: [] for number in images}
    for k, entry in enumerate(content["annotations"]):
        for problem in _annotation_problems(entry, images, categories):
            raise ValueError(_at(path, "annotations", k, entry, problem))
        entry.setdefault("iscrowd", 0)
        entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])
        own[entry["image_id"]].append(entry)
    return CocoFile(
        path=path,
        content=content,
        images=list(images.values()),
        annotations=list(own.values()),
        categories=tuple(categories),
        classes=tuple(categories.values()),
    )


def mask_of(annotation: dict[str, Any], *, height: int, width: int) -> np.ndarray:
    """[H, W] uint8: 1 within the instance, whether its outline is polygons or run lengths."""
    from pycocotools import mask as coder

    outline = annotation["segmentation"]
    if isinstance(outline, list):
        outline = coder.merge(coder.frPyObjects(outline, height, width))
    elif isinstance(outline["counts"], list):
        outline = coder.frPyObjects(outline, height, width)
    return coder.decode(outline)  # type: ignore[arg-type]


def read_unrotated(path: str | Path) -> np.ndarray:
    """[H, W, 3] uint8: a picture as it is stored, whatever way up EXIF says it is, which is what COCO's pixels count.

    Raises:
        ValueError: If there is no such picture.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except NO_PICTURE as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); repair or remove it") from None


def _at(path: Path, key: str, k: int, entry: Any, problem: str) -> str:
    number = entry.get("id") if isinstance(entry, dict) else None
    return f"{path}: {key}[{k}]{'' if number is None else f' (id {number})'} {problem}"


def _image_problem(entry: dict[str, Any]) -> str | None:
    if not isinstance(entry.get("file_name"), str):
        return "has no file_name"
    if not all(_whole(entry.get(side)) and entry[side] > 0 for side in ("width", "height")):
        return "has no width and height in pixels"
    return None


def _annotation_problems(entry: dict[str, Any], images: dict[int, Any], categories: dict[int, str]) -> Iterator[str]:
    image, box = entry.get("image_id"), entry.get("bbox")
    if not _whole(image) or image not in images:
        yield f"is of picture {image!r}, which is not among the images"
        return
    if not _whole(entry.get("category_id")) or entry["category_id"] not in categories:
        yield f"has category {entry.get('category_id')!r}, which is not among the categories"
    if not isinstance(box, list) or not _numbers(box) or len(box) != 4 or min(box[2:]) < 0:
        yield f"has the bbox {box!r}; expected [left, top, width, height] in pixels"
    if not _numbers([entry.get("area", 0)]):
        yield f"has the area {entry['area']!r}; expected a number of pixels"
    outline = entry.get("segmentation")
    if isinstance(outline, list):
        if not outline or not all(_numbers(part) and len(part) >= 6 and len(part) % 2 == 0 for part in outline):
            yield "has polygons of which one is no list of three or more points x, y"
    elif isinstance(outline, dict):
        size = [images[image]["height"], images[image]["width"]]
        if outline.get("size") != size:
            yield f"has run lengths of size {outline.get('size')!r}, but its picture has [height, width] {size}"
        elif not _fills(outline.get("counts"), size[0] * size[1]):
            yield "has run lengths that do not fill its picture"
    else:
        yield "has no segmentation; expected polygons or run lengths, as in annotations of instances"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FAR for value in values
    )


def _fills(counts: Any, area: int) -> bool:
    """Whether run lengths, plain or as COCO's text, cover as many pixels; pycocotools would write beyond them."""
    if isinstance(counts, str):
        counts = _lengths(counts)
    return isinstance(counts, list) and all(_whole(n) and n >= 0 for n in counts) and sum(counts) == area


def _lengths(text: str) -> list[int] | None:
    """Run lengths of COCO's text: five bits a letter, low ones first; from the fourth on, less the one two before."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths if shift == 0 else None
