"""Labelled pictures, wherever they are from: what they are to a network, in memory, and parts of them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pcfdsl.rng import stream

__all__ = ["ArrayPictures", "Pictures", "Subset", "few_per_class"]


class Pictures(Protocol):
    """Labelled pictures; picklable, so that loaders can have several workers.

    Attributes:
        labels: [N] int64, indices into `classes`; or [N, M] for pictures with up to M labels each, -1 where there are
            fewer.
        classes: Names, in order.
    """

    labels: np.ndarray
    classes: tuple[str, ...]

    def picture(self, i: int) -> np.ndarray:
        """Picture i: uint8, [H, W] grey or [H, W, 3] RGB."""
        ...


class ArrayPictures:
    """Pictures in memory.

    Args:
        images: uint8 [N, H, W] or [N, H, W, 3].
        labels: [N] integers from 0.
        classes: Class names; None: the numbers.

    Raises:
        ValueError: If shapes, types or labels do not fit.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None):
        labels = np.asarray(labels)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise ValueError(f"images are {images.dtype} {images.shape}; expected uint8 [N, H, W] or [N, H, W, 3]")
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or not len(labels):
            raise ValueError(
                f"labels are {labels.dtype} {labels.shape}; expected integers [{len(images)}], at least one"
            )
        self.images, self.labels = images, labels.astype(np.int64)
        self.classes = tuple(classes or map(str, range(int(labels.max()) + 1)))
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise ValueError(f"labels go from {labels.min()} to {labels.max()}; expected 0 to {len(self.classes) - 1}")

    def picture(self, i: int) -> np.ndarray:
        """Picture i."""
        return self.images[i]


class Subset:
    """A selection of other pictures, in the order of `rows`."""

    def __init__(self, pictures: Pictures, rows: np.ndarray):
        self.pictures, self.rows = pictures, rows
        self.labels, self.classes = pictures.labels[rows], pictures.classes

    def picture(self, i: int) -> np.ndarray:
        """Picture i of the selection."""
        return self.pictures.picture(int(self.rows[i]))


def few_per_class(
    labels: np.ndarray, *, per_class: int | None = None, fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Rows of a class-balanced subset, ascending; at least one of each class. Smaller subsets are parts of larger ones.

    Of pictures with several labels, [N, M], a share of all of them.

    Raises:
        ValueError: If a class has fewer than `per_class`, or pictures have several labels and `per_class` is given.

    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> a, b = few_per_class(labels, per_class=1), few_per_class(labels, per_class=2)
    >>> labels[b].tolist(), set(a) < set(b)
    ([0, 0, 1, 1], True)
    """
    if labels.ndim == 2:
        if per_class is not None:
            raise ValueError("per_class is for pictures with one label each; these have several: give train_fraction")
        rows = stream(seed, "few per class").permutation(len(labels))
        return np.sort(rows[: max(1, round(fraction * len(labels)))])
    kept = []
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(rows))) if per_class is None else per_class
        if count > len(rows):
            raise ValueError(
                f"class {label} has {len(rows)} pictures, fewer than {count}; lower per_class, or use other protocols"
            )
        kept.append(stream(seed, "few per class", label).permutation(rows)[:count])
    return np.sort(np.concatenate(kept))
