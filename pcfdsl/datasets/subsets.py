"""Limited data: fixed parts of a training set, each smaller one contained in every larger one."""

import math

import numpy as np

from pcfdsl.rng import stream

__all__ = ["nested_subset"]


def nested_subset(num_scenes: int, fraction: float, *, seed: int = 0) -> np.ndarray:
    """Which scenes belong to a fraction of a set.

    Args:
        num_scenes: Size of the whole set.
        fraction: In (0, 1]; a fraction of a scene counts as one scene.
        seed: Another seed draws other, again nested, subsets. Keep it fixed when runs are compared.

    Returns:
        [ceil(fraction * num_scenes)] int64, ascending. The subset of 10 % is part of that of 20 %.

    Raises:
        ValueError: If the fraction is not in (0, 1].

    >>> small, large = nested_subset(400, 0.1), nested_subset(400, 0.25)
    >>> len(small), len(large), set(small) <= set(large)
    (40, 100, True)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a train fraction of {fraction} cannot be used; expected more than 0, at most 1")
    # 0.07 * 100 is 7.000000000000001: rounded before the ceiling
    num_kept = min(num_scenes, math.ceil(round(fraction * num_scenes, 9)))
    return np.sort(stream(seed, "train subset", num_scenes).permutation(num_scenes)[:num_kept])
