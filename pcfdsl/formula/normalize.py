"""Normalisation of point sets to a common position and scale."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["axis_means", "center", "center_min_max_joint", "min_max_joint", "shift_and_scale"]


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
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points must be [N, D] with at least one point, got shape {points.shape}")
    low, high = points.min(), points.max()
    if not np.isfinite(high - low):
        raise ValueError("points must be finite; the orbit diverged or the file holds NaN")
    if high <= low:
        raise ValueError("points have no extent to scale by: all coordinates are equal")
    return (points - low) * points.dtype.type(2 / (high - low)) - points.dtype.type(1)


def center(points: np.ndarray) -> np.ndarray:
    """Subtract the mean (accumulated in float64)."""
    return (points - points.mean(axis=0, dtype=np.float64)).astype(points.dtype)


_WIDTH = 48  # whole 3D points and whole vector registers: inner loops of this length are vectorised


@kernel
def center_min_max_joint(points, out=None):
    """Write `center(min_max_joint(points))` of float32 [N, 3] to `out`, or in place if None.

    False, with nothing written, if that is undefined.
    """
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


@kernel
def is_one_point(points):
    """Whether all of float32 [N, 3] is one point but for rounding, as of an orbit that does not leave it."""
    size = abs(points[0, 0]) + abs(points[0, 1]) + abs(points[0, 2])
    for i in range(1, len(points)):
        for d in range(3):
            if not abs(points[i, d] - points[0, d]) <= 1e-6 * size:
                return False
    return True


@kernel
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


@kernel
def shift_and_scale(points, mean, scale, out=None):
    """out = (points - mean) * scale for float32 [N, 3], in place if `out` is None (faster than naming it twice)."""
    flat = points.reshape(points.size)
    to = flat if out is None else out.reshape(out.size)
    means = np.empty(_WIDTH, np.float32)
    for j in range(_WIDTH):
        means[j] = mean[j % 3]
    for block in range(np.uintp(len(flat) // _WIDTH)):
        first = block * np.uintp(_WIDTH)
        for j in range(np.uintp(_WIDTH)):
            to[first + j] = (flat[first + j] - means[j]) * scale
    for i in range(len(flat) // _WIDTH * _WIDTH, len(flat)):
        to[i] = (flat[i] - mean[i % 3]) * scale
