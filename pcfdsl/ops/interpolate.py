"""The nearest points, and interpolation from the nearest three (PointNet++, section 3.4, equation 2)."""

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops import reference
from pcfdsl.ops.backends import graph, pytorch3d
from pcfdsl.ops.backends import numba_points as kernels
from pcfdsl.ops.backends.choice import Backend, check_points, choose
from pcfdsl.ops.backends.numba_rows import over_blocks
from pcfdsl.ops.grouping import gather

__all__ = ["inverse_distance_weights", "k_nearest", "nearest", "three_interpolate", "three_nearest"]

_SMALLEST_BLOCK = 2048  # queries; each block builds the tree of the points anew


def three_nearest(
    queries: Tensor,
    points: Tensor,
    *,
    lengths: Tensor | None = None,
    trusted: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Distances and indices of the three points nearest to each query, nearest first; ties go to the lower index.

    Where there are fewer than three points, the missing ones have distance infinity (so weight 0) and index 0.

    Args:
        queries: [B, M, 3] float32 or float64.
        points: [B, N, 3], of the same type.
        lengths: [B] int64; the number of leading points of each item that are used; None: all.
        trusted: Skip the check of values, because they were checked before or gathered from points that were. Saves a
            pass over them, and on a GPU a synchronisation.
        backend: See `ops.backends.choice.choose`.

    Returns:
        Distances [B, M, 3] (not squared; without gradient) and indices [B, M, 3] int64.

    Raises:
        ValueError: For wrong shapes, types or lengths, and for coordinates that are not finite.
    """
    return _search(queries, points, 3, lengths, trusted, backend)


def nearest(
    queries: Tensor,
    points: Tensor,
    *,
    lengths: Tensor | None = None,
    trusted: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Distance and index [B, M] of the point nearest to each query; otherwise as `three_nearest`."""
    distances, indices = _search(queries, points, 1, lengths, trusted, backend)
    return distances.squeeze(2), indices.squeeze(2)


def k_nearest(
    queries: Tensor, points: Tensor, num_neighbors: int, *, lengths: Tensor | None = None, trusted: bool = False
) -> tuple[Tensor, Tensor]:
    """Distances and indices [B, M, K] of the K nearest points; otherwise as `three_nearest`.

    On a GPU by torch, all distances sorted, since the kernel there is for one or three.
    """
    return _search(queries, points, num_neighbors, lengths, trusted, "torch" if queries.is_cuda else "auto")


def _search(
    queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None, trusted: bool, backend: Backend
) -> tuple[Tensor, Tensor]:
    check_points("points", points, lengths, trusted=trusted)
    check_points("queries", queries, like=points, trusted=trusted)
    backend = choose(backend, points)  # type: ignore[assignment]
    others = {"pytorch3d": pytorch3d.nearest, "torch": reference.nearest, "graph": graph.nearest}
    search = others.get(backend, _nearest)
    return search(queries.detach(), points.detach(), num_neighbors, lengths)


@torch.library.custom_op("pcfdsl::nearest", mutates_args=(), device_types="cpu")
def _nearest(queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    asked, clouds = queries.contiguous().numpy(), points.contiguous().numpy()
    distances = np.empty((*asked.shape[:2], num_neighbors), asked.dtype)
    indices = np.empty(distances.shape, np.int64)
    block = max(-(-asked.shape[1] // torch.get_num_threads()), _SMALLEST_BLOCK)
    for b, cloud in enumerate(clouds):
        length = len(cloud) if lengths is None else int(lengths[b])
        arrays = asked[b], cloud, length, distances[b], indices[b]
        over_blocks(kernels.nearest, asked.shape[1], *arrays, block=block)
    # NumPy rounds roots correctly; torch's may be off by a bit, depending on where in the tensor a number stands.
    return torch.from_numpy(np.sqrt(distances, out=distances)), torch.from_numpy(indices)


@_nearest.register_kernel("cuda")
def _(queries, points, num_neighbors, lengths):
    from pcfdsl.ops.backends import triton_points  # there is no Triton on macOS

    return triton_points.nearest(queries, points, num_neighbors, lengths)


@_nearest.register_fake
def _(queries, points, num_neighbors, lengths):
    distances = queries.new_empty((*queries.shape[:2], num_neighbors))
    return distances, torch.empty_like(distances, dtype=torch.int64)


def inverse_distance_weights(distances: Tensor) -> Tensor:
    """1 / (d + 1e-8), normalised over the last axis; a distance of infinity has weight 0."""
    weights = 1 / (distances + 1e-8)
    return weights / weights.sum(-1, keepdim=True)


def three_interpolate(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of three values for each query, differentiable in values and weights.

    Args:
        values: [B, N, C].
        indices: [B, M, 3] int64.
        weights: [B, M, 3].

    Returns:
        [B, M, C].
    """
    return (gather(values, indices) * weights[..., None]).sum(2)
