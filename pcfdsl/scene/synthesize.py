"""Scenes made on the fly: objects in a room, seen by depth cameras. Scene i is a pure function of (config, seed, i)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene, points_in_boxes, tight_box
from pcfdsl.scene.layout import Layout, LayoutConfig, lay_out
from pcfdsl.scene.objects import ObjectSource
from pcfdsl.scene.visibility import visible_from

__all__ = ["CameraConfig", "RoomConfig", "SceneConfig", "Scenes", "SizeConfig", "compose"]


@dataclass(frozen=True, kw_only=True)
class SizeConfig:
    """How large objects are."""

    shape: str = option(
        "fill",
        "stretch clouds to the drawn box, keep their proportions inside it, or take them as metres",
        choices=("fill", "keep", "metres"),
    )
    low: tuple[float, float, float] = option(
        (0.35, 0.3, 0.4), "least width, depth and height of the drawn box, metres", minimum=0.01
    )
    high: tuple[float, float, float] = option(
        (1.9, 1.1, 1.4), "greatest width, depth and height; between them log-uniform", minimum=0.01
    )
    area_exponent: float = option(
        0.6,
        "points of an object ~ (surface of its box) ^ this; 1 an even scan, 0 equal numbers",
        minimum=0.0,
        maximum=2.0,
    )

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            yield "high", f"{self.high} must not be below low {self.low}"


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """What surrounds the objects; it carries no label."""

    floor: bool = option(True, "a floor at z = 0")
    walls: float = option(1.0, "probability of each of the four walls", minimum=0.0, maximum=1.0)
    ceiling: bool = option(False, "a ceiling")
    height: tuple[float, float] = option((2.3, 2.8), "height of the walls, metres, from and to", minimum=0.1)
    share: float = option(
        0.55,
        "share of the points on floor, walls, ceiling and clutter, before hidden points go",
        minimum=0.0,
        maximum=0.95,
    )
    roughness: float = option(0.005, "standard deviation of floor and walls from their planes, metres", minimum=0.0)
    clutter: tuple[int, int] = option((0, 4), "number of small unlabelled things on the floor, from and to", minimum=0)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def empty(self) -> bool:
        """Whether there is nothing but objects."""
        return not (self.floor or self.walls or self.ceiling or self.clutter[1]) or self.share == 0


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """From where the scene is seen."""

    number: tuple[int, int] = option((2, 4), "number of cameras, from and to; 0 sees everything", minimum=0)
    height: tuple[float, float] = option((1.0, 1.8), "metres above the floor, from and to")
    fov: float = option(360.0, "horizontal field of view, degrees", minimum=10.0, maximum=360.0)
    resolution: float = option(
        1.0, "cell of the depth buffer that finds hidden points, degrees", minimum=0.1, maximum=10.0
    )
    tolerance: float = option(0.06, "thickness of a surface in a cell, metres", minimum=0.0)
    oversampling: float = option(2.5, "points made for one that is kept, as hidden ones are lost", minimum=1.0)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """A set of scenes."""

    seed: int = option(0, "all randomness depends on it and on the number of the scene")
    num_scenes: int = option(10_000, "length of the set", minimum=1)
    num_points: int = option(20_000, "points of a scene", minimum=1)
    objects: tuple[int, int] = option((6, 14), "objects tried in a scene, from and to", minimum=0)
    sizes: SizeConfig = option(SizeConfig(), "how large objects are")
    layout: LayoutConfig = option(LayoutConfig(), "where objects stand")
    room: RoomConfig = option(RoomConfig(), "floor, walls, clutter")
    cameras: CameraConfig = option(CameraConfig(), "from where the scene is seen")
    noise: float = option(0.004, "standard deviation of each coordinate, metres", minimum=0.0)
    boxes: str = option("full", "boxes hold the whole object or only its seen points", choices=("full", "seen"))
    min_points: int = option(30, "objects with fewer points lose their label", minimum=1)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        for key, (low, high) in (
            ("objects", self.objects),
            ("cameras.number", self.cameras.number),
            ("cameras.height", self.cameras.height),
            ("room.height", self.room.height),
            ("room.clutter", self.room.clutter),
        ):
            if low > high:
                yield key, f"from {low} to {high} is empty"
        if self.objects[0] == 0 and (self.room.share == 0 or not (self.room.floor or self.room.ceiling)):
            yield "objects", "a scene may come out empty: ask for at least one object, or a floor"


class Scenes(Sequence[Scene]):
    """A set of scenes made on the fly; also a recipe for the generator's driver (`name`, `config`, `arrays`).

    Args:
        config: What scenes look like.
        source: Where objects come from; the scenes are pure only if its objects are.
        name: What the set is called in stored records.
    """

    def __init__(self, config: SceneConfig, source: ObjectSource, *, name: str = "scenes"):
        self.config, self.source, self.name = config, source, name

    def __len__(self) -> int:
        return self.config.num_scenes

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"scene {index} of a set of {len(self)}")
        return compose(stream(self.config.seed, "scene", int(index) % len(self)), self.source, config=self.config)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Scene `index` as named arrays, to be stored."""
        return self[index].arrays()


def compose(rng: np.random.Generator, source: ObjectSource, *, config: SceneConfig) -> Scene:
    """One scene.

    Where nothing is hidden and there is no noise, each box touches the points of its object on all six faces.

    Args:
        rng: Decides everything.
        source: Where objects come from.
        config: What the scene looks like.

    Returns:
        A scene with exactly `config.num_points` points. Where fewer are in sight, points are repeated (and then moved
        by the noise). Objects that found no place or are hardly in sight are not in `boxes`.

    Raises:
        ValueError: If there is nothing: no object found a place and the room is bare, or no camera sees a point.
    """
    num_objects = int(rng.integers(config.objects[0], config.objects[1] + 1))
    num_cameras = int(rng.integers(config.cameras.number[0], config.cameras.number[1] + 1))
    budget = round(config.num_points * (config.cameras.oversampling if num_cameras else 1))
    num_room = 0 if config.room.empty else budget if num_objects == 0 else round(budget * config.room.share)
    clouds, categories, layout = _objects(rng, source, num_objects, budget - num_room, config)
    counts = [len(cloud) for cloud in clouds]
    num_room = 0 if config.room.empty else budget - sum(counts)  # objects left out leave their points to the room
    walls = _room_points(rng, layout.room, num_room, config.room)

    points = np.concatenate([*clouds, walls]).astype(np.float32)
    if len(points) == 0:
        raise ValueError(f"none of {num_objects} objects found a place in a room of {layout.room} m, and it is bare")
    ids = np.repeat(np.arange(-1, len(clouds)), [0, *counts]) if clouds else np.zeros(0, np.int64)
    ids = np.concatenate([ids, np.full(len(walls), -1)])
    yaws = layout.yaws[layout.placed]
    boxes = np.array([tight_box(points[ids == k], yaws[k]) for k in range(len(clouds))], np.float32).reshape(-1, 7)

    if num_cameras:
        seen = _seen(rng, points, layout.room, boxes, num_cameras, config.cameras)
        if not seen.any():
            raise ValueError(f"no camera sees any of {len(points)} points; widen cameras.fov")
        points, ids = points[seen], ids[seen]
    if len(points) != config.num_points:
        kept = rng.choice(len(points), config.num_points, replace=len(points) < config.num_points)
        points, ids = points[kept], ids[kept]
    points = points + rng.normal(0, config.noise, points.shape).astype(np.float32) if config.noise else points

    num_seen = np.bincount(ids[ids >= 0], minlength=len(boxes))
    labelled = np.flatnonzero(num_seen >= config.min_points)
    rows = np.full(len(boxes) + 1, -1)
    rows[labelled] = np.arange(len(labelled))
    if config.boxes == "seen":
        boxes[labelled] = [tight_box(points[ids == k], yaws[k]) for k in labelled]
    return Scene(
        points=points,
        boxes=boxes[labelled],
        categories=np.array(categories, np.int32)[labelled],
        instance_ids=rows[ids],
    )


def _objects(rng, source, num_objects, budget, config) -> tuple[list[np.ndarray], list[int], Layout]:
    """Placed clouds in scene coordinates, their categories, and the layout they came from."""
    limit = -(-2 * budget // max(num_objects, 1))  # so that a large object may have twice the average
    samples = [source.sample(rng, limit) for _ in range(num_objects)]
    clouds = [np.asarray(points, np.float64) for points, _ in samples]
    if config.layout.yaw == "axis_aligned":
        clouds = [cloud @ _turn(rng.uniform(-np.pi, np.pi)).T for cloud in clouds]
    sizes = np.exp(rng.uniform(np.log(config.sizes.low), np.log(config.sizes.high), (num_objects, 3)))
    if config.sizes.shape != "fill":
        extents = np.array([np.ptp(cloud, axis=0) for cloud in clouds]).reshape(-1, 3)
        fitted = extents * (sizes / np.maximum(extents, 1e-9)).min(axis=1, keepdims=True)
        sizes = extents if config.sizes.shape == "metres" else fitted
    layout = lay_out(rng, np.maximum(sizes, 1e-3), config=config.layout)

    areas = sizes[:, 0] * sizes[:, 1] + (sizes[:, 0] + sizes[:, 1]) * sizes[:, 2]
    counts = _allot(areas**config.sizes.area_exponent * layout.placed, budget, limit)
    placed: dict[int, np.ndarray] = {}
    for k in layout.order[layout.placed[layout.order]].tolist():
        cloud = clouds[k][: counts[k]]
        low, extent = cloud.min(axis=0), np.ptp(cloud, axis=0)
        cloud = (cloud - low) * np.where(extent > 1e-9, sizes[k] / np.maximum(extent, 1e-9), 1) - [*sizes[k, :2] / 2, 0]
        cloud = cloud @ _turn(layout.yaws[k]).T
        cloud[:, :2] += layout.positions[k]
        if layout.supports[k] >= 0:
            cloud[:, 2] += _height_below(
                placed[int(layout.supports[k])], layout.positions[k], sizes[k], float(layout.yaws[k])
            )
        placed[k] = cloud
    rows = np.flatnonzero(layout.placed).tolist()
    return [placed[k] for k in rows], [samples[k][1] for k in rows], layout


def _allot(weights: np.ndarray, total: int, limit: int) -> np.ndarray:
    """Whole numbers in proportion to the weights that sum to the total, none above the limit."""
    counts = np.zeros(len(weights), np.int64)
    while (rest := min(total, limit * int((weights > 0).sum())) - int(counts.sum())) > 0:
        free = weights * (counts < limit)
        edges = np.round(np.cumsum(free) / free.sum() * rest).astype(np.int64)
        counts = np.minimum(counts + np.diff(edges, prepend=0), limit)
    return counts


def _height_below(support: np.ndarray, position: np.ndarray, size: np.ndarray, yaw: float) -> float:
    """Where a footprint comes to rest on a cloud: its highest point beneath, or its top if there is none."""
    box = np.array([[*position, 0, *size[:2], 1e3, yaw]])
    beneath = support[points_in_boxes(support, box)[0], 2]
    return float(beneath.max() if len(beneath) else support[:, 2].max())


def _room_points(rng, room, num_points, config) -> np.ndarray:
    """Floor, walls and ceiling with equally many points a square metre, and clutter with twice as many."""
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
        return np.zeros((0, 3))
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
    return np.concatenate(parts)


def _clutter(rng, room):
    """Area, middle, half size and exponent of a super-ellipsoid on the floor: 2 is an ellipsoid, large is a block."""
    half_size = rng.uniform(0.05, 0.2, 3)
    middle = np.array([*rng.uniform(-0.45, 0.45, 2) * room, half_size[2]])
    return 8 * half_size.prod() ** (2 / 3), middle, half_size, rng.choice([2.0, 4.0, 12.0])


def _seen(rng, points, room, boxes, num_cameras, config) -> np.ndarray:
    seen = np.zeros(len(points), bool)
    for _ in range(num_cameras):
        for _ in range(10):  # not inside a thing, if that can be had
            camera = np.array([*rng.uniform(-0.42, 0.42, 2) * room, rng.uniform(*config.height)])
            if not points_in_boxes(camera[None], boxes, margin=0.1).any():
                break
        heading = rng.uniform(-np.pi, np.pi) if config.fov >= 360 else np.arctan2(-camera[1], -camera[0])
        seen |= visible_from(
            points, camera, resolution=config.resolution, tolerance=config.tolerance, heading=heading, fov=config.fov
        )
    return seen


def _turn(yaw) -> np.ndarray:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
