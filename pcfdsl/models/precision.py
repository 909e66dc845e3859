"""The type in which matrix products are computed, by the names that settings use."""

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch
from llvmlite import binding
from torch import Tensor

__all__ = ["Precision", "at_least_float32", "autocast", "has_bfloat16", "of_full_range"]

Precision = Literal["float32", "bfloat16", "float16"]

_CPU_FEATURES = ("avx512bf16", "amx-bf16", "bf16")  # the last is Arm's


def at_least_float32(values: Tensor) -> Tensor:
    """What a network gives: float32, also under autocast; float64 of a network in float64, for checks of gradients."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def of_full_range(values: Tensor) -> Tensor:
    """float16 as float32, whose range holds a loss times the scaler's factor; the range of any other type does."""
    return values.float() if values.dtype == torch.float16 else values


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Context in which a network's matrix products are computed in this type; weights stay in float32.

    bfloat16 is chosen for its speed. A device that only emulates it takes several times as long as for float32, so
    float32 takes its place there, which a note says once.
    """
    if precision == "bfloat16" and not has_bfloat16(device.type):
        _note_float32(device.type)
        precision = "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@cache
def has_bfloat16(device_type: str) -> bool:
    """Whether this machine's devices of a type have bfloat16 arithmetic; those other than cpu and cuda are trusted."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        features = binding.get_host_cpu_features()
        return torch.backends.mkldnn.is_available() and any(features.get(name) for name in _CPU_FEATURES)
    return True


@cache
def _note_float32(device_type: str) -> None:
    device, advice = {"cpu": ("this processor", ""), "cuda": ("this GPU", "; float16 may be faster still")}[device_type]
    print(f"note: {device} has no bfloat16 arithmetic; float32, faster on it, takes its place{advice}", file=sys.stderr)
