"""Scenes in folders prepared by other projects' scripts; `votenet` and `mmdetection3d` know their formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcfdsl.datasets.spec import DatasetSpec
from pcfdsl.scene.boxes import Scene, SceneSequence

__all__ = ["MAX_NUMBER", "ForeignScenes", "categories_of", "existing_folder", "match_instances"]

MAX_NUMBER = 1e9


@dataclass(frozen=True, eq=False, kw_only=True)
class ForeignScenes(SceneSequence):
    """The scenes of a prepared folder, read on access.

    Attributes:
        spec: Their benchmark.
        names: Names of the scenes.
        missing: Names of scenes of the split whose files are missing.
        read: Reads a scene by name; picklable.
    """

    spec: DatasetSpec
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    read: Callable[[str], Scene]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; categories index them."""
        return self.spec.classes

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> Scene:
        """Read scene `index`."""
        name = self.names[index]
        try:
            return self.read(name)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def match_instances(
    points: np.ndarray,
    instances: np.ndarray,
    point_categories: np.ndarray,
    boxes: np.ndarray,
    categories: np.ndarray,
    *,
    tolerance: float = np.inf,
) -> np.ndarray:
    """The row of each point's box, [N] int32: the files do not say, so each object gets the box that fits it best.

    An object has the class of its first point, as in VoteNet's released loader. It gets none if the sides of the best
    are farther than `tolerance` metres from its own.
    """
    rows = np.full(len(points), -1, np.int32)
    ends = np.concatenate([boxes[:, :3] - boxes[:, 3:6] / 2, boxes[:, :3] + boxes[:, 3:6] / 2], axis=1)
    for instance in np.unique(instances):
        own = np.flatnonzero(instances == instance)
        candidates = np.flatnonzero(categories == point_categories[own[0]])
        if len(candidates):
            extent = np.concatenate([points[own].min(axis=0), points[own].max(axis=0)])
            distances = np.abs(ends[candidates] - extent).max(axis=1)
            rows[own] = candidates[distances.argmin()] if distances.min() <= tolerance else -1
    return rows


def categories_of(labels: np.ndarray, spec: DatasetSpec, *, num_classes: int | None = None) -> np.ndarray:
    """Categories, [K] int32, from a file's class numbers, which may be fewer than the benchmark's.

    Raises:
        ValueError: If one is not an integer, or not a class of the benchmark.
    """
    labels = np.asarray(labels, np.float64)
    num_classes = num_classes or len(spec.classes)
    categories = labels.astype(np.int32) if np.isfinite(labels).all() and (np.abs(labels) < 1e6).all() else None
    if categories is None or (categories != labels).any() or not ((labels >= 0) & (labels < num_classes)).all():
        raise ValueError(f"classes are {labels.tolist()}; {spec.name} has 0 to {num_classes - 1}")
    return categories


def existing_folder(folder: str | Path) -> Path:
    """The folder; OSError if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return folder
