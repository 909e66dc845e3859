"""Normalisation of point sets to a common position and scale."""

import numpy as np
from numba import njit

__all__ = ["center", "min_max_joint", "min_max_per_axis", "unit_box", "unit_sphere"]


def min_max_joint(points: np.ndarray) -> np.ndarray:
    """The released 3D normalisation: the minimum and maximum over all axes together map to -1 and 1.

    Preserves the aspect ratio. A set that is off-centre on one axis shrinks on all of them, so a subsequent variance
    check also rejects off-centre shapes, not only flat ones (PC-FractalDB, CVPR 2022).

    Args:
        points: [N, D] float32 or float64.

    Returns:
        New array of the same shape and dtype.

    Raises:
        ValueError: If there are no points, a coordinate is not finite, or all coordinates are equal.
    """
    low, high = _range(points, None)
    return (points - low) * points.dtype.type(2 / (high - low)) - points.dtype.type(1)


def min_max_per_axis(points: np.ndarray) -> np.ndarray:
    """The released 2D normalisation: each axis separately to [-1, 1]. Errors as for `min_max_joint`."""
    low, high = _range(points, 0)
    return ((points - low) * (2 / (high - low)) - 1).astype(points.dtype)


def unit_box(points: np.ndarray) -> np.ndarray:
    """Bounding box centred at the origin, longest side to [-1, 1], same aspect. Errors as for `min_max_joint`."""
    low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
    _check(points, (high - low).max())
    return ((points - (low + high) / 2) * (2 / (high - low).max())).astype(points.dtype)


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Mean at the origin, farthest point at distance 1, same aspect. Errors as for `min_max_joint`."""
    _check(points, 1.0)
    centered = center(points)
    radius = np.sqrt((centered**2).sum(axis=1).max(initial=0.0))
    _check(points, radius)
    return centered / radius


def center(points: np.ndarray) -> np.ndarray:
    """Subtract the mean (accumulated in float64)."""
    return (points - points.mean(axis=0, dtype=np.float64)).astype(points.dtype)


def _range(points: np.ndarray, axis: int | None):
    low, high = points.min(axis=axis, initial=np.inf), points.max(axis=axis, initial=-np.inf)
    _check(points, np.min(high - low))
    return low, high


def _check(points: np.ndarray, extent) -> None:
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points must be [N, D] with at least one point, got shape {points.shape}")
    if not np.isfinite(extent):
        raise ValueError("points must be finite; the orbit diverged or the file holds NaN")
    if extent <= 0:
        raise ValueError("points have no extent to scale by: all coordinates are equal")


_WIDTH = 48  # whole 3D points and whole vector registers: inner loops of this length are vectorised


@njit(cache=True, nogil=True, error_model="numpy")
def center_min_max_joint(points, out):
    """Write `center(min_max_joint(points))` of float32 [N, 3]; False, with nothing written, if that is undefined."""
    flat = points.reshape(points.size)
    low, high = np.full(_WIDTH, flat[0]), np.full(_WIDTH, flat[0])
    for block in range(np.uintp(len(flat) // _WIDTH)):  # unsigned indices avoid the check for negative ones
        first = block * np.uintp(_WIDTH)
        for j in range(np.uintp(_WIDTH)):
            low[j] = min(low[j], flat[first + j])
        for j in range(np.uintp(_WIDTH)):
            high[j] = max(high[j], flat[first + j])
    for i in range(len(flat) // _WIDTH * _WIDTH, len(flat)):
        low[0], high[0] = min(low[0], flat[i]), max(high[0], flat[i])
    extent = np.float64(high.max()) - np.float64(low.min())
    mean = axis_means(points)
    if not (extent > 0 and np.isfinite(extent) and np.isfinite(mean.sum())):
        return False
    shift_and_scale(points, mean, np.float32(2 / extent), out)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def axis_means(points):
    """Mean of float32 [N, 3], accumulated in float64, as float32 [3]."""
    flat = points.reshape(points.size)
    total = np.zeros(_WIDTH)
    for block in range(np.uintp(len(flat) // _WIDTH)):
        first = block * np.uintp(_WIDTH)
        for j in range(np.uintp(_WIDTH)):
            total[j] += flat[first + j]
    for i in range(len(flat) // _WIDTH * _WIDTH, len(flat)):
        total[i % 3] += flat[i]
    mean = np.zeros(3)
    for j in range(_WIDTH):
        mean[j % 3] += total[j]
    return (mean / len(points)).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def shift_and_scale(points, mean, scale, out):
    """out = (points - mean) * scale for [N, 3]; `out` may be `points`."""
    for i in range(np.uintp(len(points))):
        for d in range(3):
            out[i, d] = (points[i, d] - mean[d]) * scale
