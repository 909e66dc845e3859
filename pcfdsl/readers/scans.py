"""Clouds (.npy, .ply, .bin) and boxes (.csv, .json) of scans; error messages name the file and line."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.arrays import read_array
from pcfdsl.readers.meshes import read_geometries

__all__ = ["BOX_FILES", "COLUMNS", "POINT_FILES", "read_boxes", "read_points"]

COLUMNS = ("class", "cx", "cy", "cz", "dx", "dy", "dz", "yaw")
POINT_FILES = (".npy", ".ply", ".bin")
BOX_FILES = (".csv", ".json")


def read_points(path: Path, *, bin_columns: int = 6) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the points and, if present, the colours of a file.

    Args:
        path: .npy, .ply or .bin.
        bin_columns: Columns of a .bin file.

    Returns:
        ([N, 3] float32, [N, 3] float32 in 0..1 or None).

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is truncated, empty, of another shape, or not finite. The message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    rows = read_array(path) if path.suffix == ".npy" else None
    try:
        if path.suffix == ".bin":
            numbers = np.fromfile(path, np.float32)
            if path.stat().st_size % (4 * bin_columns):
                raise ValueError(
                    f"{path.stat().st_size} bytes are not a multiple of a row of {bin_columns} float32; "
                    "it is truncated, or has another number of columns"
                )
            rows = numbers.reshape(-1, bin_columns)
        elif path.suffix == ".ply":
            rows = _read_ply(path)
        elif rows is None:
            raise ValueError(f"unknown suffix {path.suffix}; expected one of {', '.join(POINT_FILES)}")
        if rows.ndim != 2 or rows.shape[1] < 3 or not len(rows) or rows.dtype.kind not in "fiu":
            raise ValueError(f"expected numbers [N, 3 or more] with N > 0, got {rows.dtype} {rows.shape}")
        rows = np.asarray(rows[:, : 6 if rows.shape[1] >= 6 else 3], np.float32)
        if not np.isfinite(rows).all():
            bad = ~np.isfinite(rows).all(axis=1)
            raise ValueError(f"{bad.sum()} of {len(rows)} points are not finite, the first is row {bad.argmax()}")
    except OSError:
        raise
    except Exception as error:  # trimesh and NumPy raise all kinds of exceptions on damaged files
        raise ValueError(f"{path}: {error}") from None
    if rows.shape[1] < 6:
        return np.ascontiguousarray(rows[:, :3]), None
    colors = rows[:, 3:6]
    return np.ascontiguousarray(rows[:, :3]), np.ascontiguousarray(colors / 255 if colors.max() > 1 else colors)


def read_boxes(path: Path) -> tuple[list[str], np.ndarray]:
    """Read the class names and boxes of a file, which may have none.

    Returns:
        (K names, [K, 7] float32).

    Raises:
        OSError: If it cannot be read.
        ValueError: If a column is missing, a value is not a finite number, or an extent is not positive. The message
            names the file and the line or entry.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
        rows = list(_csv_rows(text, path) if path.suffix == ".csv" else _json_rows(text, path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a text file: {error}") from None
    names, boxes = [], []
    for place, name, values in rows:
        try:
            box = [float(value) for value in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}, {place}: {error}") from None
        if not np.isfinite(box).all():
            raise ValueError(f"{path}, {place}: {box} is not finite")
        if min(box[3:6]) <= 0:
            raise ValueError(f"{path}, {place}: extents dx dy dz are {box[3:6]}; they must be positive")
        names.append(str(name).strip())
        boxes.append(box)
    return names, np.array(boxes, np.float32).reshape(-1, 7)


def _csv_rows(text: str, path: Path):
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS[:7] if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{path}, line 1: no column {', '.join(missing)}; expected {','.join(COLUMNS)} (yaw is optional), "
            f"got {','.join(reader.fieldnames or ()) or 'an empty file'}"
        )
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {reader.line_num}: the number of columns differs from line 1")
        yield f"line {reader.line_num}", row["class"], [*(row[c] for c in COLUMNS[1:7]), row.get("yaw", 0)]


def _json_rows(text: str, path: Path):
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}; it may be truncated") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path} holds a {type(entries).__name__}; expected a list of boxes")
    for number, entry in enumerate(entries):
        try:
            (cx, cy, cz), (dx, dy, dz) = entry["center"], entry["size"]
            yield f"box {number}", entry["class"], [cx, cy, cz, dx, dy, dz, entry.get("yaw", 0)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path}, box {number}: {type(error).__name__} {error}; expected class, center[3], size[3] and yaw"
            ) from None


def _read_ply(path: Path) -> np.ndarray:
    import trimesh

    loaded: Any = next(iter(read_geometries(path)), None)
    points = np.asarray(getattr(loaded, "vertices", np.zeros((0, 3))), np.float32)
    if not len(points):
        raise ValueError("holds no points")
    declared = getattr(loaded, "metadata", {}).get("_ply_raw", {}).get("vertex", {}).get("length", len(points))
    if declared != len(points):  # trimesh accepts truncated text files
        raise ValueError(f"is truncated: its header declares {declared} vertices, but it holds {len(points)}")
    colors = getattr(loaded, "colors", None) if isinstance(loaded, trimesh.PointCloud) else loaded.visual.vertex_colors
    if colors is None or np.shape(colors)[:1] != (len(points),) or not _has_colors(loaded):
        return points
    return np.concatenate([points, np.asarray(colors, np.float32)[:, :3] / 255], axis=1)


def _has_colors(loaded: Any) -> bool:
    return loaded.visual.kind == "vertex" if hasattr(loaded.visual, "kind") else True
