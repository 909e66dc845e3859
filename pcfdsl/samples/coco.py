"""Pictures with instances as torchvision's detectors take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcfdsl.readers.coco import CocoFile, mask_of, read_unrotated
from pcfdsl.rng import stream

__all__ = ["CocoBatch", "CocoPictures", "collate_coco"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoBatch:
    """Pictures of any sizes.

    Attributes:
        images: [3, H, W] float32 each, 0 to 1.
        targets: `boxes` [K, 4] x1 y1 x2 y2 in pixels, `labels` [K] from 1, `masks` [K, H, W] uint8, of each picture.
    """

    images: list[Tensor]
    targets: list[dict[str, Tensor]]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Copy the batch to another device."""
        targets = [{key: value.to(device, non_blocking=non_blocking) for key, value in t.items()} for t in self.targets]
        return type(self)(images=[i.to(device, non_blocking=non_blocking) for i in self.images], targets=targets)


class CocoPictures(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """The pictures of a file of annotations.

    `dataset[e, i]` is picture i of those with an instance, flipped half the time: a pure function of (seed, e, i).
    Crowds and empty boxes are left out.

    Args:
        annotations: The file.
        folder: Where its pictures are.
        seed: Seed of the flips.

    Raises:
        FileNotFoundError: If pictures are missing.
        ValueError: If none has an instance.
    """

    def __init__(self, annotations: CocoFile, folder: str | Path, *, seed: int = 0):
        self.file, self.folder, self.seed = annotations, Path(folder), seed
        names = [entry["file_name"] for entry in annotations.images]
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.folder} lacks {len(missing)} of the {len(names)} pictures of {annotations.path}, such as "
                f"{missing[0]}; download them, or leave them out of the file"
            )
        self.instances = [
            [a for a in own if not a["iscrowd"] and min(a["bbox"][2:]) > 0] for own in annotations.annotations
        ]
        self.rows = [row for row, own in enumerate(self.instances) if own]
        if not self.rows:
            raise ValueError(f"{annotations.path} has no picture with an instance to learn from")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
        """([3, H, W] float32, target)."""
        epoch, i = key
        row = self.rows[i]
        image, own = self.picture(row), self.instances[row]
        height, width = image.shape[1:]
        masks = np.stack([mask_of(annotation, height=height, width=width) for annotation in own])
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)], np.float32)
        if stream(self.seed, "flip", epoch, i).random() < 0.5:
            image, masks = image.flip(2), masks[:, :, ::-1]
            corners[:, [0, 2]] = width - corners[:, [2, 0]]
        labels = [1 + self.file.categories.index(annotation["category_id"]) for annotation in own]
        return image, {
            "boxes": torch.from_numpy(corners),
            "labels": torch.tensor(labels),
            "masks": torch.from_numpy(np.ascontiguousarray(masks)),
        }

    def picture(self, row: int) -> Tensor:
        """[3, H, W] float32, 0 to 1: a picture of the file, with instances or without.

        Raises:
            ValueError: If it cannot be read, or has another size than the file says.
        """
        entry = self.file.images[row]
        path = self.folder / entry["file_name"]
        pixels = read_unrotated(path)
        if pixels.shape[:2] != (entry["height"], entry["width"]):
            raise ValueError(
                f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, but {self.file.path} says "
                f"{entry['width']} x {entry['height']} (id {entry['id']})"
            )
        return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)


def collate_coco(samples: Sequence[tuple[Tensor, dict[str, Any]]]) -> CocoBatch:
    """Samples -> batch."""
    images, targets = zip(*samples, strict=True)
    return CocoBatch(images=list(images), targets=list(targets))
