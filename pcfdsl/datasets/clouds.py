"""Labelled clouds: objects of formulas by category, shapes in .npz or HDF5 files, or a folder by class."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pcfdsl.config import REQUIRED, Settings, option, within
from pcfdsl.datasets.augment import choose_rows
from pcfdsl.datasets.cloud_hdf5 import read_hdf5_shapes
from pcfdsl.pointcloud.objects import Formula, IFSConfig, ObjectClouds, ObjectsConfig, check_objects
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB, category_names, open_pcfractal
from pcfdsl.readers.arrays import read_arrays
from pcfdsl.readers.clouds import cloud_files
from pcfdsl.readers.hints import class_hints, summarize_notes
from pcfdsl.scene.objects import read_shape, z_up

__all__ = [
    "ArrayClouds",
    "CloudSet",
    "CloudSource",
    "CloudSourceConfig",
    "FolderClouds",
    "FormulaClouds",
    "FractalClouds",
    "HDF5Clouds",
    "fractal_clouds",
    "open_clouds",
    "read_cloud_folder",
    "read_cloud_hdf5",
    "read_cloud_npz",
]


class CloudSource(Protocol):
    """Draws points of numbered shapes. Picklable, so that it can be passed to loader workers."""

    def draw(self, index: int, rng: np.random.Generator, num_points: int) -> np.ndarray:
        """Draw points of one shape: [num_points, 3] float32, z up, in random order."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class CloudSet:
    """Labelled shapes.

    Attributes:
        source: Draws the points of shape i.
        labels: [S] int64, index of each shape's class.
        classes: Class names.
        names: Name of each shape, for messages; empty if they have none.
        tags: Other values of each shape by name, [S] each, such as fold, group and library.
        skipped: (name, reason) of files that could not be used.
        notes: Sentences on what looks wrong.
    """

    source: CloudSource
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()
    tags: Mapping[str, np.ndarray] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def report(self) -> str:
        """A summary line, then one line for each file that could not be used."""
        head = f"{len(self)} clouds in {len(self.classes)} classes, {len(self.skipped)} skipped"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([head] + [f"  {name}: {reason}" for name, reason in self.skipped] + notes)


@dataclass(frozen=True, kw_only=True)
class FractalClouds(Settings):
    """Fractals by category."""

    kind: Literal["fractals"] = option("fractals", "fractals by category")
    fractals: PCFractalConfig = option(PCFractalConfig(), "the fractals")


@dataclass(frozen=True, kw_only=True)
class FormulaClouds(Settings):
    """Objects of one or more formulas by category."""

    kind: Literal["objects"] = option("objects", "objects of one or more formulas by category")
    objects: tuple[Formula, ...] = option((IFSConfig(),), "the formulas, each with its settings")

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from check_objects(self.objects)


@dataclass(frozen=True, kw_only=True)
class ArrayClouds(Settings):
    """Shapes of a .npz file."""

    kind: Literal["npz"] = option("npz", "shapes of a .npz file, see `read_cloud_npz`")
    path: str = option(REQUIRED, "the file")


@dataclass(frozen=True, kw_only=True)
class FolderClouds(Settings):
    """Meshes and clouds of a folder."""

    kind: Literal["folder"] = option("folder", "meshes and clouds of a folder, one sub-folder per class")
    path: str = option(REQUIRED, "the folder")
    up: Literal["y", "z"] = option("z", "the axis that points up in the files")
    bin_columns: int = option(6, "columns of .bin files", minimum=3)


@dataclass(frozen=True, kw_only=True)
class HDF5Clouds(Settings):
    """ModelNet40 or ScanObjectNN."""

    kind: Literal["hdf5"] = option("hdf5", "ModelNet40 or ScanObjectNN, see `read_cloud_hdf5`")
    path: str = option(REQUIRED, "the folder of the .h5 files, or one of them where it holds several versions")


CloudSourceConfig = FractalClouds | FormulaClouds | ArrayClouds | FolderClouds | HDF5Clouds


def open_clouds(config: CloudSourceConfig) -> CloudSet:
    """Open a source of clouds. Fractal categories are searched at once; unreadable files are listed on stderr.

    Raises:
        OSError, ValueError: If a file or folder cannot be used.
    """
    match config:
        case FractalClouds():
            with within("fractals"):
                return fractal_clouds(open_pcfractal(config.fractals))
        case FormulaClouds():
            clouds = ObjectClouds(ObjectsConfig(objects=config.objects))
            clouds.prepare()
            return CloudSet(source=_Formulas(clouds), labels=clouds.labels(), classes=clouds.classes)
        case ArrayClouds():
            if Path(config.path).is_dir():
                raise ValueError(
                    f"{config.path} is a folder; expected a .npz file, or set data.kind=folder split.by=random"
                )
            return read_cloud_npz(config.path)
        case FolderClouds():
            clouds = read_cloud_folder(config.path, up=config.up, bin_columns=config.bin_columns)
            if clouds.skipped or clouds.notes:
                print(clouds.report(), file=sys.stderr)
            return clouds
        case HDF5Clouds():
            return read_cloud_hdf5(config.path)


def fractal_clouds(database: PCFractalDB) -> CloudSet:
    """The clouds of a PC-FractalDB, labelled by category. Searches all categories at once."""
    config = database.config
    database.prepare()
    labels = np.repeat(np.arange(config.num_categories), config.num_instances)
    return CloudSet(source=_Fractals(database), labels=labels, classes=category_names(config.num_categories))


def read_cloud_npz(path: str | Path) -> CloudSet:
    """Read shapes from a .npz file.

    Args:
        path: A file with `points` [S, P, 3] and `label` [S], -1 for shapes to leave out; optionally `scale` [S], metres
            per unit, `class_names` and `name`. Every other array [S] becomes a tag.

    Raises:
        OSError: If it cannot be read.
        ValueError: If an array is missing or has the wrong shape, or no shape has a class. The message names the file.
    """
    path = Path(path)
    arrays = read_arrays(path)
    if missing := {"points", "label"} - arrays.keys():
        raise ValueError(f"{path} has no array {', '.join(sorted(missing))}; expected points [S, P, 3] and label [S]")
    points, label = arrays.pop("points"), arrays.pop("label")
    if points.ndim != 3 or points.shape[2] != 3 or label.shape != points.shape[:1] or label.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: points are {points.shape}, label {label.dtype} {label.shape}; expected [S, P, 3] and integers [S]"
        )
    kept = np.flatnonzero(label >= 0)
    if not len(kept) or points.shape[1] == 0:
        raise ValueError(f"{path} holds no shape with a class (label 0 and up) and points")
    names = arrays.pop("class_names", np.arange(label.max() + 1).astype(str))
    if label.max() >= len(names):
        raise ValueError(f"{path} has label {label.max()}, but only {len(names)} class_names")
    scale = np.asarray(arrays.pop("scale", np.ones(len(points))), np.float32)
    source = _Arrays(points[kept], scale[kept])
    if bad := np.flatnonzero(~source.usable()).tolist():
        raise ValueError(f"{path}: {len(bad)} shapes are not finite or have no extent; the first is {kept[bad[0]]}")
    tags = {name: array[kept] for name, array in arrays.items() if array.shape == label.shape}
    return CloudSet(
        source=source,
        labels=label[kept].astype(np.int64),
        classes=tuple(map(str, names)),
        names=tuple(map(str, tags.get("name", kept))),
        tags=tags,
    )


def read_cloud_hdf5(path: str | Path) -> CloudSet:
    """Read ModelNet40's or ScanObjectNN's .h5 files, whose y axis points up.

    Args:
        path: Their folder, or the file of one version where it holds several.

    Returns:
        The set; its tag `split` is train or test, as the files' names say.

    Raises:
        OSError, ValueError: As `pcfdsl.datasets.cloud_hdf5.read_hdf5_shapes`, or if a shape is not finite or has no
            extent.
    """
    points, labels, parts, classes = read_hdf5_shapes(path)
    source = _Arrays(z_up(points), np.ones(len(points), np.float32))
    if bad := np.flatnonzero(~source.usable()).tolist():
        raise ValueError(f"{path}: {len(bad)} shapes are not finite or have no extent; the first is {bad[0]}")
    return CloudSet(source=source, labels=labels, classes=classes, tags={"split": parts})


def read_cloud_folder(folder: str | Path, *, up: str = "z", bin_columns: int = 6) -> CloudSet:
    """Read all meshes and clouds of a folder into memory: CLASS/NAME, at any depth.

    Args:
        folder: Its sub-folders are the classes, in alphabetical order.
        up: The axis that points up in the files, "y" or "z".
        bin_columns: Columns of .bin files.

    Returns:
        The set; files that cannot be used are in `skipped`. Classes without usable files are left out. Where all files
        are in sub-folders train, val or test of their classes, as ModelNet40's, the tag `split` says in which.

    Raises:
        OSError: If there is no such folder.
        ValueError: If no file can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; expected meshes or clouds in sub-folders by class")
    files = cloud_files(folder)
    shapes, owners, names, skipped, notes = [], [], [], [], {}
    for path in files:
        relative = path.relative_to(folder)
        try:
            if len(relative.parts) < 2:
                raise ValueError("is not in a class's sub-folder")
            shape = read_shape(path, up=up, bin_columns=bin_columns)
        except Exception as error:  # readers raise anything on damaged files; each is reported
            skipped.append((str(relative), f"{type(error).__name__}: {error}"))
            continue
        shapes.append(shape)
        owners.append(relative.parts[0])
        names.append(str(relative))
        notes[str(relative)] = shape.notes
    if not shapes:
        raise ValueError(
            f"{folder} holds no usable shape in a sub-folder: {len(files)} files of known formats, "
            f"{len(skipped)} unusable" + "".join(f"\n  {name}: {reason}" for name, reason in skipped[:5])
        )
    classes = tuple(sorted(set(owners)))
    parts = [Path(name).parts[1] for name in names]
    return CloudSet(
        source=_Shapes(tuple(shapes)),
        labels=np.array([classes.index(owner) for owner in owners], np.int64),
        classes=classes,
        names=tuple(names),
        tags={"split": np.array(parts)} if set(parts) <= {"train", "val", "test"} else {},
        skipped=tuple(skipped),
        notes=(*class_hints(classes), *summarize_notes(notes, num_items=len(shapes))),
    )


@dataclass(frozen=True, eq=False)
class _Fractals:
    database: PCFractalDB

    def draw(self, index: int, rng: np.random.Generator, num_points: int) -> np.ndarray:
        cloud = self.database.cloud(*divmod(index, self.database.config.num_instances), num_points=max(num_points, 10))
        return rng.permutation(cloud.points, axis=0)[np.arange(num_points) % len(cloud.points)]


@dataclass(frozen=True, eq=False)
class _Formulas:
    clouds: ObjectClouds

    def draw(self, index: int, rng: np.random.Generator, num_points: int) -> np.ndarray:
        cloud = self.clouds.cloud(*self.clouds.locate(index), num_points=max(num_points, 10))
        return rng.permutation(cloud.points, axis=0)[np.arange(num_points) % len(cloud.points)]


@dataclass(frozen=True, eq=False)
class _Arrays:
    points: np.ndarray
    scale: np.ndarray

    def draw(self, index: int, rng: np.random.Generator, num_points: int) -> np.ndarray:
        points = self.points[index][choose_rows(rng, self.points.shape[1], num_points)]
        return points.astype(np.float32) * self.scale[index]

    def usable(self) -> np.ndarray:
        extent = np.ptp(self.points.astype(np.float32), axis=1).max(1) * self.scale
        return np.isfinite(extent) & (extent > 0)


@dataclass(frozen=True, eq=False)
class _Shapes:
    shapes: Sequence[Any]

    def draw(self, index: int, rng: np.random.Generator, num_points: int) -> np.ndarray:
        return self.shapes[index].sample(rng, num_points)
