"""Greedy suppression of overlapping boxes, as VoteNet does it: on axis-aligned hulls, best score first.

A picked box removes every box not yet picked whose overlap with it exceeds the threshold (strictly). Among equal scores
the later box goes first: the published code sorts upwards and takes from the end.
"""

from typing import Literal

import torch
from torch import Tensor

from pcfdsl.ops.backends import numba_boxes

__all__ = ["Overlap", "nms_3d", "nms_bev", "nms_plain"]

Overlap = Literal["iou", "candidate"]


def nms_3d(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    classes: Tensor | None = None,
    scene: Tensor | None = None,
    overlap: str = "iou",
) -> Tensor:
    """Indices [P] int64 of the boxes that stay, the best score first.

    Args:
        boxes: [K, 6] `x1 y1 z1 x2 y2 z2`, least and greatest corner (`axis_aligned_hull`). Boxes without volume overlap
            nothing.
        scores: [K].
        threshold: Suppress above this overlap.
        classes: [K] int64; if given, boxes suppress those of their own class only.
        scene: [K] int64; if given, boxes suppress those of their own scene only.
        overlap: "iou", or "candidate": intersection over the volume of the box that may be suppressed (the published
            option `use_old_type_nms`).

    Raises:
        ValueError: If shapes disagree, a number is not finite, a box ends before it starts, or `overlap` is another.
    """
    return _nms(boxes, scores, [0, 1, 2], threshold, classes, scene, overlap)


def nms_bev(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    classes: Tensor | None = None,
    scene: Tensor | None = None,
    overlap: str = "iou",
) -> Tensor:
    """`nms_3d` of the areas seen from above (the published 2D suppression)."""
    return _nms(boxes, scores, [0, 1], threshold, classes, scene, overlap)


def nms_plain(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    classes: Tensor | None = None,
    scene: Tensor | None = None,
    overlap: str = "iou",
    bev: bool = False,
) -> Tensor:
    """The twin of `nms_3d` and (with `bev`) of `nms_bev`: tensor operations, one pick at a time."""
    axes = [0, 1] if bev else [0, 1, 2]
    corners, groups = _checked(boxes, scores, axes, classes, scene, overlap)
    sizes = (corners[:, 1] - corners[:, 0]).prod(1)
    left = _order(scores)
    picked = []
    while len(left):
        best, left = left[0], left[1:]
        picked.append(best)
        shared = (corners[left, 1].minimum(corners[best, 1]) - corners[left, 0].maximum(corners[best, 0])).clamp(min=0)
        shared = shared.prod(1)
        whole = sizes[left] if overlap == "candidate" else sizes[left] + sizes[best] - shared
        suppressed = (shared > 0) & (shared / whole > threshold) & (groups[left] == groups[best])
        left = left[~suppressed]
    return torch.stack(picked) if picked else torch.zeros(0, dtype=torch.int64, device=boxes.device)


def _nms(
    boxes: Tensor,
    scores: Tensor,
    axes: list[int],
    threshold: float,
    classes: Tensor | None,
    scene: Tensor | None,
    overlap: str,
) -> Tensor:
    corners, groups = _checked(boxes, scores, axes, classes, scene, overlap)
    # Picking is one after the other by nature: a few hundred boxes are sooner fetched than suppressed on a GPU.
    hulls, order, group = (tensor.contiguous().cpu().numpy() for tensor in (corners, _order(scores), groups))
    picked = numba_boxes.suppress(hulls, order, group, float(threshold), overlap == "candidate")
    return torch.from_numpy(picked).to(boxes.device)


def _order(scores: Tensor) -> Tensor:
    return scores.detach().argsort(stable=True).flip(0)


def _checked(
    boxes: Tensor, scores: Tensor, axes: list[int], classes: Tensor | None, scene: Tensor | None, overlap: str
) -> tuple[Tensor, Tensor]:
    """Corners [K, 2, D] float64, and the group [K] each box belongs to."""
    if overlap not in ("iou", "candidate"):
        raise ValueError(f"overlap is {overlap!r}; expected 'iou' or 'candidate'")
    if boxes.ndim != 2 or boxes.shape[1] != 6:
        raise ValueError(
            f"boxes have shape {list(boxes.shape)}; expected [K, 6]: take axis_aligned_hull of oriented ones"
        )
    for name, values in (("scores", scores), ("classes", classes), ("scene", scene)):
        if values is not None and values.shape != boxes.shape[:1]:
            raise ValueError(f"{name} has shape {list(values.shape)}; expected [{len(boxes)}], one entry per box")
    if not (boxes.isfinite().all() and scores.isfinite().all()):
        raise ValueError("boxes or scores hold numbers that are not finite; leave those boxes out")
    corners = boxes.detach().double().reshape(-1, 2, 3)[..., axes]
    if (corners[:, 1] < corners[:, 0]).any():
        raise ValueError("a box ends before it starts; expected x1 <= x2, y1 <= y2, z1 <= z2 in x1 y1 z1 x2 y2 z2")
    none = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    keys = torch.stack([none if classes is None else classes, none if scene is None else scene], 1)
    return corners, torch.unique(keys, dim=0, return_inverse=True)[1] if len(boxes) else none
