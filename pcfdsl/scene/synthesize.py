"""Scenes on the fly: objects in a room, seen by depth cameras. Scene i is a pure function of (config, seed, i)."""

from typing import Any

import numpy as np

from pcfdsl.config import check_argument, within
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalDB, open_pcfractal
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene, SceneSequence, points_in_boxes, tight_box
from pcfdsl.scene.colors import Thing, draw_colors
from pcfdsl.scene.config import CameraConfig, FractalScenesConfig, ObjectScenesConfig, SceneConfig
from pcfdsl.scene.furnish import place_objects
from pcfdsl.scene.objects import FormulaObjects, FractalObjects, ObjectSource
from pcfdsl.scene.source_checks import check_source
from pcfdsl.scene.surroundings import draw_surroundings
from pcfdsl.scene.visibility import visible_from

__all__ = ["FractalScenes", "ObjectScenes", "Scenes", "compose"]


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
    objects, layout = place_objects(rng, source, num_objects, budget - num_room, config=config)
    counts = [len(item.points) for item in objects]
    # The room gets the points of objects that were not placed.
    num_room = 0 if config.room.empty else budget - sum(counts)
    surfaces = draw_surroundings(rng, layout.room, num_room, config=config.room)

    clouds = [item.points.astype(np.float32) for item in objects]
    points = np.concatenate([np.zeros((0, 3), np.float32), *clouds, *surfaces], dtype=np.float32, casting="same_kind")
    if len(points) == 0:
        raise ValueError(
            f"none of {num_objects} objects fits into a bare room of {layout.room} m; allow a larger room, or a floor"
        )
    ids = np.full(len(points), -1)
    ids[: sum(counts)] = np.repeat(np.arange(len(counts)), counts)
    colors = None
    if color_rng is not None:
        colors = draw_colors(color_rng, [*(item.thing for item in objects), *(Thing(points=s) for s in surfaces)])
    yaws = [item.yaw for item in objects]
    boxes = np.array([tight_box(*own) for own in zip(clouds, yaws, strict=True)], np.float32).reshape(-1, 7)

    kept = np.arange(len(points))
    if num_cameras:
        kept = np.flatnonzero(_seen(rng, points, layout.room, boxes, num_cameras, config.cameras))
        if not len(kept):
            raise ValueError(f"no camera sees any of {len(points)} points; widen cameras.fov")
    if len(kept) != config.num_points:
        kept = kept[rng.choice(len(kept), config.num_points, replace=len(kept) < config.num_points)]
    # Taking rows by number is ten times as fast as by a mask.
    points, ids, colors = points.take(kept, axis=0), ids[kept], None if colors is None else colors.take(kept, axis=0)
    points = points + rng.normal(0, config.noise, points.shape).astype(np.float32) if config.noise else points

    num_seen = np.bincount(ids[ids >= 0], minlength=len(boxes))
    labelled = np.flatnonzero(num_seen >= config.min_points)
    rows = np.full(len(boxes) + 1, -1)
    rows[labelled] = np.arange(len(labelled))
    if config.boxes == "seen":
        for k in labelled:
            boxes[k] = tight_box(points.take(np.flatnonzero(ids == k), axis=0), yaws[k])
    return Scene(
        points=points,
        boxes=boxes[labelled],
        categories=np.array([item.category for item in objects], np.int32)[labelled],
        instance_ids=rows[ids],
        colors=colors,
    )


def _seen(
    rng: np.random.Generator,
    points: np.ndarray,
    room: np.ndarray,
    boxes: np.ndarray,
    num_cameras: int,
    config: CameraConfig,
) -> np.ndarray:
    """Points [N] bool that one camera or another sees, from within the room; narrow views look at its middle."""
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
