"""Self-supervised pre-training as the loop wants it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pcfdsl.config import ConfigError
from pcfdsl.datasets.images import open_pictures
from pcfdsl.datasets.pictures import Pictures
from pcfdsl.models.precision import of_full_range
from pcfdsl.samples.picture_views import PictureViews, Tiles, ViewBatch, collate_views, far_permutations
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.image_model import create_network, optimizer_builder, start_image_model
from pcfdsl.train.tasks.self_supervised.contrastive import MoCoNetwork, SimCLRNetwork
from pcfdsl.train.tasks.self_supervised.deepcluster import ClusteredViews, DeepClusterNetwork, start_epoch
from pcfdsl.train.tasks.self_supervised.mae import MAENetwork
from pcfdsl.train.tasks.self_supervised.pretext import JigsawNetwork, RotationNetwork
from pcfdsl.train.tasks.self_supervised.settings import (
    MAE,
    DeepCluster,
    Jigsaw,
    MoCo,
    Rotation,
    SelfSupervisedConfig,
    SimCLR,
)

__all__ = ["self_supervised_task", "train_self_supervised"]

Loss = Callable[[Callable, ViewBatch, np.random.Generator], tuple[Tensor, Mapping[str, Tensor]]]


def train_self_supervised(
    config: SelfSupervisedConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Pre-train an image network without labels, once for each seed; arguments and errors as for `train_seeds`.

    A run leaves the weights of timm's network without a classifier, as `train_image` takes them to start from.
    """
    pictures = open_pictures(config.data)
    return train_seeds(lambda own: self_supervised_task(own, pictures), config, out, seeds=seeds, overwrite=overwrite)


def self_supervised_task(config: SelfSupervisedConfig, pictures: Pictures) -> Task:
    """The training of a method; prints to stderr what was transferred.

    Raises:
        ConfigError: If timm cannot make the network, or the method cannot use it or the pictures.
        OSError, ValueError: If the weights to start from cannot be used.
    """
    torch.manual_seed(config.train.seed)
    trunk = create_network(config.model, size=config.view.size, channels=config.view.channels, num_classes=0)
    start_image_model(config.init, trunk)
    width = int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)  # type: ignore[arg-type]
    seen: dict[str, Any] = {"view": config.view, "augment": config.augment, "seed": config.train.seed}
    dataset, loss, at_start = PictureViews(pictures, **seen), _label_loss, None
    match config.method:
        case MoCo() as method:
            network: Any = MoCoNetwork(trunk, width, method, updates=config.train.accumulate)
            dataset, loss = PictureViews(pictures, num_views=2, **seen), _first_loss
        case SimCLR() as method:
            network = SimCLRNetwork(trunk, width, method)
            dataset, loss = PictureViews(pictures, num_views=2, **seen), partial(_simclr_loss, network)
        case MAE() as method:
            network, loss = MAENetwork(trunk, method, fresh=config.init.checkpoint is None), _mae_loss
        case Rotation():
            network, loss = RotationNetwork(trunk, width), _turn_loss
        case Jigsaw() as method:
            network = JigsawNetwork(trunk, width, method.permutations)
            dataset = Tiles(pictures, permutations=far_permutations(method.permutations), **seen)
        case DeepCluster() as method:
            if method.clusters > len(pictures.labels) // 2:
                problem = f"is {method.clusters}, but there are {len(pictures.labels)} pictures; expected half as many"
                raise ConfigError([("method.clusters", f"{problem} at most")])
            network = DeepClusterNetwork(trunk, width, method.clusters, len(pictures.labels))
            dataset = clustered = ClusteredViews(pictures, **seen)

            at_start = partial(start_epoch, clustered)

    return Task(
        model=network,
        dataset=dataset,
        collate=collate_views,
        loss=loss,
        config=config,
        optimizer=optimizer_builder(config.optimizer, config.train.optimizer),
        start_epoch=at_start,
        kept=attrgetter("trunk"),
    )


def _classified(logits: Tensor, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    return F.cross_entropy(of_full_range(logits), labels), {"accuracy": (logits.argmax(1) == labels).float().mean()}


def _label_loss(network: Callable, batch: ViewBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
    return _classified(network(batch.views), batch.labels)


def _first_loss(network: Callable, batch: ViewBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
    return _classified(network(batch.views), torch.zeros_like(batch.labels))


def _turn_loss(network: Callable, batch: ViewBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
    turns = torch.arange(4, device=batch.labels.device).repeat_interleave(len(batch.labels))
    return _classified(network(batch.views), turns)


def _simclr_loss(
    own: SimCLRNetwork, network: Callable, batch: ViewBatch, rng: np.random.Generator
) -> tuple[Tensor, Mapping[str, Tensor]]:
    first, second = network(batch.views)
    similar = F.normalize(first.detach(), dim=1) @ F.normalize(second.detach(), dim=1).T
    right = similar.argmax(1) == torch.arange(len(first), device=first.device)
    return own.compare(first, second), {"accuracy": right.float().mean()}


def _mae_loss(network: Callable, batch: ViewBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
    made_up, truth = network(batch.views)
    return F.mse_loss(made_up, truth), {}
