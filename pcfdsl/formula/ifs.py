"""Iterated function systems: a random choice among K affine maps x -> A_k x + b_k, in two or three dimensions."""

from dataclasses import dataclass

import numpy as np

__all__ = ["IFS", "determinant_probabilities", "effective_maps"]


@dataclass(frozen=True, eq=False)
class IFS:
    """An iterated function system with probabilities, x -> matrices[k] @ x + offsets[k] with probability p[k].

    Arrays are copied to read-only float64. `IFS.from_maps` computes the probabilities as the papers do.

    Attributes:
        matrices: [K, D, D], D is 2 or 3.
        offsets: [K, D].
        probabilities: [K], each at least 0, summing to 1 within 1e-6 (not renormalised).

    Raises:
        ValueError: If an array violates the above or is not finite.

    >>> IFS.from_maps(matrices=[[[0.5, 0], [0, 0.5]]] * 3, offsets=[[0, 0], [0.5, 0], [0.25, 0.5]]).probabilities
    array([0.33333333, 0.33333333, 0.33333333])
    """

    matrices: np.ndarray
    offsets: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self):
        for name in ("matrices", "offsets", "probabilities"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]} among them")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        shape = self.matrices.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] not in (2, 3):
            raise ValueError(f"matrices must be [K, D, D] with K >= 1 maps and D = 2 or 3, got shape {shape}")
        if self.offsets.shape != shape[:2]:
            raise ValueError(f"offsets must be [K, D] = {list(shape[:2])}, got shape {self.offsets.shape}")
        if self.probabilities.shape != shape[:1]:
            raise ValueError(f"probabilities must be [K] = [{shape[0]}], got shape {self.probabilities.shape}")
        if (self.probabilities < 0).any():
            raise ValueError(f"probabilities must be at least 0, got {self.probabilities.min()}")
        if abs(self.probabilities.sum() - 1) > 1e-6:
            raise ValueError(f"probabilities must sum to 1 within 1e-6, got a sum of {self.probabilities.sum()!r}")

    @classmethod
    def from_maps(cls, matrices, offsets) -> "IFS":
        """System whose maps are chosen in proportion to |det A_k|; see `determinant_probabilities`."""
        return cls(matrices, offsets, determinant_probabilities(np.asarray(matrices, dtype=np.float64)))

    def arrays(self) -> dict[str, np.ndarray]:
        """The three arrays by name."""
        return {"matrices": self.matrices, "offsets": self.offsets, "probabilities": self.probabilities}

    @property
    def num_maps(self) -> int:
        """K."""
        return self.matrices.shape[0]

    @property
    def dim(self) -> int:
        """D: 2 or 3."""
        return self.matrices.shape[1]

    def spectral_radii(self) -> np.ndarray:
        """Largest |eigenvalue| of each map, [K]; a map has an attracting fixed point where it is below 1."""
        return np.abs(np.linalg.eigvals(self.matrices)).max(axis=1)


def determinant_probabilities(matrices: np.ndarray) -> np.ndarray:
    """Probability of each map in proportion to its volume factor, as in all the papers: p_k = |det A_k| / sum |det A|.

    If every determinant is zero (all maps flatten space), the maps are equally likely; the released code divides zero
    by zero.

    Args:
        matrices: [..., K, D, D].

    Returns:
        [..., K] float64.
    """
    volumes = np.abs(np.linalg.det(matrices))
    total = volumes.sum(axis=-1, keepdims=True)
    equal = np.full_like(volumes, 1 / volumes.shape[-1])
    return np.divide(volumes, total, out=equal, where=total > 0)


def effective_maps(probabilities: np.ndarray) -> np.ndarray:
    """How many equally likely maps would be as unpredictable: the exponential of the entropy, [..., K] -> [...].

    Probabilities go with |det A_k|, so a system may have seven maps and hardly ever play five of them.

    >>> effective_maps(np.array([0.5, 0.5, 0])).round(9)
    np.float64(2.0)
    """
    return np.exp(-(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum(axis=-1))
