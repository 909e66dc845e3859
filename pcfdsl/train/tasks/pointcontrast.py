"""PointContrast (Xie et al. 2020): points that two views of a scene share are to be described alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pcfdsl.config import option
from pcfdsl.datasets.sources import SceneSet
from pcfdsl.models.backbone import PointFeatures
from pcfdsl.models.contrast import Describer, correspondences, info_nce
from pcfdsl.samples.views import PairBatch, TwoViews, ViewAugmentConfig, ViewConfig, collate_pairs
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.pretraining import PretrainConfig, new_model, no_boxes

__all__ = ["PointContrastConfig", "point_contrast_task"]


@dataclass(frozen=True, kw_only=True)
class PointContrastConfig(PretrainConfig):
    """PointContrast. Scenes should have about twice the points of a view, so that the two views share few."""

    view: ViewConfig = option(ViewConfig(), "what each of the two views sees of the scene")
    augment: ViewAugmentConfig = option(ViewAugmentConfig(), "how each view is moved, and its points jittered")
    projection: tuple[int, ...] = option(
        (32,),
        "channels of the layers between features and what is compared; none compares the features",
        minimum=1,
        maximum=65_536,
    )
    radius: float = option(0.0375, "points of two views farther apart do not correspond, metres", minimum=0.0)
    num_pairs: int = option(4096, "corresponding points compared in a batch, at most", minimum=1, maximum=10_000_000)
    temperature: float = option(0.4, "what similarities are divided by", minimum=1e-3)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from super().inconsistencies()
        yield from no_boxes(self.points, self.augment)


def point_contrast_task(config: PointContrastConfig, scenes: SceneSet) -> Task:
    """PointContrast as the loop wants it."""

    def loss(network: Callable, batch: PairBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        first, second = describe_pair(network, batch)
        a, b = pairs(first, second, batch, config.radius, config.num_pairs, rng)
        value, accuracy = info_nce(first.features[a], second.features[b], temperature=config.temperature)
        return value, {"accuracy": accuracy, "pairs": torch.tensor(float(len(a)))}

    return contrast_task(config, scenes, loss)


def contrast_task(config: PointContrastConfig, scenes: SceneSet, loss: Callable) -> Task:
    """Two views of every scene, and a loss on what the network makes of them."""
    dataset = TwoViews(
        scenes.scenes,
        num_points=config.points.num_points,
        use_height=config.points.use_height,
        use_color=config.points.use_color,
        view=config.view,
        augment=config.augment,
        seed=config.train.seed,
    )
    return Task(
        model=new_model(config, lambda: Describer(config.model, config.projection)),
        dataset=dataset,
        collate=collate_pairs,
        loss=loss,
        config=config,
    )


def describe_pair(network: Callable, batch: PairBatch) -> tuple[PointFeatures, PointFeatures]:
    """Both views, described in one pass; `scene_idx` counts the pairs of the batch in both."""
    num_pairs = batch.points.shape[1]
    described = network(batch.points.flatten(0, 1))
    views = []
    for number in range(2):
        rows = (described.scene_idx // num_pairs == number).nonzero()[:, 0]
        views.append(
            PointFeatures(
                described.xyz[rows],
                described.features[rows],
                described.point_idx[rows],
                described.scene_idx[rows] % num_pairs,
            )
        )
    return views[0], views[1]


def pairs(
    first: PointFeatures,
    second: PointFeatures,
    batch: PairBatch,
    radius: float,
    num_pairs: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Rows of both views that correspond, at most `num_pairs` drawn at random."""
    a, b = correspondences(
        first.of_points(batch.positions[0]),
        second.of_points(batch.positions[1]),
        first_scene=first.scene_idx,
        second_scene=second.scene_idx,
        radius=radius,
    )
    if len(a) > num_pairs:
        chosen = torch.from_numpy(rng.choice(len(a), num_pairs, replace=False)).to(a.device)
        a, b = a[chosen], b[chosen]
    return a, b
