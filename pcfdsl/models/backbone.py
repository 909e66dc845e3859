"""What detectors and pre-training tasks need of a backbone, for PointNet++, SR-UNet and a transformer alike.

A backbone is called for seeds, a fixed number of points a scene, and asked to `describe` a batch: features of every
point that it has any for. Its parameters are called `backbone_net.*` in every network, so they carry over.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pcfdsl.config import option, validate
from pcfdsl.models.layers import SharedMLP
from pcfdsl.models.point_transformer import PointTransformer, TransformerConfig, cloud_vit
from pcfdsl.models.pointnet2 import Level, PointNet2, PointNet2Config
from pcfdsl.models.precision import at_least_float32
from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.ops.grouping import gather
from pcfdsl.ops.interpolate import inverse_distance_weights, three_interpolate, three_nearest
from pcfdsl.ops.sampling import farthest_point_sample
from pcfdsl.ops.sparse import SparseBackend, quantize_batch

__all__ = [
    "BackboneConfig",
    "PointFeatures",
    "PointNet2Backbone",
    "SRUNetBackbone",
    "SRUNetSettings",
    "TransformerBackbone",
    "build_backbone",
]

TRANSFORMER_WIDTH = 256  # channels of its seeds, as many as those of VoteNet's PointNet++


@dataclass(frozen=True, kw_only=True)
class SRUNetSettings:
    """SR-UNet and how points become its voxels (PointContrast, Xie et al. 2020, and CSC, Hou et al. 2021)."""

    voxel_size: float = option(0.025, "edge of a voxel, metres", minimum=1e-3, maximum=10.0)
    features: Literal["ones", "color"] = option(
        "ones", "what a voxel starts with: ones (PointContrast) or the colour of its first point (CSC)"
    )
    num_seeds: int = option(
        1024, "voxels that become seeds of a detector, by farthest point sampling", minimum=1, maximum=1_000_000
    )
    backend: SparseBackend = option("auto", "what computes sparse convolutions")
    net: SRUNetConfig = option(SRUNetConfig(), "the sparse U-Net")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        if self.net.in_channels != 3:
            yield "net", f"in_channels is {self.net.in_channels}; ones and colours have 3 channels"


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Which backbone; the settings of the other ones are not used."""

    backbone_type: Literal["pointnet2", "srunet", "point_transformer"] = option(
        "pointnet2", "PointNet++, SR-UNet, or a vision transformer for clouds"
    )
    backbone: PointNet2Config = option(PointNet2Config(), "PointNet++")
    srunet: SRUNetSettings = option(SRUNetSettings(), "SR-UNet")
    transformer: TransformerConfig = option(TransformerConfig(), "the vision transformer for clouds")

    def __post_init__(self):
        validate(self)

    @property
    def num_seeds(self) -> int:
        """Points of a scene that carry features at the end."""
        if self.backbone_type == "point_transformer":
            return self.transformer.num_seeds
        return self.backbone.num_seeds if self.backbone_type == "pointnet2" else self.srunet.num_seeds

    @property
    def num_features(self) -> int:
        """Channels of their features."""
        if self.backbone_type == "point_transformer":
            return TRANSFORMER_WIDTH
        return self.backbone.num_features if self.backbone_type == "pointnet2" else self.srunet.net.out_channels

    def misfit(self, *, use_height: bool, use_color: bool) -> tuple[str, str] | None:
        """(field, problem) where the backbone takes other channels than the points have."""
        channels = 3 * use_color + use_height
        if self.backbone_type == "point_transformer":
            needed = "is point_transformer, which needs points.use_height=false points.use_color=false"
            return ("backbone_type", needed) if channels else None
        if self.backbone_type == "srunet":
            wants_color = self.srunet.features == "color"
            if use_height or use_color != wants_color:
                return (
                    "srunet.features",
                    f"is {self.srunet.features}, which needs points.use_height=false "
                    f"points.use_color={str(wants_color).lower()}",
                )
        elif self.backbone.input_channels != channels:
            return (
                "backbone.input_channels",
                f"is {self.backbone.input_channels}, but points have {channels} feature(s): 1 with points.use_height, "
                "3 with points.use_color",
            )
        return None


@dataclass(frozen=True, eq=False)
class PointFeatures:
    """Points of a batch that have features; M in all scenes together, by scene.

    Attributes:
        xyz: [M, 3] metres.
        features: [M, C] float32.
        point_idx: [M] int64; which point of its scene each is.
        scene_idx: [M] int64; which scene of the batch, in increasing order.
    """

    xyz: Tensor
    features: Tensor
    point_idx: Tensor
    scene_idx: Tensor

    def of_points(self, values: Tensor) -> Tensor:
        """What these points have of values of all: [B, N, ...] -> [M, ...]."""
        return values[self.scene_idx, self.point_idx]


class PointNet2Backbone(PointNet2):
    """VoteNet's PointNet++; it describes its seeds."""

    def describe(self, points: Tensor) -> PointFeatures:
        """Points [B, N, 3 + C] float32 -> features of every seed."""
        return _all_of(self(points))


class TransformerBackbone(PointTransformer):
    """A vision transformer on tokens of a scene; it describes seeds, which take features from the nearest tokens.

    Seeds and centres of tokens are the first of one sequence of farthest points. Interpolated features would be blind
    to where between the tokens a seed lies, and so to how far its object is; that offset goes along.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__(cloud_vit(config), config.tokens)
        self.num_seeds = config.num_seeds
        self.seeds = SharedMLP((config.embed_dim + 3, TRANSFORMER_WIDTH, TRANSFORMER_WIDTH))

    def describe(self, points: Tensor) -> PointFeatures:
        """Points [B, N, 3] float32 -> features of every seed."""
        return _all_of(self(points))

    def forward(self, points: Tensor) -> Level:
        """Points [B, N, 3] float32 -> seeds with features [B, num_seeds, 256].

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        num_groups = self.tokenizer.config.num_groups
        point_idx = self.tokenizer.farthest(points, max(num_groups, self.num_seeds))
        offsets, centers = self.tokenizer.groups_around(points, point_idx[:, :num_groups])
        tokens = self.describe_groups(offsets, centers)[:, 1:]
        point_idx = point_idx[:, : self.num_seeds]
        xyz = gather(points, point_idx)
        distances, indices = three_nearest(xyz, centers, trusted=True)
        weights = inverse_distance_weights(distances)
        between = xyz - three_interpolate(centers, indices, weights)
        rows = torch.cat([three_interpolate(tokens, indices, weights), between], 2)
        features = self.seeds(rows.flatten(0, 1)).unflatten(0, xyz.shape[:2])
        return Level(xyz, at_least_float32(features), point_idx)


class SRUNetBackbone(nn.Module):
    """SR-UNet on the voxels of a batch; it describes the first point of each voxel."""

    def __init__(self, settings: SRUNetSettings):
        super().__init__()
        self.settings = settings
        self.net = SRUNet(settings.net, backend=settings.backend)

    def describe(self, points: Tensor) -> PointFeatures:
        """Points [B, N, 3], or [B, N, 6] with colours, float32 -> features of one point for each voxel.

        Raises:
            ValueError: If the points have another shape or are not finite.
        """
        columns = 6 if self.settings.features == "color" else 3
        if points.ndim != 3 or points.shape[2] != columns:
            raise ValueError(
                f"points are {tuple(points.shape)}; expected [B, N, {columns}] where SR-UNet starts with "
                f"{self.settings.features} (leave the height out)"
            )
        rows = points.flatten(0, 1)
        coordinates, first, scene_of_row = quantize_batch(points, self.settings.voxel_size)
        inputs = rows[first, 3:] if columns == 6 else rows.new_ones(len(first), 3)
        features = at_least_float32(self.net(coordinates, inputs))
        return PointFeatures(rows[first, :3], features, first % points.shape[1], scene_of_row[first])

    def forward(self, points: Tensor) -> Level:
        """Points as for `describe` -> seeds [B, num_seeds], farthest from each other; repeated where voxels are few."""
        described = self.describe(points)
        counts = torch.bincount(described.scene_idx, minlength=len(points))
        start = counts.cumsum(0) - counts
        place = torch.arange(len(described.xyz), device=points.device) - start[described.scene_idx]
        padded = described.xyz.new_zeros(len(points), int(counts.max()), 3)
        padded[described.scene_idx, place] = described.xyz
        chosen = start[:, None] + farthest_point_sample(padded, self.settings.num_seeds, lengths=counts, trusted=True)
        features = gather(described.features[None], chosen.flatten()[None])[0].view(*chosen.shape, -1)
        return Level(described.xyz[chosen], features, described.point_idx[chosen])


def build_backbone(config: BackboneConfig) -> PointNet2Backbone | SRUNetBackbone | TransformerBackbone:
    """The backbone of a configuration, its parameters drawn from torch's global generator.

    Raises:
        ImportError: If it is a transformer, and timm is not installed.
    """
    if config.backbone_type == "point_transformer":
        return TransformerBackbone(config.transformer)
    return PointNet2Backbone(config.backbone) if config.backbone_type == "pointnet2" else SRUNetBackbone(config.srunet)


def _all_of(level: Level) -> PointFeatures:
    """The points of a level as described points."""
    assert level.features is not None
    scene_idx = torch.arange(len(level.xyz), device=level.xyz.device).repeat_interleave(level.xyz.shape[1])
    return PointFeatures(level.xyz.flatten(0, 1), level.features.flatten(0, 1), level.point_idx.flatten(), scene_idx)
