"""Whether Triton kernels run here. Triton comes with torch on Linux and compiles each kernel at first use."""

import functools
import importlib.util
import os
import shutil
import sys

import torch

__all__ = ["usable", "why_unusable"]


@functools.cache
def why_unusable() -> str | None:
    """Why the Triton kernels cannot run here, in a few words; None if they can. The first call launches one of them.

    Triton builds a small C launcher per kernel, so it needs a C compiler and Python's headers: only a trial tells.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler: install gcc, or set CC"
    try:
        from pcfdsl.ops.backends import triton_points

        triton_points.farthest_point_sample(torch.zeros(1, 1, 3, device="cuda"), 1).cpu()
    except Exception as error:  # compilers, drivers and old versions fail in many ways; every one has a way around
        return f"a Triton kernel failed: {type(error).__name__}: {error}"
    return None


@torch.compiler.assume_constant_result
def usable(operators: str) -> bool:
    """Whether the Triton kernels of some operators run here; if not, prints once that torch's run instead, and why."""
    return _usable(operators)


@functools.cache
def _usable(operators: str) -> bool:
    reason = why_unusable()
    if reason is not None:
        print(f"{operators} run in plain torch, which is slower: {reason}", file=sys.stderr)
    return reason is None
