"""Classification of clouds: pre-training by fractal category, or a downstream task on shapes of one's own.

The same settings serve both; the backbone's weights go from one to the other, and to and from detectors.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import ConfigError, option, validate, within
from pcfdsl.datasets.clouds import CloudSet, CloudSourceConfig, FractalClouds, open_clouds
from pcfdsl.datasets.folds import Split, SplitConfig, split_clouds
from pcfdsl.evaluate.classification import ClassificationReport, classification_report, confusion_table
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.samples.clouds import CloudAugmentConfig, CloudBatch, CloudDataset, CloudPointsConfig, collate_clouds
from pcfdsl.store.atomic import write_file
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig

__all__ = [
    "ClassificationConfig",
    "classification_task",
    "evaluate_clouds",
    "train_classifier",
]


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Everything a classifier's training depends on."""

    data: CloudSourceConfig = option(FractalClouds(), "labelled clouds")
    split: SplitConfig = option(SplitConfig(), "which of them are trained and which tested on")
    points: CloudPointsConfig = option(CloudPointsConfig(), "what the network sees of a cloud")
    augment: CloudAugmentConfig = option(CloudAugmentConfig(), "augmentation of training samples")
    model: ClassifierConfig = option(ClassifierConfig(), "the network; num_classes is that of the data")
    init: InitConfig = option(InitConfig(), "where the weights start from")
    label_smoothing: float = option(0.0, "share of the target spread over all classes", minimum=0.0, maximum=0.99)
    votes: int = option(
        1, "draws of a test cloud's points whose probabilities are averaged", minimum=1, maximum=1_000_000
    )
    train: TrainConfig = option(TrainConfig(epochs=100.0, batch_size=32), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        misfit = self.model.misfit(use_height=self.points.use_height, use_color=False)
        if misfit is not None:
            yield f"model.{misfit[0]}", misfit[1]


def train_classifier(
    config: ClassificationConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Train a classifier, once for each seed; started again, go on where it stopped.

    Args:
        config: Everything.
        out: Folder of the run; with several seeds each has its own in it, `seed0`, `seed1`, ... Besides what every run
            leaves there, `classes.md` says what the last weights took each class of the test part for.
        seeds: Values for `config.train.seed`; none means that one.
        overwrite: Start anew.

    Returns:
        Metrics are `accuracy` and `mean_class_accuracy` of the last weights; `best` is the best accuracy seen, which
        is chosen on the test part and so flatters.

    Raises:
        ConfigError, OSError, ValueError: If settings, data or an earlier run in the folder do not fit.
        KeyboardInterrupt: When stopped, after a checkpoint was written.
    """
    with within("data"):
        clouds = open_clouds(config.data)
    split = split_clouds(clouds, config.split)
    if split.num_duplicates or split.num_unlearnable:
        print(
            f"{split.num_duplicates} clouds not trained on because near-duplicates are tested on; "
            f"{split.num_unlearnable} not tested on because nothing of their class is trained on",
            file=sys.stderr,
        )
    tasks = {}

    def make_task(own: ClassificationConfig) -> Task:
        tasks[own.train.seed] = task = classification_task(own, clouds, split)
        return task

    results = train_seeds(make_task, config, out, seeds=seeds, overwrite=overwrite)
    if len(split.test) and os.environ.get("RANK", "0") == "0":
        tested = CloudDataset(clouds, split.test, points=config.points)
        for seed, run in results.runs.items():
            report = evaluate_clouds(tasks[seed].model.eval(), tested, votes=config.votes)
            write_file(run.folder / "classes.md", confusion_table(report, clouds.classes).encode())
    return results


def classification_task(config: ClassificationConfig, clouds: CloudSet, split: Split) -> Task:
    """A classifier's training as the loop wants it; prints to stderr what was transferred.

    Raises:
        ConfigError: If the clouds are all of one class.
    """
    if len(clouds.classes) < 2:
        raise ConfigError([("data", f"has one class, {', '.join(clouds.classes)}; a classifier needs at least two")])
    config = replace(config, model=replace(config.model, num_classes=len(clouds.classes)))
    torch.manual_seed(config.train.seed)
    model = PointCloudClassifier(config.model)
    start_from(config.init, model)

    def loss(network: Callable, batch: CloudBatch, _rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        logits = network(batch.points)
        right = (logits.argmax(1) == batch.labels).float().mean()
        return F.cross_entropy(logits, batch.labels, label_smoothing=config.label_smoothing), {"accuracy": right}

    tested = CloudDataset(clouds, split.test, points=config.points)
    return Task(
        model=model,
        dataset=CloudDataset(clouds, split.train, points=config.points, augment=config.augment, seed=config.train.seed),
        collate=collate_clouds,
        loss=loss,
        evaluate=(lambda network, group: evaluate_clouds(network, tested, votes=config.votes, group=group).metrics())
        if len(tested)
        else None,
        monitor="accuracy",
        config=config,
        classes=tuple(clouds.classes),
    )


@torch.no_grad()
def evaluate_clouds(
    network: nn.Module,
    samples: CloudDataset,
    *,
    votes: int = 1,
    batch_size: int = 64,
    group: Processes | None = None,
) -> ClassificationReport:
    """Judge a classifier in evaluation mode; vote v of a cloud sees the points that `samples` draws in its epoch v.

    Processes of a group share the clouds, and each gets the whole report.

    Raises:
        ValueError: If there are no samples.
    """
    if not len(samples):
        raise ValueError("the set to evaluate on has no clouds")
    device = next(network.parameters()).device

    def probabilities(rows: range) -> tuple[np.ndarray, np.ndarray]:
        batches = [collate_clouds([samples[vote, i] for i in rows]).to(device) for vote in range(votes)]
        means = torch.stack([network(batch.points).softmax(1) for batch in batches]).mean(0)
        return means.cpu().numpy(), batches[0].labels.cpu().numpy()

    found, labels = (group or Processes()).in_batches(probabilities, len(samples), batch_size)
    return classification_report(found.argmax(1), labels, num_classes=found.shape[1])
