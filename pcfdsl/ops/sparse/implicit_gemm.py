"""Sparse convolution as one matrix product with gathered rows (implicit GEMM), for CUDA.

Nothing is gathered into memory: a program computes a tile of output rows and loads the input rows that each meets as it
multiplies. A tile computes an offset for all its rows if any of them has a neighbour there, so rows are sorted by the
set of offsets that they have. Of 27 offsets that set is nearly unique to a row; of 9 it is not. Offsets are therefore
divided into splits, each with its own order of rows, whose sums are added up one after the other, as in spconv 2.

Everything is made once for a kernel map, on the device and without waiting for it. The gradient of the features is the
same product with the sides of the map exchanged. No two programs write to the same place, so results are
reproducible bit for bit.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcfdsl.ops.sparse.coordinates import shift_keys

__all__ = ["TILE", "Meetings", "NeighborTable", "convolve", "neighbor_table", "weight_order"]

TILE = 64  # output rows of a program
_MAX_OFFSETS = 9  # of a split: a plane of a 3 x 3 x 3 kernel

Offsets = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class NeighborTable:
    """Which input row each output row meets, laid out by split and tile; all int32.

    S splits of D offsets each, T tiles of TILE output rows. Offset number s * D + d is the d-th of split s; numbers
    from K are of no offset, and nothing is met under them.

    Attributes:
        order: [S, T * TILE]; output rows by the offsets they have in the split; -1 fills the last tile up.
        rows: [S * D, T * TILE]; the input row that each of them meets under an offset, -1 for none.
        offsets: [S, T, D]; offsets d under which any row of a tile meets another, then the others.
        num_offsets: [S, T]; how many such there are.
        tiles: [S * D, T]; tiles any row of which meets another under an offset, then the others.
        num_tiles: [S * D]; how many such there are.
        num_in, num_out: Rows.
    """

    order: Tensor
    rows: Tensor
    offsets: Tensor
    num_offsets: Tensor
    tiles: Tensor
    num_tiles: Tensor
    num_in: int
    num_out: int


@dataclass(frozen=True)
class Meetings:
    """A table, and under which weight of a kernel its offsets count: [S * D] int32."""

    table: NeighborTable
    weight_idx: Tensor


def neighbor_table(
    in_keys: Tensor,
    out_keys: Tensor,
    offsets: Offsets,
    *,
    stride: int,
    in_order: Tensor | None = None,
    out_order: Tensor | None = None,
    max_offsets: int = _MAX_OFFSETS,
) -> NeighborTable:
    """The table of two sets of voxels: input voxel = output voxel + offset * stride.

    Args:
        in_keys, out_keys: [V_in], [V_out] int64 packed coordinates, sorted.
        offsets: K of them. Neighbours in this order share a split.
        stride: Of the offsets.
        in_order, out_order: Rows of the sorted keys; None where rows are sorted.
        max_offsets: Of a split.
    """
    wanted = out_keys + _shifts(offsets, stride, in_keys.device)[:, None]
    place = torch.searchsorted(in_keys, wanted, out_int32=True).clamp_(max=len(in_keys) - 1)
    rows = torch.where(in_keys[place] == wanted, place if in_order is None else in_order[place], -1).int()
    if out_order is not None:
        rows = torch.empty_like(rows).index_copy_(1, out_order, rows)
    num_out = len(out_keys)
    num_splits = -(-len(offsets) // max_offsets)
    num_offsets = -(-len(offsets) // num_splits)
    rows = torch.nn.functional.pad(rows, (0, 0, 0, num_splits * num_offsets - len(offsets)), value=-1)
    rows = rows.view(num_splits, num_offsets, num_out)
    powers = 1 << torch.arange(num_offsets, device=rows.device)
    order = ((rows >= 0) * powers[:, None]).sum(1).argsort(dim=1, stable=True)
    fill = (0, -num_out % TILE)
    rows = torch.nn.functional.pad(rows.gather(2, order[:, None].expand_as(rows)), fill, value=-1)
    met = (rows.view(num_splits, num_offsets, -1, TILE) >= 0).any(3)
    return NeighborTable(
        order=torch.nn.functional.pad(order, fill, value=-1).int(),
        rows=rows.flatten(0, 1),
        offsets=_first(met.transpose(1, 2)),
        num_offsets=met.sum(1, dtype=torch.int32),
        tiles=_first(met).flatten(0, 1),
        num_tiles=met.sum(2, dtype=torch.int32).flatten(),
        num_in=len(in_keys),
        num_out=num_out,
    )


def _first(mask: Tensor) -> Tensor:
    """Places along the last dimension, those in the mask first, otherwise in order; int32."""
    return (~mask).to(torch.uint8).argsort(dim=-1, stable=True).int().contiguous()


@functools.lru_cache(maxsize=64)
def _shifts(offsets: Offsets, stride: int, device: torch.device) -> Tensor:
    """Kept, as every batch has maps of its own but the same offsets."""
    return shift_keys(torch.tensor(offsets).view(-1, 3) * stride).to(device)


@functools.lru_cache(maxsize=64)
def weight_order(offsets: Offsets, kernel: Offsets, device: torch.device, *, max_offsets: int = _MAX_OFFSETS) -> Tensor:
    """`Meetings.weight_idx` of a table with these offsets, and a kernel that has them in another order."""
    num_splits = -(-len(offsets) // max_offsets)
    fill = -len(offsets) % num_splits
    return torch.tensor([*(kernel.index(offset) for offset in offsets), *[0] * fill], dtype=torch.int32).to(device)


def convolve(features: Tensor, weight: Tensor, forward: Meetings, backward: Meetings) -> Tensor:
    """out[j] = sum of features[i] @ weight[k] over all i that j meets, added up in float32.

    Float32 factors are multiplied exactly, or rounded to TF32 where torch.set_float32_matmul_precision allows it.

    Args:
        features: [V_in, C_in] float32, bfloat16 or float16.
        weight: [K, C_in, C_out], of the same type; under autocast both are taken to its type.
        forward: Who meets whom, from input to output.
        backward: The same with input and output exchanged.

    Returns:
        [V_out, C_out], of the type of the factors.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    return _Convolution.apply(features, weight, forward, backward)  # type: ignore[return-value]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, forward, backward):
        from pcfdsl.ops.backends import triton_sparse  # there is no Triton on macOS

        ctx.save_for_backward(features, weight)
        ctx.forward_meetings, ctx.backward_meetings = forward, backward
        return triton_sparse.multiply(features, weight, forward)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        from pcfdsl.ops.backends import triton_sparse

        features, weight = ctx.saved_tensors
        grad_features = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_features = triton_sparse.multiply(grad, weight, ctx.backward_meetings, transposed=True)
        if ctx.needs_input_grad[1]:
            grad_weight = triton_sparse.weight_gradient(features, grad, weight, ctx.forward_meetings)
        return grad_features, grad_weight, None, None
