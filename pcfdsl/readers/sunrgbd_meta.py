"""The metadata of SUN RGB-D in MATLAB files: for each image its files, camera, labelled boxes and split.

The files are `SUNRGBDMeta3DBB_v2.mat` (variable `SUNRGBDMeta`: cameras, files, the second version of the boxes), the
toolbox's `Metadata/SUNRGBDMeta.mat` (the same variable with the first version of the boxes, which papers report on)
and its `traintestSUNRGBD/allsplit.mat` (`alltrain`, `alltest`). They are interpreted as in VoteNet's MATLAB scripts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pcfdsl.readers.matlab import read_variable

__all__ = ["SENSORS", "Frame", "frame_key", "read_frames", "read_splits", "with_labels_of"]

SENSORS = ("kv1", "kv2", "realsense", "xtion")

_FIELDS = {
    *("depthpath", "rgbpath", "K", "Rtilt", "groundtruth3DBB"),
    *("classname", "centroid", "coeffs", "orientation"),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """One image.

    Attributes:
        number: Its position in the metadata, from 1; with six digits it is the name of the scene.
        depth_key: Path of the depth image, starting at the sensor: `kv1/NYUdata/NYU0001/depth_bfx/NYU0001.png`.
        color_key: Path of the colour image.
        intrinsics: [3, 3] camera matrix; pixels count from 1, as in MATLAB. NaN where it was not read.
        tilt: [3, 3] rotation from the level camera's frame (x right, y forward, z up) to the upright one.
        names: K class names, not only those of the benchmark.
        boxes: [K, 7] float64 in our convention: metres, full extents, yaw counter-clockwise.
        problem: Why the image cannot be used, or "".
    """

    number: int
    depth_key: str = ""
    color_key: str = ""
    intrinsics: np.ndarray
    tilt: np.ndarray
    names: tuple[str, ...] = ()
    boxes: np.ndarray
    problem: str = ""

    @property
    def name(self) -> str:
        """Name of the scene."""
        return f"{self.number:06d}"

    @property
    def folder_key(self) -> str:
        """Folder of the image, starting at the sensor, as the split lists it."""
        return str(PurePosixPath(self.depth_key).parent.parent)


def frame_key(path: str) -> str:
    """A path of the metadata, starting at the sensor: what precedes it differs between versions and downloads.

    >>> frame_key("/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/depth_bfx/NYU0001.png")
    'kv1/NYUdata/NYU0001/depth_bfx/NYU0001.png'

    Raises:
        ValueError: If it has no sensor's folder, or escapes from it.
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    start = next((i for i, part in enumerate(parts) if part in SENSORS), None)
    if start is None:
        raise ValueError(f"path {path!r} has no sensor's folder ({', '.join(SENSORS)})")
    if ".." in parts[start:] or "\0" in path:
        raise ValueError(f"path {path!r} escapes from its folder")
    return "/".join(parts[start:])


def read_frames(path: str | Path, *, cameras: bool = True) -> tuple[Frame, ...]:
    """Read all images of a metadata file, in its order. If an entry is unusable, its `problem` says why.

    Args:
        path: The .mat file.
        cameras: Read the cameras too; if false, matrices are NaN and invalid ones do not matter.

    Raises:
        OSError: If the file is missing.
        ValueError: If it is damaged, or not such a file.
    """
    rows = read_variable(path, "SUNRGBDMeta", fields=_FIELDS)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: SUNRGBDMeta is not a struct array; expected one entry per image")
    missing = sorted({"depthpath", "rgbpath", "K", "Rtilt", "groundtruth3DBB"} - set(rows[0] if rows else ()))
    if missing:
        raise ValueError(f"{path}: SUNRGBDMeta has no field {', '.join(missing)}; it is not SUN RGB-D's metadata")
    return tuple(_frame(number, row, cameras=cameras) for number, row in enumerate(rows, start=1))


def with_labels_of(frames: Sequence[Frame], others: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames with the boxes of other metadata, which must list the same images in the same order."""
    merged = []
    for i, frame in enumerate(frames):
        other = others[i] if i < len(others) else None
        if other is None:
            problem = f"the labels' metadata has only {len(others)} images"
        elif other.problem:
            problem = other.problem
        elif frame.depth_key and other.folder_key != frame.folder_key:
            problem = f"the labels' metadata has {other.folder_key} here, not {frame.folder_key}"
        else:
            problem = ""
            frame = replace(frame, names=other.names, boxes=other.boxes)
        merged.append(frame if frame.problem or not problem else replace(frame, problem=problem))
    return tuple(merged)


def read_splits(path: str | Path) -> dict[str, str]:
    """Read the split: folder of an image, starting at the sensor -> "train" or "val" (the official test split).

    Raises:
        OSError: If the file is missing.
        ValueError: If it is damaged, or a folder is invalid or in both splits.
    """
    splits: dict[str, str] = {}
    for variable, split in (("alltrain", "train"), ("alltest", "val")):
        folders = read_variable(path, variable)
        if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
            raise ValueError(f"{path}: {variable} is not a list of folders")
        for folder in folders:
            try:
                key = frame_key(folder)
            except ValueError as error:
                raise ValueError(f"{path}: {variable}: {error}") from None
            if splits.setdefault(key, split) != split:
                raise ValueError(f"{path}: {key} is in both splits")
    return splits


def _frame(number: int, row: dict[str, Any], *, cameras: bool) -> Frame:
    nothing, depth_key = np.full((3, 3), np.nan), ""
    try:
        depth_key = frame_key(_text(row, "depthpath"))
        names, boxes = _boxes(row["groundtruth3DBB"])
        return Frame(
            number=number,
            depth_key=depth_key,
            color_key=frame_key(_text(row, "rgbpath")),
            intrinsics=_intrinsics(_numbers(row, "K", 9).reshape(3, 3)) if cameras else nothing,
            tilt=_rotation(_numbers(row, "Rtilt", 9).reshape(3, 3)) if cameras else nothing,
            names=names,
            boxes=boxes,
        )
    except ValueError as error:
        return Frame(
            number=number,
            depth_key=depth_key,
            intrinsics=nothing,
            tilt=nothing,
            boxes=np.zeros((0, 7)),
            problem=f"metadata: {error}",
        )


def _boxes(objects: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Boxes from centroids, half extents of any sign and horizontal directions; `coeffs[1]` is along the direction.

    Missing or misshapen numbers become NaN: they matter only if the class is used.
    """
    if not isinstance(objects, list):
        if np.size(objects):
            raise ValueError(f"groundtruth3DBB is {type(objects).__name__}; expected a struct array")
        return (), np.zeros((0, 7))
    names, boxes = [], []
    for entry in objects:
        if not isinstance(entry, dict):
            raise ValueError("groundtruth3DBB holds something other than structs")
        center, half = _numbers(entry, "centroid", 3, strict=False), _numbers(entry, "coeffs", 3, strict=False)
        direction = _numbers(entry, "orientation", 2, strict=False)
        yaw = np.arctan2(direction[1], direction[0])
        names.append(_text(entry, "classname"))
        boxes.append([*center, *2 * np.abs(half[[1, 0, 2]]), yaw])
    return tuple(names), np.array(boxes, np.float64).reshape(-1, 7)


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    while isinstance(value, list) and len(value) == 1:  # some class names are in a cell
        value = value[0]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} is {type(value).__name__}; expected text")
    return value.strip()


def _numbers(row: dict[str, Any], field: str, count: int, *, strict: bool = True) -> np.ndarray:
    """The first `count` numbers in row order; if not `strict`, NaN where there are too few."""
    value = row.get(field)
    numbers = np.asarray(value).ravel() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else np.zeros(0)
    if len(numbers) < count or (strict and len(numbers) != count):
        if strict:
            raise ValueError(f"{field} has {len(numbers)} numbers; expected {count}")
        return np.full(count, np.nan)
    return numbers[:count].astype(np.float64)


def _intrinsics(matrix: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"K is {matrix.tolist()}; expected finite numbers and positive focal lengths")
    return matrix


def _rotation(matrix: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all() or np.abs(matrix @ matrix.T - np.eye(3)).max() > 0.01 or np.linalg.det(matrix) < 0:
        raise ValueError(f"Rtilt is {matrix.tolist()}; expected a rotation")
    return matrix
