"""From VoteNet's output to boxes with scores (the released `parse_predictions`)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pcfdsl.config import option, validate
from pcfdsl.models.box_coding import decode_size, decode_yaw
from pcfdsl.models.votenet import VoteNetConfig, VoteNetOutput
from pcfdsl.ops.boxes3d import axis_aligned_hull, points_in_boxes
from pcfdsl.ops.detections import Detections
from pcfdsl.ops.nms import keep_3d

__all__ = ["DecodeOptions", "decode", "decode_boxes", "select_proposals"]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Which proposals become detections; the defaults are those of released training-time evaluation."""

    confidence: float = option(0.05, "least objectness probability, exclusive", minimum=0, maximum=1)
    nms: Literal["2d", "3d", "3d_same_class"] = option(
        "3d_same_class",
        "what suppresses what: overlap seen from above, in space, or in space among one class",
    )
    nms_threshold: float = option(0.25, "suppress above this overlap", minimum=0, maximum=1)
    candidate_overlap: bool = option(False, "overlap as share of the candidate's own size instead of IoU")
    per_class_proposal: bool = option(True, "each proposal detects every class, by class probability x objectness")
    remove_empty: bool = option(False, "drop boxes that hold fewer than min_points points of the scene")
    min_points: int = option(5, "points a box needs under remove_empty", minimum=1)

    def __post_init__(self):
        validate(self)


@torch.no_grad()
def decode(
    output: VoteNetOutput,
    config: VoteNetConfig,
    points: Tensor | None = None,
    *,
    options: DecodeOptions = DecodeOptions(),
) -> Detections:
    """Detections of a batch; scene i is batch item i.

    In the order of the released code: scene by scene, then by class (where each proposal detects every class), then
    by proposal.

    Args:
        output: What the network gave.
        config: The network's configuration.
        points: [B, N, 3 + C], the network's input; needed to remove empty boxes.
        options: What to keep.

    Raises:
        ValueError: If empty boxes are to be removed and there are no points.
    """
    boxes = decode_boxes(output, config)
    objectness = output.objectness_logits.softmax(-1)[..., 1]
    class_probabilities = output.class_logits.softmax(-1)
    kept = select_proposals(boxes, objectness, output.class_logits.argmax(-1), points, options=options)
    scene, proposal = (kept & (objectness > options.confidence)).nonzero(as_tuple=True)
    if not options.per_class_proposal:
        return Detections(
            scene=scene,
            boxes=boxes[scene, proposal],
            scores=objectness[scene, proposal],
            classes=output.class_logits.argmax(-1)[scene, proposal],
        )
    num_classes = config.num_classes
    # Sorting by scene alone, stably, leaves the classes of each scene in order and the proposals within.
    order = scene.repeat(num_classes).argsort(stable=True)
    scene, proposal = scene.repeat(num_classes)[order], proposal.repeat(num_classes)[order]
    classes = torch.arange(num_classes, device=scene.device).repeat_interleave(len(scene) // num_classes)[order]
    return Detections(
        scene=scene,
        boxes=boxes[scene, proposal],
        scores=class_probabilities[scene, proposal, classes] * objectness[scene, proposal],
        classes=classes,
    )


def decode_boxes(output: VoteNetOutput, config: VoteNetConfig) -> Tensor:
    """Boxes [B, P, 7] of all proposals: the likeliest heading bin and mean size with their residuals.

    An extent below 0, which an untrained network may well predict, counts as its absolute value: that is the box whose
    corners the released code makes of it.
    """

    def chosen(residuals: Tensor, choice: Tensor) -> Tensor:
        return torch.take_along_dim(residuals, choice[..., None], 2).squeeze(2)

    bins, sizes = output.heading_logits.argmax(-1), output.size_logits.argmax(-1)
    yaw = decode_yaw(bins, chosen(output.heading_residuals, bins), config.num_heading_bins)
    extents = decode_size(
        torch.take_along_dim(output.size_residuals, sizes[..., None, None], 2).squeeze(2),
        sizes,
        output.center.new_tensor(config.mean_sizes),
    )
    return torch.cat([output.center, extents.abs(), yaw[..., None]], -1)


def select_proposals(
    boxes: Tensor, objectness: Tensor, classes: Tensor, points: Tensor | None = None, *, options: DecodeOptions
) -> Tensor:
    """Which proposals survive the removal of empty boxes and suppression: [B, P] bool.

    Args:
        boxes: [B, P, 7].
        objectness: [B, P]; the likelier suppresses.
        classes: [B, P] int64; the likeliest class.
        points: [B, N, 3 + C], needed to remove empty boxes.
        options: `confidence` and `per_class_proposal` do not matter here.

    Raises:
        ValueError: If empty boxes are to be removed and there are no points.
    """
    if options.remove_empty and points is None:
        raise ValueError("removing empty boxes needs the scene's points: pass `points`, or set remove_empty to False")
    candidates = torch.ones_like(objectness, dtype=torch.bool)
    if options.remove_empty and points is not None:
        for i, scene_boxes in enumerate(boxes):
            candidates[i] = points_in_boxes(points[i, :, :3], scene_boxes).sum(1) >= options.min_points
    return keep_3d(
        axis_aligned_hull(boxes.flatten(0, 1)).view(*objectness.shape, 6),
        objectness,
        threshold=options.nms_threshold,
        candidates=candidates,
        classes=classes if options.nms == "3d_same_class" else None,
        overlap="candidate" if options.candidate_overlap else "iou",
        bev=options.nms == "2d",
    )
