"""The arithmetic of a sparse convolution: gather, multiply, add, one kernel weight at a time.

For each weight its rows are gathered, multiplied and added to the output. Nothing is padded: work and
memory follow the number of pairs. On the CPU threads share the weights, each with a sum of its own. Sums are added up
in a fixed order and no two threads add to the same row, so results are the same from run to run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcfdsl.ops.sparse.kernel_map import KernelMap
from pcfdsl.ops.sparse.kernels import add_rows
from pcfdsl.ops.sparse.threads import run_each

__all__ = ["convolve"]

_LEAST_SHARE = 10_000_000  # multiplications; for fewer, starting a thread costs more than it gains
_MAX_THREADS = 8  # each has a sum of its own, in memory and to be added up


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """out[j] = sum of features[i] @ weight[k] over the pairs (i, j) of each weight k.

    Under autocast products are computed in its type and added up in float32.

    Args:
        features: [V_in, C_in].
        weight: [K, C_in, C_out], of the same type.
        kernel_map: K groups of pairs.

    Returns:
        [V_out, C_out], in autocast's type under autocast, otherwise in that of the features.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device) and features.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    return _Convolution.apply(features, weight, kernel_map)  # type: ignore[return-value]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, kernel_map):
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return _multiply_add(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        features, weight = ctx.saved_tensors
        needs_features, needs_weight, _ = ctx.needs_input_grad
        grad_features, grad_weight = _gradients(
            features, weight, grad.contiguous(), ctx.kernel_map, needs_features, needs_weight
        )
        return grad_features, grad_weight, None


def _multiply_add(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    weights = weight.unbind(0)

    def partial_sum(share: list[int]) -> Tensor:
        out = _start(features, weights, kernel_map, share, kernel_map.num_out)
        for k in share:
            if k in kernel_map.pairs:
                in_idx, out_idx = kernel_map.pairs[k]
                add_rows(out, out_idx, features.index_select(0, in_idx) @ weights[k])
        return out

    shares = kernel_map.shares(_num_threads(features, weight, kernel_map))
    return _total(run_each(partial_sum, shares)).to(features.dtype)


def _gradients(
    features: Tensor, weight: Tensor, grad: Tensor, kernel_map: KernelMap, needs_features: bool, needs_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Of the features and of the weight; rows of the output's gradient are gathered once for both."""
    weights = weight.transpose(1, 2).unbind(0)
    grad_weight = torch.empty_like(weight) if needs_weight else None

    def partial_sum(share: list[int]) -> Tensor | None:
        out = _start(grad, weights, kernel_map, share, kernel_map.num_in) if needs_features else None
        for k in share:
            in_idx, out_idx = kernel_map.pairs.get(k, (None, None))
            if in_idx is None and k != kernel_map.identity:
                if grad_weight is not None:
                    grad_weight[k].zero_()
                continue
            rows = grad if out_idx is None else grad.index_select(0, out_idx)
            if grad_weight is not None:
                met = features if in_idx is None else features.index_select(0, in_idx)
                torch.mm(met.T, rows, out=grad_weight[k])
            if out is not None and in_idx is not None:
                add_rows(out, in_idx, rows @ weights[k])
        return out

    partial = run_each(partial_sum, kernel_map.shares(_num_threads(features, weight, kernel_map)))
    sums = [out for out in partial if out is not None]
    return (_total(sums).to(features.dtype) if sums else None), grad_weight


def _start(rows: Tensor, weights: Sequence[Tensor], kernel_map: KernelMap, share: list[int], num_out: int) -> Tensor:
    """The initial value of a sum: the product under the identity in the share that has it, otherwise zeros."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    if kernel_map.identity in share:
        return (rows @ weights[kernel_map.identity]).to(dtype)
    return rows.new_zeros(num_out, weights[0].shape[1], dtype=dtype)


def _total(sums: list[Tensor]) -> Tensor:
    for other in sums[1:]:
        sums[0] += other
    return sums[0]


def _num_threads(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> int:
    if features.device.type != "cpu":
        return 1
    num_rows = len(kernel_map.in_idx) + (0 if kernel_map.identity is None else kernel_map.num_in)
    shares = num_rows * weight.shape[1] * weight.shape[2] // _LEAST_SHARE
    return max(1, min(torch.get_num_threads(), shares, _MAX_THREADS))
