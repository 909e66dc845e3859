"""The released searches, bit for bit: legacy random streams, order of draws, and each quirk in one named place.

Both scripts play a single orbit in float64 from the origin and draw all their uniforms at once, from NumPy's legacy
global generator (here a `RandomState` passed by the caller). The quirks:

- `_play`: map k is the first whose running sum of probabilities reaches u; if rounding leaves u above the last sum, no
  map is applied and the previous point is repeated.
- 2D stores the origin itself as point 0; 3D does not, so n iterations give n - 1 points.
- `cut_before_nan` (2D): where x, then y, holds NaN, the hundred points before the first NaN are removed too.
- `center_by_wrong_count` (3D): the mean divides by the number of iterations, one more than there are points.
- `accept_3d`: only the y axis is checked for NaN.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.ifs import IFS
from pcfdsl.jit import kernel

__all__ = [
    "Accepted",
    "accept_3d",
    "center_by_wrong_count",
    "cut_before_nan",
    "filling_rate_2d",
    "normalize_3d",
    "orbit",
    "pixels",
    "search_2d",
    "search_3d",
]


@dataclass(frozen=True, eq=False)
class Accepted:
    """A category of a released search: the system, its three variances or its filling rate, and the number of
    candidates drawn so far, itself included.
    """

    ifs: IFS
    values: tuple[float, ...]
    num_candidates: int


def search_2d(
    random: np.random.RandomState,
    *,
    threshold: float = 0.2,
    num_points: int = 100_000,
    size: int = 512,
    workers: int = 2,
) -> Iterator[Accepted]:
    """FractalDB's category search, endless: `RandomState(1)` yields the 1,000 released categories in order.

    Draws are inherently sequential; `workers` threads count pixels meanwhile (the kernels release the GIL).
    """
    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        for number in itertools.count(1):
            ifs = _draw(random, 2)
            uniforms = random.random_sample(num_points)
            pending.append((number, ifs, pool.submit(filling_rate_2d, ifs, uniforms, size=size)))
            if len(pending) >= 4 * workers:  # bounds the uniforms held in memory
                done, found, rate = pending.popleft()
                if rate.result() >= threshold:
                    yield Accepted(found, (rate.result(),), done)


def search_3d(
    random: np.random.RandomState, *, threshold: float = 0.15, num_points: int = 10_000
) -> Iterator[Accepted]:
    """The category search of PC-FractalDB and MV-FractalDB, endless."""
    for number in itertools.count(1):
        ifs = _draw(random, 3)
        with np.errstate(invalid="ignore", over="ignore"):  # diverged orbits reach the check, as released
            points = normalize_3d(orbit(ifs, random.uniform(size=num_points)), num_iterations=num_points)
        if accept_3d(points, threshold):
            yield Accepted(ifs, tuple(points.var(axis=0).tolist()), number)


def _draw(random: np.random.RandomState, dim: int) -> IFS:
    """Number of maps from randint(2, 8), then one call per map for its matrix (row by row) and offset."""
    num_maps = random.randint(2, 8)
    entries = np.stack([random.uniform(-1, 1, dim * (dim + 1)) for _ in range(num_maps)])
    matrices, offsets = entries[:, : dim * dim].reshape(-1, dim, dim), entries[:, dim * dim :]
    return IFS(matrices, offsets, _probabilities(matrices))


def _probabilities(matrices: np.ndarray) -> np.ndarray:
    """|det| over their sum, with 2D determinants as a d - b c: LAPACK's differ in the last bit."""
    if matrices.shape[1] == 2:
        volumes = np.abs(matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0])
    else:
        volumes = np.abs(np.linalg.det(matrices))
    return volumes / sum(volumes)


def orbit(ifs: IFS, uniforms: np.ndarray, *, keep_start: bool | None = None) -> np.ndarray:
    """The released chaos game, float64 [len(uniforms), 2] with the origin first, or [len(uniforms) - 1, 3] without it.

    Args:
        ifs: The system; its probabilities are summed left to right.
        uniforms: One per iteration; the last is unused.
        keep_start: Whether point 0 is the origin; the released choice by default.
    """
    points = np.zeros((len(uniforms), ifs.dim))
    _play(ifs.matrices, ifs.offsets, np.cumsum(ifs.probabilities), uniforms, points)
    keep_start = ifs.dim == 2 if keep_start is None else keep_start
    return points if keep_start else points[1:]


@kernel
def _play(matrices, offsets, cumulative, uniforms, points):
    num_maps = len(cumulative)
    for i in range(1, len(points)):
        k = 0
        for j in range(num_maps):  # first map reached, without a branch that could be mispredicted
            k += 1 if uniforms[i - 1] > cumulative[j] else 0
        if k == num_maps:
            points[i] = points[i - 1]
        elif points.shape[1] == 2:
            x, y = points[i - 1, 0], points[i - 1, 1]
            points[i, 0] = matrices[k, 0, 0] * x + matrices[k, 0, 1] * y + offsets[k, 0]
            points[i, 1] = matrices[k, 1, 0] * x + matrices[k, 1, 1] * y + offsets[k, 1]
        else:
            x, y, z = points[i - 1, 0], points[i - 1, 1], points[i - 1, 2]
            for d in range(3):
                points[i, d] = matrices[k, d, 0] * x + matrices[k, d, 1] * y + matrices[k, d, 2] * z + offsets[k, d]


def filling_rate_2d(ifs: IFS, uniforms: np.ndarray, *, size: int = 512, pad: int = 6) -> float:
    """Share of inked pixels as the released search counts it: orbit, `cut_before_nan`, rescale, truncate."""
    points = orbit(ifs, uniforms)
    if not np.isfinite(points[-1]).all():
        points = cut_before_nan(cut_before_nan(points, axis=0), axis=1)
    if not len(points):
        return 0.0
    return _count_pixels(points, size, pad) / (size * size)


def cut_before_nan(points: np.ndarray, *, axis: int) -> np.ndarray:
    """Points without the NaNs of one axis and without the hundred points before the first NaN."""
    nan = np.flatnonzero(np.isnan(points[:, axis]))
    if not len(nan):
        return points
    return np.delete(points, np.union1d(np.arange(max(nan[0] - 100, 0), nan[0]), nan), axis=0)


@kernel
def _count_pixels(points, size, pad):
    columns = pixels(points[:, 0], size, pad)
    rows = pixels(points[:, 1], size, pad)
    inked = np.zeros((size, size), np.bool_)
    count = 0
    for i in range(len(points)):
        if rows[i] < size and columns[i] < size and not inked[rows[i], columns[i]]:
            inked[rows[i], columns[i]] = True
            count += 1
    return count


@kernel
def pixels(values, size, pad):
    """Released rescaling of one axis; the minimum is subtracted only if negative, and the cast truncates.

    Returns int64 [N]; 65536 where the coordinate has no pixel.
    """
    low = high = values[0]
    for v in values:
        low, high = min(low, v), max(high, v)
    shift = min(low, 0.0)
    found = np.empty(len(values), np.int64)
    for i in range(len(values)):
        v = (values[i] - shift) / (high - low) * float(size - 2 * pad) + float(pad)
        found[i] = int(v) if 0 <= v < 65536 else 65536
    return found


def normalize_3d(points: np.ndarray, *, num_iterations: int) -> np.ndarray:
    """Joint min-max to [-1, 1], then `center_by_wrong_count`. NaN passes through."""
    low, high = points.min(), points.max()
    return center_by_wrong_count(2 * ((points - low) / (high - low)) - 1, num_iterations=num_iterations)


def center_by_wrong_count(points: np.ndarray, *, num_iterations: int) -> np.ndarray:
    """Subtract sum / num_iterations per axis; there are fewer points than that, so a small offset remains."""
    return points - points.sum(axis=0) / num_iterations


def accept_3d(points: np.ndarray, threshold: float) -> bool:
    """Population variance of every axis above the threshold, and no NaN on the y axis."""
    return bool((points.var(axis=0) > threshold).all()) and not np.isnan(points[:, 1]).any()
