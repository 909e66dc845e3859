"""From what TR3D says at its locations to boxes with scores."""

import torch
from torch import Tensor

from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.network import TR3DOutput
from pcfdsl.ops.detections import Detections
from pcfdsl.ops.nms import nms_bev

__all__ = ["decode_locations", "decode_tr3d", "one_class_each"]


def decode_locations(locations: Tensor, regression: Tensor, *, released: bool = False) -> Tensor:
    """Boxes of the numbers r that are predicted at locations; differentiable.

    The centre is the location + r[:3] metres. Boxes along the axes (6 numbers) have extents exp(r[3:6]). Oriented ones
    (8) have q = exp(|r[6:8]|), the ratio of length to width, which share exp(r3) + exp(r4) accordingly, and the yaw
    atan2(r6, r7) / 2: a box turned by half a circle, or by a quarter with its sides exchanged, is the same box.

    Args:
        locations: [K, 3] metres.
        regression: [K, 6 or 8].
        released: The height of an oriented box is exp(r5) + exp(r4) instead of exp(r5), which both published code bases
            have from the face distances of FCAF3D; their weights are trained with it.

    Returns:
        [K, 7] `cx cy cz dx dy dz yaw`.
    """
    center, extents = locations + regression[:, :3], regression[:, 3:6].exp()
    if regression.shape[1] == 6:
        return torch.cat([center, extents, torch.zeros_like(extents[:, :1])], 1)
    sine, cosine = regression[:, 6], regression[:, 7]
    ratio = (sine.square() + cosine.square()).clamp(min=1e-12).sqrt().exp()  # the root has no slope at 0
    around = extents[:, 0] + extents[:, 1]
    height = extents[:, 2] + extents[:, 1] if released else extents[:, 2]
    sides = torch.stack([around / (1 + ratio), around * ratio / (1 + ratio), height, torch.atan2(sine, cosine) / 2], 1)
    return torch.cat([center, sides], 1)


@torch.no_grad()
def decode_tr3d(output: TR3DOutput, config: TR3DConfig) -> Detections:
    """Detections of a batch; scene i is batch item i. A location may give a detection of each of several classes.

    Of each scene the most probable locations are looked at, and classes are suppressed one by one by the overlap seen
    from above, whatever the heights: an object on top of another of its class does not survive, as published.
    """
    scores = output.class_logits.sigmoid()
    kept = _most_probable(scores.amax(1), output.scene, config.max_locations)
    location, classes = (scores[kept] > config.confidence).nonzero(as_tuple=True)
    location = kept[location]
    released = config.variant == "released"
    boxes = decode_locations(output.locations[location], output.regression[location], released=released)
    found = Detections(scene=output.scene[location], boxes=boxes, scores=scores[location, classes], classes=classes)
    picked = nms_bev(
        found.boxes, found.scores, threshold=config.nms_threshold, classes=found.classes, scene=found.scene
    )
    return found.rows(picked)


def one_class_each(found: Detections, *, threshold: float) -> Detections:
    """The detections that no likelier one of any class overlaps by more than a threshold, seen from above."""
    alike = torch.zeros_like(found.classes)
    return found.rows(nms_bev(found.boxes, found.scores, threshold=threshold, classes=alike, scene=found.scene))


def _most_probable(scores: Tensor, scene: Tensor, count: int) -> Tensor:
    """Rows of the `count` best scores [L] of each scene [L]."""
    order = scores.argsort(descending=True, stable=True)
    order = order[scene[order].argsort(stable=True)]
    sizes = torch.bincount(scene)
    rank = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[scene[order]]
    return order[rank < count]
