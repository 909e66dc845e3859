"""What every way of pre-training has in common: scenes, what the network sees of them, a backbone, optimisation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import option, validate, within
from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.datasets.sources import FractalSource, SceneSet, SceneSource, open_scenes
from pcfdsl.models.backbone import BackboneConfig
from pcfdsl.samples.detection import PointsConfig
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig

__all__ = ["PretrainConfig", "new_model", "no_boxes", "pretrain"]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings that every pre-training has; keys are those of a detector's training."""

    data: SceneSource = option(FractalSource(), "training scenes, or the objects of random rooms")
    points: PointsConfig = option(PointsConfig(), "what the network sees")
    augment: AugmentConfig = option(AugmentConfig(), "how scenes or views are moved")
    model: BackboneConfig = option(BackboneConfig(), "the backbone")
    init: InitConfig = option(InitConfig(parts=("backbone_net",)), "where the weights start from")
    train: TrainConfig = option(TrainConfig(num_steps=60_000), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        misfit = self.model.misfit(use_height=self.points.use_height, use_color=self.points.use_color)
        if misfit is not None:
            yield f"model.{misfit[0]}", misfit[1]


_OF_BOXES = ("votes", "class_agnostic", "draws")


def no_boxes(points: PointsConfig, augment: AugmentConfig) -> Iterator[tuple[str, str]]:
    """Yields (field, problem) for settings of boxes and votes, where two views are contrasted and there are neither."""
    defaults = PointsConfig()
    unused = {f"points.{name}": (getattr(points, name), getattr(defaults, name)) for name in _OF_BOXES}
    for key, (value, default) in (unused | {"augment.hull": (augment.hull, False)}).items():
        if value != default:
            yield key, f"is {value}, but views are contrasted without boxes and votes; leave it out"


def pretrain(
    make_task: Callable[[Any, SceneSet], Task],
    config: PretrainConfig,
    out: str | Path,
    *,
    seeds: Sequence[int] = (),
    overwrite: bool = False,
) -> SeedResults:
    """Pre-train a backbone, once for each seed; see `train_seeds`. The scenes are opened once."""
    with within("data"):
        scenes = open_scenes(config.data)
    return train_seeds(lambda own: make_task(own, scenes), config, out, seeds=seeds, overwrite=overwrite)


def new_model(config: PretrainConfig, build: Callable[[], nn.Module]) -> Any:
    """The network with weights that depend on `train.seed`, or as `init` says."""
    torch.manual_seed(config.train.seed)
    model = build()
    start_from(config.init, model)
    return model
