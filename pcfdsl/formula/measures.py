"""The measurements of point sets by which the papers accept or reject categories."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["filling_rate", "scaled_variances"]


def scaled_variances(points: np.ndarray) -> tuple[float, ...]:
    """Population variance along every axis after joint min-max scaling to [-1, 1]; zeros if that is undefined.

    PC-FractalDB accepts a system if the smallest exceeds a threshold, 0.15 or 0.05 in the papers (CVPR 2022, section
    3.1). No cloud reaches 1.

    Args:
        points: [N, D], at any scale.

    >>> scaled_variances(np.array([[0.0, 0, 0], [1, 1, 0.1]]))
    (1.0, 1.0, 0.010000000000000002)
    """
    extent = float(points.max()) - float(points.min()) if np.isfinite(points).all() and len(points) else 0.0
    if extent == 0:
        return (0.0,) * points.shape[1]
    return tuple(float(v) for v in points.var(axis=0, dtype=np.float64) * (2 / extent) ** 2)


def filling_rate(points: np.ndarray, *, size: int = 512, pad: int = 6) -> float:
    """Share of the size x size pixels that hold a point when each axis is stretched separately to size - 2 pad.

    FractalDB accepts a system if it reaches 0.2 (ACCV 2020, section 3.1). The rate grows with the number of points and
    falls with the image size: 0.2 at 512 px and 100,000 points is about 0.35 at 256 px.

    Args:
        points: [N, 2]; 0.0 if any coordinate is not finite or an axis has no extent.
    """
    if not len(points) or not np.isfinite(points).all():
        return 0.0
    return _count_pixels(np.asarray(points, np.float64), size, pad) / size**2


@kernel
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
