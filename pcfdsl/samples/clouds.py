"""Clouds as training samples of a classifier: drawn, normalised in size, augmented, with height."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from pcfdsl.config import option, validate
from pcfdsl.datasets.augment import AugmentConfig, draw_transform, drop_and_jitter
from pcfdsl.datasets.clouds import CloudSet
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.scene.boxes import height_above_floor

__all__ = ["CloudAugmentConfig", "CloudBatch", "CloudDataset", "CloudPointsConfig", "collate_clouds"]


@dataclass(frozen=True, kw_only=True)
class CloudPointsConfig:
    """A cloud as the network sees it."""

    num_points: int = option(1024, "points of a sample", minimum=1, maximum=10_000_000)
    size: Literal["sphere", "metres"] = option(
        "sphere",
        "sphere: centred on the mean, with the farthest point at radius; metres: unscaled, centred on its box",
    )
    radius: float = option(1.0, "radius of that sphere, metres, as are the backbone's radii", minimum=1e-3)
    use_height: bool = option(True, "height above the cloud's lowest points as a feature, as for detectors")

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class CloudAugmentConfig(AugmentConfig):
    """Augmentation of training clouds, after they are normalised in size; lengths are metres."""

    rotation: float = option(180.0, "rotation about z, up to this many degrees either way", minimum=0.0, maximum=180.0)
    any_orientation: bool = option(False, "rotate to any orientation first, for sets without a common upright")
    scale: tuple[float, float] = option((0.8, 1.25), "range of the scale factor", minimum=0.01)
    stretch: float = option(
        0.0, "scale each axis by a further factor that differs from 1 by up to this much", minimum=0.0, maximum=0.9
    )
    dropout: float = option(
        0.3, "replace up to this share of the points by copies of others", minimum=0.0, maximum=0.99
    )
    jitter: float = option(0.01, "standard deviation of noise on each coordinate, metres", minimum=0.0)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        yield from super().inconsistencies()
        if self.hull:
            yield "hull", "is true, but clouds of single shapes have no boxes"
        if self.color:
            yield "color", "is true, but clouds of single shapes are read without colours"


@dataclass(frozen=True, eq=False, kw_only=True)
class CloudBatch(TensorBatch):
    """B clouds.

    Attributes:
        points: [B, N, 3 + C] float32: xyz, then the height if it is used.
        labels: [B] int64.
        cloud_idx: [B] int64, indices in the data set.
    """

    points: torch.Tensor
    labels: torch.Tensor
    cloud_idx: torch.Tensor

    def __len__(self) -> int:
        return len(self.points)


class CloudDataset(Dataset[tuple[np.ndarray, int, int]]):
    """Training or evaluation samples of a set of clouds.

    `dataset[e, i]` is sample i of epoch e, a pure function of (clouds, settings, seed, e, i), whichever worker makes it
    and in whichever order; `dataset[i]` is that of epoch 0.

    Args:
        clouds: Source of points and labels.
        indices: The clouds to use, in order.
        points: What the network sees.
        augment: Augmentation; None: none.
        seed: Seed of the choice of points and of augmentation.
    """

    def __init__(
        self,
        clouds: CloudSet,
        indices: np.ndarray,
        *,
        points: CloudPointsConfig,
        augment: CloudAugmentConfig | None = None,
        seed: int = 0,
    ):
        self.clouds, self.indices, self.points, self.augment, self.seed = clouds, indices, points, augment, seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[np.ndarray, int, int]:
        """(points [N, 3 + C] float32, label, i)."""
        epoch, i = index if isinstance(index, tuple) else (0, index)
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of a data set of {len(self)}")
        row, config = int(self.indices[i]), self.points
        rng = stream(self.seed, "cloud", epoch, row)
        points = self.clouds.source.draw(row, rng, config.num_points)
        points = _to_size(points, config)
        if self.augment is not None:
            points = _augmented(points, rng, self.augment)
        if config.use_height:
            points = np.concatenate([points, height_above_floor(points)[:, None]], axis=1)
        return points.astype(np.float32), int(self.clouds.labels[row]), i


def collate_clouds(samples: Sequence[tuple[np.ndarray, int, int]]) -> CloudBatch:
    """Stack samples with equally many points into a batch."""
    points, labels, rows = zip(*samples, strict=True)
    return CloudBatch(
        points=torch.from_numpy(np.stack(points)), labels=torch.tensor(labels), cloud_idx=torch.tensor(rows)
    )


def _to_size(points: np.ndarray, config: CloudPointsConfig) -> np.ndarray:
    if config.size == "metres":
        return points - (points.min(0) + points.max(0)) / 2
    points = points - points.mean(0)
    farthest = np.sqrt((points**2).sum(1).max())
    return points * np.float32(config.radius / farthest) if farthest > 0 else points  # all drawn points may coincide


def _augmented(points: np.ndarray, rng: np.random.Generator, config: CloudAugmentConfig) -> np.ndarray:
    if config.any_orientation:
        points = points @ _random_rotation(rng).T.astype(np.float32)
    if config.stretch:
        points = points * rng.uniform(1 - config.stretch, 1 + config.stretch, 3).astype(np.float32)
    points = draw_transform(rng, config).points(points)
    rows, offsets = drop_and_jitter(rng, len(points), config=config)
    return points[rows] + offsets


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly distributed rotation, [3, 3]: Q of a Gaussian matrix, with signs fixed (Stewart 1980)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q
