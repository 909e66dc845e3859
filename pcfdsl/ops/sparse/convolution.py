"""The arithmetic of a sparse convolution: gather, multiply, add, one kernel weight at a time.

For each weight the rows that it meets are gathered, multiplied and added to the output. Nothing is padded: work and
memory follow the number of pairs. The order of the additions is fixed and no row is added to twice at a time, so
results are the same from run to run.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcfdsl.ops.sparse.kernel_map import KernelMap

__all__ = ["convolve"]


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
    wide = torch.promote_types(features.dtype, torch.float32)
    if kernel_map.identity is None:
        out = features.new_zeros(kernel_map.num_out, weight.shape[2], dtype=wide)
    else:
        out = (features @ weight[kernel_map.identity]).to(wide)
    for k, (start, stop) in enumerate(kernel_map.groups):
        if stop > start:
            rows = features.index_select(0, kernel_map.in_idx[start:stop]) @ weight[k]
            out.index_add_(0, kernel_map.out_idx[start:stop], rows.to(wide))
    return out.to(features.dtype)


def _correlate(features: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    out = features.new_zeros(len(kernel_map.groups), features.shape[1], grad.shape[1])
    for k, (start, stop) in enumerate(kernel_map.groups):
        if k == kernel_map.identity:
            torch.mm(features.T, grad, out=out[k])
        elif stop > start:
            rows = features.index_select(0, kernel_map.in_idx[start:stop])
            torch.mm(rows.T, grad.index_select(0, kernel_map.out_idx[start:stop]), out=out[k])
    return out
