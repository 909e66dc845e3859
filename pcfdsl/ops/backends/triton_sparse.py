"""CUDA kernels of sparse convolution; see `pcfdsl.ops.sparse.implicit_gemm` for the tables that they follow.

Sums are float32. Loops run over lists of what a tile really has, so that loads can be issued ahead.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pcfdsl.ops.sparse.implicit_gemm import TILE, Meetings

__all__ = ["multiply", "multiply_blocks", "weight_blocks", "weight_gradient"]

_MAX_SHARES = 32  # of the output rows, each with a sum of its own in the gradient of the weights


@triton.jit(do_not_specialize=["split"])
def multiply_kernel(
    x,
    weight,
    weight_idx,
    rows,
    order,
    offsets,
    num_offsets,
    before,
    out,
    split,
    num_slots,
    num_in,
    num_out,
    D: tl.constexpr,
    TILE: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    FIRST: tl.constexpr,
    IN_PLACE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """out[j] = before[j] + sum over the offsets of one split of x[i] @ weight[k]; num_in and num_out are channels.

    Weights are [K, num_in, num_out], or if TRANSPOSED [K, num_out, num_in].
    """
    tile = tl.program_id(0)
    first_tile = split * (num_slots // TILE)
    slot = tile * TILE + tl.arange(0, TILE)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    count = tl.load(num_offsets + first_tile + tile)
    blocks = tl.cdiv(num_in, BK)
    total = tl.zeros([TILE, BN], tl.float32)
    for step in range(count * blocks):
        offset = split * D + tl.load(offsets + (first_tile + tile) * D + step // blocks)
        met = tl.load(rows + offset.to(tl.int64) * num_slots + slot)
        c = step % blocks * BK + tl.arange(0, BK)
        a = tl.load(
            x + met[:, None].to(tl.int64) * num_in + c[None], mask=(met >= 0)[:, None] & (c < num_in)[None], other=0.0
        )
        k = tl.load(weight_idx + offset).to(tl.int64) * num_in * num_out
        at = n[None] * num_in + c[:, None] if TRANSPOSED else c[:, None] * num_out + n[None]
        b = tl.load(weight + k + at, mask=(c < num_in)[:, None] & (n < num_out)[None], other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if not IN_PLACE or count > 0:
        j = tl.load(order + split.to(tl.int64) * num_slots + slot)
        at = j[:, None].to(tl.int64) * num_out + n[None]
        inside = (j >= 0)[:, None] & (n < num_out)[None]
        if not FIRST:
            total += tl.load(before + at, mask=inside, other=0.0)
        tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def weight_kernel(
    x,
    grad,
    weight_idx,
    rows,
    order,
    tiles,
    num_tiles,
    partial,
    num_slots,
    num_weights,
    num_in,
    num_out,
    D: tl.constexpr,
    TILE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """partial[share, k] = sum of x[i]^T @ grad[j] over the share's tiles of output rows, for one block of channels."""
    offset = tl.program_id(0)
    share = tl.program_id(1)
    blocks = tl.cdiv(num_out, BN)
    m = tl.program_id(2) // blocks * BM + tl.arange(0, BM)
    n = tl.program_id(2) % blocks * BN + tl.arange(0, BN)
    rows += offset.to(tl.int64) * num_slots
    order += (offset // D).to(tl.int64) * num_slots
    tiles += offset * (num_slots // TILE)
    total = tl.zeros([BM, BN], tl.float32)
    for i in range(share, tl.load(num_tiles + offset), tl.num_programs(1)):
        slot = tl.load(tiles + i) * TILE + tl.arange(0, TILE)
        met = tl.load(rows + slot)
        j = tl.load(order + slot)
        a = tl.load(
            x + met[:, None].to(tl.int64) * num_in + m[None], mask=(met >= 0)[:, None] & (m < num_in)[None], other=0.0
        )
        b = tl.load(
            grad + j[:, None].to(tl.int64) * num_out + n[None],
            mask=(met >= 0)[:, None] & (n < num_out)[None],
            other=0.0,
        )
        total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)
    k = tl.load(weight_idx + offset)
    at = ((share * num_weights + k).to(tl.int64) * num_in + m[:, None]) * num_out + n[None]
    # Offsets that pad the last split belong to no weight.
    inside = (m < num_in)[:, None] & (n < num_out)[None] & (offset < num_weights)
    tl.store(partial + at, total, mask=inside)


def multiply(x: Tensor, weight: Tensor, meetings: Meetings, *, transposed: bool = False) -> Tensor:
    """[V_in, C_in] -> [V_out, C_out] of the same type.

    Args:
        x: [V_in, C_in] float32, bfloat16 or float16.
        weight: [K, C_in, C_out], or if `transposed` [K, C_out, C_in].
        meetings: Which rows are combined under which weights.
        transposed: Whether weights are used transposed.
    """
    table, precision = meetings.table, _precision(x)
    num_splits, num_slots = table.order.shape
    num_in, num_out = weight.shape[1:] if not transposed else weight.shape[:0:-1]
    x, weight = x.contiguous(), weight.contiguous()
    out = x.new_empty(table.num_out, num_out)
    # Between splits the sums stay in float32; the last one rounds them.
    sums = out if num_splits == 1 or out.dtype == torch.float32 else out.new_empty(out.shape, dtype=torch.float32)
    block_in, block_out = multiply_blocks(num_in, num_out, x.dtype, precision)
    for split in range(num_splits):
        target = out if split == num_splits - 1 else sums
        _launch(
            multiply_kernel,
            (num_slots // TILE, triton.cdiv(num_out, block_out)),
            x,
            weight,
            meetings.weight_idx,
            table.rows,
            table.order,
            table.offsets,
            table.num_offsets,
            sums,
            target,
            split,
            num_slots,
            num_in,
            num_out,
            D=table.offsets.shape[2],
            TILE=TILE,
            BN=block_out,
            BK=block_in,
            TRANSPOSED=transposed,
            FIRST=split == 0,
            IN_PLACE=split > 0 and target is sums,
            PRECISION=precision,
        )
    return out


def weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, meetings: Meetings) -> Tensor:
    """Gradient [K, C_in, C_out] of the weight, from rows x [V_in, C_in] and the output's gradient [V_out, C_out]."""
    table, precision = meetings.table, _precision(x)
    num_tiles = table.tiles.shape[1]
    num_weights, num_in, num_out = weight.shape
    shares = max(1, min(_MAX_SHARES, num_tiles // 16))
    partial = torch.empty((shares, *weight.shape), dtype=torch.float32, device=weight.device)
    block_in, block_out = weight_blocks(num_in, num_out, precision)
    _launch(
        weight_kernel,
        (len(table.tiles), shares, triton.cdiv(num_in, block_in) * triton.cdiv(num_out, block_out)),
        x.contiguous(),
        grad.contiguous(),
        meetings.weight_idx,
        table.rows,
        table.order,
        table.tiles,
        table.num_tiles,
        partial,
        table.order.shape[1],
        num_weights,
        num_in,
        num_out,
        D=table.offsets.shape[2],
        TILE=TILE,
        BM=block_in,
        BN=block_out,
        PRECISION=precision,
    )
    return partial.sum(0).to(weight.dtype)


def multiply_blocks(num_in: int, num_out: int, dtype: torch.dtype, precision: str) -> tuple[int, int]:
    """Channels that a step of `multiply_kernel` takes in, and that a program computes.

    Wide outputs gather a row once for 128 channels; without tensor cores that many sums do not fit the registers.
    """
    return _block(num_in, 32 if dtype == torch.float32 else 64), _block(num_out, 64 if precision == "ieee" else 128)


def weight_blocks(num_in: int, num_out: int, precision: str) -> tuple[int, int]:
    """Channels in and out of a program of `weight_kernel`."""
    largest = 32 if precision == "ieee" else 64
    return _block(num_in, largest), _block(num_out, largest)


def _precision(x: Tensor) -> str:
    """How float32 factors are multiplied; narrower ones are exact either way."""
    return "ieee" if x.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest" else "tf32"


def _block(num_channels: int, largest: int) -> int:
    return min(largest, max(16, triton.next_power_of_2(num_channels)))


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants, num_warps=4, num_stages=3)
