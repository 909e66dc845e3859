"""CUDA kernels of ops.rows: moments, batch norm + ReLU, and their maximum over ragged neighbourhoods, float32.

Rows are read as rarely as possible: once for the moments, once for the norm; backwards once for the sums
and once for the gradient. Sums go by blocks of rows: as many programs as the number of rows says, each with a fixed
share, whose partial results one more kernel adds up in order in float64. There are no atomic additions, so results are
reproducible bit for bit. The operators are registered in ops.rows, whose CPU kernels these ones mirror.
"""

# pyright: reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
# (kernels are in Triton's language, whose stubs do not describe it)
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["backward", "backward_max", "forward", "forward_max", "moments"]

_MAX_PROGRAMS = 1024  # that share the rows of a sum
_ROWS = 32  # of a tile
_CHANNELS = 64  # of a tile
_FOLD = 32  # partial results that are added up at a time


@triton.jit
def moments_kernel(rows, multiplicity, partial, num_rows, num_channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """partial[program] = weight, mean and sum of squared deviations of its tiles of rows, per channel.

    Tiles are joined by Chan's formula, so that no large squares cancel.
    """
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    count = 0.0
    mean = tl.zeros([CHANNELS], tl.float32)
    squares = tl.zeros([CHANNELS], tl.float32)
    for start in range(tl.program_id(0) * ROWS, num_rows, tl.num_programs(0) * ROWS):
        i = start + tl.arange(0, ROWS)
        times = tl.load(multiplicity + i, mask=i < num_rows, other=0.0)
        where = i[:, None].to(tl.int64) * num_channels + c[None]
        tile = tl.load(rows + where, mask=(i < num_rows)[:, None] & valid[None], other=0.0)
        added = tl.sum(times, 0)
        tile_mean = tl.sum(times[:, None] * tile, 0) / tl.maximum(added, 1e-30)
        deviation = tile - tile_mean[None]
        share = added / tl.maximum(count + added, 1e-30)
        step = tile_mean - mean
        squares += tl.sum(times[:, None] * deviation * deviation, 0) + step * step * (count * share)
        mean += step * share
        count += added
    out = partial + tl.program_id(0) * 3 * num_channels + c
    tl.store(out, tl.zeros([CHANNELS], tl.float32) + count, mask=valid)
    tl.store(out + num_channels, mean, mask=valid)
    tl.store(out + 2 * num_channels, squares, mask=valid)


@triton.jit
def join_moments_kernel(partial, used, num_partial, num_channels, FOLD: tl.constexpr, CHANNELS: tl.constexpr):
    """Mean and biased variance [2, C] of all partial moments."""
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    count = tl.zeros([CHANNELS], tl.float64)
    total = tl.zeros([CHANNELS], tl.float64)
    for start in range(0, num_partial, FOLD):
        p = start + tl.arange(0, FOLD)
        where = partial + p[:, None] * 3 * num_channels + c[None]
        known = (p < num_partial)[:, None] & valid[None]
        times = tl.load(where, mask=known, other=0.0).to(tl.float64)
        count += tl.sum(times, 0)
        total += tl.sum(times * tl.load(where + num_channels, mask=known, other=0.0).to(tl.float64), 0)
    count = tl.maximum(count, 1e-30)
    mean = total / count
    squares = tl.zeros([CHANNELS], tl.float64)
    for start in range(0, num_partial, FOLD):
        p = start + tl.arange(0, FOLD)
        where = partial + p[:, None] * 3 * num_channels + c[None]
        known = (p < num_partial)[:, None] & valid[None]
        times = tl.load(where, mask=known, other=0.0).to(tl.float64)
        apart = tl.load(where + num_channels, mask=known, other=0.0).to(tl.float64) - mean[None]
        squares += tl.sum(tl.load(where + 2 * num_channels, mask=known, other=0.0).to(tl.float64), 0)
        squares += tl.sum(times * apart * apart, 0)
    tl.store(used + c, mean.to(tl.float32), mask=valid)
    tl.store(used + num_channels + c, (squares / count).to(tl.float32), mask=valid)


@triton.jit
def _normed(used, weight, c, valid, num_channels, eps):
    """Mean, inverse deviation and scale of channels."""
    mean = tl.load(used + c, mask=valid, other=0.0)
    inverse = 1.0 / tl.sqrt_rn(tl.load(used + num_channels + c, mask=valid, other=1.0) + eps)
    return mean, inverse, tl.load(weight + c, mask=valid, other=0.0) * inverse


@triton.jit
def _shared(sums, total, c, valid, num_channels, inverse, scale, THROUGH: tl.constexpr):
    """What a row receives through mean and variance per unit of multiplicity: common + slope * (row - mean)."""
    common = tl.zeros_like(scale)
    slope = tl.zeros_like(scale)
    if THROUGH:
        number = tl.load(total)
        slope = scale * inverse * tl.load(sums + num_channels + c, mask=valid, other=0.0) / number
        common = scale * tl.load(sums + c, mask=valid, other=0.0) / number
    return common, slope


@triton.jit
def forward_kernel(
    rows, used, weight, bias, out, eps, num_rows, num_channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, _, scale = _normed(used, weight, c, valid, num_channels, eps)
    offset = tl.load(bias + c, mask=valid, other=0.0)
    where = i[:, None].to(tl.int64) * num_channels + c[None]
    inside = (i < num_rows)[:, None] & valid[None]
    value = (tl.load(rows + where, mask=inside, other=0.0) - mean[None]) * scale[None] + offset[None]
    tl.store(out + where, tl.where(value <= 0, 0.0, value), mask=inside)  # NaN stays NaN


@triton.jit
def sums_kernel(
    grad, rows, used, weight, bias, partial, eps, num_rows, num_channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """partial[program] = over its rows, the sum of the gradient that passes the ReLU, and of that times the norm."""
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, inverse, scale = _normed(used, weight, c, valid, num_channels, eps)
    offset = tl.load(bias + c, mask=valid, other=0.0)
    first = tl.zeros([CHANNELS], tl.float32)
    second = tl.zeros([CHANNELS], tl.float32)
    for start in range(tl.program_id(0) * ROWS, num_rows, tl.num_programs(0) * ROWS):
        i = start + tl.arange(0, ROWS)
        where = i[:, None].to(tl.int64) * num_channels + c[None]
        inside = (i < num_rows)[:, None] & valid[None]
        apart = tl.load(rows + where, mask=inside, other=0.0) - mean[None]
        passed = tl.load(grad + where, mask=inside, other=0.0)
        passed = tl.where(apart * scale[None] + offset[None] > 0, passed, 0.0)
        first += tl.sum(passed, 0)
        second += tl.sum(passed * (apart * inverse[None]), 0)
    out = partial + tl.program_id(0) * 2 * num_channels + c
    tl.store(out, first, mask=valid)
    tl.store(out + num_channels, second, mask=valid)


@triton.jit
def join_sums_kernel(partial, sums, num_partial, num_channels, FOLD: tl.constexpr, CHANNELS: tl.constexpr):
    """[2, C] sums of all partial sums."""
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < 2 * num_channels
    total = tl.zeros([CHANNELS], tl.float64)
    for start in range(0, num_partial, FOLD):
        p = start + tl.arange(0, FOLD)
        known = (p < num_partial)[:, None] & valid[None]
        total += tl.sum(
            tl.load(partial + p[:, None] * 2 * num_channels + c[None], mask=known, other=0.0).to(tl.float64), 0
        )
    tl.store(sums + c, total.to(tl.float32), mask=valid)


@triton.jit
def backward_kernel(
    grad,
    rows,
    multiplicity,
    used,
    weight,
    bias,
    sums,
    total,
    out,
    eps,
    num_rows,
    num_channels,
    THROUGH: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, inverse, scale = _normed(used, weight, c, valid, num_channels, eps)
    offset = tl.load(bias + c, mask=valid, other=0.0)
    common, slope = _shared(sums, total, c, valid, num_channels, inverse, scale, THROUGH)
    where = i[:, None].to(tl.int64) * num_channels + c[None]
    inside = (i < num_rows)[:, None] & valid[None]
    apart = tl.load(rows + where, mask=inside, other=0.0) - mean[None]
    passed = tl.load(grad + where, mask=inside, other=0.0) * scale[None]
    passed = tl.where(apart * scale[None] + offset[None] > 0, passed, 0.0)
    if THROUGH:
        times = tl.load(multiplicity + i, mask=i < num_rows, other=0.0)
        passed -= times[:, None] * (common[None] + slope[None] * apart)
    tl.store(out + where, passed, mask=inside)


@triton.jit
def forward_max_kernel(
    rows, starts, used, weight, bias, out, winner, eps, num_channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """One program takes the maximum of one neighbourhood over some channels; of equal rows the first wins.

    Each lane keeps the best of the rows that it sees; one reduction at the end joins the lanes. An empty neighbourhood
    gives 0 and has no winner (-1).
    """
    segment = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, _, scale = _normed(used, weight, c, valid, num_channels, eps)
    offset = tl.load(bias + c, mask=valid, other=0.0)
    stop = tl.load(starts + segment + 1)
    begin = tl.load(starts + segment)
    best = tl.full([ROWS, CHANNELS], float("-inf"), tl.float32)
    which = tl.full([ROWS, CHANNELS], 0x7FFFFFFF, tl.int32)
    for start in range(begin, stop, ROWS):
        i = start + tl.arange(0, ROWS)
        inside = (i < stop)[:, None] & valid[None]
        row = tl.load(rows + i[:, None] * num_channels + c[None], mask=inside, other=0.0)
        value = tl.where(inside, (row - mean[None]) * scale[None] + offset[None], float("-inf"))
        # A lane takes its first row whatever the value, and a NaN, which is larger than nothing.
        better = inside & ((value > best) | (value != value) | (which == 0x7FFFFFFF))
        best = tl.where(better, value, best)
        which = tl.where(better, i[:, None].to(tl.int32), which)
    strange = best != best
    is_strange = tl.max(strange.to(tl.int32), 0) > 0
    largest = tl.max(tl.where(strange, float("-inf"), best), 0)
    is_largest = tl.where(is_strange[None], strange, best == largest[None])
    first = tl.min(tl.where(is_largest, which, 0x7FFFFFFF), 0)
    value = tl.where(is_strange, float("nan"), tl.where(largest <= 0, 0.0, largest))
    where = segment * num_channels + c
    tl.store(out + where, value, mask=valid)
    tl.store(winner + where, tl.where(first == 0x7FFFFFFF, -1, first), mask=valid)


@triton.jit
def sums_max_kernel(
    grad, rows, out, winner, used, weight, partial, eps, num_segments, num_channels, ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """`sums_kernel` where only the winner of each neighbourhood receives a gradient."""
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, inverse, _ = _normed(used, weight, c, valid, num_channels, eps)
    first = tl.zeros([CHANNELS], tl.float32)
    second = tl.zeros([CHANNELS], tl.float32)
    for start in range(tl.program_id(0) * ROWS, num_segments, tl.num_programs(0) * ROWS):
        s = start + tl.arange(0, ROWS)
        where = s[:, None].to(tl.int64) * num_channels + c[None]
        inside = (s < num_segments)[:, None] & valid[None]
        passes = inside & (tl.load(out + where, mask=inside, other=0.0) > 0)
        passed = tl.load(grad + where, mask=passes, other=0.0)
        won = tl.load(winner + where, mask=passes, other=0).to(tl.int64)
        row = tl.load(rows + won * num_channels + c[None], mask=passes, other=0.0)
        first += tl.sum(passed, 0)
        second += tl.sum(passed * ((row - mean[None]) * inverse[None]), 0)
    out_sums = partial + tl.program_id(0) * 2 * num_channels + c
    tl.store(out_sums, first, mask=valid)
    tl.store(out_sums + num_channels, second, mask=valid)


@triton.jit
def backward_max_kernel(
    grad,
    rows,
    out,
    winner,
    starts,
    multiplicity,
    used,
    weight,
    sums,
    total,
    grad_rows,
    eps,
    num_channels,
    THROUGH: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One program writes the gradient of one neighbourhood's rows over some channels."""
    segment = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < num_channels
    mean, inverse, scale = _normed(used, weight, c, valid, num_channels, eps)
    common, slope = _shared(sums, total, c, valid, num_channels, inverse, scale, THROUGH)
    where = segment * num_channels + c
    passes = valid & (tl.load(out + where, mask=valid, other=0.0) > 0)
    passed = tl.load(grad + where, mask=passes, other=0.0) * scale
    won = tl.load(winner + where, mask=passes, other=-1)
    stop = tl.load(starts + segment + 1)
    for start in range(tl.load(starts + segment), stop, ROWS):
        i = start + tl.arange(0, ROWS)
        inside = (i < stop)[:, None] & valid[None]
        at = i[:, None] * num_channels + c[None]
        value = tl.where(i[:, None].to(tl.int32) == won[None], passed[None], 0.0)
        if THROUGH:
            times = tl.load(multiplicity + i, mask=i < stop, other=0.0)
            apart = tl.load(rows + at, mask=inside, other=0.0) - mean[None]
            value -= times[:, None] * (common[None] + slope[None] * apart)
        tl.store(grad_rows + at, value, mask=inside)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants, num_warps=4)


def _tile(num_channels: int, rows: int = _ROWS) -> dict[str, int]:
    return {"ROWS": rows, "CHANNELS": min(_CHANNELS, max(16, triton.next_power_of_2(num_channels)))}


def _blocks(num_channels: int) -> int:
    return triton.cdiv(num_channels, _tile(num_channels)["CHANNELS"])


def _programs(num_items: int) -> int:
    return max(1, min(_MAX_PROGRAMS, triton.cdiv(num_items, _ROWS)))


def moments(rows: Tensor, multiplicity: Tensor) -> Tensor:
    """Mean and biased variance [2, C] of rows [R, C] by multiplicity [R]."""
    num_rows, num_channels = rows.shape
    programs, used = _programs(num_rows), rows.new_empty(2, num_channels)
    partial = rows.new_empty(programs, 3, num_channels)
    grid = (programs, _blocks(num_channels))
    _launch(moments_kernel, grid, rows, multiplicity, partial, num_rows, num_channels, **_tile(num_channels))
    _launch(
        join_moments_kernel, (triton.cdiv(num_channels, 16),), partial, used, programs, num_channels, FOLD=_FOLD,
        CHANNELS=16,
    )  # fmt: skip
    return used


def forward(rows: Tensor, used: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """ReLU of the rows [R, C] normalised with `used` [2, C]."""
    num_rows, num_channels = rows.shape
    out = torch.empty_like(rows)
    grid = (triton.cdiv(num_rows, _ROWS), _blocks(num_channels))
    _launch(forward_kernel, grid, rows, used, weight, bias, out, eps, num_rows, num_channels, **_tile(num_channels))
    return out


def backward(
    grad: Tensor,
    rows: Tensor,
    multiplicity: Tensor,
    used: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    through_statistics: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the rows [R, C] and, in one [2, C], of bias and weight."""
    num_rows, num_channels = rows.shape
    programs, tile = _programs(num_rows), _tile(num_channels)
    partial, out = rows.new_empty(programs, 2, num_channels), torch.empty_like(rows)
    grid = (programs, _blocks(num_channels))
    _launch(sums_kernel, grid, grad, rows, used, weight, bias, partial, eps, num_rows, num_channels, **tile)
    sums = _joined(partial)
    grid = (triton.cdiv(num_rows, _ROWS), _blocks(num_channels))
    _launch(
        backward_kernel, grid, grad, rows, multiplicity, used, weight, bias, sums, multiplicity.sum(), out, eps,
        num_rows, num_channels, THROUGH=through_statistics, **tile,
    )  # fmt: skip
    return out, sums


def forward_max(
    rows: Tensor, starts: Tensor, used: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`forward` and the maximum over each neighbourhood: [S, C], and the row of each maximum [S, C] int32."""
    num_segments, num_channels = len(starts) - 1, rows.shape[1]
    out = rows.new_empty(num_segments, num_channels)
    winner = torch.empty_like(out, dtype=torch.int32)
    grid, tile = (num_segments, _blocks(num_channels)), _tile(num_channels, rows=16)
    _launch(forward_max_kernel, grid, rows, starts, used, weight, bias, out, winner, eps, num_channels, **tile)
    return out, winner


def backward_max(
    grad: Tensor,
    rows: Tensor,
    out: Tensor,
    winner: Tensor,
    starts: Tensor,
    multiplicity: Tensor,
    used: Tensor,
    weight: Tensor,
    eps: float,
    *,
    through_statistics: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the rows [R, C] and, in one [2, C], of bias and weight."""
    num_segments, num_channels = grad.shape
    programs, grad_rows = _programs(num_segments), torch.empty_like(rows)
    partial = rows.new_empty(programs, 2, num_channels)
    grid, tile = (programs, _blocks(num_channels)), _tile(num_channels)
    _launch(
        sums_max_kernel, grid, grad, rows, out, winner, used, weight, partial, eps, num_segments, num_channels, **tile
    )
    sums = _joined(partial)
    grid, tile = (num_segments, _blocks(num_channels)), _tile(num_channels, rows=16)
    _launch(
        backward_max_kernel, grid, grad, rows, out, winner, starts, multiplicity, used, weight, sums,
        multiplicity.sum(), grad_rows, eps, num_channels, THROUGH=through_statistics, **tile,
    )  # fmt: skip
    return grad_rows, sums


def _joined(partial: Tensor) -> Tensor:
    """[P, 2, C] -> [2, C]."""
    programs, _, num_channels = partial.shape
    sums = partial.new_empty(2, num_channels)
    _launch(
        join_sums_kernel, (triton.cdiv(2 * num_channels, 16),), partial, sums, programs, num_channels, FOLD=_FOLD,
        CHANNELS=16,
    )  # fmt: skip
    return sums
