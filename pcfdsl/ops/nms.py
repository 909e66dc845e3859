"""Non-maximum suppression: greedy, best score first; on axis-aligned hulls as VoteNet does it, or exact from above.

A picked box suppresses every remaining box whose overlap with it is strictly above the threshold. Among equal scores
the later box goes first: VoteNet's code sorts in ascending order and takes from the end.
"""

from typing import Literal

import torch
from torch import Tensor

from pcfdsl.ops.backends import numba_boxes
from pcfdsl.ops.boxes3d import check_boxes

__all__ = ["Overlap", "keep_3d", "keep_3d_torch", "nms_3d", "nms_bev", "nms_plain"]

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


def nms_bev(boxes: Tensor, scores: Tensor, *, threshold: float, classes: Tensor, scene: Tensor) -> Tensor:
    """Indices [P] int64 of the boxes that are kept, best score first; by the exact IoU of oriented boxes from above.

    Heights do not count (mmcv's `nms3d`, and `nms3d_normal` where no box is turned). A CPU kernel, even for boxes on
    a GPU: a box is compared only with those already kept of its class and scene.

    Args:
        boxes: [K, 7] `cx cy cz dx dy dz yaw`.
        scores: [K].
        threshold: Suppress above this IoU.
        classes, scene: [K] int64; boxes only suppress boxes of the same class and scene.

    Raises:
        ValueError: If shapes disagree or a box is invalid.
    """
    check_boxes(boxes)
    _check_lengths(len(boxes), scores, classes, scene)
    groups = _groups(scores, classes, scene)
    own, order, group = (
        tensor.detach().contiguous().cpu().numpy() for tensor in (boxes.double(), _order(scores), groups)
    )
    return torch.from_numpy(numba_boxes.suppress_oriented(own, order, group, float(threshold))).to(boxes.device)


def keep_3d(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    candidates: Tensor | None = None,
    classes: Tensor | None = None,
    overlap: str = "iou",
    bev: bool = False,
) -> Tensor:
    """`nms_3d` of a batch of scenes, on the device where they are: which boxes are kept, [B, P] bool.

    Args:
        boxes: [B, P, 6].
        scores: [B, P].
        threshold: As for `nms_3d`, like the other options.
        candidates: [B, P] bool; boxes where it is false are not kept and suppress nothing.
        classes: [B, P] int64, or None.
        overlap, bev: As for `nms_3d`.

    Raises:
        ValueError: As `nms_3d`, even if the invalid box is not a candidate.
    """
    if candidates is None:
        candidates = torch.ones_like(scores, dtype=torch.bool)
    if boxes.device.type != "cpu":
        options = {"classes": classes, "overlap": overlap, "bev": bev}
        return keep_3d_torch(boxes, scores, threshold=threshold, candidates=candidates, **options)
    scene, proposal = candidates.nonzero(as_tuple=True)
    picked = nms_3d(
        boxes[candidates],
        scores[candidates],
        threshold=threshold,
        classes=None if classes is None else classes[candidates],
        scene=scene,
        overlap=overlap,
        bev=bev,
    )
    kept = torch.zeros_like(candidates)
    kept[scene[picked], proposal[picked]] = True
    return kept


def keep_3d_torch(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float,
    candidates: Tensor,
    classes: Tensor | None = None,
    overlap: str = "iou",
    bev: bool = False,
) -> Tensor:
    """`keep_3d` in a few tensor operations instead of one pick after the other; B * P * P numbers of memory.

    A box is kept unless a kept one before it suppresses it. Started from all candidates and repeated, this rule has
    decided the first t boxes after t rounds, and nothing changes once it holds of all: after as many rounds as the
    longest chain of boxes that suppress each other, a handful in a scene.
    """
    corners, _ = _checked(boxes.flatten(0, 1), scores.flatten(), None, None, overlap, bev)
    corners = corners.view(*scores.shape, 2, -1)
    low, high = corners.unbind(2)
    sizes = _product(high - low)
    shared = _product((high[:, :, None].minimum(high[:, None]) - low[:, :, None].maximum(low[:, None])).clamp(min=0))
    whole = sizes[:, None] if overlap == "candidate" else sizes[:, None] + sizes[:, :, None] - shared
    rank = scores.detach().argsort(dim=1, stable=True).flip(1).argsort(1)
    # suppresses[b, j, i]: j, if it is kept, removes i.
    suppresses = (shared > 0) & (shared / whole > threshold) & (rank[:, :, None] < rank[:, None])
    if classes is not None:
        suppresses &= classes[:, :, None] == classes[:, None]
    kept, before = candidates, None
    while before is None or not torch.equal(kept, before):
        for _ in range(4):  # extra rounds are cheaper than a synchronisation to see whether they are needed
            before, kept = kept, candidates & ~(suppresses & kept[:, :, None]).any(1)
    return kept


def _product(extents: Tensor) -> Tensor:
    """Over the last dimension, in its order: the same rounding everywhere."""
    product = extents[..., 0]
    for d in range(1, extents.shape[-1]):
        product = product * extents[..., d]
    return product


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
    _check_lengths(len(boxes), scores, classes, scene)
    if not (boxes.isfinite().all() and scores.isfinite().all()):
        raise ValueError("boxes or scores hold values that are not finite; drop those boxes")
    corners = boxes.detach().double().reshape(-1, 2, 3)[..., : 2 if bev else 3]
    if (corners[:, 1] < corners[:, 0]).any():
        raise ValueError("a box has a maximum below its minimum; expected x1 <= x2, y1 <= y2 and z1 <= z2")
    return corners, _groups(scores, classes, scene)


def _check_lengths(num_boxes: int, scores: Tensor, classes: Tensor | None, scene: Tensor | None) -> None:
    for name, values in (("scores", scores), ("classes", classes), ("scene", scene)):
        if values is not None and values.shape != (num_boxes,):
            raise ValueError(f"{name} has shape {list(values.shape)}; expected [{num_boxes}], one entry per box")


def _groups(scores: Tensor, classes: Tensor | None, scene: Tensor | None) -> Tensor:
    """Number [K] of the group that each box belongs to: those of its class, of its scene."""
    none = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    if not len(scores) or (classes is None and scene is None):
        return none
    keys = torch.stack([none if classes is None else classes, none if scene is None else scene], 1)
    return torch.unique(keys, dim=0, return_inverse=True)[1]
