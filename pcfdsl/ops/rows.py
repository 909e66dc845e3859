"""Batch norm + ReLU, and max pooling, over ragged rows: what a PointNet++ layer does between its matrix products.

See `pcfdsl.ops.neighborhoods` for the rows.

Fused kernels run on blocks of rows, numba's on the CPU and Triton's on CUDA (in float32); the sums of blocks are added
in order, so results are reproducible bit for bit, with any number of threads. Elsewhere, and as their twins, the same
operations run in plain torch. Statistics are never computed in half precision, even under autocast.
"""

import contextlib

import torch
from torch import Tensor

from pcfdsl.ops.backends import numba_rows as kernels
from pcfdsl.ops.backends import triton_runtime
from pcfdsl.ops.backends.choice import exporting

__all__ = [
    "norm_relu",
    "norm_relu_max",
    "norm_relu_max_torch",
    "norm_relu_torch",
    "without_autocast",
]


def norm_relu(
    rows: Tensor, weight: Tensor, bias: Tensor, *, multiplicity: Tensor, eps: float, statistics: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Batch norm and ReLU of rows.

    Args:
        rows: [R, C] float32 or float64.
        weight, bias: [C].
        multiplicity: [R]; how many equal rows each stands for.
        eps: Added to the variance.
        statistics: [2, C] mean and variance to normalise with; None takes those of the rows.

    Returns:
        [R, C], and the [2, C] mean and (biased) variance used.
    """
    if not _has_kernels(rows):
        return norm_relu_torch(rows, weight, bias, multiplicity=multiplicity, eps=eps, statistics=statistics)
    out, used = _norm_relu(rows, weight, bias, multiplicity, eps, statistics)
    return out, used.detach()


def norm_relu_max(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    starts: Tensor,
    multiplicity: Tensor,
    eps: float,
    statistics: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`norm_relu` and the maximum over each run of rows starts[i] to starts[i + 1] (none of them empty).

    Where rows tie, the first takes the gradient.

    Returns:
        [S, C], and the [2, C] mean and (biased) variance used.
    """
    if not _has_kernels(rows):
        return norm_relu_max_torch(
            rows, weight, bias, starts=starts, multiplicity=multiplicity, eps=eps, statistics=statistics
        )
    out, used, _ = _norm_relu_max(rows, weight, bias, starts, multiplicity, eps, statistics)
    return out, used.detach()


def norm_relu_torch(
    rows: Tensor, weight: Tensor, bias: Tensor, *, multiplicity: Tensor, eps: float, statistics: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`norm_relu` in plain torch, for any device."""
    if statistics is None:
        multiplicity = multiplicity.to(rows.dtype)
        share = multiplicity / multiplicity.sum()
        with without_autocast(rows):
            mean = share @ rows
            statistics = torch.stack([mean, share @ (rows - mean).square()])
    mean, variance = statistics.to(rows.dtype)
    return torch.relu((rows - mean) * (weight * torch.rsqrt(variance + eps)) + bias), statistics.detach()


def norm_relu_max_torch(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    starts: Tensor,
    multiplicity: Tensor,
    eps: float,
    statistics: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`norm_relu_max` in plain torch, for any device (tied rows share the gradient)."""
    values, statistics = norm_relu_torch(rows, weight, bias, multiplicity=multiplicity, eps=eps, statistics=statistics)
    if exporting():  # all neighbourhoods have as many rows
        return values.view(len(starts) - 1, -1, values.shape[1]).amax(1), statistics
    segments = torch.repeat_interleave(starts.diff(), output_size=len(rows))[:, None].expand_as(values)
    pooled = values.new_zeros(len(starts) - 1, values.shape[1])
    return pooled.scatter_reduce(0, segments, values, "amax", include_self=False), statistics


def without_autocast(rows: Tensor) -> contextlib.AbstractContextManager:
    """A context in which products of these rows keep their precision, which autocast would halve."""
    device = rows.device.type
    active = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # "meta" knows no autocast
    return torch.autocast(device, enabled=False) if active else contextlib.nullcontext()


def _has_kernels(rows: Tensor) -> bool:
    if exporting():
        return False
    if rows.device.type == "cuda":
        return rows.dtype == torch.float32 and triton_runtime.usable("batch norm and max pooling over rows")
    return rows.device.type == "cpu"


@torch.library.custom_op("pcfdsl::norm_relu", mutates_args=(), device_types="cpu")
def _norm_relu(
    rows: Tensor, weight: Tensor, bias: Tensor, multiplicity: Tensor, eps: float, statistics: Tensor | None
) -> tuple[Tensor, Tensor]:
    rows = rows.contiguous()
    used = _moments(rows, multiplicity) if statistics is None else statistics.clone()
    scale, shift, _ = _affine(used, weight, bias, eps)
    out = torch.empty_like(rows)
    kernels.over_blocks(kernels.forward, len(rows), *kernels.arrays_of(rows, scale, shift, out))
    return out, used


@torch.library.custom_op("pcfdsl::norm_relu_backward", mutates_args=(), device_types="cpu")
def _norm_relu_backward(
    grad: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplicity: Tensor,
    eps: float,
    used: Tensor,
    through_statistics: bool,
) -> tuple[Tensor, Tensor]:
    grad, rows = grad.contiguous(), rows.contiguous()
    scale, shift, center = _affine(used, weight, bias, eps)
    sums = kernels.sum_blocks(
        kernels.reduce, len(rows), rows.shape[1], *kernels.arrays_of(grad, rows, scale, shift, center)
    )
    common, slope = _shared_gradient(sums, scale, center, multiplicity, through_statistics)
    grad_rows = torch.empty_like(rows)
    arrays = kernels.arrays_of(grad, rows, multiplicity, scale, shift, common, slope, grad_rows)
    kernels.over_blocks(kernels.backward, len(rows), *arrays)
    return grad_rows, sums.to(rows.dtype)


@torch.library.custom_op("pcfdsl::norm_relu_max", mutates_args=(), device_types="cpu")
def _norm_relu_max(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    starts: Tensor,
    multiplicity: Tensor,
    eps: float,
    statistics: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = rows.contiguous()
    used = _moments(rows, multiplicity) if statistics is None else statistics.clone()
    scale, shift, _ = _affine(used, weight, bias, eps)
    out = rows.new_empty(len(starts) - 1, rows.shape[1])
    winner = torch.empty(out.shape, dtype=torch.int32)
    kernels.over_blocks(kernels.forward_max, len(out), *kernels.arrays_of(rows, starts, scale, shift, out, winner))
    return out, used, winner


@torch.library.custom_op("pcfdsl::norm_relu_max_backward", mutates_args=(), device_types="cpu")
def _norm_relu_max_backward(
    grad: Tensor,
    rows: Tensor,
    weight: Tensor,
    starts: Tensor,
    multiplicity: Tensor,
    eps: float,
    out: Tensor,
    used: Tensor,
    winner: Tensor,
    through_statistics: bool,
) -> tuple[Tensor, Tensor]:
    grad, rows = grad * (out > 0), rows.contiguous()
    scale, _, center = _affine(used, weight, weight, eps)
    sums = kernels.sum_blocks(
        kernels.reduce_max, len(grad), rows.shape[1], *kernels.arrays_of(grad, rows, winner, center)
    )
    common, slope = _shared_gradient(sums, scale, center, multiplicity, through_statistics)
    grad_rows = torch.empty_like(rows)
    arrays = kernels.arrays_of(grad, rows, winner, starts, multiplicity, scale, common, slope, grad_rows)
    kernels.over_blocks(kernels.backward_max, len(grad), *arrays)
    return grad_rows, sums.to(rows.dtype)


@_norm_relu.register_kernel("cuda")
def _norm_relu_triton(rows, weight, bias, multiplicity, eps, statistics):
    from pcfdsl.ops.backends import triton_rows  # there is no Triton on macOS

    rows = rows.contiguous()
    used = triton_rows.moments(rows, multiplicity) if statistics is None else statistics.clone()
    return triton_rows.forward(rows, used, weight, bias, eps), used


@_norm_relu_backward.register_kernel("cuda")
def _norm_relu_backward_triton(grad, rows, weight, bias, multiplicity, eps, used, through_statistics):
    from pcfdsl.ops.backends import triton_rows

    arguments = grad.contiguous(), rows.contiguous(), multiplicity, used, weight, bias, eps
    return triton_rows.backward(*arguments, through_statistics=through_statistics)


@_norm_relu_max.register_kernel("cuda")
def _norm_relu_max_triton(rows, weight, bias, starts, multiplicity, eps, statistics):
    from pcfdsl.ops.backends import triton_rows

    rows = rows.contiguous()
    used = triton_rows.moments(rows, multiplicity) if statistics is None else statistics.clone()
    out, winner = triton_rows.forward_max(rows, starts, used, weight, bias, eps)
    return out, used, winner


@_norm_relu_max_backward.register_kernel("cuda")
def _norm_relu_max_backward_triton(
    grad, rows, weight, starts, multiplicity, eps, out, used, winner, through_statistics
):
    from pcfdsl.ops.backends import triton_rows

    arguments = grad.contiguous(), rows.contiguous(), out, winner, starts, multiplicity, used, weight, eps
    return triton_rows.backward_max(*arguments, through_statistics=through_statistics)


@_norm_relu.register_fake
def _(rows, weight, bias, multiplicity, eps, statistics):
    return torch.empty_like(rows), rows.new_empty(2, rows.shape[1])


@_norm_relu_backward.register_fake
def _(grad, rows, weight, bias, multiplicity, eps, used, through_statistics):
    return torch.empty_like(rows), rows.new_empty(2, rows.shape[1])


@_norm_relu_max.register_fake
def _(rows, weight, bias, starts, multiplicity, eps, statistics):
    shape = (starts.shape[0] - 1, rows.shape[1])
    return rows.new_empty(shape), rows.new_empty(2, rows.shape[1]), rows.new_empty(shape, dtype=torch.int32)


@_norm_relu_max_backward.register_fake
def _(grad, rows, weight, starts, multiplicity, eps, out, used, winner, through_statistics):
    return torch.empty_like(rows), rows.new_empty(2, rows.shape[1])


def _norm_relu_setup(ctx, inputs, output):
    rows, weight, bias, multiplicity, ctx.eps, statistics = inputs
    ctx.through_statistics = statistics is None
    ctx.save_for_backward(rows, weight, bias, multiplicity, output[1])


def _norm_relu_gradient(ctx, grad, _):
    rows, weight, bias, multiplicity, used = ctx.saved_tensors
    grad_rows, (grad_bias, grad_weight) = _norm_relu_backward(
        grad, rows, weight, bias, multiplicity, ctx.eps, used, ctx.through_statistics
    )
    return grad_rows, grad_weight, grad_bias, None, None, None


def _norm_relu_max_setup(ctx, inputs, output):
    rows, weight, _, starts, multiplicity, ctx.eps, statistics = inputs
    ctx.through_statistics = statistics is None
    ctx.save_for_backward(rows, weight, starts, multiplicity, *output)


def _norm_relu_max_gradient(ctx, grad, *_):
    rows, weight, starts, multiplicity, *output = ctx.saved_tensors
    grad_rows, (grad_bias, grad_weight) = _norm_relu_max_backward(
        grad, rows, weight, starts, multiplicity, ctx.eps, *output, ctx.through_statistics
    )
    return grad_rows, grad_weight, grad_bias, None, None, None, None


_norm_relu.register_autograd(_norm_relu_gradient, setup_context=_norm_relu_setup)
_norm_relu_max.register_autograd(_norm_relu_max_gradient, setup_context=_norm_relu_max_setup)


def _moments(rows: Tensor, multiplicity: Tensor) -> Tensor:
    """Mean and biased variance [2, C] of rows by multiplicity, summed in float64."""
    sums = (
        kernels.sum_blocks(kernels.moments, len(rows), rows.shape[1], *kernels.arrays_of(rows, multiplicity))
        / multiplicity.sum()
    )
    return torch.stack([sums[0], (sums[1] - sums[0].square()).clamp(min=0)]).to(rows.dtype)


def _affine(statistics: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalisation as rows * scale + shift, and [2, C]: mean and inverse deviation."""
    mean, variance = statistics.to(weight.dtype)
    inverse = torch.rsqrt(variance + eps)
    scale = weight * inverse
    return scale, bias - mean * scale, torch.stack([mean, inverse])


def _shared_gradient(
    sums: Tensor, scale: Tensor, center: Tensor, multiplicity: Tensor, through_statistics: bool
) -> tuple[Tensor, Tensor]:
    """What every row receives through mean and variance: common + slope * row, per unit of multiplicity."""
    if not through_statistics:
        return torch.zeros_like(scale), torch.zeros_like(scale)
    total = multiplicity.sum()
    mean, inverse = center.double()
    slope = scale * inverse * sums[1] / total
    common = scale * sums[0] / total - slope * mean
    return common.to(scale.dtype), slope.to(scale.dtype)
