"""Which implementation of the point operators runs, and the checks all of them share."""

import functools
import sys
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops.backends import pytorch3d, triton_runtime

__all__ = ["Backend", "NotFiniteError", "check_points", "choose", "cuda_backend", "describe", "exporting"]

Backend = Literal["auto", "numba", "triton", "pytorch3d", "torch"]

_DEVICES = {"numba": "cpu", "triton": "cuda"}


class NotFiniteError(ValueError):
    """Points hold NaN or infinity: a damaged sample, or the output of a network whose training diverged."""


def choose(backend: Backend, points: Tensor) -> str:
    """The backend that runs for these points: numba on the CPU; Triton, PyTorch3D or torch on CUDA; torch elsewhere.

    Triton and PyTorch3D compute in float32, so float64 on CUDA is left to torch. While a network is
    exported it is "graph".

    Raises:
        ValueError: If the requested backend is unknown, cannot run here, or does not support this device or type.
    """
    if exporting():
        return "graph"
    if backend == "auto":
        if points.device.type == "cpu":
            return "numba"
        return cuda_backend() if points.device.type == "cuda" and points.dtype == torch.float32 else "torch"
    if backend not in ("numba", "triton", "pytorch3d", "torch"):
        raise ValueError(f"backend {backend!r} is unknown; expected auto, numba, triton, pytorch3d or torch")
    device = _DEVICES.get(backend, points.device.type)
    if points.device.type != device:
        raise ValueError(f"backend {backend!r} runs on {device}, the points are on {points.device}; use 'auto'")
    if backend in ("triton", "pytorch3d"):
        if points.dtype != torch.float32:
            raise ValueError(f"backend {backend!r} computes in float32, the points are {points.dtype}; use 'torch'")
        reason = triton_runtime.why_unusable() if backend == "triton" else pytorch3d.why_unusable(device)
        if reason:
            raise ValueError(f"backend {backend!r} cannot run: {reason}; use 'auto'")
    return backend


def exporting() -> bool:
    """Whether torch.export is tracing: operators then have fixed sizes and are portable, not fast."""
    return getattr(torch.compiler, "is_exporting", bool)()  # older versions of torch have none


@torch.compiler.assume_constant_result
def cuda_backend() -> str:
    """What runs on CUDA in float32: triton, else pytorch3d, else torch. Prints once why it is not the first."""
    return _cuda_backend()


@functools.cache
def _cuda_backend() -> str:
    no_triton = triton_runtime.why_unusable()
    if no_triton is None:
        return "triton"
    no_pytorch3d = pytorch3d.why_unusable()
    if no_pytorch3d is None:
        print(f"point operators run on PyTorch3D: {no_triton}", file=sys.stderr)
        return "pytorch3d"
    print(f"point operators run in plain torch, many times slower: {no_triton}; {no_pytorch3d}", file=sys.stderr)
    return "torch"


def describe() -> str:
    """One line on what runs where."""
    cuda = f"{cuda_backend()} on CUDA" if torch.cuda.is_available() else "no CUDA device"
    return f"point operators: numba on the CPU, {cuda}; {torch.get_num_threads()} CPU threads"


def check_points(
    name: str, points: Tensor, lengths: Tensor | None = None, *, like: Tensor | None = None, trusted: bool = False
) -> None:
    """Check points [B, N, 3], their lengths [B], and that they agree with a second set.

    Args:
        name: What error messages call them.
        points: Any tensor.
        lengths: Any tensor, or None.
        like: The second set of points.
        trusted: Check shapes, types and devices only, not values, which saves a pass over them and a wait for the GPU.

    Raises:
        ValueError: If any of them is invalid; the message says what was expected.
    """
    if points.ndim != 3 or points.shape[2] != 3 or not points.shape[1]:
        raise ValueError(f"{name} must be [B, N, 3] with N >= 1, got {list(points.shape)}")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {points.dtype}; under autocast keep xyz in float32")
    if like is not None and (like.dtype, like.device, len(like)) != (points.dtype, points.device, len(points)):
        raise ValueError(
            f"{name} are {points.dtype} on {points.device} in a batch of {len(points)}, the others {like.dtype} on "
            f"{like.device} in a batch of {len(like)}; both must agree"
        )
    if lengths is not None and (lengths.shape != points.shape[:1] or lengths.dtype != torch.int64):
        raise ValueError(f"lengths must be int64 [B] = [{len(points)}], got {lengths.dtype} {list(lengths.shape)}")
    if trusted or torch.compiler.is_compiling():
        return  # values are not known while a graph is traced
    if lengths is not None and ((lengths < 1) | (lengths > points.shape[1])).any():
        raise ValueError(f"lengths must lie in 1..{points.shape[1]}, got {lengths.tolist()}")
    if not _all_finite(points.detach()):
        batch, row = (~torch.isfinite(points)).any(2).nonzero()[0].tolist()
        first = points[batch, row].tolist()
        raise NotFiniteError(f"{name} hold NaN or infinity, first at batch item {batch}, point {row}: {first}")


def _all_finite(points: Tensor) -> bool:
    if points.device.type != "cpu":
        return bool(torch.isfinite(points).all())
    # On busy cores torch's threads wait longer for each other than one thread needs for this.
    return bool(np.isfinite(points.numpy()).all())
