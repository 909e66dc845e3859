"""Neighbourhoods without their padding, as ragged rows.

Ball query pads a neighbourhood by repeating its first hit. The copies go through the network unchanged, so a layer need
not compute them: one row per distinct neighbour, and a multiplicity wherever rows are averaged. The results are those
of the padded layout, from a tenth of its rows where points are sparse to nearly all where they are dense.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pcfdsl.ops.backends.choice import exporting

__all__ = ["NeighborRows", "neighbor_rows", "rows_by_scene"]


@dataclass(frozen=True)
class NeighborRows:
    """Neighbourhoods of B x S centres without their padding, R rows in the order of the centres.

    Attributes:
        point_idx: [R] int64; the neighbour, as a row of the points flattened to [B * N].
        center_idx: [R] int64; the centre, as a row of the centres flattened to [B * S].
        starts: [B * S + 1] int64; the rows of centre i are starts[i] to starts[i + 1].
        multiplicity: [R] float32; how often the padded neighbourhood holds the row. Sums to B * S * K.
    """

    point_idx: Tensor
    center_idx: Tensor
    starts: Tensor
    multiplicity: Tensor


def rows_by_scene(scene: Tensor, num_scenes: int) -> tuple[Tensor, ...]:
    """The rows of each scene, in order, from the scene [R] int64 of each row; waits for a GPU once."""
    counts = torch.zeros(num_scenes, dtype=torch.int64, device=scene.device)
    counts = counts.scatter_add(0, scene.long(), torch.ones_like(scene, dtype=torch.int64))
    return scene.argsort(stable=True).split(counts.tolist())


def neighbor_rows(indices: Tensor, counts: Tensor, *, num_points: int) -> NeighborRows:
    """Distinct neighbours of a ball query as rows; all K of each, padding included, while a network is exported.

    Args:
        indices: [B, S, K] int64; beyond the count they repeat the first (or are all 0 where the count is 0).
        counts: [B, S] int64.
        num_points: N, the number of points per batch item that `indices` counts in.
    """
    _, num_centers, num_neighbors = indices.shape
    if exporting():  # the number of rows must not depend on the cloud
        return _padded_rows(indices, num_points)
    counts = counts.clamp(min=1).flatten()
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    num_rows = int(starts[-1])  # the one wait for a GPU: the host has to know how much memory the rows take
    center_idx = torch.repeat_interleave(counts, output_size=num_rows)
    rank = torch.arange(num_rows, device=indices.device) - starts[center_idx]
    multiplicity = torch.ones_like(center_idx, dtype=torch.float32)
    multiplicity[starts[:-1]] += num_neighbors - counts
    return NeighborRows(
        point_idx=indices.flatten()[center_idx * num_neighbors + rank] + center_idx // num_centers * num_points,
        center_idx=center_idx,
        starts=starts,
        multiplicity=multiplicity,
    )


def _padded_rows(indices: Tensor, num_points: int) -> NeighborRows:
    batch, num_centers, num_neighbors = indices.shape
    device = indices.device
    numbers = torch.arange(batch * num_centers * num_neighbors, device=device)
    first_point = torch.arange(batch, device=device)[:, None, None] * num_points
    return NeighborRows(
        point_idx=(indices + first_point).flatten(),
        center_idx=numbers // num_neighbors,
        starts=torch.arange(batch * num_centers + 1, device=device) * num_neighbors,
        multiplicity=torch.ones_like(numbers, dtype=torch.float32),
    )
