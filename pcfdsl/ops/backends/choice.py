"""Which implementation of the point operators runs, and the checks all of them share."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops.backends import pytorch3d

__all__ = ["Backend", "check_points", "choose", "describe"]

Backend = Literal["auto", "numba", "pytorch3d", "torch"]


def choose(backend: Backend, points: Tensor) -> str:
    """The backend that runs for these points: numba on the CPU, PyTorch3D on CUDA where installed, otherwise torch.

    PyTorch3D samples in float32 whatever it is given, so float64 on CUDA is torch's.

    Raises:
        ValueError: If the backend asked for is not known, not installed or not for this device or type.
    """
    if backend == "auto":
        if points.device.type == "cpu":
            return "numba"
        suits = points.device.type == "cuda" and points.dtype == torch.float32
        return "pytorch3d" if suits and pytorch3d.is_available() else "torch"
    if backend == "numba" and points.device.type != "cpu":
        raise ValueError(f"backend 'numba' runs on the CPU, the points are on {points.device}; use 'auto'")
    if backend == "pytorch3d" and not pytorch3d.is_available():
        raise ValueError("backend 'pytorch3d' is not installed; use 'auto', or see third_party/README.md")
    if backend == "pytorch3d" and points.dtype != torch.float32:
        raise ValueError(f"backend 'pytorch3d' computes in float32, the points are {points.dtype}; use 'torch'")
    if backend not in ("numba", "pytorch3d", "torch"):
        raise ValueError(f"backend {backend!r} is unknown; expected auto, numba, pytorch3d or torch")
    return backend


def describe() -> str:
    """One line on what runs where."""
    cuda = "pytorch3d" if pytorch3d.is_available() else "torch (PyTorch3D is not installed)"
    return f"point operators: numba on the CPU, {cuda} on CUDA; {torch.get_num_threads()} CPU threads"


def check_points(name: str, points: Tensor, lengths: Tensor | None = None, like: Tensor | None = None) -> None:
    """Shapes, types and devices of points [B, N, 3], of their lengths [B], and of a second set they go with.

    Raises:
        ValueError: Saying which of them is wrong and what was expected.
    """
    if points.ndim != 3 or points.shape[2] != 3 or not points.shape[1]:
        raise ValueError(f"{name} must be [B, N, 3] with N >= 1, got {list(points.shape)}")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {points.dtype}; under autocast keep xyz in float32")
    if like is not None and (like.dtype, like.device, len(like)) != (points.dtype, points.device, len(points)):
        raise ValueError(
            f"{name} are {points.dtype} on {points.device} in a batch of {len(points)}, their partners {like.dtype} on "
            f"{like.device} in a batch of {len(like)}; both must agree"
        )
    if lengths is not None and (lengths.shape != points.shape[:1] or lengths.dtype != torch.int64):
        raise ValueError(f"lengths must be int64 [B] = [{len(points)}], got {lengths.dtype} {list(lengths.shape)}")
    if torch.compiler.is_compiling():
        return  # values are not known while a graph is traced
    if lengths is not None and ((lengths < 1) | (lengths > points.shape[1])).any():
        raise ValueError(f"lengths must lie in 1..{points.shape[1]}, got {lengths.tolist()}")
    if not _all_finite(points.detach()):
        batch, row = (~torch.isfinite(points)).any(2).nonzero()[0].tolist()
        raise ValueError(f"{name} hold NaN or infinity, first at batch item {batch}, point {row}: {points[batch, row]}")


def _all_finite(points: Tensor) -> bool:
    if points.device.type != "cpu":
        return bool(torch.isfinite(points).all())
    # On busy cores torch's threads wait longer for each other than one thread needs for this.
    return bool(np.isfinite(points.numpy()).all())
