"""Exact mean and covariance of the measure that the chaos game samples.

A point X drawn from the invariant measure has the law of A_k X + b_k with k drawn from p, so its moments solve linear
equations. With M = sum_k p_k A_k and the mean m, the centred second moment C obeys

    m = M m + sum_k p_k b_k        C = sum_k p_k (A_k C A_k^T + d_k d_k^T),   d_k = A_k m + b_k - m

wherever the system contracts in mean square: the operator C -> sum_k p_k A_k C A_k^T has a spectral radius below 1.
That holds if and only if the equation with the identity as its constant term has a positive definite solution, a test
that needs no eigenvalues. (Barnsley, Fractals Everywhere, section 9.6; Costa et al., Discrete-Time Markov Jump Linear
Systems, ch. 3.)
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.config import check_argument
from pcfdsl.formula.ifs import IFS
from pcfdsl.jit import kernel

__all__ = ["Moments", "moments", "solve_moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean [D] and population covariance [D, D] of the invariant measure."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(ifs: IFS) -> Moments | None:
    """Exact moments, or None if the system does not contract in mean square and so has no finite covariance.

    >>> square = IFS.from_maps(np.full((4, 2, 2), np.eye(2) / 2), [[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> moments(square).covariance.round(12)  # the uniform law on [0, 2] has variance 1/3
    array([[0.33333333, 0.        ],
           [0.        , 0.33333333]])
    """
    check_argument("ifs", ifs, IFS)
    mean, covariance = np.empty(ifs.dim), np.empty((ifs.dim, ifs.dim))
    probabilities = ifs.probabilities / ifs.probabilities.sum()
    if not solve_moments(ifs.matrices, ifs.offsets, probabilities, mean, covariance):
        return None
    return Moments(mean, covariance)


@kernel
def solve_moments(matrices, offsets, probabilities, mean, covariance):
    """Write the exact moments; returns False, with undefined outputs, if they do not exist.

    Args:
        matrices, offsets, probabilities: [K, D, D], [K, D], [K] float64, probabilities summing to 1.
        mean, covariance: [D] and [D, D] float64, overwritten.
    """
    num_maps, dim = offsets.shape
    system = np.zeros((dim, dim + 1))  # (I - M | sum p b)
    for i in range(dim):
        system[i, i] = 1.0
        for k in range(num_maps):
            system[i, dim] += probabilities[k] * offsets[k, i]
            for j in range(dim):
                system[i, j] -= probabilities[k] * matrices[k, i, j]
    if not _eliminate(system, dim):
        return False
    mean[:] = system[:, dim]

    # Solve for the upper triangle of the symmetric matrix C, with the constant term sum p d d^T and with the identity.
    size = dim * (dim + 1) // 2
    system = np.zeros((size, size + 2))
    displacement = np.empty(dim)
    for row in range(size):
        system[row, row] = 1.0
    for k in range(num_maps):
        p = probabilities[k]
        if p == 0.0:
            continue
        for i in range(dim):
            displacement[i] = offsets[k, i] - mean[i]
            for j in range(dim):
                displacement[i] += matrices[k, i, j] * mean[j]
        row = 0
        for i in range(dim):
            for j in range(i, dim):
                system[row, size] += p * displacement[i] * displacement[j]
                column = 0
                for r in range(dim):
                    for s in range(r, dim):
                        weight = matrices[k, i, r] * matrices[k, j, s]
                        if r != s:
                            weight += matrices[k, i, s] * matrices[k, j, r]
                        system[row, column] -= p * weight
                        column += 1
                row += 1
    row = 0
    for i in range(dim):
        for j in range(i, dim):
            system[row, size + 1] = 1.0 if i == j else 0.0
            row += 1
    if not _eliminate(system, size):
        return False

    if not _positive_definite(system[:, size + 1], dim):
        return False
    row = 0
    for i in range(dim):
        for j in range(i, dim):
            covariance[i, j] = covariance[j, i] = system[row, size]
            row += 1
    return True


@kernel
def _eliminate(system, size):
    """Gauss-Jordan elimination with row pivoting, in place, on the augmented matrix; False if it is singular."""
    for i in range(size):
        pivot = i
        for r in range(i + 1, size):
            if abs(system[r, i]) > abs(system[pivot, i]):
                pivot = r
        if not abs(system[pivot, i]) > 1e-14:
            return False
        for c in range(i, system.shape[1]):
            system[i, c], system[pivot, c] = system[pivot, c], system[i, c]
        for r in range(size):
            if r == i:
                continue
            factor = system[r, i] / system[i, i]
            for c in range(i, system.shape[1]):
                system[r, c] -= factor * system[i, c]
    for i in range(size):
        for c in range(size, system.shape[1]):
            system[i, c] /= system[i, i]
    return True


@kernel
def _positive_definite(upper, dim):
    """Sylvester's criterion for a symmetric matrix, given its upper triangle row by row."""
    if dim == 2:
        a, b, d = upper
        return a > 0 and a * d - b * b > 0
    a, b, c, d, e, f = upper
    minor = a * d - b * b
    return a > 0 and minor > 0 and f * minor - a * e * e + 2 * b * c * e - d * c * c > 0
