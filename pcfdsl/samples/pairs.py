"""Pairs of a picture and a cloud of one fractal (VG-FractalDB: Yamada et al., FSVGP, ECCV 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcfdsl.datasets.clouds import fractal_clouds
from pcfdsl.image.exfractaldb import ExFractalDB, ExFractalDBConfig
from pcfdsl.image.labelled import LabelledImage
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, open_pcfractal
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.samples.clouds import CloudAugmentConfig, CloudDataset, CloudPointsConfig
from pcfdsl.samples.images import ImageAugmentConfig, ImageDataset, ImageViewConfig

__all__ = ["FractalPairs", "PairDataset", "PicturesAndClouds", "collate_pictures_and_clouds"]


class FractalPairs:
    """Item i is a picture and a cloud of instance i % num_instances of category i // num_instances.

    Pictures are drawn as by `ExFractalDB`, clouds as by `PCFractalDB`, from the very same systems: seed, search and
    numbers of the pictures are those of the clouds.

    Attributes:
        clouds: The clouds, whose systems count.
        pictures: The pictures of the same systems.
        labels: [N] int64, the category of each pair.
        classes: Names of the categories.
    """

    def __init__(self, clouds: PCFractalConfig, pictures: ExFractalDBConfig):
        """Search all categories; the pictures' own `seed`, `search` and numbers are not used."""
        self.clouds = open_pcfractal(clouds)
        self.cloud_set = fractal_clouds(self.clouds)
        self.labels, self.classes = self.cloud_set.labels, self.cloud_set.classes
        own = replace(
            pictures,
            seed=clouds.seed,
            num_categories=clouds.num_categories,
            num_instances=clouds.num_instances,
            search=clouds.search,
        )
        self.pictures = ExFractalDB(own, [self.clouds.category(k) for k in range(clouds.num_categories)])

    def picture(self, i: int) -> np.ndarray:
        """The picture of pair i, uint8 [H, W], from a viewpoint of its own."""
        shown: LabelledImage = self.pictures[i]
        return shown.image


@dataclass(frozen=True, eq=False, kw_only=True)
class PicturesAndClouds(TensorBatch):
    """B pairs.

    Attributes:
        images: [B, C, size, size] float32, normalised.
        points: [B, N, 3] float32.
        labels: [B] int64, of both.
    """

    images: Tensor
    points: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class PairDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """Training samples: `dataset[e, i]` depends on (pairs, settings, seed, e, i) alone.

    Args:
        pairs: Pictures and clouds.
        view: What the network sees of a picture.
        points: What it sees of a cloud, without height.
        augment: Augmentation of pictures.
        augment_clouds: Augmentation of clouds.
        seed: Seed of both augmentations.
    """

    def __init__(
        self,
        pairs: FractalPairs,
        *,
        view: ImageViewConfig,
        points: CloudPointsConfig,
        augment: ImageAugmentConfig,
        augment_clouds: CloudAugmentConfig,
        seed: int = 0,
    ):
        rows = np.arange(len(pairs.labels))
        self.images = ImageDataset(pairs, view=view, augment=augment, seed=seed)
        self.clouds = CloudDataset(pairs.cloud_set, rows, points=points, augment=augment_clouds, seed=seed)

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        """(picture [C, size, size] float32, points [N, 3] float32, label)."""
        points, label, _ = self.clouds[index]
        return self.images[index][0], torch.from_numpy(points), label


def collate_pictures_and_clouds(samples: Sequence[tuple[Tensor, Tensor, int]]) -> PicturesAndClouds:
    """Stack samples into a batch."""
    images, points, labels = zip(*samples, strict=True)
    return PicturesAndClouds(images=torch.stack(images), points=torch.stack(points), labels=torch.tensor(labels))
