"""Labelled boxes of many scenes in flat tensors: detections and ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from pcfdsl.ops.boxes3d import check_boxes

__all__ = ["Detections", "GroundTruth"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _LabelledBoxes:
    """Boxes of many scenes, one row each.

    Attributes:
        scene: [K] int64, index of the scene.
        boxes: [K, 7] `cx cy cz dx dy dz yaw`.
        classes: [K] int64.

    Raises:
        ValueError: If shapes disagree, an extent or index is negative, or a value is not finite.
    """

    scene: Tensor
    boxes: Tensor
    classes: Tensor

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_boxes(self.boxes, f"{name}.boxes")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "boxes":
                continue
            if not isinstance(value, Tensor) or value.shape != self.boxes.shape[:1]:
                raise ValueError(
                    f"{name}.{field.name} is {_described(value)}; expected a tensor of shape [{len(self.boxes)}], one "
                    "entry per box"
                )
            if field.name != "scores" and value.dtype != torch.int64:
                raise ValueError(f"{name}.{field.name} has type {value.dtype}; expected torch.int64: use `.long()`")
            if field.name != "scores" and (value < 0).any():
                raise ValueError(f"{name}.{field.name} holds {int(value.min())}; indices start at 0")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All parts joined; their scene indices must already refer to the same set.

        Raises:
            ValueError: If there are no parts.
        """
        if not parts:
            raise ValueError(f"no parts to concatenate; expected at least one {cls.__name__}, which may be empty")
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})

    def by_scene(self) -> Self:
        """A copy in the order of the scenes; those of one scene stay in their order."""
        return self.rows(self.scene.argsort(stable=True))

    def rows(self, rows: Tensor) -> Self:
        """A copy with these rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def cpu(self) -> Self:
        """A copy on the CPU."""
        return type(self)(**{field.name: getattr(self, field.name).detach().cpu() for field in fields(self)})


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(_LabelledBoxes):
    """What a detector found: labelled boxes with `scores` [K], finite, higher for more confident ones."""

    scores: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scores.isfinite().all():
            raise ValueError("Detections.scores holds values that are not finite; drop those detections")

    @classmethod
    def from_scenes(cls, scenes: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Self:
        """Detections of (boxes [K, 7], scores [K], classes [K]) per scene; scene i is item i.

        >>> Detections.from_scenes([(torch.ones(2, 7), torch.tensor([.9, .1]), torch.tensor([0, 3]))]).scene
        tensor([0, 0])
        """
        boxes, scores, classes = _columns(scenes, 3)
        return cls(scene=_scene_of(scenes), boxes=boxes, scores=scores, classes=classes.long())


@dataclass(frozen=True, eq=False, kw_only=True)
class GroundTruth(_LabelledBoxes):
    """The annotated objects."""

    @classmethod
    def from_scenes(cls, scenes: Sequence[tuple[Tensor, Tensor]]) -> Self:
        """Ground truth of (boxes [K, 7], classes [K]) per scene; scene i is item i."""
        boxes, classes = _columns(scenes, 2)
        return cls(scene=_scene_of(scenes), boxes=boxes, classes=classes.long())


def _columns(scenes: Sequence[Sequence[Tensor]], num_columns: int) -> list[Tensor]:
    if not scenes:
        return [torch.zeros(0, 7), *[torch.zeros(0)] * (num_columns - 1)]
    return [torch.cat(column) for column in zip(*scenes, strict=True)]


def _scene_of(scenes: Sequence[Sequence[Tensor]]) -> Tensor:
    if not scenes:
        return torch.zeros(0, dtype=torch.int64)
    counts = torch.tensor([len(boxes) for boxes, *_ in scenes], device=scenes[0][0].device)
    return torch.arange(len(scenes), device=counts.device).repeat_interleave(counts)


def _described(value: Tensor | list) -> str:
    return f"of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
