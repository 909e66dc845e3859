"""The arithmetic of a sparse convolution: gather, multiply, add, one kernel weight at a time.

For each weight the rows that it meets are gathered, multiplied and added to the output. Nothing is padded: work and
memory follow the number of pairs. On the CPU threads share the output rows. The order of the additions to a row is
fixed and no row is added to by two at a time, so results are the same from run to run.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcfdsl.ops.sparse.kernel_map import KernelMap
from pcfdsl.ops.sparse.kernels import add_rows
from pcfdsl.ops.sparse.threads import run_each

__all__ = ["convolve"]

_SHARED_FROM = 2e7  # multiplications; below, starting threads costs more than they gain


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
    if torch.is_autocast_enabled(device):
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
        grad = grad.contiguous()
        grad_features = grad_weight = None
        if needs_features:
            grad_features = _multiply_add(grad, weight.transpose(1, 2), ctx.kernel_map.transposed)
        if needs_weight:
            grad_weight = _correlate(features, grad, ctx.kernel_map)
        return grad_features, grad_weight, None


def _multiply_add(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    features, weights = features.detach(), weight.detach().unbind(0)
    wide = torch.promote_types(features.dtype, torch.float32)
    out = features.new_empty(kernel_map.num_out, weight.shape[2], dtype=wide)

    def add_up(share: KernelMap) -> None:
        first, stop = share.out_range
        if share.identity is None:
            out[first:stop].zero_()
        elif features.dtype == wide:
            torch.mm(features[first:stop], weights[share.identity], out=out[first:stop])
        else:
            out[first:stop] = features[first:stop] @ weights[share.identity]
        for k, in_idx, out_idx in share.pairs:
            add_rows(out, out_idx, features.index_select(0, in_idx) @ weights[k])

    run_each(add_up, kernel_map.shares(_num_threads(features, weight, kernel_map)))
    return out.to(features.dtype)


def _correlate(features: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    features, grad = features.detach(), grad.detach()
    out = features.new_empty(len(kernel_map.groups), features.shape[1], grad.shape[1])
    num_threads = _num_threads(features, out, kernel_map)

    def correlate(weights: list[int]) -> None:
        for k in weights:
            if k == kernel_map.identity:
                torch.mm(features.T, grad, out=out[k])
                continue
            start, stop = kernel_map.groups[k]
            if stop == start:
                out[k].zero_()
                continue
            rows = features.index_select(0, kernel_map.in_idx[start:stop])
            torch.mm(rows.T, grad.index_select(0, kernel_map.out_idx[start:stop]), out=out[k])

    run_each(correlate, kernel_map.weight_shares(num_threads))
    return out


def _num_threads(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> int:
    if features.device.type != "cpu":
        return 1
    num_rows = len(kernel_map.in_idx) + (0 if kernel_map.identity is None else kernel_map.num_in)
    return torch.get_num_threads() if num_rows * weight.shape[1] * weight.shape[2] >= _SHARED_FROM else 1
