"""From a category's system to an instance: FractalNoiseMix, weighted parameters, rotation, scale and jitter."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import NUM_LANES, draw_states, play, start_point, tabulate
from pcfdsl.formula.normalize import axis_means, center_min_max_joint, is_one_point, shift_and_scale
from pcfdsl.jit import kernel

__all__ = ["Augmentation", "MixConfig", "Playable", "augment", "mix", "num_weightings", "remember", "weighted"]

_BURN_IN = 16


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """FractalNoiseMix: part of every instance is a cloud of another category."""

    noise_ratio: float = option(0.2, "share of the points that comes from the partner", minimum=0.0, maximum=0.95)

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Variation on top of the mix; nothing by default, as released."""

    parameter_step: float = option(
        0.0,
        "step of MV-FractalDB's weights: one matrix entry or offset, in all maps, times 1 + m * step; 0: none",
        minimum=0.0,
        maximum=1.0,
    )
    parameter_steps: int = option(6, "largest |m| of those weights; 6 steps of 0.1 are the released 145", minimum=1)
    rotation: bool = option(False, "rotate each cloud by a uniform angle about z")
    scale: float = option(0.0, "stretch each axis by its own factor, uniform in 1 -/+ this", minimum=0.0, maximum=0.9)
    jitter: float = option(0.0, "standard deviation of Gaussian noise on each coordinate", minimum=0.0)

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True, eq=False)
class Playable:
    """A system prepared for many short games: float32 table, choice thresholds and start."""

    table: np.ndarray
    thresholds: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, ifs: IFS) -> "Playable":
        """Prepare a system."""
        table, thresholds = tabulate(ifs, np.float32)
        return cls(table, thresholds, start_point(ifs).astype(np.float32))


def mix(
    main: Playable, partner: Playable, num_points: int, rng: np.random.Generator, *, noise_ratio: float
) -> np.ndarray | None:
    """One FractalNoiseMix cloud, float32 [N, 3], its mean at the origin, about within [-1.2, 1.2]; None if degenerate.

    Both clouds are normalised (joint min-max to [-1, 1]), centred on their own means, concatenated, main points first,
    and centred again. No second min-max follows, as released. (PC-FractalDB, CVPR 2022, section 3.2.)

    A cloud is degenerate if it has no finite extent: the orbit diverged, or never left a point.
    """
    points = np.empty((num_points, 3), np.float32)
    num_main = max(1, num_points - round(num_points * noise_ratio))
    games = (main.table, main.thresholds, main.start, partner.table, partner.thresholds, partner.start)
    return points if _mix(*games, draw_states(rng, 2), num_main, points) else None


@kernel
def _mix(table, thresholds, start, partner_table, partner_thresholds, partner_start, states, num_main, points):
    if not _fill(table, thresholds, start, states[0], points[:num_main]):
        return False
    if num_main == len(points):
        return True
    if not _fill(partner_table, partner_thresholds, partner_start, states[1], points[num_main:]):
        return False
    shift_and_scale(points, axis_means(points), np.float32(1))
    return True


@kernel
def _fill(table, thresholds, start, states, points):
    """Fill `points` with a normalised, centred orbit; False if it diverged or has no extent."""
    skipped = (_BURN_IN + 1) * NUM_LANES
    orbit = np.empty((skipped + len(points), 3), np.float32)
    orbit[:NUM_LANES] = start
    if play(table, thresholds, states, orbit) < len(orbit):
        return False
    if len(points) > 1 and is_one_point(orbit[skipped:]):
        return False
    return center_min_max_joint(orbit[skipped:], points)


_REMEMBERED = 32_768  # of 900 bytes each: room for the categories of large sets


def remember(cache: OrderedDict[Any, Playable], key: Any, playable: Playable) -> None:
    """Put a system into a cache; beyond 30 MB the oldest go. To prepare one again takes about as long as a cloud."""
    cache[key] = playable
    if len(cache) > _REMEMBERED:
        cache.popitem(last=False)


def num_weightings(ifs_dim: int, steps: int) -> int:
    """Number of weightings of `weighted`: the identity, and +-1..+-steps for each parameter."""
    return 1 + ifs_dim * (ifs_dim + 1) * 2 * steps


def weighted(ifs: IFS, weighting: int, *, step: float, steps: int) -> IFS:
    """The system with one of its D(D+1) parameters scaled in every map and the same probabilities (MV-FractalDB).

    Args:
        ifs: The system.
        weighting: 0 is the identity; see `num_weightings` for the range.
        step, steps: The factor is 1 + m * step with m in -steps..steps without 0.
    """
    if weighting == 0:
        return ifs
    parameter, which = divmod(weighting - 1, 2 * steps)
    magnitude = which // 2 + 1
    factor = 1 + (magnitude if which % 2 == 0 else -magnitude) * step
    rows = np.concatenate([ifs.matrices.reshape(ifs.num_maps, -1), ifs.offsets], axis=1)
    rows[:, parameter] *= factor
    entries = ifs.dim * ifs.dim
    return IFS(rows[:, :entries].reshape(ifs.matrices.shape), rows[:, entries:], ifs.probabilities)


def augment(points: np.ndarray, rng: np.random.Generator, config: Augmentation) -> np.ndarray:
    """Apply rotation about z, per-axis scale and jitter, in this order, if enabled; float32 [N, 3]."""
    if config.rotation:
        angle = rng.uniform(-np.pi, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        points = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)
    if config.scale:
        points = points * rng.uniform(1 - config.scale, 1 + config.scale, 3).astype(np.float32)
    if config.jitter:
        points = points + rng.standard_normal(points.shape, dtype=np.float32) * np.float32(config.jitter)
    return points
