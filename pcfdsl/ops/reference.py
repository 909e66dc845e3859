"""The point operators in plain torch, short and obviously right: what every backend is held equal to.

Squared distances are ((dx dx) + (dy dy)) + (dz dz) in the points' own type, and ties go to the lowest index.
Memory grows with the product of the point counts; for use on large clouds see the backends.
"""

import torch
from torch import Tensor

__all__ = ["ball_query", "farthest_point_sample", "gather", "squared_distances", "three_interpolate", "three_nearest"]


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
    squared_radius = torch.tensor(radius, dtype=points.dtype, device=points.device) ** 2
    inside = squared_distances(centers[:, :, None], points[:, None]) < squared_radius
    inside &= _valid(points, lengths)[:, None]
    counts = inside.sum(-1).clamp(max=max_neighbors)
    num_points = points.shape[1]
    numbers = torch.where(inside, torch.arange(num_points, device=points.device), num_points)
    indices = numbers.sort(-1).values[..., :max_neighbors]
    indices = torch.nn.functional.pad(indices, (0, max_neighbors - indices.shape[-1]), value=num_points)
    first = torch.where(counts > 0, indices[..., 0], 0)[..., None]
    return torch.where(indices < num_points, indices, first), counts


def gather(values: Tensor, indices: Tensor) -> Tensor:
    """See `ops.grouping.gather`."""
    flat = indices.flatten(1)[..., None].expand(-1, -1, values.shape[2])
    return values.gather(1, flat).view(*indices.shape, values.shape[2])


def three_nearest(queries: Tensor, points: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """See `ops.interpolate.three_nearest`."""
    distances = squared_distances(queries[:, :, None], points[:, None])
    distances = distances.masked_fill(~_valid(points, lengths)[:, None], torch.inf)
    distances = torch.nn.functional.pad(distances, (0, max(3 - points.shape[1], 0)), value=torch.inf)
    distances, indices = distances.sort(dim=-1, stable=True)
    distances, indices = distances[..., :3], indices[..., :3]
    return distances.sqrt(), torch.where(distances.isfinite(), indices, 0)


def three_interpolate(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """See `ops.interpolate.three_interpolate`."""
    return (gather(values, indices) * weights[..., None]).sum(2)
