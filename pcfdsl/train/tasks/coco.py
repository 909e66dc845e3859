"""Mask R-CNN of torchvision on a network of timm, on a folder in COCO's format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycocotools.mask  # noqa: F401  # so that a missing extra is named before anything is read
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from pcfdsl.config import REQUIRED, ConfigError, option, validate
from pcfdsl.evaluate.coco import evaluate_coco
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.pyramid import PyramidBackbone
from pcfdsl.readers.coco import CocoFile, read_coco
from pcfdsl.samples.coco import CocoBatch, CocoPictures, collate_coco
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig
from pcfdsl.train.tasks.image_model import ImageInitConfig, ImageModelConfig, create_network, start_image_model

__all__ = ["CocoConfig", "coco_task", "train_coco"]


@dataclass(frozen=True, kw_only=True)
class CocoConfig:
    """Everything that the training of a Mask R-CNN depends on."""

    path: str = option(REQUIRED, "folder with annotations/instances_SPLIT.json and the pictures of each split in SPLIT")
    split: str = option("train2017", "split that is trained on")
    validation: str | None = option("val2017", "split that evaluations are made on; null for none")
    short_side: int = option(800, "shorter side that pictures are resized to, pixels", minimum=32, maximum=4_096)
    long_side: int = option(1333, "limit of the longer side after that, pixels", minimum=32, maximum=8_192)
    mean: tuple[float, ...] = option((0.5,), "subtracted from values in 0..1: as in the pre-training")
    std: tuple[float, ...] = option((0.5,), "divisor after that: as in the pre-training", minimum=1e-6)
    channels: int = option(256, "channels of the pyramid", minimum=1, maximum=4_096)
    regions: int = option(512, "regions of a picture that the heads learn from in a step", minimum=2, maximum=100_000)
    model: ImageModelConfig = option(ImageModelConfig(), "the network under the feature pyramid")
    init: ImageInitConfig = option(ImageInitConfig(), "where its weights start from")
    train: TrainConfig = option(TrainConfig(epochs=12.0, batch_size=16), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                yield name, f"has {len(getattr(self, name))} values; expected 1 or 3"
        if self.long_side < self.short_side:
            yield "long_side", f"is {self.long_side}, less than short_side {self.short_side}"


def train_coco(
    config: CocoConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Train a Mask R-CNN, once for each seed; arguments and errors as for `train_seeds`."""
    files = [None if s is None else _annotations(config, s) for s in (config.split, config.validation)]
    return train_seeds(lambda own: coco_task(own, *files), config, out, seeds=seeds, overwrite=overwrite)


def coco_task(config: CocoConfig, annotations: CocoFile | None = None, validation: CocoFile | None = None) -> Task:
    """A Mask R-CNN's training as the loop wants it; prints to stderr what was transferred.

    Args:
        config: The settings.
        annotations, validation: The files of the splits where they have been read; otherwise they are.

    Raises:
        ConfigError: If the network gives no maps of several sizes, or the splits have other categories.
        OSError, ValueError: If annotations, pictures or weights cannot be used.
    """
    annotations = annotations or _annotations(config, config.split)
    seen = CocoPictures(annotations, Path(config.path) / config.split, seed=config.train.seed)
    judged = None
    if config.validation is not None:
        validation = validation or _annotations(config, config.validation)
        if (validation.categories, validation.classes) != (annotations.categories, annotations.classes):
            problem = f"{validation.path} has other categories than {annotations.path}; use files of one set"
            raise ConfigError([("validation", problem)])
        judged = CocoPictures(validation, Path(config.path) / config.validation)
    pictures = judged

    def evaluate(model: nn.Module, group: Processes) -> dict[str, float | None]:
        assert pictures is not None
        return evaluate_coco(model, pictures, group=group)

    return Task(
        model=_detector(config, num_classes=len(annotations.classes)),
        dataset=seen,
        collate=collate_coco,
        loss=_loss,
        evaluate=None if judged is None else evaluate,
        monitor="mask_AP",
        config=config,
        classes=tuple(annotations.classes),
    )


def _annotations(config: CocoConfig, split: str) -> CocoFile:
    return read_coco(Path(config.path) / "annotations" / f"instances_{split}.json")


def _detector(config: CocoConfig, *, num_classes: int) -> MaskRCNN:
    torch.manual_seed(config.train.seed)
    body = create_network(config.model, size=config.short_side, channels=3, num_classes=0)
    strides = [level["reduction"] for level in body.feature_info][-4:]  # type: ignore[index, union-attr]
    if sorted(set(strides)) != strides or len(strides) < 4:
        problem = f"the last maps of {config.model.name} have the strides {strides}; a pyramid needs four that grow"
        raise ConfigError([("model.name", f"{problem}, as a ResNet has. Plain ViTs are not covered")])
    start_image_model(config.init, body)
    return MaskRCNN(
        PyramidBackbone(body, channels=config.channels),
        num_classes=1 + num_classes,  # and the background
        box_batch_size_per_image=config.regions,
        min_size=config.short_side,
        max_size=config.long_side,
        image_mean=[*config.mean] * (3 // len(config.mean)),
        image_std=[*config.std] * (3 // len(config.std)),
    )


def _loss(network: Callable, batch: CocoBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
    losses = network(batch.images, batch.targets)
    return torch.stack(list(losses.values())).sum(), losses
