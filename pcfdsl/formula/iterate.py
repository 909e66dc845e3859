"""The chaos game: iterate x -> A_k x + b_k with k drawn at random, and keep every point.

An orbit is a chain of dependent operations, which leaves most of a core idle. `chaos_game` therefore plays `NUM_LANES`
independent orbits side by side, with one start in common and a random generator each, and stores their points
interleaved: point i follows from point i - NUM_LANES. The first n points do not depend on the number requested.

Map choices come from xoshiro128++ (Blackman & Vigna 2021), one 128-bit state per lane, seeded by the caller's NumPy
generator. Map k is chosen if u falls into its share of the 2**32 values, so probabilities are exact to 2**-32.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import check_argument
from pcfdsl.formula.ifs import IFS
from pcfdsl.jit import kernel

__all__ = [
    "NUM_LANES",
    "Orbit",
    "chaos_game",
    "chaos_game_reference",
    "choice_thresholds",
    "draw_states",
    "play",
    "start_point",
    "tabulate",
]

NUM_LANES = 16
_BLOCK = 64  # steps between checks for divergence; the choices of a block fit in the L1 cache


@dataclass(frozen=True, eq=False)
class Orbit:
    """Points of a chaos game.

    Attributes:
        points: [N, D]; fewer than requested if the orbit was stopped, and then all finite up to the last block.
        stopped: Why the game ended early, or None.
    """

    points: np.ndarray
    stopped: str | None = None


def chaos_game(
    ifs: IFS,
    num_points: int,
    rng: np.random.Generator,
    *,
    dtype: type = np.float32,
    burn_in: int = 16,
    start: Literal["fixed_point", "origin"] = "fixed_point",
) -> Orbit:
    """Points of the system's attractor, distributed as its invariant measure.

    Args:
        ifs: The system.
        num_points: N, at least 1.
        rng: Seeds the map choices: 64 words are drawn from it.
        dtype: np.float32 or np.float64, for the arithmetic and the result. Map choices do not depend on it.
        burn_in: Steps of every lane that are discarded.
        start: Where all lanes start: the fixed point of the strongest contraction (which lies on the attractor), or the
            origin, as released.

    Returns:
        The orbit; `stopped` is set if coordinates left the finite range.

    >>> from pcfdsl.rng import stream
    >>> square = IFS.from_maps(np.full((4, 2, 2), np.eye(2) / 2), [[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> chaos_game(square, 5000, stream(0)).points.mean(axis=0).round(1)
    array([1., 1.], dtype=float32)
    """
    check_argument("ifs", ifs, IFS)
    check_argument("rng", rng, np.random.Generator)
    if num_points < 1 or burn_in < 0:
        raise ValueError(f"num_points must be at least 1 and burn_in at least 0, got {num_points} and {burn_in}")
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be numpy.float32 or numpy.float64, got {dtype!r}")
    skipped = (burn_in + 1) * NUM_LANES  # the start itself is never kept
    points = np.empty((skipped + num_points, ifs.dim), dtype)
    points[:NUM_LANES] = start_point(ifs) if start == "fixed_point" else 0.0
    filled = play(*tabulate(ifs, dtype), draw_states(rng), points)
    if filled == len(points):
        return Orbit(points[skipped:])
    return Orbit(points[skipped : max(filled, skipped)], f"diverged within {filled // NUM_LANES} steps")


def start_point(ifs: IFS) -> np.ndarray:
    """Fixed point, [D], of the map of positive probability with the smallest spectral radius; the origin if none
    contracts.
    """
    radii = np.where(ifs.probabilities > 0, ifs.spectral_radii(), np.inf)
    strongest = int(radii.argmin())
    if radii[strongest] >= 1:
        return np.zeros(ifs.dim)
    return np.linalg.solve(np.eye(ifs.dim) - ifs.matrices[strongest], ifs.offsets[strongest])


def tabulate(ifs: IFS, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Input of the kernel: maps as (A | b), [K, D, D+1], and the thresholds of `choice_thresholds`, uint32 [K]."""
    table = np.concatenate([ifs.matrices, ifs.offsets[:, :, None]], axis=2).astype(dtype)
    return table, choice_thresholds(ifs.probabilities)


def choice_thresholds(probabilities: np.ndarray) -> np.ndarray:
    """The last 32-bit word that does not pass map k, uint32 [..., K].

    Maps of probability zero are not reached, but for those before all others, which the word 0 reaches.

    Args:
        probabilities: [..., K], summing to about 1.
    """
    cumulative = np.cumsum(probabilities, axis=-1)
    cumulative /= cumulative[..., -1:]
    return np.clip(np.ceil(cumulative * 2.0**32) - 1, 0, 2**32 - 1).astype(np.uint32)


def draw_states(rng: np.random.Generator, *batch: int) -> np.ndarray:
    """Random xoshiro128++ states, uint32 [*batch, 4, NUM_LANES]."""
    return rng.integers(2**32, size=(*batch, 4, NUM_LANES), dtype=np.uint32)


@kernel
def play(table, thresholds, states, points):
    """Fill points[NUM_LANES:] from the start in points[:NUM_LANES]; returns how many are filled before divergence.

    Args:
        table: [K, D, D+1], as `tabulate` returns it, of the dtype of `points`.
        thresholds: uint32 [K].
        states: uint32 [4, NUM_LANES]; not changed.
        points: [N, D], C-contiguous.
    """
    total, dim = points.shape
    state = states.copy().reshape(4 * NUM_LANES)
    choices = np.empty(_BLOCK * NUM_LANES, np.uint32)
    first = NUM_LANES
    while first < total:
        stop = min(first + _BLOCK * NUM_LANES, total)
        _choose(state, thresholds, choices)
        if dim == 2:
            _advance_2d(table, choices, points, first, stop)
        else:
            _advance_3d(table, choices, points, first, stop)
        for i in range(stop - NUM_LANES, stop):
            for d in range(dim):
                if not np.isfinite(points[i, d]):
                    return first
        first = stop
    return total


@kernel
def _choose(state, thresholds, choices):
    """Choose the maps of one block; the loops over lanes and block are simple enough for the compiler to vectorise."""
    words = np.empty(_BLOCK * NUM_LANES, np.uint32)
    for step in range(_BLOCK):
        for lane in range(NUM_LANES):
            s0, s1 = state[lane], state[NUM_LANES + lane]
            s2, s3 = state[2 * NUM_LANES + lane], state[3 * NUM_LANES + lane]
            mixed = np.uint32(s0 + s3)
            words[step * NUM_LANES + lane] = np.uint32(((mixed << np.uint32(7)) | (mixed >> np.uint32(25))) + s0)
            shifted = np.uint32(s1 << np.uint32(9))
            s2 ^= s0
            s3 ^= s1
            state[NUM_LANES + lane] = s1 ^ s2
            state[lane] = s0 ^ s3
            state[2 * NUM_LANES + lane] = s2 ^ shifted
            state[3 * NUM_LANES + lane] = np.uint32((s3 << np.uint32(11)) | (s3 >> np.uint32(21)))
    choices[:] = np.uint32(0)
    for k in range(len(thresholds) - 1):
        threshold = thresholds[k]
        for i in range(len(choices)):
            choices[i] += np.uint32(1) if words[i] > threshold else np.uint32(0)


@kernel
def _advance_2d(table, choices, points, first, stop):
    for i in range(np.uintp(stop - first)):  # unsigned indices avoid the check for negative ones
        k, to = np.uintp(choices[i]), np.uintp(first) + i
        x, y = points[to - np.uintp(NUM_LANES), 0], points[to - np.uintp(NUM_LANES), 1]
        points[to, 0] = (table[k, 0, 0] * x + table[k, 0, 1] * y) + table[k, 0, 2]
        points[to, 1] = (table[k, 1, 0] * x + table[k, 1, 1] * y) + table[k, 1, 2]


@kernel
def _advance_3d(table, choices, points, first, stop):
    for i in range(np.uintp(stop - first)):
        k, to = np.uintp(choices[i]), np.uintp(first) + i
        before = to - np.uintp(NUM_LANES)
        x, y, z = points[before, 0], points[before, 1], points[before, 2]
        points[to, 0] = (table[k, 0, 0] * x + table[k, 0, 1] * y) + (table[k, 0, 2] * z + table[k, 0, 3])
        points[to, 1] = (table[k, 1, 0] * x + table[k, 1, 1] * y) + (table[k, 1, 2] * z + table[k, 1, 3])
        points[to, 2] = (table[k, 2, 0] * x + table[k, 2, 1] * y) + (table[k, 2, 2] * z + table[k, 2, 3])


def chaos_game_reference(
    ifs: IFS,
    num_points: int,
    rng: np.random.Generator,
    *,
    dtype: type = np.float32,
    burn_in: int = 16,
    start: Literal["fixed_point", "origin"] = "fixed_point",
) -> np.ndarray:
    """`chaos_game` in plain NumPy, one step of all lanes at a time, bit for bit."""
    table, thresholds = tabulate(ifs, dtype)
    s0, s1, s2, s3 = draw_states(rng)
    points = np.empty((NUM_LANES, ifs.dim), dtype)
    points[:] = start_point(ifs) if start == "fixed_point" else 0.0
    steps = []
    for _ in range(burn_in - (-num_points // NUM_LANES)):
        words = _rotate(s0 + s3, 7) + s0
        shifted = s1 << np.uint32(9)
        s2, s3 = s2 ^ s0, s3 ^ s1
        s0, s1, s2, s3 = s0 ^ s3, s1 ^ s2, s2 ^ shifted, _rotate(s3, 11)
        chosen = table[np.searchsorted(thresholds, words)]
        terms = chosen[:, :, :-1] * points[:, None, :]
        if ifs.dim == 2:
            points = (terms[:, :, 0] + terms[:, :, 1]) + chosen[:, :, 2]
        else:
            points = (terms[:, :, 0] + terms[:, :, 1]) + (terms[:, :, 2] + chosen[:, :, 3])
        steps.append(points)
    return np.concatenate(steps[burn_in:])[:num_points]


def _rotate(words: np.ndarray, by: int) -> np.ndarray:
    return (words << np.uint32(by)) | (words >> np.uint32(32 - by))
