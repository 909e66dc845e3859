"""S3DIS (Armeni et al. 2016): from its official download to a detection set.

As in mmdetection3d's preparation, which published numbers of detectors rest on (classes and areas of Gwak et al. 2020):
a room's points are those of its annotated objects, shifted so that the lowest coordinates are zero; objects of five
classes of furniture are labelled; a box is the bounding box of its object's points; Area 5 is for validation. Unlike
there, the last object of a room is labelled too, and the order of objects does not depend on the file system.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcfdsl.datasets.preparation import PreparationReport, PreparedScene, prepare_set, take_points
from pcfdsl.datasets.spec import S3DIS, split_names
from pcfdsl.readers.folders import files_in, folders_in
from pcfdsl.readers.s3dis import read_object
from pcfdsl.scene.boxes import Scene

__all__ = ["find_s3dis", "prepare_s3dis", "read_room"]

_ALIGNED = "Stanford3dDataset_v1.2_Aligned_Version"
_AREAS = tuple(f"Area_{k}" for k in range(1, 7))
_OBJECT = re.compile(r"([A-Za-z]+)_(\d+)\.txt\Z")
_COPY = re.compile(r"(.+?) *\(\d+\)\.txt\Z")


def find_s3dis(folder: str | Path) -> Path:
    """Find the folder with Area_1 to Area_6, the given one or `Stanford3dDataset_v1.2_Aligned_Version` in it.

    Raises:
        OSError: If neither has any of them.
    """
    folder = Path(folder)
    for place in (folder / _ALIGNED, folder):
        if any((place / area).is_dir() for area in _AREAS):
            return place
    raise FileNotFoundError(
        f"{folder} has no folder Area_1; expected {_ALIGNED}, which {_ALIGNED}.zip of the data set's page unpacks to"
    )


def prepare_s3dis(
    folder: str | Path,
    out: str | Path,
    *,
    max_points: int | None = None,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
) -> PreparationReport:
    """Make a detection set with the splits train (Areas 1 to 4 and 6) and val (Area 5) from however much is there.

    Scenes are named by area and room: Area_1_office_3. Rooms in neither split go into a split named other. What is
    subtracted from a room's coordinates is in its offset.json.

    Args:
        folder: The download; see `find_s3dis`.
        out: Folder of the set.
        max_points: Keep this many points of each room, drawn at random; boxes are those of all points. None: all, a
            million a room on average, of 28 bytes each.
        seed: Seed of that choice.
        workers: Processes.
        overwrite: Start from scratch.

    Raises:
        OSError: If the download is missing or the set cannot be written.
        ValueError: If the folder holds another set, or no room can be used.
    """
    place = find_s3dis(folder)
    rooms = {
        f"{area}_{room.name}": room for area in _AREAS if (place / area).is_dir() for room in folders_in(place / area)
    }
    splits = {split: split_names(S3DIS, split) for split in S3DIS.split_sizes}
    official = {name for names in splits.values() for name in names}
    wanted = {split: [name for name in names if name in rooms] for split, names in splits.items()}
    expected = dict(S3DIS.split_sizes)
    if others := [name for name, room in rooms.items() if name not in official and (room / "Annotations").is_dir()]:
        wanted["other"], expected["other"] = others, len(others)
    return prepare_set(
        _MakeScene(rooms=rooms, max_points=max_points, seed=seed),
        wanted,
        out,
        dataset=S3DIS.name,
        classes=S3DIS.classes,
        settings={"max_points": max_points, "seed": None if max_points is None else seed},
        expected=expected,
        missing=sorted(official.difference(rooms)),
        workers=workers,
        overwrite=overwrite,
    )


def read_room(folder: str | Path) -> PreparedScene:
    """Read one room with its labels.

    Args:
        folder: The room, with a folder Annotations in it.

    Returns:
        The scene with all points, objects by class and number; what had to be left out, and what was set right.

    Raises:
        OSError: If Annotations is missing or a file cannot be read.
        ValueError: If a file is damaged beyond what `pcfdsl.readers.s3dis` mends, or there are no objects.
    """
    place = Path(folder) / "Annotations"
    if not place.is_dir():
        raise FileNotFoundError(f"there is no {place}; unpack the download again")
    problems: list[str] = []
    repairs: list[str] = []
    files, objects = list(_object_files(place, problems, repairs)), []
    for _, path in files:
        one = read_object(path)
        objects.append(one)
        repairs += [f"{path.name}, {phrase}" for phrase in one.repairs]
        problems += [f"{path.name}, {phrase} is no point" for phrase in one.left_out]
    if not objects:
        raise ValueError(f"{place} has no files CLASS_NUMBER.txt; unpack the download again")
    offset = np.min([one.points.min(axis=0) for one in objects], axis=0)
    points = np.concatenate([(one.points - offset).astype(np.float32) for one in objects])
    colors = np.concatenate([one.colors for one in objects]) / np.float32(255)
    rows = np.full(len(points), -1, np.int32)
    boxes, categories = [], []
    ends = np.cumsum([len(one.points) for one in objects])
    for (name, path), one, end in zip(files, objects, ends, strict=True):
        own = slice(end - len(one.points), end)
        if name not in S3DIS.classes:
            continue
        low, high = points[own].min(axis=0), points[own].max(axis=0)
        if not (high > low).all():
            problems.append(f"{path.name}: its box has no extent")
            continue
        rows[own] = len(boxes)
        boxes.append([*(low + high) / 2, *(high - low), 0])
        categories.append(S3DIS.classes.index(name))
    scene = Scene(
        points=points,
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        categories=np.array(categories, np.int32),
        instance_ids=rows,
        colors=colors,
    )
    return PreparedScene(scene=scene, problems=tuple(problems), repairs=tuple(repairs), offset=offset)


def _object_files(place: Path, problems: list[str], repairs: list[str]) -> Iterator[tuple[str, Path]]:
    """(class, file) of each object by class and number; says which text files are none."""
    found = []
    for path in files_in(place, (".txt",)):
        if match := _OBJECT.match(path.name):
            found.append((match[1].lower(), int(match[2]), path))
        elif (copy := _COPY.match(path.name)) and (place / f"{copy[1]}.txt").is_file():
            repairs.append(f"{path.name} is passed over, as its name is that of a copy of {copy[1]}.txt")
        else:
            problems.append(f"{path.name} is not named CLASS_NUMBER.txt")
    yield from ((name, path) for name, _, path in sorted(found))


@dataclass(frozen=True, eq=False, kw_only=True)
class _MakeScene:
    rooms: dict[str, Path]
    max_points: int | None
    seed: int

    def __call__(self, name: str) -> PreparedScene:
        whole = read_room(self.rooms[name])
        return whole.with_points(take_points(len(whole.scene.points), self.max_points, seed=self.seed, name=name))
