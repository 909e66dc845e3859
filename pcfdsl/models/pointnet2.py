"""PointNet++ with single-scale grouping (Qi et al. 2017), as VoteNet uses it for its backbone."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pcfdsl.config import option, validate
from pcfdsl.models.layers import SharedMLP
from pcfdsl.ops.grouping import ball_query, gather
from pcfdsl.ops.interpolate import inverse_distance_weights, three_interpolate, three_nearest
from pcfdsl.ops.neighborhoods import neighbor_rows
from pcfdsl.ops.sampling import farthest_point_sample

__all__ = ["FeaturePropagation", "Level", "PointNet2", "PointNet2Config", "PointNet2Encoder", "SetAbstraction"]


@dataclass(frozen=True, kw_only=True)
class PointNet2Config:
    """Backbone. One entry per set-abstraction level, from fine to coarse; the defaults are VoteNet's."""

    width: int = option(1, "factor on all widths of the backbone", minimum=1, maximum=64)
    input_channels: int = option(
        1, "channels of a point besides xyz; 1 is the height above the floor", minimum=0, maximum=65_536
    )
    num_centers: tuple[int, ...] = option(
        (2048, 1024, 512, 256), "points kept at each level", minimum=1, maximum=1_000_000
    )
    radii: tuple[float, ...] = option((0.2, 0.4, 0.8, 1.2), "neighbourhood radius of each level, metres", minimum=0)
    num_neighbors: tuple[int, ...] = option(
        (64, 32, 16, 16), "neighbours taken at each level", minimum=1, maximum=65_536
    )
    mlps: tuple[tuple[int, ...], ...] = option(
        ((64, 64, 128), (128, 128, 256), (128, 128, 256), (128, 128, 256)),
        "layer widths at each level",
        minimum=1,
        maximum=65_536,
    )
    fp_widths: tuple[tuple[int, ...], ...] = option(
        ((256, 256), (256, 256)),
        "layer widths of each feature propagation, from coarse to fine",
        minimum=1,
        maximum=65_536,
    )
    skip_near_origin: bool = option(
        False, "as the released sampling kernel: never choose a point within 0.03 m of the origin"
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        levels = len(self.num_centers)
        for name in ("radii", "num_neighbors", "mlps"):
            if len(getattr(self, name)) != levels:
                yield name, f"has {len(getattr(self, name))} levels; num_centers has {levels}"
        if list(self.num_centers) != sorted(self.num_centers, reverse=True):
            yield "num_centers", f"must not grow from level to level, got {self.num_centers}"
        if len(self.fp_widths) >= levels:
            yield "fp_widths", f"has {len(self.fp_widths)} propagations; {levels} levels allow {levels - 1} at most"
        for name in ("mlps", "fp_widths"):
            if not all(getattr(self, name)):
                yield name, "has a level without layers"

    @property
    def num_seeds(self) -> int:
        """Points that carry features at the end."""
        return self.num_centers[len(self.num_centers) - 1 - len(self.fp_widths)]

    @property
    def num_features(self) -> int:
        """Channels of the features at the end."""
        return (self.fp_widths or self.mlps)[-1][-1] * self.width


@dataclass(frozen=True)
class Level:
    """Points with features.

    Attributes:
        xyz: [B, S, 3] float32 metres.
        features: [B, S, C] float32, or None.
        point_idx: [B, S] int64; which input points these are.
    """

    xyz: Tensor
    features: Tensor | None
    point_idx: Tensor


class SetAbstraction(nn.Module):
    """Describe each centre by the points around it: ball query, shared MLP, maximum (PointNet++, section 3.2).

    Args:
        radius: Metres; neighbours are closer than this.
        num_neighbors: At most so many, the first in index order.
        widths: Channels of the points' features, then of each layer.
    """

    def __init__(self, *, radius: float, num_neighbors: int, widths: tuple[int, ...]):
        super().__init__()
        self.radius, self.num_neighbors = radius, num_neighbors
        self.mlp_module = SharedMLP((widths[0] + 3, *widths[1:]))

    def forward(self, xyz: Tensor, features: Tensor | None, centers: Tensor) -> Tensor:
        """Points [B, N, 3] with features [B, N, C] around centres [B, S, 3] -> [B, S, C_out].

        Coordinates must be finite, which the caller has checked.
        """
        neighbors = ball_query(xyz.detach(), centers.detach(), self.radius, self.num_neighbors, trusted=True)
        rows = neighbor_rows(neighbors.indices, neighbors.counts, num_points=xyz.shape[1])

        def gather_rows(values: Tensor, idx: Tensor) -> Tensor:
            return gather(values.flatten(0, 1)[None], idx[None])[0]

        offsets = gather_rows(xyz, rows.point_idx) - gather_rows(centers, rows.center_idx)
        weight = self.mlp_module.layers[0].conv.weight.flatten(1)
        first = offsets / self.radius @ weight[:, :3].T
        if features is not None:
            # A linear map commutes with gathering; there are far fewer points than neighbours.
            first = first + gather_rows((features @ weight[:, 3:].T).to(first.dtype), rows.point_idx)
        return self.mlp_module.after_first_product(first, rows).view(*centers.shape[:2], -1)


class FeaturePropagation(nn.Module):
    """Carry features from coarse to fine points by inverse distance (PointNet++, section 3.4, equation 2).

    Args:
        widths: Channels of the concatenated features, then of each layer.
    """

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.mlp = SharedMLP(widths)

    def forward(self, fine: Level, coarse: Level) -> Level:
        """Features of both levels at the fine points."""
        assert fine.features is not None
        assert coarse.features is not None
        distances, indices = three_nearest(fine.xyz, coarse.xyz, trusted=True)
        carried = three_interpolate(coarse.features, indices, inverse_distance_weights(distances))
        rows = torch.cat([carried, fine.features], -1).flatten(0, 1)
        return Level(fine.xyz, self.mlp(rows).view(*fine.xyz.shape[:2], -1), fine.point_idx)


class PointNet2Encoder(nn.Module):
    """The set-abstraction levels sa1, sa2, ... of the backbone."""

    def __init__(self, config: PointNet2Config):
        super().__init__()
        self.config = config
        num_channels = config.input_channels
        for i, mlp in enumerate(config.mlps):
            widths = (num_channels, *(config.width * channels for channels in mlp))
            level = SetAbstraction(radius=config.radii[i], num_neighbors=config.num_neighbors[i], widths=widths)
            self.add_module(f"sa{i + 1}", level)
            num_channels = widths[-1]

    def forward(self, points: Tensor) -> list[Level]:
        """Points [B, N, 3 + C] float32 -> the levels from fine to coarse.

        Raises:
            ValueError: If the points have another shape or type.
        """
        num_columns = 3 + self.config.input_channels
        dtype = next(self.parameters()).dtype
        if points.ndim != 3 or points.shape[2] != num_columns or points.dtype != dtype:
            raise ValueError(
                f"points are {tuple(points.shape)} {points.dtype}; expected [B, N, {num_columns}] {dtype} (xyz and "
                f"{self.config.input_channels} channels). Set `input_channels` to what the data has."
            )
        xyz = points[..., :3].contiguous()
        features = points[..., 3:].contiguous() if self.config.input_channels else None
        sizes = self.config.num_centers
        # Farthest-point order is nested: sampling the samples again gives the first of them, so once is enough.
        point_idx = farthest_point_sample(xyz, sizes[0], skip_near_origin=self.config.skip_near_origin)
        centers = gather(xyz, point_idx)
        levels = []
        for i, size in enumerate(sizes):
            abstraction = self.get_submodule(f"sa{i + 1}")
            features = abstraction(xyz, features, centers[:, :size])
            xyz = centers[:, :size]
            levels.append(Level(xyz, features, point_idx[:, :size]))
        return levels


class PointNet2(PointNet2Encoder):
    """The backbone: set abstraction down to few points, then feature propagation fp1, fp2, ... back up to the seeds."""

    def __init__(self, config: PointNet2Config):
        super().__init__(config)
        channels = [config.width * mlp[-1] for mlp in config.mlps]
        carried = channels.pop()
        for i, fp_widths in enumerate(config.fp_widths):
            widths = (carried + channels.pop(), *(config.width * channels_ for channels_ in fp_widths))
            self.add_module(f"fp{i + 1}", FeaturePropagation(widths))
            carried = widths[-1]

    def forward(self, points: Tensor) -> Level:  # type: ignore[override]
        """Points [B, N, 3 + C] float32 -> seeds with features [B, num_seeds, num_features]."""
        levels = super().forward(points)
        coarse = levels.pop()
        for i in range(len(self.config.fp_widths)):
            coarse = self.get_submodule(f"fp{i + 1}")(levels.pop(), coarse)
        return coarse
