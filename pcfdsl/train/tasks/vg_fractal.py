"""One transformer for pictures and clouds, pre-trained on pairs of one fractal with one label.

FSVGP (Yamada et al., Formula-Supervised Visual-Geometric Pre-training, ECCV 2024, arXiv 2409.13535) on VG-FractalDB:
variance 0.05, 20 % of noise, 1,000 x 1,000 pairs, 8,192 points, AdamW at 5e-4 with decay 0.05. Its code is not
released; what is not known of it is decided here: the picture shows the system without weights from a viewpoint uniform
on the sphere, blocks, norm and classifier are shared, and the loss is the mean of both cross-entropies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pcfdsl.config import ConfigError, option, validate, within
from pcfdsl.formula.search import SearchConfig
from pcfdsl.image.exfractaldb import ExFractalDBConfig
from pcfdsl.models.point_transformer import PointTokensConfig, TwoReaders
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.samples.clouds import CloudAugmentConfig, CloudPointsConfig
from pcfdsl.samples.images import ImageAugmentConfig, ImageViewConfig
from pcfdsl.samples.pairs import FractalPairs, PairDataset, PicturesAndClouds, collate_pictures_and_clouds
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig
from pcfdsl.train.tasks.image_model import ImageModelConfig, create_network

__all__ = ["VGFractalConfig", "train_vg_fractal", "vg_fractal_task"]


@dataclass(frozen=True, kw_only=True)
class VGFractalConfig:
    """Everything that pre-training on pictures and clouds depends on."""

    clouds: PCFractalConfig = option(
        PCFractalConfig(num_points=8192, search=SearchConfig(variance_threshold=0.05)),
        "the clouds; seed, numbers and search hold for the pictures too",
    )
    pictures: ExFractalDBConfig = option(
        ExFractalDBConfig(parameter_step=0.0), "how the pictures of the same systems are drawn"
    )
    view: ImageViewConfig = option(ImageViewConfig(), "what the network sees of a picture")
    augment: ImageAugmentConfig = option(ImageAugmentConfig(), "augmentation of pictures")
    points: CloudPointsConfig = option(
        CloudPointsConfig(num_points=1024, use_height=False), "what the network sees of a cloud"
    )
    augment_clouds: CloudAugmentConfig = option(CloudAugmentConfig(), "augmentation of clouds")
    model: ImageModelConfig = option(ImageModelConfig(name="vit_tiny_patch16_224"), "a ViT of timm")
    tokens: PointTokensConfig = option(PointTokensConfig(), "how a cloud becomes tokens")
    train: TrainConfig = option(TrainConfig(epochs=200.0, batch_size=256), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.points.use_height:
            yield "points", "use_height is true; the tokens of clouds have no features besides xyz"


def train_vg_fractal(
    config: VGFractalConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Pre-train on pairs, once for each seed; arguments and errors as for `train_seeds`.

    The weights that a run leaves start networks for pictures (`train-image`) and for clouds (`train --task
    classification model.backbone_type=point_transformer`).
    """
    with within("clouds"):
        pairs = FractalPairs(config.clouds, config.pictures)
    return train_seeds(lambda own: vg_fractal_task(own, pairs), config, out, seeds=seeds, overwrite=overwrite)


def vg_fractal_task(config: VGFractalConfig, pairs: FractalPairs) -> Task:
    """Pre-training on pairs as the loop wants it.

    Raises:
        ConfigError: If timm cannot make the network, or it is no ViT with a class token.
    """
    torch.manual_seed(config.train.seed)
    vit = create_network(
        config.model, size=config.view.size, channels=config.view.channels, num_classes=len(pairs.classes)
    )
    try:
        model = TwoReaders(vit, config.tokens)
    except ValueError as error:
        raise ConfigError([("model.name", f"is {config.model.name}: {error}")]) from error

    def loss(
        network: Callable, batch: PicturesAndClouds, rng: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        of_images, of_clouds = network(batch.images, batch.points)
        scalars = {
            "image_accuracy": (of_images.argmax(1) == batch.labels).float().mean(),
            "cloud_accuracy": (of_clouds.argmax(1) == batch.labels).float().mean(),
        }
        return (F.cross_entropy(of_images, batch.labels) + F.cross_entropy(of_clouds, batch.labels)) / 2, scalars

    return Task(
        model=model,
        dataset=PairDataset(
            pairs,
            view=config.view,
            points=config.points,
            augment=config.augment,
            augment_clouds=config.augment_clouds,
            seed=config.train.seed,
        ),
        collate=collate_pictures_and_clouds,
        loss=loss,
        config=config,
        classes=tuple(pairs.classes),
    )
