"""The settings of a set of scenes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pcfdsl.config import Settings, option, validate
from pcfdsl.pointcloud.objects import Formula, IFSConfig, check_objects
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.layout import LayoutConfig

__all__ = ["CameraConfig", "FractalScenesConfig", "ObjectScenesConfig", "RoomConfig", "SceneConfig", "SizeConfig"]


@dataclass(frozen=True, kw_only=True)
class SizeConfig:
    """How large objects are."""

    shape: Literal["fill", "keep", "metres"] = option(
        "fill",
        "stretch clouds to the drawn box, keep their proportions inside it, or take their coordinates as metres",
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
    height: tuple[float, float] = option((2.3, 2.8), "range of the height of the walls, metres", minimum=0.1)
    share: float = option(
        0.55,
        "share of the points on floor, walls, ceiling and clutter, before hidden points are removed",
        minimum=0.0,
        maximum=0.95,
    )
    roughness: float = option(0.005, "standard deviation of floor and walls from their planes, metres", minimum=0.0)
    clutter: tuple[int, int] = option(
        (0, 4), "range of the number of small unlabelled things on the floor", minimum=0, maximum=10_000
    )

    def __post_init__(self) -> None:
        validate(self)

    @property
    def empty(self) -> bool:
        """Whether there is nothing but objects."""
        return not (self.floor or self.walls or self.ceiling or self.clutter[1]) or self.share == 0


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Where the scene is seen from."""

    number: tuple[int, int] = option(
        (2, 4), "range of the number of cameras; with 0 nothing is hidden", minimum=0, maximum=10_000
    )
    height: tuple[float, float] = option((1.0, 1.8), "range of heights above the floor, metres")
    fov: float = option(360.0, "horizontal field of view, degrees", minimum=10.0, maximum=360.0)
    resolution: float = option(
        1.0, "cell of the depth buffer that finds hidden points, degrees", minimum=0.1, maximum=10.0
    )
    tolerance: float = option(0.06, "thickness of a surface in a cell, metres", minimum=0.0)
    oversampling: float = option(2.5, "points generated per point kept, since hidden ones are discarded", minimum=1.0)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """A set of scenes."""

    seed: int = option(0, "all randomness depends on it and on the number of the scene")
    num_scenes: int = option(10_000, "length of the set", minimum=1, maximum=1_000_000_000)
    num_points: int = option(20_000, "points of a scene", minimum=1, maximum=10_000_000)
    objects: tuple[int, int] = option(
        (6, 14), "range of the number of objects placed in a scene", minimum=0, maximum=10_000
    )
    sizes: SizeConfig = option(SizeConfig(), "how large objects are")
    layout: LayoutConfig = option(LayoutConfig(), "where objects stand")
    room: RoomConfig = option(RoomConfig(), "floor, walls, clutter")
    cameras: CameraConfig = option(CameraConfig(), "where the scene is seen from")
    noise: float = option(0.004, "standard deviation of each coordinate, metres", minimum=0.0)
    boxes: Literal["full", "seen"] = option(
        "full",
        "boxes enclose the whole object, or only its visible points",
    )
    min_points: int = option(30, "objects with fewer points are left unlabelled", minimum=1)
    colors: Literal["none", "random"] = option(
        "none", "colours of points: none, or random: a smooth field over each thing, around a colour for each part"
    )

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
                yield key, f"the range from {low} to {high} is empty"
        if self.objects[0] == 0 and (self.room.share == 0 or not (self.room.floor or self.room.ceiling)):
            yield "objects", "a scene may come out empty: ask for at least one object, or a floor"


@dataclass(frozen=True, kw_only=True)
class FractalScenesConfig:
    """Scenes of PC-FractalDB instances: the whole recipe."""

    scenes: SceneConfig = option(SceneConfig(), "what scenes look like")
    fractals: PCFractalConfig = option(PCFractalConfig(), "the objects in them")

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class ObjectScenesConfig(Settings):
    """Scenes of objects of one or more formulas: the whole recipe."""

    scenes: SceneConfig = option(SceneConfig(), "what scenes look like")
    objects: tuple[Formula, ...] = option((IFSConfig(),), "the formulas of the objects in them, each with its share")

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        yield from check_objects(self.objects)
