"""Classification of whole point clouds on the detectors' backbones, to pre-train by category or to judge pre-training.

What leads down to the deepest level is named as in VoteNet (`backbone_net.sa1` ... or `backbone_net.net`), so
that `weights.transfer` takes it over; the way back up, which classification does not need, is not there and does not
get transferred untrained.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from pcfdsl.config import option
from pcfdsl.models.backbone import BackboneConfig, SRUNetSettings
from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.point_transformer import PointTransformer
from pcfdsl.models.pointnet2 import PointNet2Encoder
from pcfdsl.models.precision import at_least_float32
from pcfdsl.models.srunet import SRUNet
from pcfdsl.ops.sparse import SparseGlobalPool, quantize_batch

__all__ = ["ClassifierConfig", "PointCloudClassifier"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(BackboneConfig):
    """The classifier. Of the backbone only the way down is used: not `backbone.fp_widths`, not `num_seeds`."""

    num_classes: int = option(1000, "categories", minimum=2, maximum=1_000_000)
    num_hidden: int = option(256, "width of the hidden layer", minimum=1, maximum=65_536)
    dropout: float = option(0.0, "share of hidden values dropped in training", minimum=0, maximum=1)


class PointCloudClassifier(nn.Module):
    """Maximum over the deepest level of the backbone, then a hidden layer and the category."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        if config.backbone_type == "pointnet2":
            self.backbone_net: nn.Module = PointNet2Encoder(config.backbone)
            num_features = config.backbone.mlps[-1][-1] * config.backbone.width
        elif config.backbone_type == "point_transformer":
            self.backbone_net = PointTransformer.for_clouds(config.transformer)
            num_features = 2 * config.transformer.embed_dim
        else:
            self.backbone_net = _SRUNetEncoder(config.srunet)
            num_features = config.srunet.net.num_bottleneck_channels
        self.hidden = nn.Linear(num_features, config.num_hidden)
        self.norm = RowNormReLU(config.num_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.num_hidden, config.num_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Clouds [B, N, 3 + C] float32 -> logits [B, num_classes] float32.

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        if self.config.backbone_type == "pointnet2":
            pooled = self.backbone_net(points)[-1].features.amax(1)
        else:
            pooled = self.backbone_net(points)
        rows = self.norm(self.hidden(pooled))
        return at_least_float32(self.head(self.dropout(rows)))


class _SRUNetEncoder(nn.Module):
    """SR-UNet's way down; [B, N, 3] -> the maximum over the deepest voxels of each cloud, [B, C]."""

    def __init__(self, settings: SRUNetSettings):
        super().__init__()
        self.settings = settings
        self.net = SRUNet(settings.net, backend=settings.backend)
        for name, _ in list(self.net.named_children()):
            if name.startswith(("convtr", "bntr", "final")) or name in ("block5", "block6", "block7", "block8"):
                delattr(self.net, name)
        self.pool = SparseGlobalPool("max")

    def forward(self, points: Tensor) -> Tensor:
        if points.ndim != 3 or points.shape[2] != 3:
            raise ValueError(
                f"points are {tuple(points.shape)}; SR-UNet classifies [B, N, 3] (points.use_height=false)"
            )
        coordinates, first, _ = quantize_batch(points, self.settings.voxel_size)
        ones = points.new_ones(len(first), self.settings.net.in_channels)
        return at_least_float32(self.pool(self.net.encode(coordinates, ones)))
