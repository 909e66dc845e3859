"""Object proposals from clusters of votes (VoteNet, Qi et al. 2019, section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.layers import linear
from pcfdsl.models.pointnet2 import SetAbstraction
from pcfdsl.models.precision import at_least_float32
from pcfdsl.ops.grouping import gather
from pcfdsl.ops.sampling import farthest_point_sample

__all__ = ["ClusterSampling", "ProposalTensors", "Proposals", "choose_clusters"]

ClusterSampling = Literal["vote_fps", "seed_fps", "random"]


@dataclass(frozen=True)
class ProposalTensors:
    """What is predicted for each of P proposals; NH heading bins, NS mean sizes, NC classes.

    Attributes:
        cluster_xyz: [B, P, 3] metres; centre of the cluster of votes.
        objectness_logits: [B, P, 2]; none, object.
        center: [B, P, 3] metres; box centre.
        heading_logits: [B, P, NH].
        heading_residuals_normalized: [B, P, NH] in units of pi / NH, clockwise.
        size_logits: [B, P, NS].
        size_residuals_normalized: [B, P, NS, 3] in units of the mean size.
        class_logits: [B, P, NC].
    """

    cluster_xyz: Tensor
    objectness_logits: Tensor
    center: Tensor
    heading_logits: Tensor
    heading_residuals_normalized: Tensor
    size_logits: Tensor
    size_residuals_normalized: Tensor
    class_logits: Tensor


class Proposals(nn.Module):
    """Gather the votes around each cluster centre and predict a box and its class.

    Args:
        num_features: Channels of the votes.
        num_heading_bins, num_sizes, num_classes: NH, NS, NC.
        radius, num_neighbors: Ball query of votes around a cluster centre; metres.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_heading_bins: int,
        num_sizes: int,
        num_classes: int,
        radius: float = 0.3,
        num_neighbors: int = 16,
    ):
        super().__init__()
        self.splits = (2, 3, num_heading_bins, num_heading_bins, num_sizes, 3 * num_sizes, num_classes)
        self.vote_aggregation = SetAbstraction(
            radius=radius, num_neighbors=num_neighbors, widths=(num_features, 128, 128, 128)
        )
        self.conv1 = nn.Conv1d(128, 128, 1)
        self.conv2 = nn.Conv1d(128, 128, 1)
        self.conv3 = nn.Conv1d(128, sum(self.splits), 1)
        self.bn1 = RowNormReLU(128)
        self.bn2 = RowNormReLU(128)

    def forward(self, vote_xyz: Tensor, vote_features: Tensor, cluster_idx: Tensor) -> ProposalTensors:
        """Votes [B, V, 3] and [B, V, C], and which of them [B, P] are cluster centres."""
        cluster_xyz = gather(vote_xyz, cluster_idx)
        clusters = self.vote_aggregation(vote_xyz, vote_features, cluster_xyz)
        rows = self.bn1(linear(clusters.flatten(0, 1), self.conv1))
        rows = self.bn2(linear(rows, self.conv2))
        channels = at_least_float32(linear(rows, self.conv3)).view(*cluster_idx.shape, -1)
        objectness, offset, heading, heading_residuals, size, size_residuals, category = channels.split(self.splits, -1)
        return ProposalTensors(
            cluster_xyz=cluster_xyz,
            objectness_logits=objectness,
            center=cluster_xyz + offset,
            heading_logits=heading,
            heading_residuals_normalized=heading_residuals,
            size_logits=size,
            size_residuals_normalized=size_residuals.unflatten(-1, (-1, 3)),
            class_logits=category,
        )


def choose_clusters(
    vote_xyz: Tensor,
    num_proposals: int,
    *,
    sampling: str,
    skip_near_origin: bool = False,
    generator: np.random.Generator | Sequence[np.random.Generator] | None = None,
) -> Tensor:
    """Which votes become cluster centres: [B, P] int64.

    Args:
        vote_xyz: [B, V, 3] metres, finite; the votes of seeds in farthest-point order.
        num_proposals: P.
        sampling: "vote_fps", farthest points of the votes; "seed_fps", those of the farthest seeds; "random",
            with replacement.
        skip_near_origin: As the released sampling kernel.
        generator: Randomness of "random": one for the batch, or one for each scene, whose draws then do not depend on
            what else is in the batch.

    Raises:
        ValueError: If the sampling is unknown, or random without a generator.
    """
    batch, num_votes = vote_xyz.shape[:2]
    if sampling == "vote_fps":
        return farthest_point_sample(vote_xyz, num_proposals, skip_near_origin=skip_near_origin, trusted=True)
    if sampling == "seed_fps":
        return torch.arange(num_proposals, device=vote_xyz.device).expand(batch, -1)
    if sampling == "random":
        if generator is None:
            raise ValueError("cluster sampling is random: pass `generator`, such as pcfdsl.rng.stream(seed, step)")
        generators = [generator] if isinstance(generator, np.random.Generator) else generator
        shape = (batch // len(generators), num_proposals)
        drawn = np.concatenate([each.integers(num_votes, size=shape) for each in generators])
        return torch.from_numpy(drawn).to(vote_xyz.device)
    raise ValueError(f"unknown cluster sampling {sampling!r}; expected one of {', '.join(get_args(ClusterSampling))}")
