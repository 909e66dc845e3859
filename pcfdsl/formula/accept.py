"""Acceptance checks of the papers for categories, each returning its measurements and the reason for a rejection."""

from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = ["Verdict", "filling_check", "filling_rate", "variance_check"]


@dataclass(frozen=True)
class Verdict:
    """Outcome of a check: the measured values, and the reason for a rejection (empty when accepted)."""

    accepted: bool
    values: tuple[float, ...]
    reason: str = ""


def variance_check(points: np.ndarray, threshold: float) -> Verdict:
    """Accept if the variance along every axis, after joint min-max scaling to [-1, 1], exceeds the threshold.

    The check of PC-FractalDB (CVPR 2022, section 3.1): min(Var x, Var y, Var z) > threshold, with population variances.

    Args:
        points: [N, D], at any scale.
        threshold: The papers use 0.15 and 0.05; no cloud reaches 1.

    >>> variance_check(np.array([[0.0, 0, 0], [1, 1, 0.1]]), 0.15).reason
    'too flat: variances 1.0000 1.0000 0.0100, the smallest must exceed 0.15'
    """
    if not len(points) or not np.isfinite(points).all():
        return Verdict(False, (), "diverged: coordinates are not finite")
    extent = float(points.max()) - float(points.min())
    if extent == 0:
        return Verdict(False, (), "collapsed: all coordinates are equal")
    variances = tuple(float(v) for v in points.var(axis=0, dtype=np.float64) * (2 / extent) ** 2)
    if min(variances) > threshold:
        return Verdict(True, variances)
    text = " ".join(f"{v:.4f}" for v in variances)
    return Verdict(False, variances, f"too flat: variances {text}, the smallest must exceed {threshold}")


def filling_check(points: np.ndarray, threshold: float, *, size: int = 512, pad: int = 6) -> Verdict:
    """Accept if the share of inked pixels reaches the threshold (FractalDB, ACCV 2020, section 3.1).

    The rate grows with the number of points and falls with the image size: 0.2 at 512 px and 100,000 points is about
    0.35 at 256 px, so a threshold is meaningful only together with both.
    """
    rate = filling_rate(points, size=size, pad=pad)
    if rate >= threshold:
        return Verdict(True, (rate,))
    return Verdict(False, (rate,), f"too sparse: filling rate {rate:.4f} at {size} px, must reach {threshold}")


def filling_rate(points: np.ndarray, *, size: int = 512, pad: int = 6) -> float:
    """Share of the size x size pixels that hold a point when each axis is stretched separately to size - 2 pad.

    Args:
        points: [N, 2]; 0.0 if any coordinate is not finite or an axis has no extent.
    """
    if not len(points) or not np.isfinite(points).all():
        return 0.0
    return _count_pixels(np.asarray(points, np.float64), size, pad) / size**2


@njit(cache=True, nogil=True, error_model="numpy")
def _count_pixels(points, size, pad):
    low_x = high_x = points[0, 0]
    low_y = high_y = points[0, 1]
    for i in range(len(points)):
        low_x, high_x = min(low_x, points[i, 0]), max(high_x, points[i, 0])
        low_y, high_y = min(low_y, points[i, 1]), max(high_y, points[i, 1])
    if not (high_x > low_x and high_y > low_y):
        return 0
    inner = float(size - 2 * pad)
    inked = np.zeros((size, size), np.bool_)
    for i in range(len(points)):
        column = int((points[i, 0] - low_x) / (high_x - low_x) * inner + pad)
        row = int((points[i, 1] - low_y) / (high_y - low_y) * inner + pad)
        inked[min(row, size - 1), min(column, size - 1)] = True
    return inked.sum()
