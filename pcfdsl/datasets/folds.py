"""Splits of labelled shapes into training and test parts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.datasets.clouds import CloudSet
from pcfdsl.rng import stream

__all__ = ["Split", "SplitConfig", "held_out_values", "split_clouds"]


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How labelled shapes are split into a training and a test part."""

    by: str = option(
        "none",
        "the test part: none, `random` (a share of each class), or a tag of the set, such as fold or library, of which "
        "one value is held out",
    )
    held_out: str = option("0", "value of that tag to test on")
    test_share: float = option(0.2, "share of each class in the test part of a random split", minimum=0.0, maximum=0.9)
    shots: int | None = option(None, "train on this many of each class; fewer are a subset of more", minimum=1)
    seed: int = option(0, "seed of a random split and of the choice of shots; keep it when comparing runs")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.by == "random" and self.test_share == 0:
            yield "test_share", "is 0; set by to none to train on everything"


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of shapes, ascending.

    Attributes:
        train: [T] int64.
        test: [E] int64.
        num_duplicates: Shapes left out of training because one of their group is in the test part.
        num_unlearnable: Shapes left out of the test because their class is not in the training part.
    """

    train: np.ndarray
    test: np.ndarray
    num_duplicates: int = 0
    num_unlearnable: int = 0


def split_clouds(clouds: CloudSet, config: SplitConfig) -> Split:
    """Split a set so that shapes with the same `group` tag (near-duplicates) are never on both sides.

    A random split tests on `test_share` of each class's groups, rounded, but at least one if a class has two. Shots are
    taken from the training part, each from another group if there are enough, so that k near-duplicates do not count as
    k examples.

    Raises:
        ConfigError: If the set has no such tag, or the tag no such value.
        ValueError: If the training or test part is empty.
    """
    everything = np.arange(len(clouds))
    if config.by == "none":
        tested = np.zeros(len(clouds), bool)
    elif config.by == "random":
        tested = _random_share(clouds, config)
    else:
        values = held_out_values(clouds, config.by)
        if config.held_out not in values:
            raise ConfigError(
                [("split.held_out", f"is {config.held_out!r}; {config.by} has the values {', '.join(values)}")]
            )
        tested = _tag(clouds, config.by) == config.held_out
    groups = _groups(clouds)
    duplicates = ~tested & np.isin(groups, groups[tested])
    train, test = everything[~tested & ~duplicates], everything[tested]
    if config.shots is not None:
        train = _shots(clouds, train, config.shots, config.seed)
    known = np.isin(clouds.labels[test], clouds.labels[train])
    if not len(train) or (config.by != "none" and not known.any()):
        raise ValueError(f"the split by {config.by} leaves {len(train)} clouds to train and {known.sum()} to test on")
    return Split(train, test[known], num_duplicates=int(duplicates.sum()), num_unlearnable=int((~known).sum()))


def held_out_values(clouds: CloudSet, tag: str) -> tuple[str, ...]:
    """The values that a split by a tag can hold out, sorted.

    Raises:
        ConfigError: If the set has no such tag.
    """
    return tuple(sorted(set(_tag(clouds, tag).tolist())))


def _tag(clouds: CloudSet, tag: str) -> np.ndarray:
    if tag not in clouds.tags:
        tags = f"one of {', '.join(clouds.tags)}" if clouds.tags else "a tag; these clouds have none"
        raise ConfigError([("split.by", f"is {tag!r}; expected none, random or {tags}")])
    return clouds.tags[tag].astype(str)


def _groups(clouds: CloudSet) -> np.ndarray:
    groups = clouds.tags.get("group", np.arange(len(clouds)))
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def _random_share(clouds: CloudSet, config: SplitConfig) -> np.ndarray:
    groups = _groups(clouds)
    owner = np.full(groups.max() + 1, -1)  # a group belongs to the class of its first shape
    first_groups, first_rows = np.unique(groups, return_index=True)
    owner[first_groups] = clouds.labels[first_rows]
    held = []
    for label in range(len(clouds.classes)):
        own = np.flatnonzero(owner == label)
        count = min(max(1, round(config.test_share * len(own))), len(own) - 1)
        held.append(stream(config.seed, "test share", label).permutation(own)[: max(count, 0)])
    return np.isin(groups, np.concatenate(held))


def _shots(clouds: CloudSet, train: np.ndarray, shots: int, seed: int) -> np.ndarray:
    groups, chosen = _groups(clouds), []
    for label in np.unique(clouds.labels[train]):
        order = stream(seed, "shots", int(label)).permutation(train[clouds.labels[train] == label])
        turn = np.array([np.count_nonzero(groups[order[:i]] == groups[row]) for i, row in enumerate(order)])
        chosen.append(order[np.argsort(turn, kind="stable")][:shots])
    return np.sort(np.concatenate(chosen))
