"""CUDA kernels of the point operators: the same indices as the plain twins in ops.reference, to the last tie.

Squared distances are ((dx dx) + (dy dy)) + (dz dz) in float32, each operation rounded: every launch forbids fused
multiply-adds. A distance that is not negative, seen as an integer, and an index make one int64 key whose order is that
of distance, then index, so that a single reduction finds the nearest (or farthest) point and breaks ties.

Points are passed as planes [B, 3, N'], N' a multiple of 16, so that neighbouring threads read neighbouring numbers in
wide loads and one compiled kernel serves every N. There are no atomic additions, so results are reproducible bit for
bit.
"""

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["ball_query", "farthest_point_sample", "nearest", "sum_rows"]

# In the kernels 0x7FFFFFFF is the largest index, and 0x7F80000000000000 the key of an infinite distance and index 0.


@triton.jit
def _squared_distance(dx, dy, dz):
    return ((dx * dx) + (dy * dy)) + (dz * dz)


@triton.jit
def _length(lengths, b, num_points):
    n = num_points
    if lengths is not None:
        n = tl.minimum(tl.load(lengths + b), num_points).to(tl.int32)
    return n


@triton.jit
def _load_points(planes, i, stride, valid):
    x = tl.load(planes + i, mask=valid, other=0.0)
    y = tl.load(planes + stride + i, mask=valid, other=0.0)
    z = tl.load(planes + 2 * stride + i, mask=valid, other=0.0)
    return x, y, z


@triton.jit
def _load_rows(rows, valid):
    x = tl.load(rows, mask=valid, other=0.0)
    y = tl.load(rows + 1, mask=valid, other=0.0)
    z = tl.load(rows + 2, mask=valid, other=0.0)
    return x, y, z


@triton.jit
def farthest_kernel(planes, lengths, distances, out, num_points, stride, num_samples, near_origin, TILE: tl.constexpr):
    """One program samples one cloud.

    The distance of every point to the samples so far is scratch, [B, N'], and stays in the caches. A thread keeps the
    best key of its own points over all tiles; one reduction per sample then finds the winner.
    """
    b = tl.program_id(0).to(tl.int64)
    n = _length(lengths, b, num_points)
    planes += b * 3 * stride
    distances += b * stride
    out += b * num_samples
    lane = tl.arange(0, TILE)
    for start in range(0, n, TILE):
        i = start + lane
        valid = i < n
        x, y, z = _load_points(planes, i, stride, valid)
        candidate = _squared_distance(x, y, z) > near_origin
        tl.store(distances + i, tl.where(candidate, 1e10, -1.0), mask=valid)
    tl.debug_barrier()
    chosen = tl.full([], 0, tl.int32)
    tl.store(out, chosen.to(tl.int64))
    for sample in range(1, num_samples):
        cx = tl.load(planes + chosen)
        cy = tl.load(planes + stride + chosen)
        cz = tl.load(planes + 2 * stride + chosen)
        best = tl.full([TILE], 0, tl.int64)  # below the key of every candidate
        for start in range(0, n, TILE):
            i = start + lane
            valid = i < n
            x, y, z = _load_points(planes, i, stride, valid)
            known = tl.load(distances + i, mask=valid, other=-1.0)
            distance = _squared_distance(x - cx, y - cy, z - cz)
            nearer = distance < known
            distance = tl.where(nearer, distance, known)
            tl.store(distances + i, distance, mask=nearer & valid)
            key = (distance.to(tl.int32, bitcast=True).to(tl.int64) << 32) | (0x7FFFFFFF - i).to(tl.int64)
            best = tl.maximum(best, tl.where(distance >= 0, key, 0))
        top = tl.max(best, 0)
        chosen = tl.where(top > 0, 0x7FFFFFFF - (top & 0x7FFFFFFF), 0).to(tl.int32)
        tl.store(out + sample, chosen.to(tl.int64))


@triton.jit
def ball_query_kernel(
    planes,
    lengths,
    centers,
    indices,
    counts,
    squared_radius,
    num_points,
    stride,
    num_centers,
    max_neighbors,
    CENTERS: tl.constexpr,
    TILE: tl.constexpr,
):
    """One program searches for a few centres, tile after tile in index order, until each has all its neighbours."""
    b = tl.program_id(1).to(tl.int64)
    n = _length(lengths, b, num_points)
    planes += b * 3 * stride
    s = tl.program_id(0) * CENTERS + tl.arange(0, CENTERS)
    wanted = s < num_centers
    rows = b * num_centers + s
    cx, cy, cz = _load_rows(centers + rows * 3, wanted)
    indices += rows * max_neighbors
    count = tl.where(wanted, 0, max_neighbors)
    first = tl.full([CENTERS], 0x7FFFFFFF, tl.int32)
    start = 0
    while (start < n) & (tl.min(count, 0) < max_neighbors):
        i = start + tl.arange(0, TILE)
        x, y, z = _load_points(planes, i, stride, i < n)
        distance = _squared_distance(cx[:, None] - x[None], cy[:, None] - y[None], cz[:, None] - z[None])
        inside = (distance < squared_radius) & (i < n)[None] & wanted[:, None]
        hits = tl.sum(inside.to(tl.int32), 1)
        if tl.max(hits, 0) > 0:
            slot = count[:, None] + tl.cumsum(inside.to(tl.int32), 1) - 1
            index = tl.broadcast_to(i[None], [CENTERS, TILE])
            tl.store(indices[:, None] + slot, index.to(tl.int64), mask=inside & (slot < max_neighbors))
            first = tl.minimum(first, tl.min(tl.where(inside, index, 0x7FFFFFFF), 1))
            count = tl.minimum(count + hits, max_neighbors)
        start += TILE
    padding = tl.where(count > 0, first, 0).to(tl.int64)
    for start in range(0, max_neighbors, TILE):
        slot = (start + tl.arange(0, TILE))[None]
        empty = (slot >= count[:, None]) & (slot < max_neighbors) & wanted[:, None]
        tl.store(indices[:, None] + slot, tl.broadcast_to(padding[:, None], [CENTERS, TILE]), mask=empty)
    tl.store(counts + rows, count.to(tl.int64), mask=wanted)


@triton.jit
def nearest_kernel(
    planes,
    lengths,
    queries,
    distances,
    indices,
    num_points,
    stride,
    num_queries,
    K: tl.constexpr,
    QUERIES: tl.constexpr,
    TILE: tl.constexpr,
):
    """One program answers a few queries, for K = 1 or 3.

    Of the points it sees, each of the TILE lanes keeps the K nearest; at the end K reductions draw from the lanes.
    """
    b = tl.program_id(1).to(tl.int64)
    n = _length(lengths, b, num_points)
    planes += b * 3 * stride
    q = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    wanted = q < num_queries
    rows = b * num_queries + q
    qx, qy, qz = _load_rows(queries + rows * 3, wanted)
    first = tl.full([QUERIES, TILE], 0x7F80000000000000, tl.int64)
    second, third = first, first
    for start in range(0, n, TILE):
        i = start + tl.arange(0, TILE)
        x, y, z = _load_points(planes, i, stride, i < n)
        distance = _squared_distance(qx[:, None] - x[None], qy[:, None] - y[None], qz[:, None] - z[None])
        key = (distance.to(tl.int32, bitcast=True).to(tl.int64) << 32) | i[None].to(tl.int64)
        key = tl.where((i < n)[None], key, 0x7F80000000000000)
        if K == 3:
            third = tl.minimum(third, tl.maximum(second, key))
            second = tl.minimum(second, tl.maximum(first, key))
        first = tl.minimum(first, key)
    for k in tl.static_range(K):
        key = tl.min(first, 1)
        distance = (key >> 32).to(tl.int32).to(tl.float32, bitcast=True)
        tl.store(distances + rows * K + k, tl.sqrt_rn(distance), mask=wanted)
        tl.store(indices + rows * K + k, key & 0x7FFFFFFF, mask=wanted)
        if K == 3:
            drawn = first == key[:, None]
            first = tl.where(drawn, second, first)
            second = tl.where(drawn, third, second)


@triton.jit
def sum_rows_kernel(values, order, starts, out, num_channels, CHANNELS: tl.constexpr):
    """One program adds up a block of channels of the values that belong to one row, in their order."""
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    total = tl.zeros([CHANNELS], out.dtype.element_ty if out.dtype.element_ty == tl.float64 else tl.float32)
    for i in range(tl.load(starts + row), tl.load(starts + row + 1)):
        source = tl.load(order + i) * num_channels
        total += tl.load(values + source + c, mask=valid, other=0.0).to(total.dtype)
    tl.store(out + row * num_channels + c, total.to(out.dtype.element_ty), mask=valid)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, num_warps: int, **constants: int) -> None:
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants, num_warps=num_warps, enable_fp_fusion=False)


def _planes(points: Tensor) -> Tensor:
    """[B, N, 3] -> [B, 3, N'], filled up with zeros that the kernels never look at."""
    return torch.nn.functional.pad(points.transpose(1, 2), (0, -points.shape[1] % 16)).contiguous()


def farthest_point_sample(
    points: Tensor,
    num_samples: int,
    lengths: Tensor | None = None,
    skip_near_origin: bool = False,
    *,
    max_tile: int = 4096,
) -> Tensor:
    """See `ops.sampling.farthest_point_sample`; float32."""
    planes = _planes(points)
    out = torch.empty((len(points), num_samples), dtype=torch.int64, device=points.device)
    tile = min(max_tile, max(128, triton.next_power_of_2(points.shape[1])))
    _launch(
        farthest_kernel,
        (len(points),),
        planes,
        lengths,
        torch.empty_like(planes[:, 0]),
        out,
        points.shape[1],
        planes.shape[2],
        num_samples,
        1e-3 if skip_near_origin else -1.0,
        TILE=tile,
        num_warps=tile // 128,
    )
    return out


def ball_query(
    points: Tensor, centers: Tensor, radius: float, max_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `ops.grouping.ball_query`; float32."""
    planes, block = _planes(points), 8
    counts = torch.empty(centers.shape[:2], dtype=torch.int64, device=points.device)
    indices = counts.new_empty((*counts.shape, max_neighbors))
    _launch(
        ball_query_kernel,
        (triton.cdiv(centers.shape[1], block), len(points)),
        planes,
        lengths,
        centers.contiguous(),
        indices,
        counts,
        float(np.float32(radius) ** 2),
        points.shape[1],
        planes.shape[2],
        centers.shape[1],
        max_neighbors,
        CENTERS=block,
        TILE=128,
        num_warps=4,
    )
    return indices, counts


def nearest(
    queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See `ops.reference.nearest`; float32, one or three neighbours."""
    assert num_neighbors in (1, 3)
    planes, block = _planes(points), 8
    distances = torch.empty((*queries.shape[:2], num_neighbors), device=points.device)
    indices = torch.empty_like(distances, dtype=torch.int64)
    _launch(
        nearest_kernel,
        (triton.cdiv(queries.shape[1], block), len(points)),
        planes,
        lengths,
        queries.contiguous(),
        distances,
        indices,
        points.shape[1],
        planes.shape[2],
        queries.shape[1],
        K=num_neighbors,
        QUERIES=block,
        TILE=64,
        num_warps=4,
    )
    return distances, indices


def sum_rows(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """See `ops.reference.sum_rows`; adds in float32 (float64 for float64)."""
    num_channels = values.shape[1]
    out = values.new_empty(num_rows, num_channels)
    if not out.numel():
        return out
    rows, order = rows.sort(stable=True)
    starts = torch.searchsorted(rows, torch.arange(num_rows + 1, device=rows.device))
    block = min(128, triton.next_power_of_2(num_channels))
    grid = (num_rows, triton.cdiv(num_channels, block))
    arguments = values.contiguous(), order, starts, out, num_channels
    _launch(sum_rows_kernel, grid, *arguments, CHANNELS=block, num_warps=1)
    return out
