"""The point operators as graphs of fixed size, from operators that torch.export and ONNX know.

Networks take these while they are exported (`choice.choose`). Indices are those of the twins in `ops.reference`, ties
included: squared distances are summed in the same order, and of equals the lowest index is taken. Tensors of pairs are
made for a block of queries at a time, which bounds the memory of the exported network.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ball_query", "farthest_point_sample", "nearest"]

_PAIRS_AT_ONCE = 1 << 22  # of a query and a point; about 30 bytes each


def farthest_point_sample(
    points: Tensor, num_samples: int, lengths: Tensor | None = None, skip_near_origin: bool = False
) -> Tensor:
    """See `ops.sampling.farthest_point_sample`. One loop (ONNX: Scan), whose steps take N operations each."""
    from torch._higher_order_ops import scan  # older versions of torch have none

    _refuse(lengths)
    axes = points.detach().transpose(1, 2).contiguous()
    distances = torch.full_like(axes[:, 0], 1e10)
    if skip_near_origin:
        distances = torch.where(_sum(axes * axes) > 1e-3, distances, -1.0)
    first = torch.zeros(len(points), 1, dtype=torch.int64, device=points.device)

    def step(carried: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        distances, chosen = carried
        offsets = axes - axes.gather(2, chosen[:, None].expand(-1, 3, -1))
        distances = torch.minimum(distances, _sum(offsets * offsets))
        chosen = distances.argmax(1, keepdim=True)
        return (distances, chosen), chosen.clone()

    if num_samples == 1:
        return first
    _, chosen = scan(step, (distances, first), torch.zeros(num_samples - 1, dtype=points.dtype, device=points.device))
    return torch.cat([first, chosen.squeeze(2).T], 1)


def ball_query(
    points: Tensor, centers: Tensor, radius: float, max_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `ops.grouping.ball_query`."""
    _refuse(lengths)
    squared_radius = (torch.tensor(radius, dtype=points.dtype) ** 2).item()
    num_points = points.shape[1]
    # int32 halves the memory of the pairs.
    numbers = torch.arange(num_points, dtype=torch.int32, device=points.device)
    none = torch.full_like(numbers[:1], num_points)

    def search(centers: Tensor) -> tuple[Tensor, Tensor]:
        inside = _squared_distances(centers, points) < squared_radius
        indices = torch.where(inside, numbers, none).topk(min(max_neighbors, num_points), largest=False).values.long()
        indices = torch.nn.functional.pad(indices, (0, max_neighbors - indices.shape[-1]), value=num_points)
        found = indices < num_points
        first = torch.where(found[..., :1], indices[..., :1], 0)
        return torch.where(found, indices, first), found.sum(-1)

    return _over_blocks(search, centers, num_points)


def nearest(
    queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `ops.reference.nearest`. One minimum after the other: TopK promises no order among equals."""
    _refuse(lengths)
    numbers = torch.arange(points.shape[1], device=points.device)

    def search(queries: Tensor) -> tuple[Tensor, Tensor]:
        left, distances, indices = _squared_distances(queries, points), [], []
        for _ in range(num_neighbors):
            index = left.argmin(-1, keepdim=True)
            distance = left.gather(-1, index)
            distances.append(distance)
            indices.append(index)  # once all are infinitely far, 0
            left = torch.where(numbers == index, torch.inf, left)
        return torch.cat(distances, -1).sqrt(), torch.cat(indices, -1)

    return _over_blocks(search, queries, points.shape[1])


def _sum(squares: Tensor) -> Tensor:
    """[B, 3, N] -> [B, N]."""
    x, y, z = squares.unbind(1)
    return (x + y) + z


def _squared_distances(queries: Tensor, points: Tensor) -> Tensor:
    """[B, M, 3] and [B, N, 3] -> [B, M, N]."""
    dx, dy, dz = (a[:, :, None] - b[:, None] for a, b in zip(queries.unbind(-1), points.unbind(-1), strict=True))
    return (dx * dx + dy * dy) + dz * dz


def _over_blocks(
    search: Callable[[Tensor], tuple[Tensor, Tensor]], queries: Tensor, num_points: int
) -> tuple[Tensor, Tensor]:
    block = max(1, _PAIRS_AT_ONCE // num_points)
    first, second = zip(*map(search, queries.split(block, 1)), strict=True)
    return torch.cat(first, 1), torch.cat(second, 1)


def _refuse(lengths: Tensor | None) -> None:
    if lengths is not None:
        raise ValueError("clouds of several lengths in one batch cannot be exported; export without `lengths`")
