"""RandomRooms (Rao et al., ICCV 2021): objects are to be described alike in two rooms with different layouts.

Of the paper only the idea is known here, so the loss is the plain contrast of pooled features, with the other objects
of the batch for negatives.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pcfdsl.config import ConfigError, option
from pcfdsl.datasets.sources import SceneSet
from pcfdsl.models.contrast import Describer, info_nce, object_means
from pcfdsl.samples.views import PairBatch, TwoLayouts, collate_pairs
from pcfdsl.scene.synthesize import Scenes
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.pointcontrast import describe_pair
from pcfdsl.train.tasks.pretraining import PretrainConfig, new_model, no_boxes

__all__ = ["RandomRoomsConfig", "random_rooms_task"]


@dataclass(frozen=True, kw_only=True)
class RandomRoomsConfig(PretrainConfig):
    """RandomRooms; objects are fractals, furniture or the meshes of a folder, as `data.kind` says."""

    projection: tuple[int, ...] = option(
        (128, 64),
        "channels of the layers between features and what is compared; none compares the features",
        minimum=1,
        maximum=65_536,
    )
    min_points: int = option(1, "described points an object needs in both rooms to be compared", minimum=1)
    temperature: float = option(0.1, "what similarities are divided by", minimum=1e-3)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from super().inconsistencies()
        yield from no_boxes(self.points, self.augment)


def random_rooms_task(config: RandomRoomsConfig, scenes: SceneSet) -> Task:
    """RandomRooms as the loop wants it.

    Raises:
        ConfigError: If the scenes are stored ones, whose objects cannot be laid out anew, or colours are asked for.
    """
    if not isinstance(scenes.scenes, Scenes):
        raise ConfigError([("data.kind", f"is {config.data.kind}; objects come from fractals, furniture or meshes")])
    if config.points.use_color:
        raise ConfigError([("points.use_color", "is true, but the two layouts of a room are made without colours")])

    def loss(network: Callable, batch: PairBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        num_slots = int(batch.object_ids.max()) + 1
        num_objects = max(num_slots, 1) * batch.object_ids.shape[1]
        means, counts = [], []
        for view, described in enumerate(describe_pair(network, batch)):
            ids = described.of_points(batch.object_ids[view])
            ids = torch.where(ids >= 0, ids + described.scene_idx * num_slots, -1)
            mean, count = object_means(described, ids, num_objects)
            means.append(mean)
            counts.append(count)
        both = (torch.minimum(counts[0], counts[1]) >= config.min_points).nonzero()[:, 0]
        value, accuracy = info_nce(means[0][both], means[1][both], temperature=config.temperature, symmetric=True)
        return value, {"accuracy": accuracy, "objects": torch.tensor(float(len(both)))}

    return Task(
        model=new_model(config, lambda: Describer(config.model, config.projection)),
        dataset=TwoLayouts(
            scenes.scenes.settings,
            scenes.scenes.source,
            num_points=config.points.num_points,
            use_height=config.points.use_height,
            augment=config.augment,
            seed=config.train.seed,
        ),
        collate=collate_pairs,
        loss=loss,
        config=config,
    )
