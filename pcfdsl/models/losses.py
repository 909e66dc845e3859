"""The VoteNet loss (VoteNet, Qi et al. 2019, section 4.3 and appendix; released code).

A proposal is judged by its cluster centre: closer than 0.3 m to a true box centre it is an object, farther than 0.6 m
it is none, between it does not count. Objects are trained towards their nearest box.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pcfdsl.models.box_coding import encode_size, encode_yaw
from pcfdsl.models.votenet import VoteNetConfig, VoteNetOutput
from pcfdsl.ops.grouping import gather

__all__ = ["Assignment", "BoxTargets", "VoteNetLoss", "assign_proposals", "votenet_loss"]

NEAR, FAR = 0.3, 0.6  # metres
OBJECTNESS_CLASS_WEIGHTS = (0.2, 0.8)
RELEASED_MAX_BOXES = 64
WEIGHTS = {
    "vote": 1.0,
    "objectness": 0.5,
    "center": 1.0,
    "heading_class": 0.1,
    "heading_residual": 1.0,
    "size_class": 0.1,
    "size_residual": 1.0,
    "semantic": 0.1,
}
TOTAL_WEIGHT = 10.0


@dataclass(frozen=True)
class BoxTargets:
    """Truth of a batch of scenes. Padding is masked and its content is never used.

    Attributes:
        boxes: [B, G, 7] float32: cx cy cz dx dy dz yaw; G may be 0.
        classes: [B, G] int64.
        mask: [B, G] bool; False where a row is padding.
        vote_offsets: [B, N, 3, 3] float32; metres from each input point to its box centres, repeated up to 3.
        vote_mask: [B, N] bool; True where a point belongs to a box.
    """

    boxes: Tensor
    classes: Tensor
    mask: Tensor
    vote_offsets: Tensor
    vote_mask: Tensor


@dataclass(frozen=True)
class VoteNetLoss:
    """The loss of a batch. `total` carries the gradient; all other values are detached scalars before weighting."""

    total: Tensor
    vote: Tensor
    objectness: Tensor
    center: Tensor
    heading_class: Tensor
    heading_residual: Tensor
    size_class: Tensor
    size_residual: Tensor
    semantic: Tensor
    objectness_accuracy: Tensor
    positive_ratio: Tensor
    negative_ratio: Tensor


@dataclass(frozen=True)
class Assignment:
    """What each proposal is trained towards.

    Attributes:
        positive: [B, P] bool; an object.
        judged: [B, P] bool; an object or clearly none, so that its objectness counts.
        box_idx: [B, P] int64; the nearest box.
    """

    positive: Tensor
    judged: Tensor
    box_idx: Tensor


def votenet_loss(
    output: VoteNetOutput,
    targets: BoxTargets,
    config: VoteNetConfig,
    *,
    padded_truth_bug: bool = False,
) -> VoteNetLoss:
    """The loss of a batch and each of its parts. A batch without any box has a finite loss.

    Args:
        output: What the network gave.
        targets: Truth, padded to any number of boxes.
        config: The network's configuration: heading bins and mean sizes.
        padded_truth_bug: The released code pads truth with 64 boxes of class 0 at the origin and matches proposals
            to the padding too, so that those near the origin become objects. True reproduces that.
    """
    boxes, classes, mask = _padded(targets, RELEASED_MAX_BOXES if padded_truth_bug else 1)
    matchable = torch.ones_like(mask) if padded_truth_bug else mask
    assignment = assign_proposals(output.cluster_xyz, boxes[..., :3], matchable)
    positive = assignment.positive.float()

    def over_positives(values: Tensor) -> Tensor:
        return (values * positive).sum() / (positive.sum() + 1e-6)

    size_classes = torch.zeros_like(classes) if len(config.mean_sizes) == 1 else classes
    heading_bins, heading_residuals = encode_yaw(boxes[..., 6], config.num_heading_bins)
    mean_sizes = boxes.new_tensor(config.mean_sizes)
    size_residuals = encode_size(boxes[..., 3:6], size_classes, mean_sizes) / mean_sizes[size_classes]
    size_residuals = size_residuals * mask[..., None]  # padding, in the released code, has residual 0

    def assigned(labels: Tensor) -> Tensor:
        return labels.gather(1, assignment.box_idx)

    bins, sizes, semantics = assigned(heading_bins), assigned(size_classes), assigned(classes)
    heading_predicted = output.heading_residuals_normalized.gather(2, bins[..., None]).squeeze(2)
    heading_true = assigned(heading_residuals) * (config.num_heading_bins / torch.pi)
    size_idx = sizes[..., None, None].expand(-1, -1, 1, 3)
    size_predicted = output.size_residuals_normalized.gather(2, size_idx).squeeze(2)
    size_true = size_residuals.gather(1, assignment.box_idx[..., None].expand(-1, -1, 3))

    parts = {
        "vote": _vote_loss(output, targets),
        "objectness": _objectness_loss(output.objectness_logits, assignment),
        "center": _center_loss(output.center, boxes[..., :3], mask, matchable, assignment.positive),
        "heading_class": over_positives(_cross_entropy(output.heading_logits, bins)),
        "heading_residual": over_positives(_huber(heading_predicted, heading_true)),
        "size_class": over_positives(_cross_entropy(output.size_logits, sizes)),
        "size_residual": over_positives(_huber(size_predicted, size_true).mean(-1)),
        "semantic": over_positives(_cross_entropy(output.class_logits, semantics)),
    }
    total = TOTAL_WEIGHT * torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
    judged = assignment.judged.float()
    correct = (output.objectness_logits.argmax(-1) == assignment.positive) * judged
    return VoteNetLoss(
        total=total,
        **{name: part.detach() for name, part in parts.items()},
        objectness_accuracy=correct.sum() / (judged.sum() + 1e-6),
        positive_ratio=positive.mean(),
        negative_ratio=judged.mean() - positive.mean(),
    )


def assign_proposals(cluster_xyz: Tensor, box_centers: Tensor, matchable: Tensor) -> Assignment:
    """Nearest true box of each proposal, measured from its cluster centre, and whether it is close enough to count.

    Args:
        cluster_xyz: [B, P, 3] metres.
        box_centers: [B, G, 3] metres; G >= 1.
        matchable: [B, G] bool; boxes that a proposal may be assigned to.
    """
    with torch.no_grad():
        squared = _squared_distances(cluster_xyz, box_centers).masked_fill(~matchable[:, None], torch.inf)
        nearest, box_idx = squared.min(-1)
        distance = torch.sqrt(nearest + 1e-6)
        positive = distance < NEAR
        return Assignment(positive, positive | (distance > FAR), box_idx)


def _padded(targets: BoxTargets, num_boxes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, classes and mask with at least `num_boxes` rows and zeros wherever the mask is False."""
    extra = max(0, num_boxes - targets.mask.shape[1])
    mask = F.pad(targets.mask, (0, extra))
    boxes = F.pad(targets.boxes, (0, 0, 0, extra)).masked_fill(~mask[..., None], 0.0)
    return boxes, F.pad(targets.classes, (0, extra)).masked_fill(~mask, 0), mask


def _vote_loss(output: VoteNetOutput, targets: BoxTargets) -> Tensor:
    """Mean over seeds on objects: L1 distance from the vote to the nearest of three true centres."""
    offsets = gather(targets.vote_offsets.flatten(2), output.seed_idx).unflatten(2, (3, 3))
    mask = targets.vote_mask.gather(1, output.seed_idx).float()
    true_votes = output.seed_xyz[:, :, None] + offsets
    distance = (output.vote_xyz[:, :, None] - true_votes).abs().sum(-1).amin(2)
    return (distance * mask).sum() / (mask.sum() + 1e-6)


def _objectness_loss(logits: Tensor, assignment: Assignment) -> Tensor:
    background, object_ = OBJECTNESS_CLASS_WEIGHTS
    loss = _cross_entropy(logits, assignment.positive.long())
    loss = loss * torch.where(assignment.positive, object_, background)  # constants the device need not be sent
    judged = assignment.judged.float()
    return (loss * judged).sum() / (judged.sum() + 1e-6)


def _center_loss(center: Tensor, true_center: Tensor, mask: Tensor, matchable: Tensor, positive: Tensor) -> Tensor:
    """Chamfer distance (squared) between the centres of positive proposals and the true ones."""
    squared = _squared_distances(center, true_center)
    to_truth = squared.masked_fill(~matchable[:, None], torch.inf).amin(2)
    to_proposal = squared.amin(1)
    return torch.where(positive, to_truth, 0.0).sum() / (positive.sum() + 1e-6) + torch.where(
        mask, to_proposal, 0.0
    ).sum() / (mask.sum() + 1e-6)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[B, P, G] squared distances; differences, not inner products, since the error of those is felt near 0.3 m."""
    return (a[:, :, None] - b[:, None]).square().sum(-1)


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross entropy over the last dimension, one value per label."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), weight=weight, reduction="none").view_as(labels)


def _huber(predicted: Tensor, true: Tensor) -> Tensor:
    return F.huber_loss(predicted, true, reduction="none", delta=1.0)
