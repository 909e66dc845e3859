"""The point operators in plain torch, short and obviously right: every backend is tested against them.

Squared distances are ((dx dx) + (dy dy)) + (dz dz) in the points' own type, and ties go to the lowest index.
Searches compare every query with every point, a block of queries at a time, which bounds their memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "ball_query",
    "farthest_point_sample",
    "gather",
    "nearest",
    "squared_distances",
    "sum_rows",
    "three_interpolate",
    "three_nearest",
]

_PAIRS_AT_ONCE = 1 << 24  # of a query and a point; about 50 bytes each


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[..., 3] and [..., 3] -> [...], broadcasting."""
    squares = (a - b) ** 2
    return (squares[..., 0] + squares[..., 1]) + squares[..., 2]


def _valid(points: Tensor, lengths: Tensor | None) -> Tensor:
    """[B, N] mask of the points that count."""
    numbers = torch.arange(points.shape[1], device=points.device)
    if lengths is None:
        return torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
    return numbers < lengths[:, None]


def _over_blocks(
    search: Callable[[Tensor], tuple[Tensor, Tensor]], queries: Tensor, num_points: int
) -> tuple[Tensor, Tensor]:
    """search(queries) in blocks of queries [B, M, 3]."""
    block = max(1, _PAIRS_AT_ONCE // (len(queries) * num_points))
    first, second = zip(*map(search, queries.split(block, 1)), strict=True)
    return torch.cat(first, 1), torch.cat(second, 1)


def farthest_point_sample(
    points: Tensor, num_samples: int, lengths: Tensor | None = None, skip_near_origin: bool = False
) -> Tensor:
    """See `ops.sampling.farthest_point_sample`."""
    candidates = _valid(points, lengths)
    if skip_near_origin:
        candidates = candidates & (squared_distances(points, torch.zeros_like(points)) > 1e-3)
    distances = torch.where(candidates, 1e10, -1.0).to(points.dtype)
    chosen = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    samples = [chosen]
    for _ in range(num_samples - 1):
        last = points.gather(1, chosen[:, None, None].expand(-1, 1, 3))
        distances = torch.minimum(distances, squared_distances(points, last))
        # argmax promises no order among equals; the first place where the maximum stands does.
        chosen = (distances == distances.amax(1, keepdim=True)).to(torch.int8).argmax(1)
        chosen = torch.where(candidates.any(1), chosen, 0)
        samples.append(chosen)
    return torch.stack(samples, 1)


def ball_query(
    points: Tensor, centers: Tensor, radius: float, max_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `ops.grouping.ball_query`."""
    squared_radius = (torch.tensor(radius, dtype=points.dtype) ** 2).item()
    num_points, valid = points.shape[1], _valid(points, lengths)

    def search(centers: Tensor) -> tuple[Tensor, Tensor]:
        inside = (squared_distances(centers[:, :, None], points[:, None]) < squared_radius) & valid[:, None]
        counts = inside.sum(-1).clamp(max=max_neighbors)
        numbers = torch.where(inside, torch.arange(num_points, device=points.device), num_points)
        indices = numbers.sort(-1).values[..., :max_neighbors]
        indices = torch.nn.functional.pad(indices, (0, max_neighbors - indices.shape[-1]), value=num_points)
        first = torch.where(counts > 0, indices[..., 0], 0)[..., None]
        return torch.where(indices < num_points, indices, first), counts

    return _over_blocks(search, centers, num_points)


def gather(values: Tensor, indices: Tensor) -> Tensor:
    """See `ops.grouping.gather`."""
    flat = indices.flatten(1)[..., None].expand(-1, -1, values.shape[2])
    return values.gather(1, flat).view(*indices.shape, values.shape[2])


def sum_rows(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """[R, C] values added up by the row [R] each belongs to: [num_rows, C]. The gradient of gathering rows."""
    return values.new_zeros(num_rows, values.shape[1]).index_add_(0, rows, values)


def nearest(
    queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Distances and indices [B, M, K] of the K nearest points; see `ops.interpolate.three_nearest`."""
    valid = _valid(points, lengths)

    def search(queries: Tensor) -> tuple[Tensor, Tensor]:
        distances = squared_distances(queries[:, :, None], points[:, None])
        distances = distances.masked_fill(~valid[:, None], torch.inf)
        distances = torch.nn.functional.pad(distances, (0, max(num_neighbors - points.shape[1], 0)), value=torch.inf)
        distances, indices = distances.sort(dim=-1, stable=True)
        distances, indices = distances[..., :num_neighbors], indices[..., :num_neighbors]
        return distances.sqrt(), torch.where(distances.isfinite(), indices, 0)

    return _over_blocks(search, queries, points.shape[1])


def three_nearest(queries: Tensor, points: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """See `ops.interpolate.three_nearest`."""
    return nearest(queries, points, 3, lengths)


def three_interpolate(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """See `ops.interpolate.three_interpolate`."""
    return (gather(values, indices) * weights[..., None]).sum(2)
