"""Batch norm: over rows with ReLU, as PointNet++ has it, and over the samples of all processes.

Torch's own synchronised batch norm knows neither rows that stand for several nor the CPU. This one is a few lines of
torch around a sum over processes, the same on any device, and slower than the fused kernels of one process.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pcfdsl.ops.neighborhoods import NeighborRows
from pcfdsl.ops.rows import (
    norm_relu,
    norm_relu_max,
    norm_relu_max_torch,
    norm_relu_torch,
    without_autocast,
)

__all__ = [
    "RowNormReLU",
    "SynchronizedBatchNorm",
    "moments_over_processes",
    "set_bn_momentum",
    "synchronize_batch_norm",
]


class RowNormReLU(nn.BatchNorm1d):
    """Batch norm and ReLU over rows [R, C], in float32 also under autocast; parameters and buffers of BatchNorm1d.

    Rows may stand for several equal ones, and may be pooled in the same pass; see `pcfdsl.ops.rows`.

    Attributes:
        synchronized: Whether training takes mean and variance over the rows of all processes.
    """

    synchronized: bool = False

    def forward(
        self, input: Tensor, multiplicity: Tensor | None = None, neighborhoods: NeighborRows | None = None
    ) -> Tensor:
        """Rows [R, C], or with `neighborhoods` their maximum over each, [S, C].

        Raises:
            ValueError: If training has a single row to take statistics of.
        """
        if input.dtype != torch.float64:
            input = input.float()
        if neighborhoods is not None:
            multiplicity = neighborhoods.multiplicity
        elif multiplicity is None:
            alone = not (self.synchronized and dist.is_initialized())
            if self.training and alone and len(input) == 1:  # its variance is 0, so that nothing would be learned
                raise ValueError("Expected more than 1 value per channel when training, got one row")  # as torch does
            multiplicity = input.new_ones(len(input))
        assert self.running_mean is not None
        assert self.running_var is not None
        norm, norm_max, total = norm_relu, norm_relu_max, multiplicity.sum(dtype=torch.float64)
        statistics = None if self.training else torch.stack([self.running_mean, self.running_var]).to(input.dtype)
        if self.training and self.synchronized:
            statistics, total = moments_over_processes(input, multiplicity)
            norm, norm_max = norm_relu_torch, norm_relu_max_torch  # which pass gradients on to given statistics
        settings = {"multiplicity": multiplicity, "eps": self.eps, "statistics": statistics}
        if neighborhoods is None:
            out, used = norm(input, self.weight, self.bias, **settings)
        else:
            out, used = norm_max(input, self.weight, self.bias, starts=neighborhoods.starts, **settings)
        if self.training:
            _track(self, used, total)
        return out


class SynchronizedBatchNorm(_BatchNorm):
    """A batch norm [B, C, ...] whose training takes mean and variance over the samples of all processes.

    It has the parameters and buffers of the norm it stands for, and the dropout and activation that timm's bring along.
    """

    def __init__(self, norm: _BatchNorm):
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        self.weight, self.bias, self.training = norm.weight, norm.bias, norm.training
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop, self.act = getattr(norm, "drop", nn.Identity()), getattr(norm, "act", nn.Identity())

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] -> [B, C, ...]."""
        if not self.training:
            out = F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return self.act(self.drop(out))
        rows = (input if input.dtype == torch.float64 else input.float()).movedim(1, -1)
        statistics, total = moments_over_processes(rows.flatten(0, -2))
        _track(self, statistics.detach(), total)
        mean, variance = statistics
        out = (rows - mean) * (self.weight * torch.rsqrt(variance + self.eps)) + self.bias
        return self.act(self.drop(out.movedim(-1, 1).to(input.dtype)))


def synchronize_batch_norm(model: nn.Module) -> None:
    """Make every batch norm of a network, in place, train on the samples of all processes; weights stay as they are.

    Raises:
        ValueError: If a norm has no scale and shift or no running statistics.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, RowNormReLU):
                child.synchronized = True
            elif isinstance(child, _BatchNorm) and not isinstance(child, SynchronizedBatchNorm):
                if not child.affine or child.running_mean is None or child.momentum is None:
                    raise ValueError(
                        f"batch norm {name} has no scale and shift, running statistics or momentum, so it cannot be "
                        "synchronised; set train.sync_batch_norm to false"
                    )
                setattr(parent, name, SynchronizedBatchNorm(child))


def moments_over_processes(rows: Tensor, multiplicity: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the rows of all processes, through which gradients reach all of them.

    Every process must call it equally often, in the same order, forwards and backwards.

    Args:
        rows: [R, C]; R may differ between processes.
        multiplicity: [R]; how many equal rows each stands for. None: one.

    Returns:
        [2, C] mean and variance, and [] float64, the number of rows of all processes.
    """
    weight = rows.new_ones(len(rows)) if multiplicity is None else multiplicity.to(rows.dtype)
    total = _sum_over_processes(weight.sum(dtype=torch.float64))
    share = weight / total.to(rows.dtype)
    with without_autocast(rows):
        mean = _sum_over_processes(share @ rows)
        return torch.stack([mean, _sum_over_processes(share @ (rows - mean).square())]), total


def _track(norm: _BatchNorm, used: Tensor, total: Tensor) -> None:
    """Let the running statistics of a norm take in the mean and biased variance [2, C] of `total` rows."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(used[0].to(norm.running_mean.dtype), norm.momentum)
        unbiased = used[1] * (total / (total - 1).clamp(min=1))
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)


def set_bn_momentum(module: nn.Module, momentum: float) -> None:
    """Set the share of the new batch in every batch norm's running statistics (PyTorch's sense of momentum).

    Raises:
        ValueError: If the momentum is outside [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}; expected the new batch's share, from 0 to 1")
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.momentum = momentum


def _sum_over_processes(values: Tensor) -> Tensor:
    return _Sum.apply(values) if dist.is_initialized() else values  # type: ignore[return-value]


class _Sum(torch.autograd.Function):
    """The sum over processes. Each one's loss depends on it, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        total = grad.clone()
        dist.all_reduce(total)
        return total
