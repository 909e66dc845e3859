"""Detection sets: the folder layout in which scenes of any origin are trained on.

    SET/
      set.json                 {"format": "pcfdsl-detection-1", "classes": ["bed", "chair"], "bin_columns": 6}
      splits/train.txt         names of scenes, one per line; any number of splits
      scenes/NAME/points.npy   [N, 3 or more] numbers: x y z in metres, z up; columns 3 to 5, if any: red green blue.
                               points.ply, points.bin (float32 rows of bin_columns) and all else that
                               `pcfdsl.readers.clouds` reads do as well
      scenes/NAME/boxes.csv    class,cx,cy,cz,dx,dy,dz,yaw: class by name, centre, full extents, radians
      counter-clockwise
                               from +x (0 without that column). boxes.json does as well:
                               [{"class": "bed", "center": [x, y, z], "size": [dx, dy, dz], "yaw": 0}]
      scenes/NAME/instances.npy  optional [N] integers: row of each point's box, -1 for none; without it, the smallest
      box
                               that holds a point owns it

      scenes/NAME/offset.json  optional [x, y, z]: what was subtracted from coordinates far from the origin, so that
                               float32 holds them; points and boxes are without it

Colours are 0 to 1, or 0 to 255 where any exceeds 1.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.arrays import read_array
from pcfdsl.readers.boxes import BOX_FILES, COLUMNS, read_boxes
from pcfdsl.readers.clouds import CLOUD_FILES, read_cloud
from pcfdsl.readers.folders import files_in
from pcfdsl.scene.boxes import Scene, SceneSequence, points_in_boxes
from pcfdsl.store.atomic import make_folder, write_file

__all__ = [
    "DetectionSet",
    "assign_instances",
    "class_indices",
    "read_classes",
    "read_split",
    "split_files",
    "write_info",
    "write_scene",
    "write_split",
]

FORMAT = "pcfdsl-detection-1"


class DetectionSet(SceneSequence):
    """One split of a detection set; scenes are read on access.

    Args:
        folder: The set.
        split: Name of a file in `splits/` without its suffix.

    Attributes:
        classes: Class names; categories index them.
        names: Names of the scenes, in the order of the split.

    Raises:
        OSError: If the folder or the split does not exist; the message lists the splits that do.
        ValueError: If `set.json` is invalid, or a scene of the split has no folder.
    """

    def __init__(self, folder: str | Path, split: str):
        self.folder, self.split = Path(folder), split
        self.classes = read_classes(folder)
        self.bin_columns: int = _read_info(self.folder).get("bin_columns", 6)
        splits = split_files(self.folder)
        path = splits.get(split)
        if path is None:
            raise FileNotFoundError(f"{self.folder} has no split {split!r}; it has {', '.join(splits) or 'none'}")
        self.names = read_split(path)
        outside = [name for name in self.names if name != Path(name).name or name.startswith(".")]
        if outside:
            raise ValueError(f"{path} names the scene {outside[0]!r}; expected the plain name of a folder in scenes/")
        missing = [name for name in self.names if not (self.folder / "scenes" / name).is_dir()]
        if missing:
            raise ValueError(
                f"{path} names {len(missing)} scenes without a folder in scenes/; the first is {missing[0]!r}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> Scene:
        """Read scene `index`."""
        folder = self.folder / "scenes" / self.names[index]
        cloud = read_cloud(_only(folder, "points", CLOUD_FILES), bin_columns=self.bin_columns)
        path = _only(folder, "boxes", BOX_FILES)
        labelled = read_boxes(path)
        categories = class_indices(labelled.names, self.classes, path)
        boxes = labelled.boxes.copy()
        boxes[:, :3] -= cloud.offset
        try:
            if (folder / "instances.npy").is_file():
                ids = read_array(folder / "instances.npy")
                ids = ids[cloud.kept] if ids.shape == cloud.kept.shape else ids
            else:
                ids = assign_instances(cloud.points, boxes.astype(np.float32))
            return Scene(points=cloud.points, boxes=boxes, categories=categories, instance_ids=ids, colors=cloud.colors)
        except OSError:
            raise
        except Exception as error:  # NumPy raises all kinds of exceptions on damaged files
            raise ValueError(f"{folder}: {error}") from None

    def offset(self, index: int) -> np.ndarray:
        """[3] float64, what was subtracted from the coordinates of scene `index` when it was prepared."""
        path = self.folder / "scenes" / self.names[index] / "offset.json"
        if not path.is_file():
            return np.zeros(3)
        try:
            offset = np.array(json.loads(path.read_text(encoding="utf-8")), np.float64)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not understood ({error}); expected [x, y, z]") from None
        if offset.shape != (3,) or not np.isfinite(offset).all():
            raise ValueError(f"{path} is not understood; expected [x, y, z]")
        return offset


def read_classes(folder: str | Path) -> tuple[str, ...]:
    """Read the class names of a detection set, in the order of the categories.

    Raises:
        OSError: If the folder is not a set.
        ValueError: If its `set.json` is invalid.
    """
    return tuple(_read_info(Path(folder))["classes"])


def class_indices(names: Sequence[str], classes: Sequence[str], path: Path) -> np.ndarray:
    """The index of each name in the classes, [K] int32.

    Raises:
        ValueError: If a name is not among them. The message names the file.
    """
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ValueError(f"{path}: unknown class {', '.join(unknown)}; the set has {', '.join(classes)}")
    return np.array([classes.index(name) for name in names], np.int32)


def assign_instances(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The row of the smallest box that holds each point, [N] int32, -1 where none does."""
    if not len(boxes):
        return np.full(len(points), -1, np.int32)
    order = np.argsort(boxes[:, 3:6].prod(axis=1), kind="stable")
    inside = points_in_boxes(points, boxes[order])
    return np.where(inside.any(axis=0), order[inside.argmax(axis=0)], -1).astype(np.int32)


def split_files(folder: str | Path) -> dict[str, Path]:
    """The file of each split of a set; none where there is no set."""
    lists = Path(folder) / "splits"
    return {path.stem: path for path in files_in(lists, (".txt",))} if lists.is_dir() else {}


def read_split(path: Path) -> tuple[str, ...]:
    """The names of the scenes of a split, in order.

    Raises:
        OSError: If its file cannot be read.
        ValueError: If it is not UTF-8.
    """
    return tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))


def write_info(folder: str | Path, classes: Sequence[str], *, bin_columns: int = 6) -> None:
    """Create the folder of a set with its `set.json`.

    Raises:
        ValueError: If the folder holds a set with other classes, or a class name is empty or a duplicate.
    """
    folder, classes = Path(folder), list(classes)
    if len(set(classes)) < len(classes) or not all(_is_plain(name) for name in classes):
        raise ValueError(f"class names must be distinct, not empty, and on one line; got {classes}")
    if (folder / "set.json").is_file() and (old := _read_info(folder)["classes"]) != classes:
        raise ValueError(f"{folder} holds a set with the classes {old}, not {classes}; use another folder")
    make_folder(folder / "splits")
    make_folder(folder / "scenes")
    info = {"format": FORMAT, "classes": classes, "bin_columns": bin_columns}
    write_file(folder / "set.json", (json.dumps(info, indent=2) + "\n").encode())


def write_scene(folder: str | Path, name: str, scene: Scene, *, offset: np.ndarray | None = None) -> Path:
    """Write a scene as points.npy, boxes.csv and instances.npy; `DetectionSet` reads it back bit for bit.

    Args:
        folder: The set.
        name: Of the scene.
        scene: The scene.
        offset: [3] float64, what was subtracted from its coordinates; goes into offset.json unless it is zero.

    Raises:
        ValueError: If the name is not a plain file name, or a category is outside the set's classes.
    """
    folder = Path(folder)
    if name != Path(name).name or name.startswith(".") or not _is_plain(name):
        raise ValueError(f"{name!r} cannot be a scene's name; expected a plain file name")
    classes = _read_info(folder)["classes"]
    if len(scene.boxes) and not (scene.categories.min() >= 0 and scene.categories.max() < len(classes)):
        raise ValueError(f"scene {name} has categories {scene.categories}; the set has {len(classes)} classes")
    target = folder / "scenes" / name
    target.mkdir(exist_ok=True)
    for old in [target / (stem + kind) for stem, kinds in _FILES.items() for kind in kinds]:
        old.unlink(missing_ok=True)
    (target / "offset.json").unlink(missing_ok=True)
    if offset is not None and offset.any():
        write_file(target / "offset.json", (json.dumps(offset.tolist()) + "\n").encode())
    columns = [scene.points] if scene.colors is None else [scene.points, scene.colors]
    for stem, array in (("points", np.concatenate(columns, axis=1)), ("instances", scene.instance_ids)):
        write_file(target / f"{stem}.npy", functools.partial(np.save, arr=array))
    lines = [",".join(COLUMNS)]
    for category, box in zip(scene.categories, scene.boxes, strict=True):
        lines.append(",".join([_quoted(classes[category]), *(str(value) for value in box)]))
    write_file(target / "boxes.csv", ("\n".join(lines) + "\n").encode())
    return target


def write_split(folder: str | Path, split: str, names: Sequence[str]) -> None:
    """Write the names of a split's scenes.

    Raises:
        ValueError: If the split's name is not a plain file name.
    """
    if Path(split).name != split or not _is_plain(split):
        raise ValueError(f"split {split!r} cannot be a file name; expected a plain name such as train")
    write_file(Path(folder) / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in names).encode())


_FILES = {"points": CLOUD_FILES, "boxes": BOX_FILES}


def _only(folder: Path, stem: str, kinds: Sequence[str]) -> Path:
    found = [folder / (stem + kind) for kind in kinds if (folder / (stem + kind)).is_file()]
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} has {len(found)} files {stem}.*; expected one of {', '.join(kinds)}")
    return found[0]


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "set.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a detection set: it has no set.json; make one with pcfdsl prepare-custom"
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    classes = info.get("classes") if isinstance(info, dict) and info.get("format") == FORMAT else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f'{path} is invalid; expected {{"format": "{FORMAT}", "classes": [...]}}')
    return info


def _is_plain(name: str) -> bool:
    """Whether the name can be written on a line of a file and read back."""
    return bool(name) and name.isprintable() and name == name.strip()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
