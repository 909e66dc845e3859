"""Labelled boxes of scans (.csv, .json); error messages name the file and the line."""

import csv
import json
from pathlib import Path

import numpy as np

__all__ = ["BOX_FILES", "COLUMNS", "read_boxes"]

COLUMNS = ("class", "cx", "cy", "cz", "dx", "dy", "dz", "yaw")
BOX_FILES = (".csv", ".json")


def read_boxes(path: Path) -> tuple[list[str], np.ndarray]:
    """Read the class names and boxes of a file, which may have none.

    Returns:
        (K names, [K, 7] float64).

    Raises:
        OSError: If it cannot be read.
        ValueError: If a column is missing, a value is not a finite number, or an extent is not positive. The message
            names the file and the line or entry.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
        rows = list(_csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text, path))
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
        if not str(name).strip() or not str(name).strip().isprintable():
            raise ValueError(f"{path}, {place}: the class name {name!r} is empty or not of one line")
        names.append(str(name).strip())
        boxes.append(box)
    return names, np.array(boxes, np.float64).reshape(-1, 7)


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
