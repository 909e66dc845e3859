"""TR3D's assigner and loss."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.decode import decode_locations
from pcfdsl.models.tr3d.network import TR3DOutput
from pcfdsl.ops.boxes3d import box_corners, iou_3d_pairs_torch
from pcfdsl.ops.neighborhoods import rows_by_scene

__all__ = ["TR3DLoss", "assign", "box_levels", "distance_iou_loss", "focal_loss", "tr3d_loss"]

NEAREST = 6  # locations that a box may have
GAMMA, ALPHA = 2.0, 0.25


@dataclass(frozen=True)
class TR3DLoss:
    """The loss of a batch. `total` carries the gradient; the other values are detached scalars.

    Attributes:
        total: Sum of the two parts.
        classes: Focal loss of all locations and classes, divided by the number of positive locations.
        boxes: Mean over positive locations of 1 - IoU + the distance of the centres.
        iou: Mean IoU of the boxes of positive locations.
        positives: Positive locations of a scene.
    """

    total: Tensor
    classes: Tensor
    boxes: Tensor
    iou: Tensor
    positives: Tensor


def tr3d_loss(output: TR3DOutput, boxes: Tensor, classes: Tensor, mask: Tensor, config: TR3DConfig) -> TR3DLoss:
    """The loss of a batch; it is finite, with a gradient for every parameter, also where there is no box at all.

    (The published code divides by zero there.)

    Args:
        output: What the network gave.
        boxes: [B, G, 7] float32 `cx cy cz dx dy dz yaw`; G may be 0.
        classes: [B, G] int64.
        mask: [B, G] bool; False where a row is padding.
        config: The network's configuration.
    """
    box_idx = assign(output, boxes, box_levels(boxes, classes, config), mask)
    positive = (box_idx >= 0).nonzero()[:, 0]
    own = (output.scene[positive], box_idx[positive])
    target = torch.zeros_like(output.class_logits)
    target[positive, classes[own]] = 1.0
    num_positive = max(len(positive), 1)
    class_part = focal_loss(output.class_logits, target) / num_positive
    released = config.variant == "released"
    predicted = decode_locations(output.locations[positive], output.regression[positive], released=released)
    losses, iou = distance_iou_loss(predicted, boxes[own])
    box_part = losses.sum() / num_positive + 0 * output.regression.sum()
    return TR3DLoss(
        total=class_part + box_part,
        classes=class_part.detach(),
        boxes=box_part.detach(),
        iou=iou.detach().sum() / num_positive,
        positives=box_part.new_tensor(len(positive) / max(len(boxes), 1)),
    )


def box_levels(boxes: Tensor, classes: Tensor, config: TR3DConfig) -> Tensor:
    """Level [B, G] int64 that each box is looked for at: by its class, or by its longest side.

    The published tables are by class; categories of formulas have no typical size, so they go by each box's own.
    """
    if config.class_levels:
        return classes.new_tensor(config.class_levels)[classes]
    return (boxes[..., 3:6].amax(-1) >= config.level_side).long()


@torch.no_grad()
def assign(output: TR3DOutput, boxes: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
    """Which box of its scene each location is to predict: [L] int64, -1 for none.

    A box has the locations of its level that are nearest to its centre, whether or not they lie within it: those
    strictly nearer than the seventh. A location that several boxes want goes to the one with the nearest centre.

    Args:
        output: Locations.
        boxes: [B, G, 7].
        levels: [B, G] int64.
        mask: [B, G] bool; False where a row is padding.
    """
    box_idx = torch.full_like(output.scene, -1)
    if not boxes.shape[1]:
        return box_idx
    by_scene = rows_by_scene(output.scene, len(boxes))
    for rows, centers, wanted, there in zip(by_scene, boxes[..., :3], levels, mask, strict=True):
        if not len(rows):
            continue
        squared = (output.locations[rows, None] - centers).square().sum(-1)
        squared = squared.masked_fill((output.level[rows, None] != wanted) | ~there, torch.inf)
        limit = squared.topk(min(NEAREST + 1, len(rows)), dim=0, largest=False).values[-1]
        nearest, chosen = squared.masked_fill(squared >= limit, torch.inf).min(1)
        box_idx[rows] = torch.where(nearest < torch.inf, chosen, -1)
    return box_idx


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the sigmoid focal loss (Lin et al. 2017) of logits [L, C] against 0 and 1 [L, C]."""
    probability = logits.sigmoid()
    wrong = probability + target - 2 * probability * target  # 1 - p for what is there, p for what is not
    weight = (ALPHA * target + (1 - ALPHA) * (1 - target)) * wrong**GAMMA
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum()


def distance_iou_loss(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """1 - IoU + (distance of centres / diagonal of the axis-aligned box around both)^2 (DIoU, Zheng et al. 2020).

    Args:
        predicted: [K, 7]; gradients go to them.
        true: [K, 7].

    Returns:
        Losses [K], and the exact IoU [K].
    """
    iou = iou_3d_pairs_torch(predicted, true)
    corners = torch.cat([box_corners(predicted), box_corners(true)], 1)
    diagonal = (corners.amax(1) - corners.amin(1)).square().sum(1) if len(corners) else corners.sum((1, 2))
    distance = (predicted[:, :3] - true[:, :3]).square().sum(1)
    return 1 - iou + distance / diagonal.clamp(min=1e-6), iou
