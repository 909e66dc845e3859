"""Category search: draw systems until one passes a check. Category k depends on (config, seed, k) alone.

`search_category` finds 3D systems by the variance check, `search_by_filling` 2D systems by the filling rate.

At variance threshold 0.15 one draw in about 5,500 is accepted, so nearly all the work is rejection. `screen` rejects in
a few microseconds what is certain to fail in the limit of many points:

- A system that does not contract in mean square has no variance to check; its clouds are a few distant outliers.
- The exact variance (formula/moments.py) over the squared extent of the orbit's first points bounds the normalised
  variance from above, since more points can only widen the extent.

The variance of N points scatters around the exact one (above it by up to 14 % among the 3,581 of 57,344 draws that pass
at 0.02), so the bound has a margin of 25 %. The remaining systems are decided by the check itself, on `num_points`
points of the same orbit. Where these are fewer than the 2,048 of the bound, the bound is the stricter of the two: it
refuses systems that pass by the chance of few points (of 100 points, three in four at 0.05).

At filling rate 0.2 (512 px, 100,000 points) one draw in about 40 is accepted, and no test cheaper than drawing the
picture predicts which: the first 10,000 points of accepted systems fill it no differently from those of most rejects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import NUM_LANES, chaos_game, choice_thresholds, draw_states, play, tabulate
from pcfdsl.formula.measures import filling_rate, scaled_variances
from pcfdsl.formula.moments import moments, solve_moments
from pcfdsl.formula.sample import SystemBatch, contractive, filtered, uniform
from pcfdsl.jit import kernel
from pcfdsl.rng import stream

__all__ = [
    "CategorySearch",
    "FillingSearch",
    "FillingSearchConfig",
    "SearchConfig",
    "checked_orbit",
    "given_systems",
    "screen",
    "search_by_filling",
    "search_category",
]

_BLOCK, _FEW = 1024, 32  # systems drawn at once; few where most pass
_MARGIN = 1.25
_BURN_IN = 16
_PREFIXES = np.array([256, 2048])  # numbers of points at which the bound is checked
_SURVIVED, _NO_VARIANCE, _BOUNDED, _DIVERGED = range(4)
_REASONS = {
    _NO_VARIANCE: "not_contracting",
    _BOUNDED: "too_flat_exactly",
    _DIVERGED: "diverged",
}


@dataclass(frozen=True, kw_only=True)
class _DrawConfig:
    """How the systems of a search are drawn."""

    sampler: Literal["uniform", "contractive", "filtered"] = option(
        "uniform", "how systems are drawn: as released, contractive, or contractive with limits that keep sets varied"
    )
    min_maps: int = option(2, "fewest maps of a system", minimum=1, maximum=64)
    max_maps: int = option(7, "most maps of a system", minimum=1, maximum=64)
    max_draws: int = option(1_000_000, "draws per category before the search gives up", minimum=1)

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        if self.min_maps > self.max_maps:
            yield "min_maps", f"is {self.min_maps}, more than max_maps = {self.max_maps}"
        if self.sampler == "filtered" and self.min_maps < 2:
            yield "min_maps", "is 1, but sampler=filtered needs at least 2, since one map that contracts is a point"

    def sampler_of(self, seed: int, category: int) -> Callable[..., SystemBatch]:
        """How the systems of a category are drawn: (rng, count, dim=...) -> SystemBatch.

        In a filtered category all draws have the same number of maps, drawn uniformly beforehand: the check, which
        systems of two maps pass most easily, cannot choose it.
        """
        low, high = self.min_maps, self.max_maps
        if self.sampler == "filtered":
            low = high = int(stream(seed, "category", category, "maps").integers(low, high + 1))
        draw = {"uniform": uniform, "contractive": contractive, "filtered": filtered}[self.sampler]
        return partial(draw, min_maps=low, max_maps=high)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(_DrawConfig):
    """How categories are found."""

    variance_threshold: float = option(0.15, "each axis' variance must exceed this", minimum=0.0)
    num_points: int = option(10_000, "points used by the variance check", minimum=100, maximum=10_000_000)


@dataclass(frozen=True, eq=False)
class CategorySearch:
    """Result of a search.

    Attributes:
        ifs: The accepted system.
        variances: Its three variances in the check.
        num_draws: Systems drawn, the accepted one included; what the filtered sampler refuses is not counted.
        rejected: Number of rejected systems by reason: `not_contracting` in mean square, `too_flat_exactly` by the
            exact variance, `diverged` during iteration, `too_flat` by the points.
    """

    ifs: IFS
    variances: tuple[float, ...]
    num_draws: int
    rejected: dict[str, int] = field(default_factory=dict)


def given_systems(systems: Sequence[IFS] | None, *, number: int, dim: int) -> dict[int, IFS]:
    """Systems that are there already, by category; none if they are to be searched for.

    Raises:
        ConfigError: If there are more or fewer than `number`, or one has another dimension.
    """
    if systems is None:
        return {}
    if len(systems) != number:
        raise ConfigError([("num_categories", f"is {number}, but {len(systems)} were given; set it to that")])
    for k, ifs in enumerate(systems):
        if ifs.dim != dim:
            raise ConfigError([("categories", f"number {k} is {ifs.dim}D; this set needs {dim}D systems")])
    return dict(enumerate(systems))


def search_category(config: SearchConfig, seed: int, category: int) -> CategorySearch:
    """First system of the category's own stream that passes the screen and then the variance check.

    The checked orbit starts at the exact mean, discards `_BURN_IN` steps, and has `num_points` points.

    Raises:
        ConfigError: If none of `max_draws` systems passes; the message counts the rejections by reason.
    """
    rejected = dict.fromkeys((*_REASONS.values(), "too_flat"), 0)
    draw, block = config.sampler_of(seed, category), _FEW if config.sampler == "filtered" else _BLOCK
    for first in range(0, config.max_draws, block):
        rng = stream(seed, "category", category, first)
        batch, states = draw(rng, block), draw_states(rng, block)
        codes = screen(batch, states, config.variance_threshold)[: config.max_draws - first]
        decided = 0
        for s in np.flatnonzero(codes == _SURVIVED).tolist():
            _count(rejected, codes[decided:s])
            decided = s + 1
            variances = scaled_variances(checked_orbit(batch[s], states[s], config.num_points))
            if min(variances) > config.variance_threshold:
                return CategorySearch(batch[s], variances, first + decided, rejected)
            rejected["too_flat"] += 1
        _count(rejected, codes[decided:])
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items() if count)
    message = (
        f"category {category}: none of {config.max_draws} systems passed at {config.variance_threshold} ({reasons}); "
        "lower it (at 0.15 about 1 uniform draw in 5,500 passes) or raise max_draws"
    )
    raise ConfigError([("variance_threshold", message)])


def checked_orbit(ifs: IFS, states: np.ndarray, num_points: int) -> np.ndarray:
    """The points for the variance check, float64 [N, D]; `screen` uses the first of them."""
    table, last_words = tabulate(ifs, np.float64)
    exact = moments(ifs)
    if exact is None:
        raise ValueError("a system that does not contract in mean square has no mean to start from")
    skipped = (_BURN_IN + 1) * NUM_LANES
    orbit = np.empty((skipped + num_points, ifs.dim))
    orbit[:NUM_LANES] = exact.mean
    return orbit[skipped : max(play(table, last_words, states, orbit), skipped)]


def screen(batch: SystemBatch, states: np.ndarray, threshold: float) -> np.ndarray:
    """Code of the reason to reject each system of the batch, int64 [S]; 0 if only the check itself can decide."""
    codes = np.empty(len(batch), np.int64)
    tables = np.concatenate([batch.matrices, batch.offsets[..., None]], axis=-1)
    last_words = choice_thresholds(batch.probabilities)
    _screen(batch.matrices, batch.offsets, batch.probabilities, tables, last_words, states, threshold / _MARGIN, codes)
    return codes


def _count(rejected: dict[str, int], codes: np.ndarray) -> None:
    for code, reason in _REASONS.items():
        rejected[reason] += int((codes == code).sum())


@kernel
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
        for prefix in _PREFIXES:  # a longer prefix replays the shorter one: cheaper than saving generator states
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


@dataclass(frozen=True, kw_only=True)
class FillingSearchConfig(_DrawConfig):
    """How 2D categories are found; the threshold is meaningful only together with the size and number of points."""

    filling_threshold: float = option(0.2, "least share of inked pixels", minimum=0.0, maximum=1.0)
    image_size: int = option(512, "side of the picture that the check draws, pixels", minimum=16, maximum=8_192)
    num_points: int = option(100_000, "points that the check draws", minimum=100, maximum=100_000_000)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from super().inconsistencies()
        if self.num_points < self.filling_threshold * self.image_size**2:
            yield (
                "filling_threshold",
                f"{self.filling_threshold} of {self.image_size} x {self.image_size} pixels is more than "
                f"num_points = {self.num_points} points can ink",
            )


@dataclass(frozen=True, eq=False)
class FillingSearch:
    """Result of a 2D search: the system, its filling rate in the check, and the number of systems drawn, itself
    included.
    """

    ifs: IFS
    filling_rate: float
    num_draws: int


_FILLING_BLOCK = 64


def search_by_filling(config: FillingSearchConfig, seed: int, category: int) -> FillingSearch:
    """First system of the category's own stream whose picture is full enough (FractalDB, ACCV 2020, section 3.1).

    Raises:
        ConfigError: If none of `max_draws` systems passes.
    """
    pad = 6 * config.image_size // 512  # the released padding, scaled
    draw = config.sampler_of(seed, category)
    for first in range(0, config.max_draws, _FILLING_BLOCK):
        rng = stream(seed, "category", category, first)
        batch = draw(rng, _FILLING_BLOCK, dim=2)
        for s in range(min(_FILLING_BLOCK, config.max_draws - first)):
            orbit = chaos_game(batch[s], config.num_points, rng)
            rate = 0.0 if orbit.stopped else filling_rate(orbit.points, size=config.image_size, pad=pad)
            if rate >= config.filling_threshold:
                return FillingSearch(batch[s], rate, first + s + 1)
    message = (
        f"category {category}: none of {config.max_draws} systems filled {config.filling_threshold} of "
        f"{config.image_size} x {config.image_size} pixels with {config.num_points} points; lower it or raise max_draws"
    )
    raise ConfigError([("filling_threshold", message)])
