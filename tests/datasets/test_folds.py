from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.config import ConfigError
from pcfdsl.datasets.clouds import CloudSet
from pcfdsl.datasets.folds import SplitConfig, held_out_values, split_clouds


def cloud_set(labels, **tags) -> CloudSet:
    labels = np.asarray(labels)
    classes = tuple(map(str, range(labels.max() + 1)))
    return CloudSet(source=None, labels=labels, classes=classes, tags={k: np.asarray(v) for k, v in tags.items()})  # type: ignore[arg-type]


members = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2)), min_size=8, max_size=40)


@given(members, st.sampled_from(["random", "fold"]), st.integers(0, 5))
def test_near_duplicates_of_test_clouds_are_not_trained_on(rows, by, seed):
    labels, groups, folds = map(np.array, zip(*rows, strict=True))
    clouds = cloud_set(labels, group=groups, fold=folds)
    held_out = held_out_values(clouds, "fold")[0]
    try:
        split = split_clouds(clouds, SplitConfig(by=by, held_out=held_out, seed=seed))
    except ValueError:  # a part is empty, which is tested below
        return
    assert not set(groups[split.train]) & set(groups[split.test])
    assert set(labels[split.test]) <= set(labels[split.train])
    assert len(split.train)
    assert len(split.test)
    if by == "fold":
        assert set(folds[split.test]) == {int(held_out)}
        total = len(split.train) + len(split.test) + split.num_duplicates + split.num_unlearnable
        assert total == len(labels)


@given(members, st.integers(0, 5))
def test_shots_are_nested_and_avoid_near_duplicates(rows, seed):
    labels, groups, _ = map(np.array, zip(*rows, strict=True))
    clouds = cloud_set(labels, group=groups)
    parts = [split_clouds(clouds, SplitConfig(shots=k, seed=seed)).train for k in (1, 2, 5)]
    for fewer, more in pairwise(parts):
        assert set(fewer) <= set(more)
    for label in set(labels):
        own = np.flatnonzero(labels == label)
        chosen = [row for row in parts[1] if labels[row] == label]
        assert len(chosen) == min(2, len(own))
        assert len(set(groups[chosen])) == min(2, len(set(groups[own])))


def test_a_random_split_takes_a_share_of_every_class():
    clouds = cloud_set(np.repeat([0, 1, 2], [50, 10, 2]))
    split = split_clouds(clouds, SplitConfig(by="random", test_share=0.2))
    assert np.bincount(clouds.labels[split.test]).tolist() == [10, 2, 1]
    assert np.intersect1d(split.train, split.test).size == 0
    other = split_clouds(clouds, SplitConfig(by="random", test_share=0.2, seed=1))
    assert other.test.tolist() != split.test.tolist()


def test_classes_that_cannot_be_learned_are_not_tested():
    clouds = cloud_set([0, 0, 1, 0], library=["a", "b", "b", "b"])
    split = split_clouds(clouds, SplitConfig(by="library", held_out="b"))
    assert (split.test.tolist(), split.num_unlearnable) == ([1, 3], 1)


def test_without_a_test_part_everything_is_trained_on():
    split = split_clouds(cloud_set([0, 1, 1]), SplitConfig())
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2], [])


def test_errors_list_the_existing_tags_and_values():
    clouds = cloud_set([0, 1], fold=[0, 1])
    with pytest.raises(ConfigError, match="by: is 'flod'; expected none, random or one of fold"):
        split_clouds(clouds, SplitConfig(by="flod"))
    with pytest.raises(ConfigError, match="held_out: is '7'; fold has the values 0, 1"):
        split_clouds(clouds, SplitConfig(by="fold", held_out="7"))
    with pytest.raises(ValueError, match="leaves 1 clouds to train and 0 to test on"):
        split_clouds(clouds, SplitConfig(by="fold", held_out="0"))
