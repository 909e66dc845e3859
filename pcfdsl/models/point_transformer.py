"""A vision transformer that reads clouds: groups of near points become tokens for the blocks of a ViT of timm.

The tokens are those of Point-BERT and Point-MAE: centres by farthest point sampling, the nearest points around each, a
small PointNet over every group, and positions from the centres by an MLP. (FSVGP, ECCV 2024, puts such a tokeniser and
a patch embedding before shared blocks; its code is not released, and the sizes here are Point-MAE's.)
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcfdsl.command_line import needs
from pcfdsl.config import option, validate
from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.precision import at_least_float32
from pcfdsl.ops.grouping import gather
from pcfdsl.ops.interpolate import k_nearest
from pcfdsl.ops.sampling import farthest_point_sample

__all__ = ["PointTokenizer", "PointTokensConfig", "PointTransformer", "TransformerConfig", "TwoReaders", "cloud_vit"]


@dataclass(frozen=True, kw_only=True)
class PointTokensConfig:
    """How a cloud becomes tokens."""

    num_groups: int = option(64, "tokens of a cloud: centres by farthest point sampling", minimum=1, maximum=65_536)
    group_size: int = option(32, "points of each, the nearest to its centre", minimum=1, maximum=65_536)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A vision transformer without its patches, for clouds."""

    embed_dim: int = option(192, "width of a token", minimum=8, maximum=65_536)
    depth: int = option(12, "blocks", minimum=1, maximum=1_000)
    num_heads: int = option(3, "heads of attention", minimum=1, maximum=1_000)
    drop_path: float = option(0.0, "stochastic depth of the last block; less in earlier", minimum=0.0, maximum=0.99)
    tokens: PointTokensConfig = option(PointTokensConfig(), "how a cloud becomes tokens")
    num_seeds: int = option(
        1024, "points that become seeds of a detector, by farthest point sampling", minimum=1, maximum=1_000_000
    )

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        if self.embed_dim % self.num_heads:
            yield "num_heads", f"{self.num_heads} does not divide embed_dim {self.embed_dim}"


class PointTokenizer(nn.Module):
    """Clouds -> tokens with their positions added, a class token's position first.

    Args:
        config: Groups.
        dim: Width of a token.
    """

    def __init__(self, config: PointTokensConfig, dim: int):
        super().__init__()
        self.config = config
        self.points1, self.norm1, self.points2 = nn.Linear(3, 128), RowNormReLU(128), nn.Linear(128, 256)
        self.group1, self.norm2, self.group2 = nn.Linear(512, 512), RowNormReLU(512), nn.Linear(512, dim)
        self.position = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))
        self.class_position = nn.Parameter(torch.randn(1, 1, dim) * 0.02)

    def forward(self, offsets: Tensor, centers: Tensor, class_token: Tensor) -> Tensor:
        """Groups [B, G, K, 3] and [B, G, 3] float32, and a class token [1, 1, C] -> [B, 1 + G, C]."""
        tokens = self.tokens(offsets) + self.position(centers)
        first = (class_token + self.class_position).expand(len(centers), -1, -1).to(tokens.dtype)
        return torch.cat([first, tokens], 1)

    def groups(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points [B, N, 3] -> offsets of each group's points from its centre [B, G, K, 3], centres [B, G, 3].

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        return self.groups_around(points, self.farthest(points, self.config.num_groups))

    def farthest(self, points: Tensor, num_samples: int) -> Tensor:
        """Indices [B, S] of points [B, N, 3], each farthest from those before it; errors as for `groups`."""
        if points.ndim != 3 or points.shape[2] != 3:
            raise ValueError(
                f"points are {tuple(points.shape)}; a transformer takes [B, N, 3] (points.use_height=false)"
            )
        return farthest_point_sample(points, num_samples)

    def groups_around(self, points: Tensor, center_idx: Tensor) -> tuple[Tensor, Tensor]:
        """The groups around chosen points [B, G] of clouds that were checked; otherwise as `groups`."""
        centers = gather(points, center_idx)
        size = min(self.config.group_size, points.shape[1])
        _, indices = k_nearest(centers, points, size, trusted=True)
        grouped = gather(points, indices.flatten(1)).unflatten(1, (-1, size))
        return grouped - centers[:, :, None], centers

    def tokens(self, offsets: Tensor) -> Tensor:
        """Offsets [B, G, K, 3] -> tokens [B, G, C], whatever the order of a group's points."""
        batch, groups, size, _ = offsets.shape
        rows = self.points2(self.norm1(self.points1(offsets.reshape(-1, 3)))).view(batch * groups, size, -1)
        # What group1 makes of the whole group is the same for all of its points: half of its product is done once.
        of_whole, of_rows = self.group1.weight.chunk(2, 1)
        whole = F.linear(rows.amax(1, keepdim=True), of_whole, self.group1.bias)
        rows = self.group2(self.norm2((whole + F.linear(rows, of_rows)).flatten(0, 1)))
        return at_least_float32(rows.view(batch, groups, size, -1).amax(2))


class PointTransformer(nn.Module):
    """A ViT of timm with a tokeniser of clouds beside its patch embedding, or in place of it.

    Attributes:
        vit: timm's VisionTransformer. Its weights alone are those of a network for pictures.
        tokenizer: What clouds go through instead of the patch embedding.
    """

    def __init__(self, vit: Any, tokens: PointTokensConfig):
        super().__init__()
        if getattr(vit, "cls_token", None) is None or not hasattr(vit, "blocks"):
            raise ValueError("the network has no class token before its blocks; take a ViT of timm with one")
        self.vit, self.tokenizer = vit, PointTokenizer(tokens, vit.embed_dim)

    @classmethod
    def for_clouds(cls, config: TransformerConfig) -> "PointTransformer":
        """A transformer for clouds alone: no patches, no positions of patches, no classifier."""
        return cls(cloud_vit(config), config.tokens)

    def describe_clouds(self, points: Tensor) -> Tensor:
        """Points [B, N, 3] float32 -> tokens after the last block and norm, the class token first, [B, 1 + G, C]."""
        return self.describe_groups(*self.tokenizer.groups(points))

    def describe_groups(self, offsets: Tensor, centers: Tensor) -> Tensor:
        """The same of any groups of clouds [B, G, K, 3] and [B, G, 3], as `tokenizer.groups` gives them."""
        vit = self.vit
        return at_least_float32(vit.norm(vit.blocks(vit.norm_pre(self.tokenizer(offsets, centers, vit.cls_token)))))

    def forward(self, points: Tensor) -> Tensor:
        """Points [B, N, 3] float32 -> the class token and the greatest of the others, [B, 2 C]."""
        tokens = self.describe_clouds(points)
        return torch.cat([tokens[:, 0], tokens[:, 1:].amax(1)], 1)


class TwoReaders(nn.Module):
    """One transformer that names what is in a picture and in a cloud; blocks, norm and classifier are shared."""

    def __init__(self, vit: Any, tokens: PointTokensConfig):
        super().__init__()
        self.backbone_net = PointTransformer(vit, tokens)

    def forward(self, images: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, C, H, W] and clouds [B, N, 3] -> logits of both, [B, num_classes] each."""
        vit = self.backbone_net.vit
        of_clouds = vit.forward_head(self.backbone_net.describe_clouds(points))
        return at_least_float32(vit(images)), at_least_float32(of_clouds)


def cloud_vit(config: TransformerConfig) -> Any:
    """timm's VisionTransformer without its patches, their positions and a classifier."""
    with needs("image"):
        from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(
        img_size=16,
        patch_size=16,
        num_classes=0,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        drop_path_rate=config.drop_path,
    )
    del vit.patch_embed, vit.pos_embed
    return vit
