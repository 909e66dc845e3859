"""Where the objects of a scene come from: formulas, meshes and clouds of a folder, furniture of primitives."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from pcfdsl.pointcloud.objects import ObjectClouds
from pcfdsl.pointcloud.pcfractal import PCFractalDB
from pcfdsl.readers.clouds import cloud_files, read_cloud
from pcfdsl.readers.hints import class_hints, summarize_notes

__all__ = [
    "FormulaObjects",
    "FractalObjects",
    "MeshFolder",
    "ObjectSource",
    "PartSource",
    "Shape",
    "read_shape",
    "sample_surface",
    "z_up",
]


class ObjectSource(Protocol):
    """A source of object clouds. It must pickle, for loader workers."""

    @property
    def num_categories(self) -> int:
        """Number of categories."""
        ...

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        """One object at random: [num_points, 3] float32 (z up, front towards -y, any size) and its category.

        The points are in random order: the first n are a uniform sample, too.
        """
        ...


@runtime_checkable
class PartSource(ObjectSource, Protocol):
    """A source that knows the parts of its objects, which are then coloured one by one."""

    def sample_in_parts(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int, np.ndarray, int]:
        """What `sample` gives, by the same draws; the part of each point [num_points] int64; the number of parts."""
        ...


class FractalObjects:
    """Instances of a PC-FractalDB, drawn uniformly over categories and instances.

    Args:
        database: The fractals. It pickles with the categories found so far; find all before
            starting loader workers.
    """

    def __init__(self, database: PCFractalDB):
        self.database = database

    @property
    def num_categories(self) -> int:
        return self.database.config.num_categories

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        category = int(rng.integers(self.num_categories))
        instance = int(rng.integers(self.database.config.num_instances))
        points = self.database.cloud(category, instance, num_points=num_points).points
        return _shuffled(rng, points), category


class FormulaObjects:
    """Instances of several formulas: of each as often as its share says, uniformly over its categories and instances.

    Args:
        clouds: The clouds of the formulas. They pickle with the categories found so far; `prepare` them before
            starting loader workers.
    """

    def __init__(self, clouds: ObjectClouds):
        self.clouds = clouds
        self._shares = np.cumsum([formula.share for formula in clouds.config.objects])

    @property
    def num_categories(self) -> int:
        return self.clouds.num_categories

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        f = int(np.searchsorted(self._shares[:-1], rng.random() * self._shares[-1], side="right"))
        formula = self.clouds.config.objects[f]
        category = int(self.clouds.first_categories[f]) + int(rng.integers(formula.num_categories))
        points = self.clouds.cloud(category, int(rng.integers(formula.num_instances)), num_points=num_points).points
        if isinstance(self.clouds.formulas[f], PCFractalDB):
            points = _shuffled(rng, points)
        return points, category


def _shuffled(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A fractal's points in random order: a mixed cloud has its main part first."""
    return points.take(rng.permutation(len(points)), axis=0)


@dataclass(frozen=True, eq=False)
class Shape:
    """A surface of triangles to sample, or points to choose from, with notes from reading it."""

    points: np.ndarray
    triangles: np.ndarray | None
    notes: tuple[str, ...] = ()

    @cached_property
    def areas(self) -> np.ndarray:
        """[T] float64 running sums of the areas of the triangles; computed once for all samples."""
        return np.zeros(0) if self.triangles is None else _running_areas(self.points, self.triangles)

    def sample(self, rng: np.random.Generator, num_points: int) -> np.ndarray:
        """[num_points, 3] float32 in random order; stored points are repeated only if there are too few."""
        if self.triangles is not None:
            return _sample_triangles(rng, self.points, self.triangles, self.areas, num_points)
        return self.points[rng.choice(len(self.points), num_points, replace=num_points > len(self.points))]


class MeshFolder:
    """Meshes and clouds of a folder, for scenes of CAD models as in RandomRooms (Rao et al., ICCV 2021).

    A sub-folder of `folder` is a class, with all files at any depth; files directly in `folder` form a class "object".
    All files are read on construction.

    Args:
        folder: Folder of the files that `read_cloud` reads.
        split: "val" takes the second of every five objects of each class, in order of their paths; "train" the other
            four; None all of them.
        up: The axis that points up in the files; "y" is ShapeNet's and glTF's.

    Attributes:
        classes: Names, in the order of the categories.
        skipped: (path relative to the folder, reason) of every file that could not be used.
        notes: Warnings about what looks wrong.

    Raises:
        OSError: If the folder does not exist.
        ValueError: If no file in it can be used, or a class has too few objects to split.
    """

    def __init__(self, folder: str | Path, *, split: str | None = None, up: str = "z"):
        folder = Path(folder)
        if not folder.is_dir():
            raise NotADirectoryError(
                f"{folder} is not a folder; expected one with meshes or clouds, in sub-folders by class"
            )
        if split not in (None, "train", "val"):
            raise ValueError(f"unknown split {split!r}; expected 'train', 'val' or None")
        if up not in ("y", "z"):
            raise ValueError(f"unknown up={up!r}; expected 'y' or 'z'")
        files = cloud_files(folder)
        shapes: dict[str, list[Shape]] = {}
        skipped, notes = [], {}
        for path in files:
            relative = path.relative_to(folder)
            try:
                shape = read_shape(path, up=up)
            except Exception as error:  # a broken file can raise anything; it is reported, and the rest is read
                skipped.append((str(relative), f"{type(error).__name__}: {error}"))
                continue
            notes[str(relative)] = shape.notes
            shapes.setdefault(relative.parts[0] if len(relative.parts) > 1 else "object", []).append(shape)
        self.classes: tuple[str, ...] = tuple(sorted(shapes))
        self.skipped: tuple[tuple[str, str], ...] = tuple(skipped)
        self.notes = (*class_hints(self.classes), *summarize_notes(notes, num_items=len(files)))
        self._shapes = [_of_split(shapes[name], split) for name in self.classes]
        if not self._shapes:
            raise ValueError(
                f"{folder} holds no usable object: {len(files)} files with known endings, {len(skipped)} broken"
                + "".join(f"\n  {name}: {reason}" for name, reason in skipped[:5])
            )
        if single := [name for name, own in zip(self.classes, self._shapes, strict=True) if not own]:
            raise ValueError(f"{folder}: {', '.join(single)} has a single object; train and val need at least two")

    @property
    def num_categories(self) -> int:
        return len(self.classes)

    def sample(self, rng: np.random.Generator, num_points: int) -> tuple[np.ndarray, int]:
        category = int(rng.integers(len(self._shapes)))
        shape = self._shapes[category][int(rng.integers(len(self._shapes[category])))]
        return shape.sample(rng, num_points), category

    def report(self) -> str:
        """A summary line, and one line per skipped file."""
        num_shapes = sum(len(shapes) for shapes in self._shapes)
        lines = [f"{num_shapes} objects in {self.num_categories} classes, {len(self.skipped)} files skipped"]
        lines += [f"  {name}: {reason}" for name, reason in self.skipped]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])


def _of_split(shapes: list[Shape], split: str | None) -> list[Shape]:
    """One object in five is held out, starting with the second: two objects are enough."""
    return [shape for i, shape in enumerate(shapes) if split is None or (i % 5 == 1) == (split == "val")]


def sample_surface(
    rng: np.random.Generator, points: np.ndarray, triangles: np.ndarray, *, num_points: int
) -> np.ndarray:
    """Points uniform over the area of triangles.

    Args:
        rng: Draws each point's triangle and its position in it.
        points: [V, 3] vertices.
        triangles: [T, 3] rows of `points`.
        num_points: Number of points.

    Returns:
        [num_points, 3] float32.

    Raises:
        ValueError: If the triangles have no area.
    """
    return _sample_triangles(rng, points, triangles, _running_areas(points, triangles), num_points)


def _sample_triangles(
    rng: np.random.Generator, points: np.ndarray, triangles: np.ndarray, areas: np.ndarray, num_points: int
) -> np.ndarray:
    chosen = np.searchsorted(areas, rng.random(num_points) * areas[-1], side="right").clip(max=len(areas) - 1)
    corners = points[triangles[chosen]]
    along = rng.random((num_points, 2, 1))
    along = np.where(along.sum(axis=1, keepdims=True) > 1, 1 - along, along)
    return (corners[:, 0] + ((corners[:, 1:] - corners[:, :1]) * along).sum(axis=1)).astype(np.float32)


def _running_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    corners = points[triangles]
    edges = corners[:, 1:].astype(np.float64) - corners[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).cumsum()
    if not len(areas) or not areas[-1] > 0:
        raise ValueError("the triangles have no area to sample points on")
    return areas


def z_up(points: np.ndarray) -> np.ndarray:
    """Points [..., 3] of a frame with y up and the front towards +z, in ours: z up, the front towards -y."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def read_shape(path: Path, *, up: str = "z", bin_columns: int = 6) -> Shape:
    """The content of a file, z up and front towards -y.

    Raises:
        OSError, ValueError: As `read_cloud`, or if it has no extent.
    """
    cloud = read_cloud(path, bin_columns=bin_columns, faces=True)
    points, triangles = cloud.points, cloud.triangles
    if not np.ptp(points, axis=0).max(initial=0) > 0:
        raise ValueError("has no extent")
    if triangles is not None and not len(triangles):
        triangles = None
    shape = Shape(z_up(points) if up == "y" else points, triangles, cloud.notes)
    _ = shape.areas  # fails now if there are none
    return shape
