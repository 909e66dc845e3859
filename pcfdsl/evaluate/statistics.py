"""Means over seeds and repeats, with what they are worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

__all__ = ["Summary", "paired_difference", "summarize"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A mean and its uncertainty.

    Attributes:
        mean: Of the values.
        deviation: Sample standard deviation (n - 1); None for a single value, which tells nothing about it.
        low: Lower end of the confidence interval of the mean by Student's t; None for a single value.
        high: Its upper end; likewise.
        num_values: n.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    num_values: int

    def format(self, scale: float = 1.0, digits: int = 1) -> str:
        """`mean ± deviation`, both times `scale`; the mean alone where there is no deviation.

        >>> summarize([0.5, 0.52, 0.54]).format(100)
        '52.0 ± 2.0'
        """
        mean = f"{scale * self.mean:.{digits}f}"
        return mean if self.deviation is None else f"{mean} ± {scale * self.deviation:.{digits}f}"

    def interval(self, scale: float = 1.0, *, sign: str = "+") -> str:
        """`low to high`, both times `scale`, with their signs unless `sign` is ""; empty for a single value."""
        if self.low is None or self.high is None:
            return ""
        return f"{scale * self.low:{sign}.1f} to {scale * self.high:{sign}.1f}"

    def gain(self, scale: float = 1.0) -> str:
        """A difference with its interval, both times `scale`.

        >>> paired_difference([0.5, 0.52, 0.54], [0.48, 0.51, 0.52]).gain(100)
        '+1.7 (+0.2 to +3.1)'
        """
        mean, interval = f"{scale * self.mean:+.1f}", self.interval(scale)
        return f"{mean} ({interval})" if interval else mean


def summarize(values: Sequence[float], *, confidence: float = 0.95) -> Summary:
    """Mean, deviation and interval of independent runs (seeds).

    Repeats that share a trained network are not independent: take their mean first, and summarize over networks.

    Raises:
        ValueError: If there are no values, one is not finite, or the confidence is not between 0 and 1.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"values are {values!r}; expected one or more finite numbers: leave failed runs out by name")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")
    mean, num_values = float(array.mean()), len(array)
    if num_values == 1:
        return Summary(mean=mean, deviation=None, low=None, high=None, num_values=1)
    deviation = float(array.std(ddof=1))
    half = float(stdtrit(num_values - 1, (1 + confidence) / 2)) * deviation / math.sqrt(num_values)
    return Summary(mean=mean, deviation=deviation, low=mean - half, high=mean + half, num_values=num_values)


def paired_difference(values: Sequence[float], baseline: Sequence[float], *, confidence: float = 0.95) -> Summary:
    """Summary of values[i] - baseline[i]; pair i shares its seed, so that what the seed does to both cancels.

    Raises:
        ValueError: If the lengths differ, or as `summarize`.
    """
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values and {len(baseline)} of the baseline; expected one of each per seed")
    return summarize([value - other for value, other in zip(values, baseline, strict=True)], confidence=confidence)
