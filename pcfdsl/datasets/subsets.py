"""Limited data: nested subsets of a training set."""

import math

import numpy as np

from pcfdsl.rng import stream

__all__ = ["nested_subset"]


def nested_subset(num_scenes: int, fraction: float, *, seed: int = 0) -> np.ndarray:
    """Choose a fraction of a set; smaller fractions are subsets of larger ones.

    Args:
        num_scenes: Size of the set.
        fraction: In (0, 1]; the number of scenes is rounded up.
        seed: Each seed gives other nested subsets. Keep it fixed when comparing runs.

    Returns:
        [ceil(fraction * num_scenes)] int64, ascending.

    Raises:
        ValueError: If the fraction is not in (0, 1].

    >>> small, large = nested_subset(400, 0.1), nested_subset(400, 0.25)
    >>> len(small), len(large), set(small) <= set(large)
    (40, 100, True)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the train fraction is {fraction}; expected more than 0 and at most 1")
    # rounded before the ceiling, since 0.07 * 100 is 7.000000000000001
    num_kept = min(num_scenes, math.ceil(round(fraction * num_scenes, 9)))
    return np.sort(stream(seed, "train subset", num_scenes).permutation(num_scenes)[:num_kept])
