"""Per-point categories and votes for the centre of the object, on a detector's backbone and voting module."""

from dataclasses import dataclass

from torch import Tensor, nn

from pcfdsl.models.backbone import BackboneConfig, PointFeatures, build_backbone
from pcfdsl.models.precision import at_least_float32
from pcfdsl.models.voting import Voting

__all__ = ["Segmenter", "SegmenterOutput"]


@dataclass(frozen=True, eq=False)
class SegmenterOutput:
    """What is said of every described point.

    Attributes:
        described: M points.
        logits: [M, 1 + num_classes]; column 0 is the background.
        vote_xyz: [M, 3] metres; where the middle of the point's object is taken to be.
    """

    described: PointFeatures
    logits: Tensor
    vote_xyz: Tensor


class Segmenter(nn.Module):
    """Backbone, voting and a linear classifier; `backbone_net` and `vgen` are those of `VoteNet`.

    Args:
        config: The backbone.
        num_classes: Object categories.
    """

    def __init__(self, config: BackboneConfig, num_classes: int):
        super().__init__()
        self.backbone_net = build_backbone(config)
        self.vgen = Voting(config.num_features)
        self.classify = nn.Linear(config.num_features, 1 + num_classes)

    def forward(self, points: Tensor) -> SegmenterOutput:
        """Points [B, N, 3 + C] float32 -> categories and votes of the points that the backbone describes."""
        described = self.backbone_net.describe(points)
        vote_xyz, _ = self.vgen(described.xyz[None], described.features[None])
        return SegmenterOutput(described, at_least_float32(self.classify(described.features)), vote_xyz[0])
