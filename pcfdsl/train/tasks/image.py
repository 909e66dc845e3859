"""Image classification with networks of timm: pre-training on formula-made pictures, fine-tuning on real ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor, nn

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.datasets.images import NoPictures, PictureSource, RecipePictures, open_pictures
from pcfdsl.datasets.pictures import Pictures, Subset, few_per_class
from pcfdsl.evaluate.classification import ClassificationReport, classification_report
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.precision import of_full_range
from pcfdsl.samples.images import (
    ImageAugmentConfig,
    ImageBatch,
    ImageDataset,
    ImageViewConfig,
    collate_images,
    drawing_from,
)
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig
from pcfdsl.train.tasks.image_model import (
    ImageInitConfig,
    ImageModelConfig,
    ImageOptimizerConfig,
    create_network,
    leading_parts,
    optimizer_builder,
    start_image_model,
)
from pcfdsl.train.tasks.validation import check_same_classes

__all__ = ["BatchMixConfig", "ImageConfig", "evaluate_pictures", "image_task", "multi_hot", "train_image"]

EVALUATION_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class BatchMixConfig:
    """What is done to a batch and to its labels; timm's Mixup."""

    mixup: float = option(0.0, "alpha of mixup; 0 for none", minimum=0.0)
    cutmix: float = option(0.0, "alpha of cutmix; 0 for none", minimum=0.0)
    smoothing: float = option(0.0, "label smoothing", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Everything that the training of an image network depends on."""

    data: PictureSource = option(RecipePictures(), "training pictures")
    validation: PictureSource = option(NoPictures(), "pictures that evaluations are made on")
    train_fraction: float = option(
        1.0, "share of each class that is trained on; smaller ones are parts of larger ones", instead_of="per_class"
    )
    per_class: int | None = option(None, "pictures of each class that are trained on, nested alike", minimum=1)
    subset_seed: int = option(0, "which share; keep it when runs are compared")
    view: ImageViewConfig = option(ImageViewConfig(), "what the network sees")
    augment: ImageAugmentConfig = option(ImageAugmentConfig(), "augmentation of training pictures")
    mix: BatchMixConfig = option(BatchMixConfig(), "mixing within batches")
    model: ImageModelConfig = option(ImageModelConfig(), "the network")
    init: ImageInitConfig = option(ImageInitConfig(), "where the weights start from")
    freeze_stages: int = option(0, "leading stages that are not trained: Conv1..5 of a ResNet, blocks", minimum=0)
    optimizer: ImageOptimizerConfig = option(ImageOptimizerConfig(), "what train.optimizer does not say")
    train: TrainConfig = option(TrainConfig(epochs=90.0, batch_size=256), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.mix.mixes and (self.train.batch_size // self.train.accumulate) % 2:
            yield "mix", "mixing pairs the pictures of a part: train.batch_size / train.accumulate must be even"
        if not 0 < self.train_fraction <= 1:
            yield "train_fraction", f"is {self.train_fraction}; expected more than 0, at most 1"
        if self.train_fraction < 1 and self.per_class is not None:
            yield "per_class", "give either train_fraction or per_class"


def train_image(
    config: ImageConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Train an image network, once for each seed; arguments and errors as for `train_seeds`.

    The weights that a run leaves are loaded by `timm.create_model(name, checkpoint_path=".../last.safetensors")` given
    the same number of classes and arguments.
    """
    pictures = open_pictures(config.data)
    chosen = few_per_class(
        pictures.labels, per_class=config.per_class, fraction=config.train_fraction, seed=config.subset_seed
    )
    pictures = Subset(pictures, chosen)
    validation = None
    if not isinstance(config.validation, NoPictures):
        validation = open_pictures(config.validation, place="validation")
    return train_seeds(lambda own: image_task(own, pictures, validation), config, out, seeds=seeds, overwrite=overwrite)


def image_task(config: ImageConfig, pictures: Pictures, validation: Pictures | None = None) -> Task:
    """An image network's training as the loop wants it; prints to stderr what was transferred.

    Raises:
        ConfigError: If the validation set has other classes than the training set, pictures with several labels are to
            be mixed or evaluated on, or timm cannot make the network.
        OSError, ValueError: If the weights to start from cannot be used.
    """
    if validation is not None:
        check_same_classes(pictures.classes, validation.classes)
    if validation is not None and validation.labels.ndim == 2:
        raise ConfigError([("validation", "has several labels a picture; evaluations need sets with one")])
    if pictures.labels.ndim == 2 and config.mix != BatchMixConfig():
        raise ConfigError([("mix", "is for pictures with one label each; data has several: leave mix out")])
    num_classes = len(pictures.classes)
    torch.manual_seed(config.train.seed)
    model = create_network(config.model, size=config.view.size, channels=config.view.channels, num_classes=num_classes)
    start_image_model(config.init, model)
    frozen = leading_parts(model, config.freeze_stages)

    def evaluate(network: nn.Module, group: Processes) -> dict[str, float]:
        assert validation is not None
        return evaluate_pictures(network, validation, config, group=group).metrics()

    return Task(
        model=model,
        dataset=ImageDataset(pictures, view=config.view, augment=config.augment, seed=config.train.seed),
        collate=collate_images,
        loss=_loss_function(config.mix, num_classes) if pictures.labels.ndim == 1 else _several_labels_loss,
        evaluate=None if validation is None else evaluate,
        monitor="accuracy",
        config=config,
        classes=tuple(pictures.classes),
        optimizer=optimizer_builder(config.optimizer, config.train.optimizer),
        freeze=frozen,
    )


def evaluate_pictures(
    model: nn.Module, pictures: Pictures, config: ImageConfig, *, group: Processes | None = None
) -> ClassificationReport:
    """What a network, in evaluation mode, takes the pictures for; processes of a group share them."""
    samples = ImageDataset(pictures, view=config.view)
    device = next(model.parameters()).device

    @torch.inference_mode()
    def guesses(rows: range) -> tuple[np.ndarray]:
        batch = collate_images([samples[i] for i in rows]).to(device)
        return (model(batch.images).argmax(1).cpu().numpy(),)

    (predicted,) = (group or Processes()).in_batches(guesses, len(samples), EVALUATION_BATCH)
    return classification_report(predicted, np.asarray(pictures.labels), num_classes=len(pictures.classes))


def _several_labels_loss(
    network: Callable, batch: ImageBatch, rng: np.random.Generator
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Binary cross-entropy of every class; `hits` is the share of pictures whose likeliest class is in them."""
    logits = of_full_range(network(batch.images))
    present = multi_hot(batch.labels, logits.shape[1])
    hits = present.gather(1, logits.argmax(1, keepdim=True)).float().mean()
    return F.binary_cross_entropy_with_logits(logits, present.to(logits)), {"hits": hits}


def multi_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Which classes there are, bool [B, num_classes], by lists of labels [B, M] filled up with -1.

    >>> multi_hot(torch.tensor([[1, -1], [0, 2]]), 3).int().tolist()
    [[0, 1, 0], [1, 0, 1]]
    """
    return F.one_hot(labels + 1, num_classes + 1)[:, :, 1:].any(1)


def _loss_function(config: BatchMixConfig, num_classes: int) -> Callable:
    mixer: Any = None
    if config.mixes:
        mixer = Mixup(
            mixup_alpha=config.mixup,
            cutmix_alpha=config.cutmix,
            label_smoothing=config.smoothing,
            num_classes=num_classes,
        )

    def loss(network: Callable, batch: ImageBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        if mixer is None:
            logits = of_full_range(network(batch.images))
            right = (logits.argmax(1) == batch.labels).float().mean()
            return F.cross_entropy(logits, batch.labels, label_smoothing=config.smoothing), {"accuracy": right}
        if len(batch) % 2:  # what `inconsistencies` cannot know is the number of processes
            problem = f"mixing pairs the pictures of a part, but a part has {len(batch)}"
            raise ConfigError([("mix", f"{problem}; choose another train.batch_size or number of processes")])
        with drawing_from(rng):
            images, targets = mixer(batch.images, batch.labels)
        logits = of_full_range(network(images))
        right = (logits.argmax(1) == targets.argmax(1)).float().mean()
        return F.cross_entropy(logits, targets), {"accuracy": right}

    return loss
