"""The type in which matrix products are computed, by the names that settings use."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Precision", "at_least_float32", "autocast", "of_full_range"]

Precision = Literal["float32", "bfloat16", "float16"]


def at_least_float32(values: Tensor) -> Tensor:
    """What a network gives: float32, also under autocast; float64 of a network in float64, for checks of gradients."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def of_full_range(values: Tensor) -> Tensor:
    """float16 as float32, whose range holds a loss times the scaler's factor; the range of any other type does."""
    return values.float() if values.dtype == torch.float16 else values


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Context in which a network's matrix products are computed in this type; weights stay in float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))
