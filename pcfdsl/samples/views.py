"""Pairs of views for contrastive learning: one scene seen twice, or the same objects in two rooms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from pcfdsl.config import option, validate
from pcfdsl.datasets.augment import AugmentConfig, draw_sample
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.samples.points import input_points, require_points
from pcfdsl.scene.boxes import Scene, axis_bounds
from pcfdsl.scene.config import SceneConfig
from pcfdsl.scene.furnish import draw_objects, stretch
from pcfdsl.scene.objects import ObjectSource
from pcfdsl.scene.source_checks import check_source
from pcfdsl.scene.synthesize import compose
from pcfdsl.scene.visibility import visible_from

__all__ = ["PairBatch", "PairSample", "TwoLayouts", "TwoViews", "ViewAugmentConfig", "ViewConfig", "collate_pairs"]

MIN_SHARE = 0.2  # a camera that sees less of the points is moved, up to ten times


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """What one of two views sees of a scene: what a depth camera sees from somewhere in it."""

    camera: bool = option(True, "see only what a camera sees; false: everything")
    height: tuple[float, float] = option((1.0, 1.8), "range of the camera's height above the floor, metres")
    resolution: float = option(
        1.5, "cell size of the depth buffer that finds hidden points, degrees", minimum=0.1, maximum=45.0
    )
    tolerance: float = option(0.1, "thickness of a surface within a cell, metres", minimum=0.0)
    fov: float = option(360.0, "horizontal field of view, degrees", minimum=10.0, maximum=360.0)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.height[0] > self.height[1]:
            yield "height", f"from {self.height[0]} to {self.height[1]} is empty"


@dataclass(frozen=True, kw_only=True)
class ViewAugmentConfig(AugmentConfig):
    """Augmentation of each of two views; by default rotation about z by any angle, as in CSC."""

    flip_x: float = option(0.0, "probability of x -> -x", minimum=0.0, maximum=1.0)
    flip_y: float = option(0.0, "probability of y -> -y", minimum=0.0, maximum=1.0)
    rotation: float = option(180.0, "rotation about z, up to this many degrees either way", minimum=0.0, maximum=180.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class PairSample:
    """Two views (NumPy); the first axis of every array is the view.

    Attributes:
        points: [2, N, 3 + C] float32: xyz, then colour minus 0.5 and height if they are used.
        positions: [2, N, 3] float32 metres: the points in the frame that the views share. Rooms of different layout
            share none; each has its own.
        object_ids: [2, N] int64; equal ids in both views mean the same object, -1 means none.
    """

    points: np.ndarray
    positions: np.ndarray
    object_ids: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class PairBatch(TensorBatch):
    """B pairs; arrays as in `PairSample` with the batch after the view: [2, B, N, ...]."""

    points: torch.Tensor
    positions: torch.Tensor
    object_ids: torch.Tensor


def collate_pairs(samples: Sequence[PairSample]) -> PairBatch:
    """Stack pairs with equally many points into a batch."""
    return PairBatch(
        **{
            field.name: torch.from_numpy(np.stack([getattr(sample, field.name) for sample in samples], axis=1))
            for field in fields(PairSample)
        }
    )


class TwoViews(Dataset[PairSample]):
    """Every scene seen from two places, with separate augmentation (PointContrast, Xie et al. 2020, section 3.2).

    Sample i of epoch e is a pure function of (scenes, settings, seed, e, i); `dataset[e, i]` gives it.

    Args:
        scenes: Any sequence of `Scene`.
        num_points: Points of a view, drawn from those it sees, and repeated if there are fewer.
        use_height: Add the height above the floor as a feature: see `input_points`.
        use_color: Add colours; the scenes must have them.
        view: What a view sees.
        augment: Augmentation of a view.
        seed: Seed of views, subsampling and augmentation.

    Raises:
        ValueError: If a scene has no points, or no colours though they are used.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        num_points: int,
        use_height: bool = True,
        use_color: bool = False,
        view: ViewConfig = ViewConfig(),
        augment: AugmentConfig = ViewAugmentConfig(),
        seed: int = 0,
    ):
        self.scenes, self.num_points, self.view, self.augment, self.seed = scenes, num_points, view, augment, seed
        self.use_height, self.use_color = use_height, use_color

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, key: tuple[int, int]) -> PairSample:
        epoch, i = key
        scene = self.scenes[i]
        require_points(scene, i, use_color=self.use_color)
        views = []
        for number in range(2):
            rng = stream(self.seed, "view", epoch, i, number)
            seen = np.flatnonzero(_seen_by_camera(rng, scene.points, self.view))
            draws = draw_sample(rng, len(seen), self.num_points, config=self.augment)
            draws = replace(draws, rows=seen[draws.rows])
            points = input_points(scene, draws, use_height=self.use_height, use_color=self.use_color)
            views.append((points, scene.points.take(draws.rows, axis=0), scene.instance_ids[draws.rows]))
        return _pair(views)


class TwoLayouts(Dataset[PairSample]):
    """The same objects in two rooms, each with its own layout (RandomRooms, Rao et al., ICCV 2021).

    The categories, shapes and sizes of the objects of pair i depend on (settings, i); their places, surroundings and
    cameras, and the augmentation, depend on (seed, e, i) too. `dataset[e, i]` gives sample i of epoch e.

    Args:
        settings: What the rooms look like; `num_scenes` is the number of pairs.
        source: Source of the objects.
        num_points: Points of a view.
        use_height: Add the height above the floor as a feature: see `input_points`.
        augment: Augmentation of each room.
        seed: See above.
    """

    def __init__(
        self,
        settings: SceneConfig,
        source: ObjectSource,
        *,
        num_points: int,
        use_height: bool = True,
        augment: AugmentConfig = AugmentConfig(),
        seed: int = 0,
    ):
        check_source(source)
        self.settings, self.source, self.num_points, self.seed = settings, source, num_points, seed
        self.use_height, self.augment = use_height, augment

    def __len__(self) -> int:
        return self.settings.num_scenes

    def __getitem__(self, key: tuple[int, int]) -> PairSample:
        epoch, i = key
        clouds = _objects(stream(self.settings.seed, "objects", i), self.source, self.settings)
        config = replace(
            self.settings, objects=(len(clouds), len(clouds)), sizes=replace(self.settings.sizes, shape="metres")
        )
        views = []
        for number in range(2):
            rng = stream(self.seed, "layout", epoch, i, number)
            room = compose(rng, _GivenObjects(clouds), config=config)
            draws = draw_sample(rng, len(room.points), self.num_points, config=self.augment)
            points = input_points(room, draws, use_height=self.use_height, use_color=False)
            views.append((points, room.points.take(draws.rows, axis=0), room.point_categories[draws.rows]))
        return _pair(views)


class _GivenObjects:
    """A source that gives its clouds one after the other; the category is the number of the cloud."""

    def __init__(self, clouds: Sequence[np.ndarray]):
        self.num_categories = len(clouds)
        self._rest = iter(enumerate(clouds))

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        number, cloud = next(self._rest)
        return cloud[rng.choice(len(cloud), num_points, replace=num_points > len(cloud))], number


def _objects(rng: np.random.Generator, source: ObjectSource, settings: SceneConfig) -> list[np.ndarray]:
    """Draw objects: clouds [limit, 3] in metres."""
    num_objects = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    limit = int(2 * settings.num_points * settings.cameras.oversampling / max(num_objects, 1)) + 1
    objects, _, sizes = draw_objects(rng, source, num_objects, limit, config=settings.sizes)
    return [stretch(thing.points, size) for thing, size in zip(objects, sizes, strict=True)]


def _seen_by_camera(rng: np.random.Generator, points: np.ndarray, config: ViewConfig) -> np.ndarray:
    """The points that one camera sees, [N] bool; at least one."""
    if not config.camera:
        return np.ones(len(points), bool)
    low, high = axis_bounds(points)
    best = np.zeros(len(points), bool)
    for _ in range(10):
        along = rng.uniform(0.08, 0.92, 2)
        camera = np.array([*(low[:2] + along * (high - low)[:2]), low[2] + rng.uniform(*config.height)])
        middle = (low + high)[:2] / 2 - camera[:2]
        seen = visible_from(
            points,
            camera,
            resolution=config.resolution,
            tolerance=config.tolerance,
            heading=float(np.arctan2(middle[1], middle[0])),
            fov=config.fov,
        )
        best = max(seen, best, key=np.count_nonzero)
        if seen.mean() >= MIN_SHARE:
            break
    return best if best.any() else np.ones(len(points), bool)


def _pair(views: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> PairSample:
    points, positions, object_ids = (np.stack(arrays) for arrays in zip(*views, strict=True))
    return PairSample(points=points, positions=positions, object_ids=object_ids.astype(np.int64))
