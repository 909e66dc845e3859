"""VoteNet and TR3D behind one interface: what training, evaluation and use ask of a detector, whichever it is.

Both networks are called with points [B, N, 3 + C] and a `generator`; what they give differs and is opaque here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from pcfdsl.models.decode import DecodeOptions, decode
from pcfdsl.models.losses import BoxTargets, votenet_loss
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.decode import decode_tr3d, one_class_each
from pcfdsl.models.tr3d.loss import tr3d_loss
from pcfdsl.models.tr3d.network import TR3D
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.ops.detections import Detections

__all__ = ["Decoder", "DetectorModel", "build_detector", "detector_loss", "judged_decoder", "shown_decoder"]

DetectorModel = VoteNetConfig | TR3DConfig
Decoder = Callable[[Any, Tensor], Detections]  # what a network gave, the points it was given -> detections of the batch


def build_detector(model: DetectorModel) -> VoteNet | TR3D:
    """The network of a configuration, its parameters drawn from torch's global generator."""
    return TR3D(model) if isinstance(model, TR3DConfig) else VoteNet(model)


def detector_loss(
    output: Any,
    targets: BoxTargets,
    model: DetectorModel,
    *,
    padded_truth_bug: bool = False,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The loss of a batch, and its parts for the log; `padded_truth_bug` is VoteNet's alone."""
    if isinstance(model, TR3DConfig):
        parts = tr3d_loss(output, targets.boxes, targets.classes, targets.mask, model)
    else:
        parts = votenet_loss(output, targets, model, padded_truth_bug=padded_truth_bug)
    return parts.total, {name: value for name, value in vars(parts).items() if name != "total"}


def judged_decoder(model: DetectorModel, options: DecodeOptions) -> Decoder:
    """Every detection that average precision is to be computed from; `options` are VoteNet's, TR3D's are in `model`."""
    if isinstance(model, TR3DConfig):
        return lambda output, _: decode_tr3d(output, model)
    return lambda output, points: decode(output, model, points, options=options)


def shown_decoder(model: DetectorModel, *, confidence: float) -> Decoder:
    """Detections for people: those above a confidence, of every object the best one alone, whatever its class."""
    if isinstance(model, TR3DConfig):
        sure = replace(model, confidence=confidence)
        return lambda output, _: one_class_each(decode_tr3d(output, sure), threshold=model.nms_threshold)
    options = DecodeOptions(confidence=confidence, nms="3d", per_class_proposal=False, remove_empty=True)
    return judged_decoder(model, options)
