"""Classification of whole point clouds on VoteNet's backbone, to pre-train by category instead of by detection.

The set-abstraction levels carry the same names as in VoteNet (`backbone_net.sa1` ...), so `weights.transfer` takes them
over; feature propagation, which classification does not need, is not there and so does not get transferred untrained.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from pcfdsl.config import option, validate
from pcfdsl.models.layers import RowNormReLU
from pcfdsl.models.pointnet2 import PointNet2Config, PointNet2Encoder

__all__ = ["ClassifierConfig", "PointCloudClassifier"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The classifier."""

    num_classes: int = option(1000, "categories", minimum=2)
    num_hidden: int = option(256, "width of the hidden layer", minimum=1)
    dropout: float = option(0.0, "share of hidden values dropped in training", minimum=0, maximum=1)
    backbone: PointNet2Config = option(PointNet2Config(), "PointNet++; its fp_widths are not used")

    def __post_init__(self):
        validate(self)


class PointCloudClassifier(nn.Module):
    """Maximum over the deepest level of the backbone, then a hidden layer and the category."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        self.backbone_net = PointNet2Encoder(config.backbone)
        num_features = config.backbone.mlps[-1][-1] * config.backbone.width
        self.hidden = nn.Linear(num_features, config.num_hidden)
        self.norm = RowNormReLU(config.num_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.num_hidden, config.num_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Clouds [B, N, 3 + C] float32 -> logits [B, num_classes] float32.

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        deepest = self.backbone_net(points)[-1].features
        rows = self.norm(self.hidden(deepest.amax(1)))
        return self.head(self.dropout(rows)).float()
