"""Non-maximum suppression as VoteNet does it: greedy, on axis-aligned hulls, best score first.

A picked box removes every box not yet picked whose overlap with it is strictly above the threshold. Among equal scores
the later box goes first: VoteNet's code sorts in ascending order and takes from the end.
"""

from typing import Literal

import torch
from torch import Tensor

from pcfdsl.ops.backends import numba_boxes

__all__ = ["Overlap", "nms_3d", "nms_plain"]

Overlap = Literal["iou", "candidate"]


def nms_3d(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    classes: Tensor | None = None,
    scene: Tensor | None = None,
    overlap: str = "iou",
    bev: bool = False,
) -> Tensor:
    """Indices [P] int64 of the boxes that are kept, best score first.

    Args:
        boxes: [K, 6] `x1 y1 z1 x2 y2 z2`, minimum and maximum corner (`axis_aligned_hull`). Boxes without volume
            overlap nothing.
        scores: [K].
        threshold: Suppress above this overlap.
        classes: [K] int64; if given, boxes only suppress boxes of the same class.
        scene: [K] int64; if given, boxes only suppress boxes of the same scene.
        overlap: "iou", or "candidate": intersection over the volume of the box that may be suppressed (VoteNet's
            option `use_old_type_nms`).
        bev: Bird's-eye view: compare areas seen from above instead of volumes (VoteNet's 2D suppression).

    Raises:
        ValueError: If shapes disagree, a value is not finite, a box has a maximum below its minimum, or `overlap` is
            unknown.
    """
    corners, groups = _checked(boxes, scores, classes, scene, overlap, bev)
    # Picking is sequential by nature: a few hundred boxes are copied to the CPU sooner than suppressed on a GPU.
    hulls, order, group = (tensor.contiguous().cpu().numpy() for tensor in (corners, _order(scores), groups))
    picked = numba_boxes.suppress(hulls, order, group, float(threshold), overlap == "candidate")
    return torch.from_numpy(picked).to(boxes.device)


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
    """The twin of `nms_3d`: tensor operations, one pick at a time."""
    corners, groups = _checked(boxes, scores, classes, scene, overlap, bev)
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


def _order(scores: Tensor) -> Tensor:
    return scores.detach().argsort(stable=True).flip(0)


def _checked(
    boxes: Tensor, scores: Tensor, classes: Tensor | None, scene: Tensor | None, overlap: str, bev: bool
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
        raise ValueError("boxes or scores hold values that are not finite; drop those boxes")
    corners = boxes.detach().double().reshape(-1, 2, 3)[..., : 2 if bev else 3]
    if (corners[:, 1] < corners[:, 0]).any():
        raise ValueError("a box has its maximum below its minimum; expected x1 <= x2, y1 <= y2 and z1 <= z2")
    none = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    keys = torch.stack([none if classes is None else classes, none if scene is None else scene], 1)
    return corners, torch.unique(keys, dim=0, return_inverse=True)[1] if len(boxes) else none
