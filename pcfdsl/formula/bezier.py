"""Bezier curves of any degree."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["bezier_curves"]


def bezier_curves(controls: np.ndarray, num_points: int) -> np.ndarray:
    """Points at equal parameter steps along curves, from the first control point to the last.

    Args:
        controls: float64 [C, N, D], N at least 2: the control points of C curves of degree N - 1.
        num_points: P, at least 2.

    Returns:
        float64 [C, P, D].

    >>> bezier_curves(np.array([[[0.0, 0], [1, 2], [2, 0]]]), 3)
    array([[[0., 0.],
            [1., 1.],
            [2., 0.]]])
    """
    if controls.ndim != 3 or controls.shape[1] < 2 or num_points < 2:
        raise ValueError(
            f"{controls.shape} control points and {num_points} points; expected [C, N, D] with N at least 2, and 2"
        )
    points = np.empty((len(controls), num_points, controls.shape[2]))
    _de_casteljau(np.ascontiguousarray(controls, np.float64), points)
    return points


@kernel
def _de_casteljau(controls, points):
    """Repeated interpolation between neighbours: O(degree^2) operations, and no binomials that could overflow."""
    num_curves, num_controls, dim = controls.shape
    num_points = points.shape[1]
    work = np.empty((num_controls, dim))
    for curve in range(num_curves):
        for k in range(num_points):
            t = k / (num_points - 1)
            work[:] = controls[curve]
            for level in range(num_controls - 1, 0, -1):
                for i in range(level):
                    for axis in range(dim):
                        work[i, axis] += t * (work[i + 1, axis] - work[i, axis])
            points[curve, k] = work[0]
