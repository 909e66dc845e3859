"""Scenes as training samples of a detector: subsampled, augmented, with height, votes and padded boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from pcfdsl.config import Settings, check_argument, option
from pcfdsl.datasets.augment import AugmentConfig, Draws, axis_aligned_hull, draw_sample
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.samples.points import input_points, require_points
from pcfdsl.samples.released import check_released, released_draws
from pcfdsl.scene.boxes import Scene, overlap_votes, votes

__all__ = ["DetectionBatch", "DetectionDataset", "DetectionSample", "PointsConfig", "collate", "scene_samples"]

VoteTargets = Literal["box", "extent", "overlap"]
PointDraws = Literal["native", "scannet", "sunrgbd"]


@dataclass(frozen=True, kw_only=True)
class PointsConfig(Settings):
    """What the network sees of a scene, and what it has to predict."""

    num_points: int = option(20_000, "points of a sample", minimum=1, maximum=10_000_000)
    use_height: bool = option(True, "height above the floor as a feature")
    use_color: bool = option(False, "colours as features")
    votes: VoteTargets = option(
        "box",
        "vote for the box's centre, the middle of the object's points, or all boxes that hold the point",
    )
    class_agnostic: bool = option(False, "treat all objects as one class")
    draws: PointDraws = option("native", "random draws: native, or in the order of VoteNet's loader of a benchmark")


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionSample:
    """One scene, ready for a batch (NumPy).

    Attributes:
        points: [N, 3 + C] float32: xyz, then colour minus 0.5 and height if they are used, in this order.
        boxes: [K, 7] float32.
        classes: [K] int64.
        vote_offsets: [N, 3, 3] float32 (slot, xyz): three votes per point, all equal if it belongs to one object.
        vote_mask: [N] bool.
        instance_ids: [N] int64, the row of `boxes` a point belongs to; -1 for background.
        scene_idx: Index in the data set.
    """

    points: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    vote_offsets: np.ndarray
    vote_mask: np.ndarray
    instance_ids: np.ndarray
    scene_idx: int


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionBatch(TensorBatch):
    """B scenes. Boxes are padded with zeros to the largest number in the batch, G (at least 1).

    Attributes:
        points: [B, N, 3 + C] float32.
        boxes: [B, G, 7] float32, `cx cy cz dx dy dz yaw`.
        classes: [B, G] int64, 0 in padding.
        box_mask: [B, G] bool, false in padding.
        vote_offsets: [B, N, 3, 3] float32 (slot, xyz), metres.
        vote_mask: [B, N] bool, true for points of objects.
        instance_ids: [B, N] int64, the row of `boxes` a point belongs to; -1 for background.
        scene_idx: [B] int64.
    """

    points: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor
    box_mask: torch.Tensor
    vote_offsets: torch.Tensor
    vote_mask: torch.Tensor
    instance_ids: torch.Tensor
    scene_idx: torch.Tensor

    def __len__(self) -> int:
        return len(self.points)


class DetectionDataset(Dataset[DetectionSample]):
    """Training or evaluation samples of a sequence of scenes.

    `dataset[e, i]` is sample i of epoch e, a pure function of (scenes, settings, seed, e, i), whichever worker makes it
    and in whichever order; `dataset[i]` is that of epoch 0.

    Args:
        scenes: Any sequence of `Scene`.
        num_points: Points of a sample, drawn without repetition if the scene has enough; if not, all of them and
            repeats.
        use_height: Add the height above the floor as a feature: see `input_points`.
        use_color: Add colours; the scenes must have them.
        augment: Augmentation; None: none.
        votes: "box": to the centre of the labelled box; "extent": to the middle of the sampled points of the instance
            (VoteNet on ScanNet); "overlap": by which boxes hold the point, up to three (VoteNet on SUN RGB-D).
        class_agnostic: All objects are class 0.
        draws: "native", or "scannet" or "sunrgbd": with the generator and in the order of VoteNet's loader of that
            benchmark; see `pcfdsl.samples.released`.
        seed: Seed of subsampling and augmentation.

    Raises:
        ValueError: If a setting cannot be used, or a scene has no points or no colours.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        num_points: int,
        use_height: bool = True,
        use_color: bool = False,
        augment: AugmentConfig | None = None,
        votes: str = "box",
        class_agnostic: bool = False,
        draws: str = "native",
        seed: int = 0,
    ):
        if num_points < 1:
            raise ValueError(f"num_points is {num_points}; expected at least 1")
        if votes not in get_args(VoteTargets):
            raise ValueError(f"votes is {votes!r}; expected one of {', '.join(get_args(VoteTargets))}")
        if draws not in get_args(PointDraws):
            raise ValueError(f"draws is {draws!r}; expected one of {', '.join(get_args(PointDraws))}")
        if draws != "native":
            check_released(draws, augment)
        self.draws = draws
        self.scenes, self.num_points, self.augment, self.votes = scenes, num_points, augment, votes
        self.use_height, self.use_color, self.class_agnostic = use_height, use_color, class_agnostic
        self.seed = seed

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int | tuple[int, int]) -> DetectionSample:
        epoch, i = index if isinstance(index, tuple) else (0, index)
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of a data set of {len(self)}")
        scene, rng = self.scenes[i], stream(self.seed, "detection", epoch, i)
        require_points(scene, i, use_color=self.use_color)
        if self.draws == "native":
            draws = draw_sample(rng, len(scene.points), self.num_points, config=self.augment)
        else:
            legacy = np.random.RandomState(rng.integers(2**32, dtype=np.uint32))
            draws = released_draws(self.draws, legacy, len(scene.points), self.num_points, config=self.augment)
        return self.sample(scene, draws, scene_idx=i)

    def sample(self, scene: Scene, draws: Draws, *, scene_idx: int) -> DetectionSample:
        """Make the sample of a scene from given draws."""
        points = input_points(scene, draws, use_height=self.use_height, use_color=self.use_color)
        boxes = draws.transform.boxes(scene.boxes.astype(np.float64))
        scene = replace(
            scene,
            points=points[:, :3],
            boxes=axis_aligned_hull(boxes) if self.augment is not None and self.augment.hull else boxes,
            instance_ids=scene.instance_ids[draws.rows],
            colors=None,
        )
        offsets, mask = _three_votes(scene, self.votes)
        return DetectionSample(
            points=points,
            boxes=scene.boxes,
            classes=scene.categories.astype(np.int64) * (not self.class_agnostic),
            vote_offsets=offsets,
            vote_mask=mask,
            instance_ids=scene.instance_ids.astype(np.int64),
            scene_idx=int(scene_idx),
        )


def scene_samples(
    scenes: Sequence[Scene], config: PointsConfig, *, seed: int, augment: AugmentConfig | None = None
) -> DetectionDataset:
    """Make a data set of scenes as the settings say."""
    check_argument("config", config, PointsConfig)
    return DetectionDataset(
        scenes,
        num_points=config.num_points,
        use_height=config.use_height,
        use_color=config.use_color,
        votes=config.votes,
        class_agnostic=config.class_agnostic,
        draws=config.draws,
        augment=augment,
        seed=seed,
    )


def collate(samples: Sequence[DetectionSample]) -> DetectionBatch:
    """Stack samples with equally many points into a batch; boxes are padded.

    Raises:
        TypeError, ValueError: If there is none, or one is something else.
    """
    if not samples:
        raise ValueError("samples is empty; a batch needs at least one")
    for sample in samples:
        check_argument("samples", sample, DetectionSample)
    num_boxes = max(1, *(len(sample.boxes) for sample in samples))
    boxes = np.zeros((len(samples), num_boxes, 7), np.float32)
    classes = np.zeros((len(samples), num_boxes), np.int64)
    mask = np.zeros((len(samples), num_boxes), bool)
    for b, sample in enumerate(samples):
        k = len(sample.boxes)
        boxes[b, :k], classes[b, :k], mask[b, :k] = sample.boxes, sample.classes, True
    return DetectionBatch(
        points=torch.from_numpy(np.stack([sample.points for sample in samples])),
        boxes=torch.from_numpy(boxes),
        classes=torch.from_numpy(classes),
        box_mask=torch.from_numpy(mask),
        vote_offsets=torch.from_numpy(np.stack([sample.vote_offsets for sample in samples])),
        vote_mask=torch.from_numpy(np.stack([sample.vote_mask for sample in samples])),
        instance_ids=torch.from_numpy(np.stack([sample.instance_ids for sample in samples])),
        scene_idx=torch.tensor([sample.scene_idx for sample in samples]),
    )


def _three_votes(scene: Scene, kind: str) -> tuple[np.ndarray, np.ndarray]:
    if kind == "overlap":
        return overlap_votes(scene.points, scene.boxes)
    offsets, mask = votes(scene, target=kind)
    return np.repeat(offsets[:, None], 3, axis=1), mask
