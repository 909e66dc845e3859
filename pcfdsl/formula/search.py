"""Category search: draw systems until one passes the variance check. Category k depends on (config, seed, k) alone.

At threshold 0.15 one draw in about 5,500 is accepted, so nearly all the work is saying no. `screen` says no at the
cost of a few microseconds where it cannot be wrong in the limit of many points:

- A system that does not contract in mean square has no variance to check; its clouds are a few far outliers.
- The exact variance (formula/moments.py) over the squared extent of the orbit's first points bounds the normalised
  variance from above, since more points can only widen the extent.

The variance of N points scatters around the exact one (above it by up to 14 % among the 3,581 of 57,344 draws that pass
at 0.02), so the bound is used with a margin of 25 %. What is left is decided by the check itself on `num_points` points
of the same orbit.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numba import njit

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.formula.accept import variance_check
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import NUM_LANES, choice_thresholds, draw_states, play, tabulate
from pcfdsl.formula.moments import moments, solve_moments
from pcfdsl.formula.sample import SystemBatch, contractive, uniform
from pcfdsl.rng import stream

__all__ = ["CategorySearch", "SearchConfig", "checked_orbit", "screen", "search_category"]

_BLOCK = 1024
_MARGIN = 1.25
_BURN_IN = 16
_PREFIXES = np.array([256, 2048])  # points after which the bound is looked at
_SURVIVED, _NO_VARIANCE, _BOUNDED, _DIVERGED = range(4)
_REASONS = {
    _NO_VARIANCE: "does not contract in mean square",
    _BOUNDED: "too flat by its exact variance",
    _DIVERGED: "diverged",
}


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How categories are found."""

    sampler: Literal["uniform", "contractive"] = option(
        "uniform", "How systems are drawn: as published, or contractive by construction."
    )
    min_maps: int = option(2, "Fewest maps of a system.", minimum=1, maximum=64)
    max_maps: int = option(7, "Most maps of a system.", minimum=1, maximum=64)
    variance_threshold: float = option(0.15, "Each axis' variance must exceed this.", minimum=0.0)
    num_points: int = option(10_000, "Points that the variance check looks at.", minimum=100)
    max_draws: int = option(1_000_000, "Draws per category before the search gives up.", minimum=1)

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for what no field shows alone."""
        if self.min_maps > self.max_maps:
            yield "min_maps", f"is {self.min_maps}, more than max_maps = {self.max_maps}"


@dataclass(frozen=True, eq=False)
class CategorySearch:
    """A category found.

    Attributes:
        ifs: The accepted system.
        variances: Its three variances in the check.
        num_draws: Systems drawn until then, the accepted one included.
        rejected: How many of them were rejected for which reason.
    """

    ifs: IFS
    variances: tuple[float, ...]
    num_draws: int
    rejected: dict[str, int] = field(default_factory=dict)


def search_category(config: SearchConfig, seed: int, category: int) -> CategorySearch:
    """First system of the category's own stream that passes the variance check.

    The orbit that is checked starts at the exact mean, runs `burn_in` steps unseen, and has `num_points` points.

    Raises:
        ConfigError: If `max_draws` systems were drawn in vain; the message says how many failed for which reason.
    """
    draw = {"uniform": uniform, "contractive": contractive}[config.sampler]
    rejected = dict.fromkeys((*_REASONS.values(), "too flat"), 0)
    for first in range(0, config.max_draws, _BLOCK):
        rng = stream(seed, "category", category, first)
        batch = draw(rng, _BLOCK, min_maps=config.min_maps, max_maps=config.max_maps)
        states = draw_states(rng, _BLOCK)
        codes = screen(batch, states, config.variance_threshold)[: config.max_draws - first]
        decided = 0
        for s in np.flatnonzero(codes == _SURVIVED).tolist():
            _count(rejected, codes[decided:s])
            decided = s + 1
            verdict = variance_check(checked_orbit(batch[s], states[s], config.num_points), config.variance_threshold)
            if verdict.accepted:
                return CategorySearch(batch[s], verdict.values, first + decided, rejected)
            rejected["too flat"] += 1
        _count(rejected, codes[decided:])
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items() if count)
    message = (
        f"category {category}: none of {config.max_draws} systems passed at {config.variance_threshold} ({reasons}); "
        "lower it (at 0.15 about 1 draw in 5,500 passes) or raise max_draws"
    )
    raise ConfigError([("variance_threshold", message)])


def checked_orbit(ifs: IFS, states: np.ndarray, num_points: int) -> np.ndarray:
    """The points that the variance check looks at, float64 [N, D]; `screen` looks at the first of them."""
    table, last_words = tabulate(ifs, np.float64)
    exact = moments(ifs)
    if exact is None:
        raise ValueError("a system that does not contract in mean square has no mean to start from")
    skipped = (_BURN_IN + 1) * NUM_LANES
    orbit = np.empty((skipped + num_points, ifs.dim))
    orbit[:NUM_LANES] = exact.mean
    return orbit[skipped : max(play(table, last_words, states, orbit), skipped)]


def screen(batch: SystemBatch, states: np.ndarray, threshold: float) -> np.ndarray:
    """Code of what rules each system of the batch out, int64 [S]; 0 where only the check itself can tell."""
    codes = np.empty(len(batch), np.int64)
    tables = np.concatenate([batch.matrices, batch.offsets[..., None]], axis=-1)
    last_words = choice_thresholds(batch.probabilities)
    _screen(batch.matrices, batch.offsets, batch.probabilities, tables, last_words, states, threshold / _MARGIN, codes)
    return codes


def _count(rejected: dict[str, int], codes: np.ndarray) -> None:
    for code, reason in _REASONS.items():
        rejected[reason] += int((codes == code).sum())


@njit(cache=True, nogil=True, error_model="numpy")
def _screen(matrices, offsets, probabilities, tables, last_words, states, threshold, codes):
    num_systems, _, dim = offsets.shape
    mean, covariance = np.empty(dim), np.empty((dim, dim))
    skipped = (_BURN_IN + 1) * NUM_LANES
    points = np.empty((skipped + _PREFIXES[-1], dim))
    for s in range(num_systems):
        if not solve_moments(matrices[s], offsets[s], probabilities[s], mean, covariance):
            codes[s] = _NO_VARIANCE
            continue
        variance = covariance[0, 0]
        for d in range(1, dim):
            variance = min(variance, covariance[d, d])
        codes[s] = _SURVIVED
        for prefix in _PREFIXES:  # a longer prefix repeats the shorter one: cheaper than keeping generator states
            orbit = points[: skipped + prefix]
            orbit[:NUM_LANES] = mean
            if play(tables[s], last_words[s], states[s], orbit) < len(orbit):
                codes[s] = _DIVERGED
                break
            low = high = orbit[skipped, 0]
            for i in range(skipped, len(orbit)):
                for d in range(dim):
                    low, high = min(low, orbit[i, d]), max(high, orbit[i, d])
            if not 4 * variance > threshold * (high - low) ** 2:
                codes[s] = _BOUNDED
                break
