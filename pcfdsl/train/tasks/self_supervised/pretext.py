"""Tasks whose answer is known because the question was made: which turn, and which order of tiles, a picture has."""

import torch
from torch import Tensor, nn

__all__ = ["JigsawNetwork", "RotationNetwork"]


class RotationNetwork(nn.Module):
    """A network under a classifier of four turns.

    Args:
        trunk: timm's network without a classifier.
        width: Channels of its features.
    """

    def __init__(self, trunk: nn.Module, width: int):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(width, 4)

    def forward(self, views: Tensor) -> Tensor:
        """[B, 1, C, H, W] -> logits [4 B, 4]: all pictures as they are, then all turned by a quarter, and so on."""
        return self.head(self.trunk(torch.cat([views[:, 0].rot90(turn, (2, 3)) for turn in range(4)])))


class JigsawNetwork(nn.Module):
    """A network that sees each tile alone, under a classifier of the order in which they come.

    Args:
        trunk: timm's network without a classifier.
        width: Channels of its features.
        num_orders: Orders that there are.
    """

    def __init__(self, trunk: nn.Module, width: int, num_orders: int):
        super().__init__()
        self.trunk = trunk
        self.tile = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(9 * width, width), nn.ReLU(), nn.Linear(width, num_orders))

    def forward(self, views: Tensor) -> Tensor:
        """[B, 9, C, H, W] -> logits [B, orders]."""
        tiles = self.tile(self.trunk(views.flatten(0, 1)))
        return self.head(tiles.unflatten(0, (-1, 9)).flatten(1))
