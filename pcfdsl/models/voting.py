"""Hough voting: each seed votes for the centre of the object it lies on (VoteNet, Qi et al. 2019, section 4.1)."""

import torch
from torch import Tensor, nn

from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.layers import linear
from pcfdsl.models.precision import at_least_float32

__all__ = ["Voting"]


class Voting(nn.Module):
    """Offsets in space and in feature space from seeds to votes.

    Args:
        num_features: Channels of seeds and votes.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.conv1 = nn.Conv1d(num_features, num_features, 1)
        self.conv2 = nn.Conv1d(num_features, num_features, 1)
        self.conv3 = nn.Conv1d(num_features, 3 + num_features, 1)
        self.bn1 = RowNormReLU(num_features)
        self.bn2 = RowNormReLU(num_features)

    def forward(self, seed_xyz: Tensor, seed_features: Tensor) -> tuple[Tensor, Tensor]:
        """Seeds [B, S, 3] and [B, S, C] -> votes [B, S, 3] and [B, S, C] of unit length."""
        rows = self.bn1(linear(seed_features.flatten(0, 1), self.conv1))
        rows = self.bn2(linear(rows, self.conv2))
        offsets = at_least_float32(linear(rows, self.conv3)).unflatten(0, seed_xyz.shape[:2])
        vote_xyz = seed_xyz + offsets[..., :3]
        vote_features = seed_features + offsets[..., 3:]
        vote_features = vote_features / torch.linalg.vector_norm(vote_features, dim=-1, keepdim=True)
        return vote_xyz, vote_features
