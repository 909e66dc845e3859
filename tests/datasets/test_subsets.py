from itertools import pairwise

import numpy as np
import pytest

from pcfdsl.datasets.subsets import nested_subset


@pytest.mark.parametrize("num_scenes", [1, 7, 400, 1201])
def test_each_subset_is_part_of_every_larger_one(num_scenes):
    subsets = [nested_subset(num_scenes, fraction) for fraction in (0.01, 0.1, 0.25, 0.5, 0.999, 1.0)]
    for small, large in pairwise(subsets):
        assert np.isin(small, large).all()
        assert (np.diff(small) > 0).all()
    np.testing.assert_array_equal(subsets[-1], np.arange(num_scenes))
    assert len(subsets[0]) >= 1


def test_sizes_are_exact_and_seeds_differ():
    assert len(nested_subset(100, 0.07)) == 7
    assert len(nested_subset(1201, 0.1)) == 121
    assert not np.array_equal(nested_subset(400, 0.1), nested_subset(400, 0.1, seed=1))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_other_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match="train fraction"):
        nested_subset(10, fraction)
