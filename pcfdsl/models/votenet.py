"""VoteNet (Qi et al. 2019, "Deep Hough Voting for 3D Object Detection in Point Clouds") as published.

Points -> seeds with features (PointNet++ or SR-UNet) -> votes -> clusters -> proposals. Names, shapes and order of
parameters are those of the released code, so its checkpoints load with `load_state_dict`. Features are channel-last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.config import option
from pcfdsl.models.backbone import BackboneConfig, build_backbone
from pcfdsl.models.proposals import ClusterSampling, Proposals, ProposalTensors, choose_clusters
from pcfdsl.models.voting import Voting
from pcfdsl.ops.backends.choice import check_points

__all__ = ["VoteNet", "VoteNetConfig", "VoteNetOutput"]

CLUSTER_NEIGHBORS = 16  # votes taken per cluster


@dataclass(frozen=True, kw_only=True)
class VoteNetConfig(BackboneConfig):
    """The network. Classes, heading bins and mean sizes are those of the data."""

    detector: Literal["votenet"] = option("votenet", "VoteNet: seeds vote for centres, clusters of votes are proposals")
    num_classes: int = option(1, "object classes", minimum=1, maximum=1_000_000)
    num_heading_bins: int = option(
        12, "heading bins; 1 means that all boxes are axis-aligned", minimum=1, maximum=10_000
    )
    mean_sizes: tuple[tuple[float, float, float], ...] = option(
        ((1.0, 1.0, 1.0),), "mean full extents in metres, one per class, or one for all classes", minimum=1e-3
    )
    num_proposals: int = option(256, "proposals per scene", minimum=1, maximum=1_000_000)
    cluster_sampling: ClusterSampling = option("vote_fps", "how training chooses cluster centres")
    cluster_sampling_eval: ClusterSampling = option("seed_fps", "how evaluation chooses them")
    cluster_radius: float = option(0.3, "votes within it make a cluster, metres", minimum=0)

    def inconsistencies(self):
        """Yields (field, problem)."""
        if len(self.mean_sizes) not in (1, self.num_classes):
            yield "mean_sizes", f"has {len(self.mean_sizes)} sizes; expected 1 or {self.num_classes}, one per class"
        if self.num_proposals > self.num_seeds:
            yield "num_proposals", f"is {self.num_proposals}; the backbone has only {self.num_seeds} seeds"


@dataclass(frozen=True)
class VoteNetOutput(ProposalTensors):
    """What VoteNet gives for a batch: proposals, and the seeds and votes they come from. float32.

    Attributes:
        seed_xyz: [B, S, 3] metres.
        seed_features: [B, S, C].
        seed_idx: [B, S] int64; which input points the seeds are.
        vote_xyz: [B, S * V, 3] metres, V votes for each seed in turn.
        vote_features: [B, S * V, C], of unit length.
        cluster_idx: [B, P] int64; which votes are cluster centres.
        heading_residuals: [B, P, NH] radians, clockwise.
        size_residuals: [B, P, NS, 3] metres.
    """

    seed_xyz: Tensor
    seed_features: Tensor
    seed_idx: Tensor
    vote_xyz: Tensor
    vote_features: Tensor
    cluster_idx: Tensor
    heading_residuals: Tensor
    size_residuals: Tensor


class VoteNet(nn.Module):
    """The detector. Parameters start as published, from torch's global generator: call `torch.manual_seed` before."""

    mean_sizes: Tensor

    def __init__(self, config: VoteNetConfig):
        super().__init__()
        self.config = config
        num_features = config.num_features
        self.backbone_net = build_backbone(config)
        self.vgen = Voting(num_features)
        self.pnet = Proposals(
            num_features,
            num_heading_bins=config.num_heading_bins,
            num_sizes=len(config.mean_sizes),
            num_classes=config.num_classes,
            radius=config.cluster_radius,
            num_neighbors=CLUSTER_NEIGHBORS,
        )
        self.register_buffer("mean_sizes", torch.tensor(config.mean_sizes), persistent=False)

    def forward(
        self, points: Tensor, *, generator: np.random.Generator | Sequence[np.random.Generator] | None = None
    ) -> VoteNetOutput:
        """Detect in a batch of scenes.

        Args:
            points: [B, N, 3 + C] float32: xyz in metres, z up, then the channels of the backbone.
            generator: Randomness, of the batch or of each scene; needed only where cluster sampling is random.

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        config = self.config
        seeds = self.backbone_net(points)
        assert seeds.features is not None
        vote_xyz, vote_features = self.vgen(seeds.xyz, seeds.features)
        check_points("votes", vote_xyz)  # once for sampling and ball query, which trust them
        cluster_idx = choose_clusters(
            vote_xyz,
            config.num_proposals,
            sampling=config.cluster_sampling if self.training else config.cluster_sampling_eval,
            skip_near_origin=config.backbone_type == "pointnet2" and config.backbone.skip_near_origin,
            generator=generator,
        )
        proposals: ProposalTensors = self.pnet(vote_xyz, vote_features, cluster_idx)
        return VoteNetOutput(
            **vars(proposals),
            seed_xyz=seeds.xyz,
            seed_features=seeds.features,
            seed_idx=seeds.point_idx,
            vote_xyz=vote_xyz,
            vote_features=vote_features,
            cluster_idx=cluster_idx,
            heading_residuals=proposals.heading_residuals_normalized * (torch.pi / config.num_heading_bins),
            size_residuals=proposals.size_residuals_normalized * self.mean_sizes,
        )
