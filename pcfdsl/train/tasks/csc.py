"""Contrastive Scene Contexts (Hou et al. 2021): PointContrast, with negatives by where they lie around a point."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pcfdsl.config import option
from pcfdsl.datasets.sources import SceneSet
from pcfdsl.models.contrast import info_nce, partitioned_info_nce, partitions
from pcfdsl.ops.neighborhoods import rows_by_scene
from pcfdsl.samples.views import PairBatch
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.pointcontrast import PointContrastConfig, contrast_task, describe_pair, pairs

__all__ = ["CSCConfig", "csc_task"]


@dataclass(frozen=True, kw_only=True)
class CSCConfig(PointContrastConfig):
    """CSC. The radii are 2 and 20 voxels of 2.5 cm."""

    shells: tuple[float, ...] = option(
        (0.05, 0.5), "radii that part the space around a point, metres; nearer points are no negatives", minimum=0.0
    )
    num_azimuths: int = option(2, "parts of the horizontal circle", minimum=1, maximum=1_000)
    num_elevations: int = option(2, "parts between straight down and straight up", minimum=1, maximum=1_000)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from super().inconsistencies()
        if not self.shells or list(self.shells) != sorted(set(self.shells)):
            yield "shells", f"{self.shells} must be at least one radius, and increase"


def csc_task(config: CSCConfig, scenes: SceneSet) -> Task:
    """CSC as the loop wants it: the mean over partitions and scenes."""
    cells = {
        "shells": config.shells,
        "num_azimuths": config.num_azimuths,
        "num_elevations": config.num_elevations,
    }
    num_partitions = len(config.shells) * config.num_azimuths * config.num_elevations

    def loss(network: Callable, batch: PairBatch, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        first, second = describe_pair(network, batch)
        a, b = pairs(first, second, batch, config.radius, config.num_pairs, rng)
        positions, scene_idx = first.of_points(batch.positions[0])[a], first.scene_idx[a]
        queries, keys = first.features[a], second.features[b]
        values = []
        for rows in rows_by_scene(scene_idx, batch.points.shape[1]):
            values.append(
                partitioned_info_nce(
                    queries[rows],
                    keys[rows],
                    partitions(positions[rows], **cells),
                    num_partitions=num_partitions,
                    temperature=config.temperature,
                )
            )
        with torch.no_grad():
            _, accuracy = info_nce(queries, keys, temperature=config.temperature)
        return torch.stack(values).mean(), {"accuracy": accuracy, "pairs": torch.tensor(float(len(a)))}

    return contrast_task(config, scenes, loss)
