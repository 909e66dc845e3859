"""Ways to draw systems at random: a sampler is one function (rng, count) -> SystemBatch."""

from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.ifs import IFS, determinant_probabilities, effective_maps

__all__ = ["SystemBatch", "contractive", "filtered", "perturbed", "uniform"]

_MAX_CONDITION = 20
_MAX_SQUARE = 0.6
_MIN_BALANCE = 0.6
_MIN_DIMENSION = 1.3
_TOP = (0.7, 1.0)


@dataclass(frozen=True, eq=False)
class SystemBatch:
    """S systems of up to K maps each, padded with zero maps of probability zero.

    Attributes:
        matrices: [S, K, D, D] float64.
        offsets: [S, K, D] float64.
        num_maps: [S] int64; maps from num_maps[s] on are padding.
        probabilities: [S, K] float64, in proportion to |det|.
    """

    matrices: np.ndarray
    offsets: np.ndarray
    num_maps: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def from_maps(cls, matrices: np.ndarray, offsets: np.ndarray, num_maps: np.ndarray) -> "SystemBatch":
        """Batch with the maps beyond num_maps set to zero and probabilities by determinant."""
        used = np.arange(matrices.shape[1]) < num_maps[:, None]
        matrices = np.where(used[..., None, None], matrices, 0.0)
        offsets = np.where(used[..., None], offsets, 0.0)
        probabilities = np.where(used, determinant_probabilities(matrices), 0.0)
        return cls(matrices, offsets, num_maps, probabilities / probabilities.sum(axis=1, keepdims=True))

    def __len__(self) -> int:
        return len(self.num_maps)

    def __getitem__(self, s: int) -> IFS:
        """System s without its padding."""
        k = int(self.num_maps[s])
        return IFS(self.matrices[s, :k], self.offsets[s, :k], self.probabilities[s, :k])


def uniform(rng: np.random.Generator, count: int, *, dim: int = 3, min_maps: int = 2, max_maps: int = 7) -> SystemBatch:
    """The papers' distribution: the number of maps uniform in min_maps..max_maps, every entry uniform in (-1, 1).

    These maps need not contract: 866 of the 1,000 2D systems of FractalDB-1k have a map that expands.
    (FractalDB, ACCV 2020, section 3.1; PC-FractalDB, CVPR 2022, section 3.1.)
    """
    num_maps = rng.integers(min_maps, max_maps + 1, count)
    entries = rng.uniform(-1, 1, (count, max_maps, dim, dim + 1))
    return SystemBatch.from_maps(entries[..., :dim], entries[..., dim], num_maps)


def contractive(
    rng: np.random.Generator, count: int, *, dim: int = 3, min_maps: int = 2, max_maps: int = 7
) -> SystemBatch:
    """Contractive by construction: A = U diag(s) V, U and V orthogonal, singular values 1 >= s_1 >= ... >= s_D >= 0.

    The values of a system's K maps are drawn so that sum_k (s_k1 + 2 s_k2) is a number alpha, uniform in
    ((5 + K) / 2, (6 + K) / 2): the sigma factor of Anderson & Farrell, WACV 2022, section 3.1. In 3D, which they do not
    cover, the sum is s_k1 + 2 s_k2 + 3 s_k3 and alpha is doubled, the same share of its maximum. Offsets are uniform in
    (-1, 1).
    """
    num_maps = rng.integers(min_maps, max_maps + 1, count)
    weights = np.arange(1, dim + 1)
    largest = weights.sum()
    remaining = rng.uniform((5 + num_maps) / 2, (6 + num_maps) / 2) * (largest / 3)
    remaining = np.minimum(remaining, num_maps * largest)  # a single map cannot take more
    values = np.zeros((count, max_maps, dim))
    for k in range(max_maps):
        later = np.maximum(num_maps - 1 - k, 0)  # remaining maps, each of which can take up to `largest`
        share = _between(rng, np.maximum(remaining - later * largest, 0), np.minimum(remaining, largest))
        share = np.where(k < num_maps, share, 0.0)
        remaining = remaining - share
        smallest = np.zeros(count)
        for d in range(dim - 1, -1, -1):  # s_d leaves values for s_1..s_{d-1} that lie between it and 1
            rest = weights[:d].sum()
            low = np.maximum(smallest, (share - rest) / weights[d])
            values[:, k, d] = smallest = _between(rng, low, share / (rest + weights[d]))
            share = share - weights[d] * smallest
    matrices = _with_singular_values(rng, values)
    offsets = rng.uniform(-1, 1, (count, max_maps, dim))
    return SystemBatch.from_maps(matrices, offsets, num_maps)


def filtered(
    rng: np.random.Generator, count: int, *, dim: int = 3, min_maps: int = 2, max_maps: int = 7
) -> SystemBatch:
    """Contractive systems whose parameters promise a cloud that is neither flat, nor dust, nor that of one map alone.

    A = U diag(s) V with U and V orthogonal; the singular values of a system's maps are uniform in (0, top), top being
    uniform in `_TOP`. Of these, what a limit forbids is drawn again; no point is drawn. The limits are chosen so that
    the variance check refuses little whatever the number of maps, and are loose, since narrow ones cost variety:

    - s_1 <= `_MAX_CONDITION` s_D for each map: none flattens space.
    - The mean of s^2, maps weighted by their probabilities, is at most `_MAX_SQUARE`: systems that hardly contract have
      long tails, which the normalisation shrinks.
    - The exponential of the entropy of the probabilities is at least `_MIN_BALANCE` K: most of the K maps are played.
    - sum_k |det A_k|^(d/D) >= 1 for d = `_MIN_DIMENSION`: similarities of these volumes would have dimension d or more.

    K is drawn first and kept, so that no limit favours a number of maps. Offsets are uniform in (-1, 1). (Filters on
    parameters alone: How to Sample High-Quality 3D Fractals, arXiv 2602.11810; the limits are our own.)

    Raises:
        ValueError: If min_maps is 1; one map that contracts is a point.
    """
    if min_maps < 2:
        raise ValueError(f"filtered systems have at least 2 maps, got min_maps = {min_maps}")
    num_maps = rng.integers(min_maps, max_maps + 1, count)
    values, undecided = np.zeros((count, max_maps, dim)), np.arange(count)
    while len(undecided):
        drawn = _well_conditioned(rng, rng.uniform(*_TOP, (len(undecided), 1, 1)), max_maps, dim)
        passed = _promising(drawn, num_maps[undecided])
        values[undecided[passed]] = drawn[passed]
        undecided = undecided[~passed]
    matrices = _with_singular_values(rng, values)
    offsets = rng.uniform(-1, 1, (count, max_maps, dim))
    return SystemBatch.from_maps(matrices, offsets, num_maps)


def perturbed(rng: np.random.Generator, count: int, *, base: IFS, delta: float = 0.1) -> SystemBatch:
    """Variants of one system: every entry of every map of `base` times its own factor in (1 - delta, 1 + delta).

    The probabilities are those of `base`, not recomputed. (1p-frac, ECCV 2024, section 3.)
    """
    factors = rng.uniform(1 - delta, 1 + delta, (count, base.num_maps, base.dim, base.dim + 1))
    return SystemBatch(
        base.matrices * factors[..., : base.dim],
        base.offsets * factors[..., base.dim],
        np.full(count, base.num_maps),
        np.broadcast_to(base.probabilities / base.probabilities.sum(), (count, base.num_maps)),
    )


def _between(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return low + (high - low) * rng.random(len(low))


def _well_conditioned(rng: np.random.Generator, top: np.ndarray, num_maps: int, dim: int) -> np.ndarray:
    """Singular values of [S, num_maps] maps, falling, uniform in (0, top), with those too far apart drawn again."""
    values = np.zeros((len(top), num_maps, dim))
    again = np.ones(values.shape[:2], bool)
    while again.any():
        values[again] = -np.sort(-rng.random((int(again.sum()), dim)))
        again = values[..., 0] > _MAX_CONDITION * values[..., -1]
    return values * top


def _promising(values: np.ndarray, num_maps: np.ndarray) -> np.ndarray:
    """Which systems pass the limits of `filtered` that concern all their maps, [S]; values [S, K, D]."""
    dim = values.shape[-1]
    volumes = np.where(np.arange(values.shape[1]) < num_maps[:, None], values.prod(axis=-1), 0.0)
    probabilities = volumes / volumes.sum(axis=1, keepdims=True)
    square = (probabilities * (values**2).mean(axis=-1)).sum(axis=1)
    scattered = (volumes ** (_MIN_DIMENSION / dim)).sum(axis=1) < 1
    return (square <= _MAX_SQUARE) & (effective_maps(probabilities) >= _MIN_BALANCE * num_maps) & ~scattered


def _with_singular_values(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Matrices with given singular values [..., D], and uniform orthogonal ones on both sides."""
    left, right = (_orthogonal(rng, values.shape[:-1], values.shape[-1]) for _ in range(2))
    return (left * values[..., None, :]) @ right


def _orthogonal(rng: np.random.Generator, batch: tuple[int, ...], dim: int) -> np.ndarray:
    """Uniform (Haar) orthogonal matrices, reflections included: QR of Gaussians with the signs of R's diagonal."""
    q, r = np.linalg.qr(rng.standard_normal((*batch, dim, dim)))
    return q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
