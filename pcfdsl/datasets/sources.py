"""Sources of scenes: a settings class for each, and one function that opens them all."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pcfdsl.config import REQUIRED, ConfigError, Settings, check_argument, differences, option, to_dict, within
from pcfdsl.datasets.detection_set import DetectionSet, read_classes
from pcfdsl.datasets.kept import KeptScenes
from pcfdsl.datasets.mmdetection3d import open_mmdetection3d
from pcfdsl.datasets.scene_shards import SceneShards, stored_formulas
from pcfdsl.datasets.votenet import open_votenet
from pcfdsl.pointcloud.objects import Formula, IFSConfig, check_objects
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, category_names, open_pcfractal
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import ObjectScenesConfig, SceneConfig
from pcfdsl.scene.objects import FractalObjects, MeshFolder
from pcfdsl.scene.primitives import CLASSES, PrimitiveFurniture
from pcfdsl.scene.released import ReleasedScenes, ReleasedScenesConfig
from pcfdsl.scene.synthesize import ObjectScenes, Scenes
from pcfdsl.store.manifest import read_manifest

__all__ = [
    "DetectionSetSource",
    "FractalSource",
    "FurnitureSource",
    "MMDetection3DSource",
    "MeshSource",
    "NoSource",
    "FormulaSource",
    "ReleasedSource",
    "SceneSet",
    "SceneSource",
    "ShardSource",
    "VoteNetSource",
    "formula_differences",
    "known_classes",
    "mean_box_sizes",
    "open_scenes",
    "stored_scenes",
]


@dataclass(frozen=True, kw_only=True)
class FractalSource(Settings):
    """Scenes of fractals, generated on the fly."""

    kind: Literal["fractals"] = option("fractals", "scenes of PC-FractalDB's fractals, generated on the fly")
    scenes: SceneConfig = option(SceneConfig(), "what the scenes look like")
    fractals: PCFractalConfig = option(PCFractalConfig(), "the fractals")


@dataclass(frozen=True, kw_only=True)
class FormulaSource(Settings):
    """Scenes of objects of one or more formulas, generated on the fly."""

    kind: Literal["objects"] = option("objects", "scenes of objects of one or more formulas, generated on the fly")
    scenes: SceneConfig = option(SceneConfig(), "what the scenes look like")
    objects: tuple[Formula, ...] = option((IFSConfig(),), "the formulas of the objects, each with its share")

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from check_objects(self.objects)


@dataclass(frozen=True, kw_only=True)
class ReleasedSource(Settings):
    """Scenes of fractals by the released scripts, generated on the fly."""

    kind: Literal["released"] = option(
        "released", "scenes of fractals by the layout of PC-FractalDB's released scripts"
    )
    scenes: ReleasedScenesConfig = option(ReleasedScenesConfig(), "how many scenes, and of what size")
    fractals: PCFractalConfig = option(PCFractalConfig(), "the fractals; they too have a variant: released")


@dataclass(frozen=True, kw_only=True)
class FurnitureSource(Settings):
    """Scenes of furniture made of primitives, generated on the fly."""

    kind: Literal["furniture"] = option("furniture", "scenes of furniture made of primitives, generated on the fly")
    split: Literal["train", "val"] = option("train", "train and val have furniture of different proportions")
    scenes: SceneConfig = option(SceneConfig(), "what the scenes look like")


@dataclass(frozen=True, kw_only=True)
class MeshSource(Settings):
    """Scenes of the meshes and clouds in a folder, generated on the fly."""

    kind: Literal["meshes"] = option("meshes", "scenes of the meshes and clouds in a folder, generated on the fly")
    folder: str = option(REQUIRED, "folder of the meshes, one sub-folder per class")
    split: Literal["all", "train", "val"] = option("all", "which models: val has one in five of each class")
    up: Literal["y", "z"] = option("z", "the axis that points up in the files: y in ShapeNet's and glTF's")
    scenes: SceneConfig = option(SceneConfig(), "what the scenes look like")


@dataclass(frozen=True, kw_only=True)
class DetectionSetSource(Settings):
    """Scenes of a detection set."""

    kind: Literal["detection_set"] = option(
        "detection_set", "a folder written by one of the prepare tools", formerly={"stored": "detection_set"}
    )
    folder: str = option(REQUIRED, "folder of the set")
    split: str = option("train", "split of the set")


@dataclass(frozen=True, kw_only=True)
class ShardSource(Settings):
    """Scenes generated earlier and stored as shards."""

    kind: Literal["shards"] = option(
        "shards", "scenes generated earlier and stored as shards", formerly={"generated": "shards"}
    )
    folder: str = option(REQUIRED, "folder of the set")


@dataclass(frozen=True, kw_only=True)
class VoteNetSource(Settings):
    """Scenes prepared by VoteNet's scripts."""

    kind: Literal["votenet"] = option("votenet", "a folder written by VoteNet's scripts")
    folder: str = option(REQUIRED, "folder of the set")
    split: str = option("train", "split of the set")


@dataclass(frozen=True, kw_only=True)
class MMDetection3DSource(Settings):
    """Scenes prepared by MMDetection3D's scripts."""

    kind: Literal["mmdetection3d"] = option("mmdetection3d", "a folder written by MMDetection3D's scripts")
    folder: str = option(REQUIRED, "folder of the set")
    split: str = option("train", "split of the set")


@dataclass(frozen=True, kw_only=True)
class NoSource(Settings):
    """No scenes."""

    kind: Literal["none"] = option("none", "no scenes")


SceneSource = (
    FractalSource
    | FormulaSource
    | ReleasedSource
    | FurnitureSource
    | MeshSource
    | DetectionSetSource
    | ShardSource
    | VoteNetSource
    | MMDetection3DSource
    | NoSource
)


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Scenes and the names of their categories, in order.

    Raises:
        TypeError: If `classes` is no tuple or list of strings.
        ValueError: If a name is empty or given twice, scenes that know their number of categories have another, or one
            in a list has a category without a name.

    >>> SceneSet([], ["chair", "table"]).classes
    ('chair', 'table')
    """

    scenes: Sequence[Scene]
    classes: tuple[str, ...]

    def __post_init__(self):
        classes, expected = self.classes, "expected a tuple of distinct names, one for each category in order"
        if not isinstance(classes, tuple | list):
            raise TypeError(f"classes is {classes!r}; {expected}")
        if wrong := [name for name in classes if not isinstance(name, str)]:
            raise TypeError(f"classes has {wrong[0]!r}, which is no string; {expected}")
        if not all(classes):
            raise ValueError(f"classes has an empty name; {expected}")
        if len(set(classes)) < len(classes):
            twice = next(name for name in classes if classes.count(name) > 1)
            raise ValueError(f"classes has {twice!r} {classes.count(twice)} times; {expected}")
        number = getattr(self.scenes, "num_categories", None)
        if number is not None and number != len(classes):
            raise ValueError(f"classes has {len(classes)} names, but scenes have {number} categories; {expected}")
        for i, scene in enumerate(self.scenes if isinstance(self.scenes, list | tuple) else ()):
            if nameless := set(scene.categories.tolist()).difference(range(len(classes))):
                raise ValueError(
                    f"scene {i} has category {min(nameless)}, but classes has {len(classes)} names; {expected}"
                )
        object.__setattr__(self, "classes", tuple(classes))

    def kept(self) -> "SceneSet":
        """The same scenes, which stay in memory as far as there is room; see `KeptScenes`."""
        return replace(self, scenes=KeptScenes(self.scenes))


def stored_scenes(folder: str, *, split: str) -> ShardSource | DetectionSetSource:
    """The source of a folder: scenes that were generated, or else a split of a detection set."""
    generated = (Path(folder) / "manifest.json").is_file()
    return ShardSource(folder=folder) if generated else DetectionSetSource(folder=folder, split=split)


def open_scenes(source: SceneSource) -> SceneSet:
    """Open a source of scenes. Fractal categories are searched at once, which may take a minute for a thousand.

    Raises:
        OSError, ValueError: If a folder cannot be used.
        ConfigError: If the source is none.
    """
    check_argument("source", source, SceneSource)
    match source:
        case FractalSource() | ReleasedSource():
            database = open_pcfractal(source.fractals)
            with within("fractals"):
                database.prepare()
            classes = category_names(source.fractals.num_categories)
            if isinstance(source, ReleasedSource):
                return SceneSet(ReleasedScenes(source.scenes, database), classes)
            return SceneSet(Scenes(source.scenes, FractalObjects(database)), classes)
        case FormulaSource():
            scenes = ObjectScenes(ObjectScenesConfig(scenes=source.scenes, objects=source.objects))
            scenes.prepare()
            return SceneSet(scenes, scenes.clouds.classes)
        case FurnitureSource():
            furniture = PrimitiveFurniture(source.split)
            return SceneSet(Scenes(source.scenes, furniture), tuple(furniture.classes))
        case MeshSource():
            meshes = MeshFolder(source.folder, split=None if source.split == "all" else source.split, up=source.up)
            if meshes.skipped or meshes.notes:
                print(meshes.report(), file=sys.stderr)
            return SceneSet(Scenes(source.scenes, meshes), tuple(meshes.classes))
        case DetectionSetSource():
            stored = DetectionSet(source.folder, source.split)
            return SceneSet(stored, stored.classes)
        case ShardSource():
            generated = SceneShards(source.folder)
            return SceneSet(generated, generated.classes)
        case VoteNetSource() | MMDetection3DSource():
            open_prepared = open_votenet if isinstance(source, VoteNetSource) else open_mmdetection3d
            prepared = open_prepared(source.folder, source.split)
            if prepared.missing:
                print(f"{source.folder}: {len(prepared.missing)} scenes of {source.split} are missing", file=sys.stderr)
            return SceneSet(prepared, prepared.classes)
        case NoSource():
            raise ConfigError([("kind", "is none, which has no scenes; choose another kind")])


def known_classes(source: SceneSource) -> tuple[str, ...] | None:
    """Names of the categories of a source as far as it need be neither searched nor read to know them, else None.

    Raises:
        OSError, ValueError: If it is a detection set that is not there, or whose list of classes is invalid.
    """
    match source:
        case FractalSource() | ReleasedSource():
            return category_names(source.fractals.num_categories)
        case FormulaSource():
            return category_names(sum(formula.num_categories for formula in source.objects))
        case FurnitureSource():
            return tuple(CLASSES)
        case DetectionSetSource():
            return read_classes(source.folder)
        case _:
            return None


def formula_differences(training: SceneSource, other: SceneSource) -> str:
    """How the formulas of the categories of another source differ from those of the training, as far as both are known.

    Categories of formulas are numbers: that they are other shapes does not show in their names. Settings of instances
    alone, such as the number of points, do not count.

    >>> formula_differences(FractalSource(), FormulaSource(objects=(IFSConfig(num_points=99),)))
    ''
    >>> formula_differences(FractalSource(), FractalSource(fractals=PCFractalConfig(seed=1)))
    'seed: 0 in the training, 1 here'
    """
    learned, asked = _category_formulas(training), _category_formulas(other)
    if not learned or not asked:
        return ""
    if [formula["formula"] for formula in learned] != [formula["formula"] for formula in asked]:
        names = [", ".join(formula["formula"] for formula in formulas) for formulas in (learned, asked)]
        return f"{names[0]} in the training, {names[1]} here"
    return "; ".join(
        f"{key}: {before} in the training, {after} here"
        for one, two in zip(learned, asked, strict=True)
        for key, before, after in differences(one, two)
    )


def _category_formulas(source: SceneSource) -> list[dict[str, Any]]:
    """Settings that decide what the categories are; none if they are not of formulas, or a stored set is not there."""
    match source:
        case FractalSource() | ReleasedSource():
            formulas = [to_dict(source.fractals)]
        case FormulaSource():
            formulas = [to_dict(formula) for formula in source.objects]
        case ShardSource() if (Path(source.folder) / "manifest.json").is_file():
            formulas = stored_formulas(read_manifest(Path(source.folder)).config)
        case _:
            return []
    of_instances = {"num_instances", "num_points", "share", "variation", "mix", "augmentation"}
    return [
        {"formula": "ifs"} | {key: value for key, value in formula.items() if key not in of_instances}
        for formula in formulas
    ]


def mean_box_sizes(
    scenes: Sequence[Scene], num_classes: int, *, per_class: bool, max_scenes: int = 200
) -> tuple[tuple[float, float, float], ...]:
    """Mean full extents of the boxes, of all or for each class, in metres, rounded to millimetres.

    Uses `max_scenes` scenes, evenly spaced. A class without boxes there gets the mean of all.

    Raises:
        ValueError: If there are no boxes.
    """
    chosen = np.unique(np.linspace(0, len(scenes) - 1, min(len(scenes), max_scenes)).astype(int))
    looked_at = [scenes[int(i)] for i in chosen]
    if not any(len(scene.boxes) for scene in looked_at):
        raise ValueError(f"none of {len(chosen)} training scenes has a box; there is nothing to detect")
    sizes = np.concatenate([scene.boxes[:, 3:6] for scene in looked_at])
    categories = np.concatenate([scene.categories for scene in looked_at])
    groups = [sizes[categories == k] for k in range(num_classes)] if per_class else [sizes]
    means = np.array([(group if len(group) else sizes).mean(0, dtype=np.float64) for group in groups])
    return tuple((x, y, z) for x, y, z in means.clip(min=0.01).round(3).tolist())
