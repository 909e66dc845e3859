"""Point-MAE: pre-training without labels, on clouds of formulas or any others, for the transformer of clouds.

The weights that a run leaves start `train --task classification model.backbone_type=point_transformer`. Point-MAE-Zero
(Chen et al. 2024, arXiv 2411.17467) found that procedural shapes teach it about as well as ShapeNet's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.config import option, validate, within
from pcfdsl.datasets.clouds import CloudSet, CloudSourceConfig, FormulaClouds, open_clouds
from pcfdsl.datasets.folds import Split, SplitConfig, split_clouds
from pcfdsl.evaluate.processes import Processes
from pcfdsl.formula.search import SearchConfig
from pcfdsl.models.point_mae import PointMAE, PointMAEModelConfig, chamfer_distance
from pcfdsl.pointcloud.objects import IFSConfig
from pcfdsl.pointcloud.surfaces import SphericalHarmonicsConfig, SuperquadricsConfig
from pcfdsl.rng import stream
from pcfdsl.samples.clouds import CloudAugmentConfig, CloudBatch, CloudDataset, CloudPointsConfig, collate_clouds
from pcfdsl.train.seeds import SeedResults, train_seeds
from pcfdsl.train.task import Task, TrainConfig

__all__ = ["PointMAEConfig", "point_mae_task", "reconstruction_error", "train_point_mae"]

_FORMULAS = (
    IFSConfig(search=SearchConfig(variance_threshold=0.05)),
    SphericalHarmonicsConfig(),
    SuperquadricsConfig(),
)


@dataclass(frozen=True, kw_only=True)
class PointMAEConfig:
    """Everything that Point-MAE depends on."""

    data: CloudSourceConfig = option(FormulaClouds(objects=_FORMULAS), "clouds; their labels are not looked at")
    split: SplitConfig = option(SplitConfig(), "which of them are trained on and which tested on")
    points: CloudPointsConfig = option(CloudPointsConfig(use_height=False), "what the network sees of a cloud")
    augment: CloudAugmentConfig = option(
        CloudAugmentConfig(dropout=0.0, jitter=0.0), "augmentation, of what is to be made up too"
    )
    model: PointMAEModelConfig = option(PointMAEModelConfig(), "the network")
    train: TrainConfig = option(TrainConfig(epochs=300.0, batch_size=128), "optimisation")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        tokens = self.model.transformer.tokens
        if self.points.use_height:
            yield "points", "use_height is true; the tokens of clouds have no features besides xyz"
        # With fewer points than groups, hidden groups are among those seen.
        for name, least in (("group_size", tokens.group_size), ("num_groups", tokens.num_groups)):
            if self.points.num_points < least:
                yield (
                    "points",
                    f"num_points is {self.points.num_points}, fewer than model.transformer.tokens.{name} {least}",
                )


def train_point_mae(
    config: PointMAEConfig, out: str | Path, *, seeds: Sequence[int] = (), overwrite: bool = False
) -> SeedResults:
    """Pre-train by Point-MAE, once for each seed; arguments and errors as for `train_seeds`.

    Returns:
        The metric is `loss`, the error on clouds that are not trained on, if `split` leaves any.
    """
    with within("data"):
        clouds = open_clouds(config.data)
    split = split_clouds(clouds, config.split)
    return train_seeds(lambda own: point_mae_task(own, clouds, split), config, out, seeds=seeds, overwrite=overwrite)


def point_mae_task(config: PointMAEConfig, clouds: CloudSet, split: Split) -> Task:
    """Point-MAE as the loop wants it."""
    torch.manual_seed(config.train.seed)
    num_groups = config.model.transformer.tokens.num_groups

    def loss(network: Callable, batch: CloudBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        orders = np.stack([rng.permutation(num_groups) for _ in range(len(batch))])
        made_up, truth = network(batch.points, torch.from_numpy(orders).to(batch.points.device))
        return chamfer_distance(made_up, truth).mean(), {}

    tested = CloudDataset(clouds, split.test, points=config.points)
    return Task(
        model=PointMAE(config.model),
        dataset=CloudDataset(clouds, split.train, points=config.points, augment=config.augment, seed=config.train.seed),
        collate=collate_clouds,
        loss=loss,
        evaluate=(
            lambda network, group: {"loss": reconstruction_error(network, tested, num_groups=num_groups, group=group)}
        )
        if len(tested)
        else None,
        config=config,
    )


@torch.no_grad()
def reconstruction_error(
    network: nn.Module,
    samples: CloudDataset,
    *,
    num_groups: int,
    batch_size: int = 64,
    group: Processes | None = None,
) -> float:
    """Mean Chamfer distance of hidden groups, by a PointMAE in evaluation mode; what is hidden is the same each time.

    Processes of a group share the clouds, and each gets the whole result.

    Raises:
        ValueError: If there are no samples.
    """
    if not len(samples):
        raise ValueError("the set to evaluate on has no clouds")
    device = next(network.parameters()).device

    def errors(rows: range) -> tuple[np.ndarray]:
        batch = collate_clouds([samples[i] for i in rows]).to(device)
        orders = np.stack([stream(0, "hidden groups", i).permutation(num_groups) for i in rows])
        made_up, truth = network(batch.points, torch.from_numpy(orders).to(device))
        return (chamfer_distance(made_up, truth).mean(1).cpu().numpy(),)

    (found,) = (group or Processes()).in_batches(errors, len(samples), batch_size)
    return float(found.mean(dtype=np.float64))
