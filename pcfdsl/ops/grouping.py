"""Neighbourhoods: which points lie in a ball, and gathering their values."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops import reference
from pcfdsl.ops.backends import graph, pytorch3d
from pcfdsl.ops.backends import numba_points as kernels
from pcfdsl.ops.backends.choice import Backend, check_points, choose, cuda_backend
from pcfdsl.ops.backends.numba_rows import over_blocks

__all__ = ["Neighbors", "ball_query", "gather"]

_MAX_CELLS_PER_AXIS = 128  # of the search grid; a sparse cloud gets larger cells instead of more
_QUERIES_PER_BLOCK = 1024


class Neighbors(NamedTuple):
    """Result of a ball query.

    Attributes:
        indices: [B, S, K] int64; beyond the count they repeat the first, or are 0 where there is none.
        counts: [B, S] int64, 0..K.
    """

    indices: Tensor
    counts: Tensor


def ball_query(
    points: Tensor,
    centers: Tensor,
    radius: float,
    max_neighbors: int,
    *,
    lengths: Tensor | None = None,
    trusted: bool = False,
    backend: Backend = "auto",
) -> Neighbors:
    """The first K points, in index order, closer to each centre than the radius (PointNet++, section 3.2).

    Args:
        points: [B, N, 3] float32 or float64.
        centers: [B, S, 3], of the same type.
        radius: Metres; strictly closer, d^2 < r^2 with r^2 rounded to the points' type.
        max_neighbors: K, at least 1.
        lengths: [B] int64; the number of leading points of each item that are used; None: all.
        trusted: Skip the check of values, because they were checked before or gathered from points that were. Saves a
            pass over them, and on a GPU a synchronisation.
        backend: See `ops.backends.choice.choose`.

    Raises:
        ValueError: For wrong shapes, types, radius or lengths, and for coordinates that are not finite.
    """
    check_points("points", points, lengths, trusted=trusted)
    check_points("centers", centers, like=points, trusted=trusted)
    if not radius > 0 or max_neighbors < 1:
        raise ValueError(f"radius must be above 0 and max_neighbors at least 1, got {radius} and {max_neighbors}")
    backend = choose(backend, points)  # type: ignore[assignment]
    others = {"pytorch3d": pytorch3d.ball_query, "torch": reference.ball_query, "graph": graph.ball_query}
    search = others.get(backend, _ball_query)
    return Neighbors(*search(points.detach(), centers.detach(), radius, max_neighbors, lengths))


@torch.library.custom_op("pcfdsl::ball_query", mutates_args=(), device_types="cpu")
def _ball_query(
    points: Tensor, centers: Tensor, radius: float, max_neighbors: int, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    clouds, queries = points.contiguous().numpy(), centers.contiguous().numpy()
    indices = np.empty((*queries.shape[:2], max_neighbors), np.int64)
    found = np.empty(queries.shape[:2], np.int64)
    squared_radius = clouds.dtype.type(radius) ** 2
    for b, cloud in enumerate(clouds):
        length = len(cloud) if lengths is None else int(lengths[b])
        extent = np.ptp(cloud[:length].astype(np.float64), axis=0)
        # Cells a little wider than the radius, so that rounding cannot put a neighbour two cells away.
        cell = max(radius * 1.001, float(extent.max()) / _MAX_CELLS_PER_AXIS)
        counts = (extent / cell).astype(np.int64) + 1
        cells, order = np.zeros(counts.prod() + 1, np.int64), np.empty(length, np.int64)
        low = kernels.build_grid(cloud, length, cell, counts, cells, order)
        grid = (cloud, low, cell, counts, cells, order)
        over_blocks(
            kernels.within,
            queries.shape[1],
            *grid,
            queries[b],
            squared_radius,
            indices[b],
            found[b],
            block=_QUERIES_PER_BLOCK,
        )
    return torch.from_numpy(indices), torch.from_numpy(found)


@_ball_query.register_kernel("cuda")
def _(points, centers, radius, max_neighbors, lengths):
    from pcfdsl.ops.backends import triton_points  # there is no Triton on macOS

    return triton_points.ball_query(points, centers, radius, max_neighbors, lengths)


@_ball_query.register_fake
def _(points, centers, radius, max_neighbors, lengths):
    counts = centers.new_empty(centers.shape[:2], dtype=torch.int64)
    return counts.new_empty((*counts.shape, max_neighbors)), counts


def gather(values: Tensor, indices: Tensor) -> Tensor:
    """values[b, indices[b, ...]], differentiable in the values.

    Args:
        values: [B, N, C].
        indices: [B, ...] int64 in 0..N-1.

    Returns:
        [B, ..., C].

    Raises:
        ValueError: If the batches or types do not fit.
    """
    if values.ndim != 3 or indices.dtype != torch.int64 or indices.shape[:1] != values.shape[:1]:
        raise ValueError(
            f"expected values [B, N, C] and int64 indices [B, ...], got {list(values.shape)} and {indices.dtype} "
            f"{list(indices.shape)}"
        )
    first_row = torch.arange(len(values), device=values.device) * values.shape[1]
    rows = (indices.flatten(1) + first_row[:, None]).flatten()
    # Whole rows: index_select copies them, and its gradient adds them in the order of the indices on the CPU. On CUDA
    # that gradient would be added in any order; ours is not.
    ordered = values.device.type == "cuda" and cuda_backend() == "triton"
    select = gather_rows if ordered else lambda values, rows: values.index_select(0, rows)
    return select(values.flatten(0, 1), rows).view(*indices.shape, values.shape[2])


@torch.library.custom_op("pcfdsl::gather_rows", mutates_args=())
def gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Rows [R] of values [N, C]; the gradient is added up by `sum_rows`."""
    return values.index_select(0, rows)


@torch.library.custom_op("pcfdsl::sum_rows", mutates_args=())
def sum_rows(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Values [R, C] added up, in their order, by the row each belongs to: [num_rows, C]."""
    return reference.sum_rows(values, rows, num_rows)


@sum_rows.register_kernel("cuda")
def _(values, rows, num_rows):
    from pcfdsl.ops.backends import triton_points  # there is no Triton on macOS

    return triton_points.sum_rows(values, rows, num_rows)


@gather_rows.register_fake
def _(values, rows):
    return values.new_empty(len(rows), values.shape[1])


@sum_rows.register_fake
def _(values, rows, num_rows):
    return values.new_empty(num_rows, values.shape[1])


def _keep_rows_of_values(ctx, inputs, output):
    values, rows = inputs
    ctx.save_for_backward(rows)
    ctx.num_rows = len(values)


def _keep_rows(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])


gather_rows.register_autograd(
    lambda ctx, gradient: (sum_rows(gradient, *ctx.saved_tensors, ctx.num_rows), None),
    setup_context=_keep_rows_of_values,
)
sum_rows.register_autograd(
    lambda ctx, gradient: (gather_rows(gradient, *ctx.saved_tensors), None, None), setup_context=_keep_rows
)
