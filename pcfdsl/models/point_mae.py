"""Point-MAE (Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning, ECCV 2022), in plain torch.

A cloud is cut into groups; the transformer sees some of them, and a small decoder makes up the points of the others
from where their centres are. Two things differ from the paper, because they are so in our classifier: positions are
added before the first block alone, and a class token goes along, through the decoder too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pcfdsl.command_line import needs
from pcfdsl.config import option, validate
from pcfdsl.models.point_transformer import PointTransformer, TransformerConfig
from pcfdsl.models.precision import at_least_float32
from pcfdsl.ops.grouping import gather

__all__ = ["PointMAE", "PointMAEModelConfig", "chamfer_distance"]


@dataclass(frozen=True, kw_only=True)
class PointMAEModelConfig:
    """A transformer for clouds, what is hidden from it, and the decoder; the defaults are the paper's."""

    transformer: TransformerConfig = option(
        TransformerConfig(embed_dim=384, depth=12, num_heads=6, drop_path=0.1),
        "the transformer, which is what a classifier takes over",
    )
    mask: float = option(0.6, "share of the groups that is hidden, rounded down", minimum=0.0, maximum=1.0)
    decoder_depth: int = option(4, "blocks of the decoder, as wide as the transformer's", minimum=1, maximum=1_000)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        if not 0 < self.num_hidden < self.transformer.tokens.num_groups:
            groups = self.transformer.tokens.num_groups
            yield (
                "mask",
                f"{self.mask} hides {self.num_hidden} of {groups} groups; some have to be hidden and some seen",
            )

    @property
    def num_hidden(self) -> int:
        """Groups of a cloud that the transformer does not see."""
        return int(self.mask * self.transformer.tokens.num_groups)


class PointMAE(nn.Module):
    """The masked autoencoder; `backbone_net` is that of a cloud classifier."""

    def __init__(self, config: PointMAEModelConfig):
        super().__init__()
        with needs("image"):
            from timm.models.vision_transformer import Block, init_weights_vit_timm

        self.config = config
        own, dim = config.transformer, config.transformer.embed_dim
        self.backbone_net = PointTransformer.for_clouds(own)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.position = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))
        blocks = [
            Block(dim, own.num_heads, qkv_bias=True, drop_path=float(share))
            for share in torch.linspace(0, own.drop_path, config.decoder_depth)
        ]
        self.decoder = nn.Sequential(*blocks, nn.LayerNorm(dim)).apply(init_weights_vit_timm)
        self.predict = nn.Linear(dim, 3 * own.tokens.group_size)

    def forward(self, points: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Make up hidden groups.

        Args:
            points: [B, N, 3] float32.
            order: [B, num_groups] int64, the groups of each cloud in random order; the last `num_hidden` are hidden.

        Returns:
            The points of the hidden groups as made up and as they are, [B, num_hidden, group_size, 3] float32 each,
            relative to their centres.

        Raises:
            ValueError: If the points have another shape or type, are not finite, or fewer than a group has.
        """
        size = self.config.transformer.tokens.group_size
        if points.ndim == 3 and points.shape[1] < size:
            raise ValueError(f"clouds have {points.shape[1]} points, fewer than group_size {size}")
        offsets, centers = self.backbone_net.tokenizer.groups(points)
        seen, hidden = order.tensor_split([order.shape[1] - self.config.num_hidden], 1)
        tokens = self.encode(offsets, centers, seen)
        positions = self.position(gather(centers, torch.cat([seen, hidden], 1)))
        masks = self.mask_token.expand(*hidden.shape, -1).to(tokens.dtype)
        tokens = torch.cat([tokens[:, :1], torch.cat([tokens[:, 1:], masks], 1) + positions], 1)
        made_up = self.predict(self.decoder(tokens)[:, -hidden.shape[1] :])
        return at_least_float32(made_up.unflatten(2, (size, 3))), _chosen(offsets, hidden)

    def encode(self, offsets: Tensor, centers: Tensor, seen: Tensor) -> Tensor:
        """Groups [B, G, K, 3] and [B, G, 3], and which are seen [B, V] -> class token and theirs, [B, 1 + V, C].

        The others are left out before the tokeniser, whose batch norms would let something of them through.
        """
        return self.backbone_net.describe_groups(_chosen(offsets, seen), gather(centers, seen))


def chamfer_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance to the nearest point of the other set, summed over both ways.

    Args:
        a: [..., K, 3].
        b: [..., L, 3]. Sets are small: all K x L differences are held.

    Returns:
        [...], in the square of the unit.
    """
    squared = (a[..., :, None, :] - b[..., None, :, :]).square().sum(-1)
    return squared.min(-1).values.mean(-1) + squared.min(-2).values.mean(-1)


def _chosen(offsets: Tensor, groups: Tensor) -> Tensor:
    """Offsets [B, G, K, 3] of the chosen groups [B, M]: [B, M, K, 3]."""
    return gather(offsets.flatten(2), groups).unflatten(2, offsets.shape[2:])
