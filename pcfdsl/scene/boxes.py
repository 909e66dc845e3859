"""Scenes: points, oriented boxes with categories, and the instance of each point; geometry of boxes as arrays.

Boxes are [K, 7] `cx cy cz dx dy dz yaw`: centre and full extents in metres, yaw in radians counter-clockwise from +x
about +z. Points are [N, 3] in metres, z up.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from pcfdsl.ops.backends import numba_boxes

__all__ = [
    "Scene",
    "SceneSequence",
    "axis_bounds",
    "box_corners",
    "height_above_floor",
    "overlap_votes",
    "points_in_boxes",
    "tight_box",
    "votes",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """One labelled point cloud.

    Attributes:
        points: [N, 3] float32, metres, z up.
        boxes: [K, 7] float32, `cx cy cz dx dy dz yaw`.
        categories: [K] int32, what is in each box.
        instance_ids: [N] int32, the row of `boxes` a point belongs to; -1 for floor, walls and everything unlabelled.
        colors: [N, 3] float32 in 0..1, or None.

    Raises:
        ValueError: If shapes disagree, values are not finite, an extent is not positive, or an id refers to no box.
    """

    points: np.ndarray
    boxes: np.ndarray
    categories: np.ndarray
    instance_ids: np.ndarray
    colors: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, dtype, width in (
            ("points", np.float32, 3),
            ("boxes", np.float32, 7),
            ("categories", np.int32, 0),
            ("instance_ids", np.int32, 0),
            ("colors", np.float32, 3),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.ascontiguousarray(value, dtype=dtype)
            if width and array.size == 0:
                array = array.reshape(0, width)
            if array.ndim != (2 if width else 1) or (width and array.shape[1] != width):
                expected = f"[N, {width}]" if width else "[N]"
                raise ValueError(f"Scene.{name} has shape {array.shape}; expected {expected}")
            object.__setattr__(self, name, array)
        num_points, num_boxes = len(self.points), len(self.boxes)
        for name, length, expected in (
            ("categories", len(self.categories), num_boxes),
            ("instance_ids", len(self.instance_ids), num_points),
            ("colors", num_points if self.colors is None else len(self.colors), num_points),
        ):
            if length != expected:
                raise ValueError(
                    f"Scene.{name} has {length} entries; "
                    f"expected {expected} for {num_points} points and {num_boxes} boxes"
                )
        if not np.isfinite(self.points).all():
            row = int(np.argmin(np.isfinite(self.points).all(axis=1)))
            raise ValueError(f"Scene.points row {row} is not finite: {self.points[row]}; remove or repair such points")
        sound = np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 3:6] > 0).all(axis=1)
        if not sound.all():
            row = int(np.argmin(sound))
            raise ValueError(
                f"Scene.boxes row {row} is {self.boxes[row]}; expected finite numbers and positive extents dx dy dz"
            )
        if num_points and not (self.instance_ids.min() >= -1 and self.instance_ids.max() < num_boxes):
            raise ValueError(
                f"Scene.instance_ids runs from {self.instance_ids.min()} to {self.instance_ids.max()}; "
                f"expected -1 (background) or a row of the {num_boxes} boxes"
            )

    @classmethod
    def unlabelled(cls, points: np.ndarray, colors: np.ndarray | None = None) -> "Scene":
        """A cloud of which nothing is known but its points [N, 3] and perhaps colours [N, 3]."""
        nothing = {"boxes": np.zeros((0, 7)), "categories": np.zeros(0), "instance_ids": np.full(len(points), -1)}
        return cls(points=points, colors=colors, **nothing)

    @property
    def point_categories(self) -> np.ndarray:
        """[N] int32, the category of the box a point belongs to; -1 for background."""
        return np.append(self.categories, np.int32(-1))[self.instance_ids]

    def arrays(self) -> dict[str, np.ndarray]:
        """The scene as named arrays for storage; without colours if it has none."""
        names = ("points", "boxes", "categories", "instance_ids", "colors")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class SceneSequence(Sequence[Scene]):
    """Scenes that are made or read when they are indexed; subclasses define `__len__` and `scene`."""

    @abstractmethod
    def scene(self, index: int) -> Scene:
        """Scene `index`, 0 to len - 1."""

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self.scene(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"scene {index} of a set of {len(self)}")
        return self.scene(int(index) % len(self))


def votes(scene: Scene, *, target: str = "box") -> tuple[np.ndarray, np.ndarray]:
    """Offsets from each object point to the centre of its object (VoteNet's votes).

    Args:
        scene: The scene.
        target: "box" votes for the centre of the label; "extent" for the middle of the minimum and maximum of the
            instance's points in this cloud, as VoteNet's ScanNet loader computes it.

    Returns:
        (offsets, mask): [N, 3] float32 metres, zero for background; [N] bool, true for object points.

    Raises:
        ValueError: If the target is unknown.
    """
    if target not in ("box", "extent"):
        raise ValueError(f"unknown vote target {target!r}; expected 'box' or 'extent'")
    mask = scene.instance_ids >= 0
    rows = np.flatnonzero(mask)
    ids, points = scene.instance_ids[rows], scene.points.take(rows, axis=0)
    centers = scene.boxes[:, :3].copy()
    if target == "extent":
        low = np.full((len(scene.boxes), 3), np.inf, np.float32)
        high = -low
        np.minimum.at(low, ids, points)
        np.maximum.at(high, ids, points)
        held = np.isfinite(low[:, 0])  # a box may contain no point of this cloud
        centers[held] = (low[held] + high[held]) / 2
    offsets = np.zeros_like(scene.points)
    offsets[rows] = centers.take(ids, axis=0) - points
    return offsets, mask


def overlap_votes(points: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three votes per point, for clouds with overlapping boxes: the rule of VoteNet's SUN RGB-D preparation.

    In the order of the boxes, the first that contains a point fills all three slots with the offset to its centre,
    the second overwrites slot 1, and every later one overwrites slot 2.

    Args:
        points: [N, 3].
        boxes: [K, 7].

    Returns:
        (offsets, mask): [N, 3, 3] float32 (slot, xyz), zero for points in no box; [N] bool.
    """
    inside = points_in_boxes(points, boxes)
    offsets = np.zeros((len(points), 3, 3), np.float32)
    num_seen = np.zeros(len(points), np.int64)
    for box, held in zip(np.asarray(boxes), inside, strict=True):
        offset = (box[:3] - points).astype(np.float32)
        for slots, rows in ((slice(None), num_seen == 0), (1, num_seen == 1), (2, num_seen >= 2)):
            rows = rows & held
            offsets[rows, slots] = offset[rows][:, None] if isinstance(slots, slice) else offset[rows]
        num_seen += held
    return offsets, num_seen > 0


def points_in_boxes(points: np.ndarray, boxes: np.ndarray, *, margin: float = 0.0) -> np.ndarray:
    """Which points each box contains, faces included.

    Args:
        points: [N, 3].
        boxes: [K, 7].
        margin: Metres by which every face is moved outwards; the rounding error of float32 coordinates is about 1e-6.

    Returns:
        [K, N] bool.
    """
    boxes = np.ascontiguousarray(boxes, np.float64).reshape(-1, 7)
    return numba_boxes.points_inside(np.ascontiguousarray(points, np.float64), boxes, float(margin))


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """[K, 8, 3] float64 corners: the lower face counter-clockwise from (-x, -y), then the upper face likewise."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 7)
    signs = np.array([(x, y, z) for z in (-0.5, 0.5) for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
    corners = signs * boxes[:, None, 3:6]
    cosine, sine = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x, y = corners[..., 0], corners[..., 1]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y, corners[..., 2]], axis=-1)
    return turned + boxes[:, None, :3]


def tight_box(points: np.ndarray, yaw: float) -> np.ndarray:
    """The smallest box with the given yaw that contains all points.

    Args:
        points: [N, 3], N >= 1.
        yaw: Radians.

    Returns:
        [7] float32. Extents are at least a millimetre, so that flat clouds get a valid box.

    Raises:
        ValueError: If there are no points.
    """
    if len(points) == 0:
        raise ValueError("a tight box needs at least one point, got none")
    points = np.asarray(points, np.float64)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    frame = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    low, high = axis_bounds(points @ frame.T)
    return np.concatenate([(low + high) / 2 @ frame, np.maximum(high - low, 1e-3), [yaw]]).astype(np.float32)


def axis_bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates of points [N, 3], N >= 1: two [3].

    Thirty times as fast as `min(axis=0)`, which goes through points by threes.
    """
    coordinates = np.ascontiguousarray(points.T)
    return coordinates.min(axis=1), coordinates.max(axis=1)


def height_above_floor(points: np.ndarray) -> np.ndarray:
    """[N] float32 height above the 0.99th percentile of z, VoteNet's floor estimate (just above the lowest point).

    Compute it from the whole cloud, before subsampling.
    """
    if len(points) == 0:
        return np.zeros(0, np.float32)
    z = np.asarray(points)[:, 2]
    return (z - np.percentile(z, 0.99)).astype(np.float32)
