"""Detectors on scenes: pre-training on formula-made ones, fine-tuning on stored ones. The same settings serve both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import ConfigError, check_argument, option, validate, within
from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.datasets.sources import (
    FractalSource,
    NoSource,
    SceneSet,
    SceneSource,
    formula_differences,
    known_classes,
    mean_box_sizes,
    open_scenes,
)
from pcfdsl.datasets.spec import SPECS, DatasetSpec, spec_of
from pcfdsl.datasets.subsets import nested_subset
from pcfdsl.evaluate.detector import EvaluationConfig, evaluate_scenes, mean_metrics
from pcfdsl.evaluate.pictures import detection_items
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.detector import DetectorModel, build_detector, detector_loss
from pcfdsl.models.losses import BoxTargets
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.votenet import VoteNetConfig
from pcfdsl.samples.detection import DetectionBatch, PointsConfig, collate, scene_samples
from pcfdsl.scene.boxes import Scene
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig
from pcfdsl.train.tasks.validation import check_same_classes
from pcfdsl.view.sources import render_items, spread

__all__ = ["DetectorConfig", "detection_task", "train_detector"]

NUM_SHOWN = 4  # rooms in the pictures of an evaluation


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Everything a detector's training depends on."""

    data: SceneSource = option(FractalSource(), "training scenes")
    validation: SceneSource = option(NoSource(), "scenes that evaluations are made on")
    train_fraction: float = option(1.0, "share of the training scenes; smaller ones are parts of larger ones")
    subset_seed: int = option(0, "which share; keep it when runs are compared")
    points: PointsConfig = option(PointsConfig(), "what the network sees of a scene")
    augment: AugmentConfig = option(AugmentConfig(), "augmentation of training samples")
    model: DetectorModel = option(VoteNetConfig(), "the network")
    sizes: Literal["one", "per_class", "published", "given"] = option(
        "one",
        "mean sizes of VoteNet: one or one per class, from the training boxes; the benchmark's published ones; or as "
        "model.mean_sizes says; levels of TR3D's boxes: by each one's size, by the mean size of its class, published, "
        "or as model.class_levels says",
    )
    padded_truth_bug: bool = option(False, "match proposals to padding as VoteNet's released code does")
    init: InitConfig = option(InitConfig(), "where the weights start from")
    train: TrainConfig = option(TrainConfig(epochs=180.0), "optimisation")
    evaluation: EvaluationConfig = option(EvaluationConfig(), "how detections are made and judged")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if not 0 < self.train_fraction <= 1:
            yield "train_fraction", f"is {self.train_fraction}; expected more than 0, at most 1"
        misfit = self.model.misfit(use_height=self.points.use_height, use_color=self.points.use_color)
        if misfit is not None:
            yield f"model.{misfit[0]}", misfit[1]
        if isinstance(self.model, TR3DConfig):
            unused = {
                "padded_truth_bug": self.padded_truth_bug,
                "points.votes": self.points.votes != PointsConfig().votes,
                "evaluation.decode": self.evaluation.decode != DecodeOptions(),
            }
            for name in (name for name, there in unused.items() if there):
                yield name, "belongs to VoteNet, but model.detector is tr3d, whose own settings are all in model"


def train_detector(
    config: DetectorConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Train a detector, once for each seed; started again, go on where it stopped.

    Args:
        config: Everything.
        out: Folder of the run; with several seeds each has its own in it, `seed0`, `seed1`, ...
        seeds: Values for `config.train.seed`; none means that one.
        overwrite: Start anew.

    Raises:
        ConfigError, OSError, ValueError: If settings, data or an earlier run in the folder do not fit.
        KeyboardInterrupt: When stopped, after a checkpoint was written.
    """
    check_argument("config", config, DetectorConfig)
    scenes, validation = open_training(config)
    return train_seeds(
        lambda own: detection_task(own, scenes, validation), config, out, seeds=seeds, overwrite=overwrite
    )


def open_training(config: DetectorConfig) -> tuple[SceneSet, SceneSet | None]:
    """The scenes to train and to evaluate on. What classes they have is compared before a search where it is known.

    Raises:
        ConfigError, OSError, ValueError: If they cannot be opened, or have other classes than one another.
    """
    classes, own = known_classes(config.data), known_classes(config.validation)
    if classes is not None and own is not None and not config.points.class_agnostic:
        check_same_classes(classes, own)
    differ = formula_differences(config.data, config.validation)
    if differ and not config.points.class_agnostic:
        message = f"has objects of other formulas than the training set ({differ}); give both the same formulas"
        raise ConfigError([("validation", message)])
    with within("data"):
        scenes = open_scenes(config.data).kept()
    if config.validation.kind == "none":
        return scenes, None
    with within("validation"):
        return scenes, open_scenes(config.validation).kept()


def detection_task(config: DetectorConfig, scenes: SceneSet, validation: SceneSet | None = None) -> Task:
    """A detector's training as the loop wants it; prints to stderr what was transferred.

    Raises:
        ConfigError: If the validation set has other classes than the training set, or the model does not fit them.
    """
    check_argument("config", config, DetectorConfig)
    check_argument("scenes", scenes, SceneSet)
    if validation is not None and not config.points.class_agnostic:
        check_same_classes(scenes.classes, validation.classes)
    if validation is not None and not len(validation.scenes):
        raise ConfigError([("validation", f"the {config.validation.kind} to evaluate on has no scenes")])
    training = _share(scenes.scenes, config.train_fraction, config.subset_seed)
    classes = ("object",) if config.points.class_agnostic else scenes.classes
    config = replace(config, model=_resolved_model(config, training, classes))
    torch.manual_seed(config.train.seed)
    model = build_detector(config.model)
    start_from(config.init, model)

    def evaluate(network: nn.Module, group: Processes) -> dict[str, float | None]:
        assert validation is not None
        samples = scene_samples(validation.scenes, config.points, seed=config.evaluation.seed)
        reports = evaluate_scenes(network, config.model, samples, config=config.evaluation, group=group)
        return mean_metrics(reports)

    def pictures(network: nn.Module) -> dict[str, np.ndarray]:
        assert validation is not None
        samples = scene_samples(validation.scenes, config.points, seed=config.evaluation.seed)
        how = {"classes": classes, "config": replace(config.evaluation, num_workers=0)}
        chosen = spread(len(samples), NUM_SHOWN)
        rooms = detection_items(network, config.model, samples, **how, indices=chosen)
        return {"rooms": render_items(rooms, size=(480, 360), columns=2)}

    return Task(
        model=model,
        dataset=scene_samples(training, config.points, seed=config.train.seed, augment=config.augment),
        collate=collate,
        loss=_loss_function(config),
        evaluate=None if validation is None else evaluate,
        pictures=None if validation is None else pictures,
        monitor=config.evaluation.monitor,
        config=config,
        classes=tuple(classes),
    )


@dataclass(frozen=True, eq=False)
class _Part(Sequence[Scene]):
    scenes: Sequence[Scene]
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index):
        return self.scenes[self.chosen[index]]


def _share(scenes: Sequence[Scene], fraction: float, seed: int) -> Sequence[Scene]:
    chosen = nested_subset(len(scenes), fraction, seed=seed)
    return scenes if len(chosen) == len(scenes) else _Part(scenes, tuple(chosen.tolist()))


def _resolved_model(config: DetectorConfig, scenes: Sequence[Scene], classes: tuple[str, ...]) -> DetectorModel:
    """The network for these classes, with what it is to know of the sizes of their boxes."""
    model, num_classes = config.model, len(classes)
    if config.sizes == "given":
        if model.num_classes != num_classes:
            raise ConfigError(
                [("model.num_classes", f"is {model.num_classes}, but the data have {num_classes} classes")]
            )
        return model
    per_class = config.sizes == "per_class" and not config.points.class_agnostic
    if config.sizes == "published":
        spec = _published(classes, model)
        sizes, levels = spec.mean_sizes, spec.class_levels
    elif per_class or isinstance(model, VoteNetConfig):
        sizes = mean_box_sizes(scenes, num_classes, per_class=per_class)
        levels = () if isinstance(model, VoteNetConfig) else tuple(int(max(s) >= model.level_side) for s in sizes)
    else:
        sizes, levels = (), ()
    if isinstance(model, VoteNetConfig):
        return replace(model, num_classes=num_classes, mean_sizes=sizes)
    return replace(model, num_classes=num_classes, class_levels=levels)


def _published(classes: tuple[str, ...], model: DetectorModel) -> DatasetSpec:
    """The benchmark with these classes, if what the network is to know of their sizes was published."""
    known = [spec for spec in SPECS if (spec.mean_sizes if isinstance(model, VoteNetConfig) else spec.class_levels)]
    spec = spec_of(classes)
    if spec not in known:
        names = " nor ".join(spec.name for spec in known)
        raise ConfigError([("sizes", f"is published, but the classes are neither those of {names}")])
    return spec


def _loss_function(config: DetectorConfig) -> Callable:
    model = config.model
    sampled = isinstance(model, VoteNetConfig) and model.cluster_sampling == "random"

    def loss(network: Callable, batch: DetectionBatch, rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        output = network(batch.points, generator=rng) if sampled else network(batch.points)
        targets = BoxTargets(
            boxes=batch.boxes,
            classes=batch.classes,
            mask=batch.box_mask,
            vote_offsets=batch.vote_offsets,
            vote_mask=batch.vote_mask,
        )
        return detector_loss(output, targets, model, padded_truth_bug=config.padded_truth_bug)

    return loss
