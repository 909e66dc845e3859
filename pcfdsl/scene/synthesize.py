"""Scenes on the fly: objects in a room, seen by depth cameras. Scene i is a pure function of (config, seed, i)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcfdsl.config import check_argument, within
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalDB, open_pcfractal
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene, SceneSequence, points_in_boxes, tight_box
from pcfdsl.scene.colors import Thing, draw_colors
from pcfdsl.scene.config import (
    CameraConfig,
    FractalScenesConfig,
    ObjectScenesConfig,
    RoomConfig,
    SceneConfig,
    SizeConfig,
)
from pcfdsl.scene.layout import Layout, lay_out
from pcfdsl.scene.objects import FormulaObjects, FractalObjects, ObjectSource, PartSource
from pcfdsl.scene.source_checks import check_source, checked_object
from pcfdsl.scene.visibility import visible_from

__all__ = [
    "CameraConfig",
    "FractalScenes",
    "ObjectScenes",
    "RoomConfig",
    "SceneConfig",
    "Scenes",
    "SizeConfig",
    "compose",
    "draw_objects",
    "stretch",
    "turn_about_z",
]


class Scenes(SceneSequence):
    """A set of scenes generated on the fly; also a recipe for the driver (`name`, `config`, `arrays`).

    Args:
        settings: What scenes look like.
        source: Where objects come from. For scenes to be pure functions of their index, its samples must depend on the
            generator it is given alone.
        name: Name of the set in stored records.

    Attributes:
        config: What a stored set records: here `settings`; a set whose source has settings records those as well.

    Raises:
        TypeError, ValueError: If `source` is no source; when scenes are made, if it gives no finite cloud and category.
    """

    def __init__(self, settings: SceneConfig, source: ObjectSource, *, name: str = "scenes"):
        check_argument("settings", settings, SceneConfig)
        check_source(source)
        self.settings, self.source, self.name = settings, source, name
        self.config: Any = settings

    @property
    def num_categories(self) -> int:
        """How many categories the labels have."""
        return self.source.num_categories

    def __len__(self) -> int:
        return self.settings.num_scenes

    def scene(self, index: int) -> Scene:
        """Compose scene `index`."""
        seed, colored = self.settings.seed, self.settings.colors != "none"
        color_rng = stream(seed, "scene_colors", index) if colored else None
        return compose(stream(seed, "scene", index), self.source, config=self.settings, color_rng=color_rng)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Scene `index` as named arrays for storage."""
        return self[index].arrays()


class FractalScenes(Scenes):
    """Scenes of PC-FractalDB instances; `config` is the whole recipe.

    Args:
        config: The recipe.
        database: The fractals, if they are open already (with their categories found); by default from the recipe.

    Attributes:
        database: The fractals.

    >>> from pcfdsl.pointcloud.pcfractal import PCFractalConfig
    >>> from pcfdsl.formula.search import SearchConfig
    >>> fractals = PCFractalConfig(num_categories=4, search=SearchConfig(variance_threshold=0.05))
    >>> FractalScenes(FractalScenesConfig(fractals=fractals))[3].points.shape
    (20000, 3)
    """

    def __init__(self, config: FractalScenesConfig, database: PCFractalDB | None = None):
        check_argument("config", config, FractalScenesConfig)
        database = open_pcfractal(config.fractals) if database is None else database
        super().__init__(config.scenes, FractalObjects(database), name="fractal_scenes")
        self.config, self.database = config, database

    def prepare(self) -> None:
        """Find all categories now instead of when they are first needed."""
        with within("fractals"):
            self.database.prepare()

    def scene(self, index: int) -> Scene:
        """Compose scene `index`."""
        with within("fractals"):
            return super().scene(index)


class ObjectScenes(Scenes):
    """Scenes of objects of one or more formulas; `config` is the whole recipe.

    Attributes:
        clouds: The objects.

    >>> from pcfdsl.pointcloud.surfaces import SphericalHarmonicsConfig, SuperquadricsConfig
    >>> formulas = (SphericalHarmonicsConfig(share=3), SuperquadricsConfig())
    >>> ObjectScenes(ObjectScenesConfig(objects=formulas))[3].points.shape
    (20000, 3)
    """

    def __init__(self, config: ObjectScenesConfig):
        check_argument("config", config, ObjectScenesConfig)
        self.clouds = ObjectClouds(ObjectsConfig(objects=config.objects))
        super().__init__(config.scenes, FormulaObjects(self.clouds), name="object_scenes")
        self.config = config

    def prepare(self) -> None:
        """Find all categories now instead of when they are first needed."""
        self.clouds.prepare()


def compose(
    rng: np.random.Generator,
    source: ObjectSource,
    *,
    config: SceneConfig,
    color_rng: np.random.Generator | None = None,
) -> Scene:
    """One scene.

    Without cameras and noise, each box is touched by its object's points on all six faces.

    Args:
        rng: Source of all randomness but that of colours.
        source: Where objects come from.
        config: What the scene looks like.
        color_rng: Source of the colours, see `draw_colors`; None: there are none, whatever the settings say. Points
            are the same with and without.

    Returns:
        A scene with exactly `config.num_points` points; if fewer are visible, points are repeated (and get noise of
        their own). Objects that could not be placed, or of which hardly a point is visible, are not in `boxes`.

    Raises:
        ValueError: If the scene is empty: no object could be placed and the room is bare, or no camera sees a point.
    """
    num_objects = int(rng.integers(config.objects[0], config.objects[1] + 1))
    num_cameras = int(rng.integers(config.cameras.number[0], config.cameras.number[1] + 1))
    budget = round(config.num_points * (config.cameras.oversampling if num_cameras else 1))
    num_room = 0 if config.room.empty else budget if num_objects == 0 else round(budget * config.room.share)
    clouds, categories, things, layout = _objects(rng, source, num_objects, budget - num_room, config)
    counts = [len(cloud) for cloud in clouds]
    # The room gets the points of objects that were not placed.
    num_room = 0 if config.room.empty else budget - sum(counts)
    surfaces = _room_surfaces(rng, layout.room, num_room, config.room)
    walls = np.concatenate([np.zeros((0, 3)), *surfaces])

    points = np.concatenate([*clouds, walls]).astype(np.float32)
    if len(points) == 0:
        raise ValueError(
            f"none of {num_objects} objects fits into a bare room of {layout.room} m; allow a larger room, or a floor"
        )
    ids = np.repeat(np.arange(-1, len(clouds)), [0, *counts]) if clouds else np.zeros(0, np.int64)
    ids = np.concatenate([ids, np.full(len(walls), -1)])
    colors = None
    if color_rng is not None:
        colors = draw_colors(color_rng, [*things, *(Thing(points=surface) for surface in surfaces)])
    yaws = layout.yaws[layout.placed]
    boxes = np.array([tight_box(points[ids == k], yaws[k]) for k in range(len(clouds))], np.float32).reshape(-1, 7)

    if num_cameras:
        seen = _seen(rng, points, layout.room, boxes, num_cameras, config.cameras)
        if not seen.any():
            raise ValueError(f"no camera sees any of {len(points)} points; widen cameras.fov")
        points, ids, colors = points[seen], ids[seen], None if colors is None else colors[seen]
    if len(points) != config.num_points:
        kept = rng.choice(len(points), config.num_points, replace=len(points) < config.num_points)
        points, ids, colors = points[kept], ids[kept], None if colors is None else colors[kept]
    points = points + rng.normal(0, config.noise, points.shape).astype(np.float32) if config.noise else points

    num_seen = np.bincount(ids[ids >= 0], minlength=len(boxes))
    labelled = np.flatnonzero(num_seen >= config.min_points)
    rows = np.full(len(boxes) + 1, -1)
    rows[labelled] = np.arange(len(labelled))
    if config.boxes == "seen":
        for k in labelled:
            boxes[k] = tight_box(points[ids == k], yaws[k])
    return Scene(
        points=points,
        boxes=boxes[labelled],
        categories=np.array(categories, np.int32)[labelled],
        instance_ids=rows[ids],
        colors=colors,
    )


def draw_objects(
    rng: np.random.Generator,
    source: ObjectSource,
    num_objects: int,
    num_points: int,
    *,
    config: SizeConfig,
    turned: bool = False,
) -> tuple[list[Thing], list[int], np.ndarray]:
    """Draw objects, and the sizes that they are to have; `stretch` gives them these sizes.

    Args:
        rng: Source of all randomness.
        source: Where objects come from.
        num_objects: Number of objects.
        num_points: Points of each.
        config: How large they are.
        turned: Rotate each about z by a random angle.

    Returns:
        (objects, categories, sizes): K objects of `num_points` points float64, K categories, full extents [K, 3] in
        metres.

    Raises:
        TypeError, ValueError: As `checked_object`.
    """
    objects, categories = [], []
    has_parts = isinstance(source, PartSource)  # asked once: a protocol answers slowly
    for _ in range(num_objects):
        given = source.sample_in_parts(rng, num_points) if has_parts else source.sample(rng, num_points)
        thing, category = checked_object(source, given, num_points, in_parts=has_parts)
        objects.append(thing)
        categories.append(category)
    if turned:
        objects = [
            replace(thing, points=thing.points @ turn_about_z(rng.uniform(-np.pi, np.pi)).T) for thing in objects
        ]
    return objects, categories, _draw_sizes(rng, [thing.points for thing in objects], config)


def stretch(cloud: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A cloud [N, 3] moved and scaled to span 0 to `size` [3] along each axis; an axis without extent is left flat."""
    low, extent = cloud.min(axis=0), np.ptp(cloud, axis=0)
    return (cloud - low) * np.where(extent > 1e-9, size / np.maximum(extent, 1e-9), 1)


def _draw_sizes(rng: np.random.Generator, clouds: Sequence[np.ndarray], config: SizeConfig) -> np.ndarray:
    sizes = np.exp(rng.uniform(np.log(config.low), np.log(config.high), (len(clouds), 3)))
    if config.shape == "fill":
        return sizes
    extents = np.array([np.ptp(cloud, axis=0) for cloud in clouds]).reshape(-1, 3)
    if config.shape == "metres":
        return extents
    return extents * (sizes / np.maximum(extents, 1e-9)).min(axis=1, keepdims=True)


def _objects(rng, source, num_objects, budget, config) -> tuple[list[np.ndarray], list[int], list[Thing], Layout]:
    """Placed clouds in scene coordinates, their categories, what they are as drawn, and the layout they came from."""
    limit = max(1, -(-2 * budget // max(num_objects, 1)))  # a large object may have twice the average
    turned = config.layout.yaw == "axis_aligned"
    things, categories, sizes = draw_objects(rng, source, num_objects, limit, config=config.sizes, turned=turned)
    layout = lay_out(rng, np.maximum(sizes, 1e-3), config=config.layout)

    areas = sizes[:, 0] * sizes[:, 1] + (sizes[:, 0] + sizes[:, 1]) * sizes[:, 2]
    counts = _allot(areas**config.sizes.area_exponent * layout.placed, budget, limit)
    counts = np.maximum(counts, layout.placed)  # even the smallest has a point, hence a box
    placed: dict[int, np.ndarray] = {}
    for k in layout.order[layout.placed[layout.order]].tolist():
        things[k] = things[k].first(counts[k])
        cloud = stretch(things[k].points, sizes[k]) - [*sizes[k, :2] / 2, 0]
        cloud = cloud @ turn_about_z(float(layout.yaws[k])).T
        cloud[:, :2] += layout.positions[k]
        if layout.supports[k] >= 0:
            cloud[:, 2] += _height_below(
                placed[int(layout.supports[k])], layout.positions[k], sizes[k], float(layout.yaws[k])
            )
        placed[k] = cloud
    rows = np.flatnonzero(layout.placed).tolist()
    return [placed[k] for k in rows], [categories[k] for k in rows], [things[k] for k in rows], layout


def _allot(weights: np.ndarray, total: int, limit: int) -> np.ndarray:
    """Integers proportional to the weights that sum to the total, none above the limit."""
    counts = np.zeros(len(weights), np.int64)
    while (rest := min(total, limit * int((weights > 0).sum())) - int(counts.sum())) > 0:
        free = weights * (counts < limit)
        edges = np.round(np.cumsum(free) / free.sum() * rest).astype(np.int64)
        counts = np.minimum(counts + np.diff(edges, prepend=0), limit)
    return counts


def _height_below(support: np.ndarray, position: np.ndarray, size: np.ndarray, yaw: float) -> float:
    """The height at which a footprint rests on a cloud: its highest point beneath, or its top if there is none."""
    box = np.array([[*position, 0, *size[:2], 1e3, yaw]])
    beneath = support[points_in_boxes(support, box)[0], 2]
    return float(beneath.max() if len(beneath) else support[:, 2].max())


def _room_surfaces(rng, room, num_points, config) -> list[np.ndarray]:
    """Floor, ceiling, walls at one density of points per square metre, clutter at twice that; the points of each."""
    (length, width), height = room, rng.uniform(*config.height)
    half = room / 2
    surfaces = []  # area, middle, two half edges
    if config.floor:
        surfaces.append((length * width, (0, 0, 0), (half[0], 0, 0), (0, half[1], 0)))
    if config.ceiling:
        surfaces.append((length * width, (0, 0, height), (half[0], 0, 0), (0, half[1], 0)))
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if rng.random() < config.walls:
            along = (abs(y) * half[0], abs(x) * half[1], 0)
            surfaces.append(
                (2 * height * sum(along), (x * half[0], y * half[1], height / 2), along, (0, 0, height / 2))
            )
    things = [_clutter(rng, room) for _ in range(rng.integers(config.clutter[0], config.clutter[1] + 1))]
    areas = np.array([surface[0] for surface in surfaces] + [2 * thing[0] for thing in things])
    if num_points <= 0 or not len(areas):
        return []
    counts = np.diff(np.round(np.cumsum(areas) / areas.sum() * num_points).astype(np.int64), prepend=0)
    parts = []
    for (_, middle, first, second), count in zip(surfaces, counts, strict=False):
        along = rng.uniform(-1, 1, (count, 2))
        part = middle + along @ np.array([first, second])
        parts.append(part + rng.normal(0, config.roughness, (count, 1)) * (np.array([first, second]).sum(axis=0) == 0))
    for (_, middle, half_size, exponent), count in zip(things, counts[len(surfaces) :], strict=True):
        direction = rng.normal(size=(count, 3))
        direction /= (np.abs(direction) ** exponent).sum(axis=1, keepdims=True) ** (1 / exponent)
        parts.append(middle + direction * half_size)
    return parts


def _clutter(rng, room):
    """Area, middle, half size and exponent of a super-ellipsoid on the floor: 2 is an ellipsoid, large is a block."""
    half_size = rng.uniform(0.05, 0.2, 3)
    middle = np.array([*rng.uniform(-0.45, 0.45, 2) * room, half_size[2]])
    return 8 * half_size.prod() ** (2 / 3), middle, half_size, rng.choice([2.0, 4.0, 12.0])


def _seen(rng, points, room, boxes, num_cameras, config) -> np.ndarray:
    seen = np.zeros(len(points), bool)
    for _ in range(num_cameras):
        for _ in range(10):  # preferably not inside an object
            camera = np.array([*rng.uniform(-0.42, 0.42, 2) * room, rng.uniform(*config.height)])
            if not points_in_boxes(camera[None], boxes, margin=0.1).any():
                break
        heading = rng.uniform(-np.pi, np.pi) if config.fov >= 360 else np.arctan2(-camera[1], -camera[0])
        seen |= visible_from(
            points, camera, resolution=config.resolution, tolerance=config.tolerance, heading=heading, fov=config.fov
        )
    return seen


def turn_about_z(yaw: float) -> np.ndarray:
    """The rotation [3, 3] of column vectors by `yaw` radians, counter-clockwise about +z."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
