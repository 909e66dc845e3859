"""Boxes as labelling tools and driving datasets write them: KITTI, labelCloud, SUSTechPOINTS, MMDetection3D.

Facts: KITTI's object development kit (readme.txt; the label is the bottom centre in the rectified camera's frame, x
right, y down, z forward, rotation_y about y), labelCloud's documentation of its label formats (centroid_rel in radians,
centroid_abs in degrees), SUSTechPOINTS' doc/data-format.md (Euler angles XYZ in radians, full extents), and
MMDetection3D's page on custom data sets (rows x y z dx dy dz yaw class).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcfdsl.readers.text import decoded, number, separator

__all__ = [
    "RawBox",
    "corner_box",
    "is_kitti",
    "is_labelcloud",
    "is_sustech",
    "kitti_boxes",
    "labelcloud_boxes",
    "mmdetection3d_rows",
    "sustech_boxes",
]

_KITTI_COLUMNS = (15, 16)  # the sixteenth is a score
_CORNER_TOLERANCE = 0.02  # of the largest extent


class RawBox(NamedTuple):
    """One row of a file, unchecked: where it stands, its class, (cx, cy, cz, dx, dy, dz, yaw), its largest tilt."""

    place: str
    name: Any
    values: Sequence[Any]
    tilt: Any = 0.0


def corner_box(corners: np.ndarray) -> tuple[float, ...]:
    """The upright box of [8, 3] corners in any order: centre, extents, yaw in radians.

    Raises:
        ValueError: If they are not the corners of an upright box.

    >>> corner_box(np.array([[x, y, z] for x in (0, 4) for y in (0, 2) for z in (0, 1)], float))
    (2.0, 1.0, 0.5, 4.0, 2.0, 1.0, 0.0)
    """
    center = corners.mean(axis=0)
    height = np.ptp(corners[:, 2])
    low = corners[np.argsort(corners[:, 2], kind="stable")[:4], :2]
    around = np.argsort(np.arctan2(*(low - center[:2]).T[::-1]))
    a, b, c = low[around[:3]]
    sides = np.array([b - a, c - b])
    long = int(np.argmax(np.hypot(*sides.T)))  # yaw is along the longer side
    (dx, dy), yaw = np.hypot(*sides[[long, 1 - long]].T), np.arctan2(*sides[long][::-1])
    yaw = (yaw + np.pi / 2) % np.pi - np.pi / 2
    across = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    local = np.abs(np.column_stack([(corners[:, :2] - center[:2]) @ across.T, corners[:, 2] - center[2]]))
    if not np.abs(local - np.array([dx, dy, height]) / 2).max() <= _CORNER_TOLERANCE * max(dx, dy, height):
        raise ValueError("these are not the corners of an upright box")
    return (*center.tolist(), float(dx), float(dy), float(height), float(yaw))


def is_labelcloud(content: object) -> bool:
    """Whether JSON is a file of labelCloud."""
    return isinstance(content, dict) and isinstance(content.get("objects"), list)


def labelcloud_boxes(content: dict[str, Any]) -> Iterator[RawBox]:
    """The objects of a labelCloud file, as centroids (angles in its unit) or as vertices.

    Raises:
        ValueError: If an object lacks something; the message has its number.
    """
    for index, entry in enumerate(content["objects"]):
        place = f"box {index}"
        try:
            if "vertices" in entry:
                corners = np.array(entry["vertices"], np.float64)
                if corners.shape != (8, 3):
                    raise ValueError(f"vertices are {corners.shape}, expected 8 of x y z")
                yield RawBox(place, entry["name"], corner_box(corners))
                continue
            centroid, size, turns = entry["centroid"], entry["dimensions"], entry["rotations"]
            box = [*(centroid[axis] for axis in "xyz"), size["length"], size["width"], size["height"], turns["z"]]
            tilt = max(float(turns["x"]), float(turns["y"]), key=lambda turn: abs(_signed(turn)))
            yield RawBox(place, entry["name"], box, _signed(tilt))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{place}: {type(error).__name__} {error}; expected labelCloud's name with centroid, dimensions and "
                "rotations, or with vertices"
            ) from None


def _signed(turn: float) -> float:
    """centroid_abs counts degrees from 0 to 360: 359 is a tilt of -1."""
    return turn - 360 if turn > 180 else turn


def is_sustech(content: object) -> bool:
    """Whether JSON is a file of SUSTechPOINTS."""
    if isinstance(content, dict):
        return isinstance(content.get("objs"), list)
    return isinstance(content, list) and any(isinstance(entry, dict) and "psr" in entry for entry in content)


def sustech_boxes(content: Any) -> Iterator[RawBox]:
    """The objects of a SUSTechPOINTS file.

    Raises:
        ValueError: If an object lacks something; the message has its number.
    """
    for index, entry in enumerate(content["objs"] if isinstance(content, dict) else content):
        try:
            position, turns, scale = (entry["psr"][key] for key in ("position", "rotation", "scale"))
            box = [*(position[axis] for axis in "xyz"), *(scale[axis] for axis in "xyz"), turns["z"]]
            tilt = max(float(turns["x"]), float(turns["y"]), key=abs)
            yield RawBox(f"box {index}", entry["obj_type"], box, tilt)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"box {index}: {type(error).__name__} {error}; expected SUSTechPOINTS' obj_type and psr with "
                "position, rotation and scale"
            ) from None


def mmdetection3d_rows(lines: Sequence[str]) -> Iterator[RawBox] | None:
    """The boxes of rows x y z dx dy dz yaw class, with blanks or commas between; None if the first row is none."""
    first = next((line for line in lines if line.strip()), "")
    return _mmdetection3d_rows(lines, separator(first)) if _named_box(first, separator(first)) else None


def _mmdetection3d_rows(lines: Sequence[str], cut: str | None) -> Iterator[RawBox]:
    for k, line in enumerate(lines):
        if not line.strip():
            continue
        found = _named_box(line, cut)
        if found is None:
            raise ValueError(f"line {k + 1}: expected x y z dx dy dz yaw class as before, got {line.strip()[:80]!r}")
        yield RawBox(f"line {k + 1}", *found)


def _named_box(line: str, cut: str | None) -> tuple[str, list[float]] | None:
    """The class, whose name may have blanks, and the seven numbers before it."""
    cells = [cell.strip() for cell in line.strip().split(cut, 7)]
    if len(cells) != 8 or not all(map(_is_number, cells[:7])) or any(map(_is_number, cells[7].split())):
        return None
    return cells[7], [number(cell) for cell in cells[:7]]


def is_kitti(lines: Sequence[str]) -> bool:
    """Whether the first row is one of KITTI: a type and 14 numbers, and perhaps a score."""
    first = next((line.split() for line in lines if line.strip()), [])
    return len(first) in _KITTI_COLUMNS and not _is_number(first[0]) and all(map(_is_number, first[1:]))


def kitti_boxes(lines: Sequence[str], calibration: Path | None, *, camera_frame: bool) -> Iterator[RawBox]:
    """The boxes of a KITTI label in the frame of the points; DontCare is left out.

    Raises:
        ValueError: If a row has not 15 or 16 values, or a calibration is needed and missing or incomplete.
    """
    to_points = np.eye(4)
    if camera_frame:
        if calibration is None:
            raise ValueError(
                "is a label of KITTI in the frame of a camera; give the folder of calibrations (option calib), or say "
                "that its boxes are in the frame of the points (--calib none, labelCloud's kitti_untransformed)"
            )
        to_points = np.linalg.inv(_points_to_camera(calibration))
    for k, line in enumerate(lines):
        cells = line.split()
        if not cells or cells[0] == "DontCare":
            continue
        if len(cells) not in _KITTI_COLUMNS:
            raise ValueError(f"line {k + 1}: has {len(cells)} values; expected the 15 or 16 of KITTI")
        try:
            height, width, length, *location, turn = (float(cell) for cell in cells[8:15])
        except ValueError as error:
            raise ValueError(f"line {k + 1}: {error}") from None
        center, yaw = np.array(location), turn
        if camera_frame:
            center = (to_points @ [location[0], location[1] - height / 2, location[2], 1])[:3]
            ahead = to_points[:3, :3] @ [np.cos(turn), 0, -np.sin(turn)]
            yaw = float(np.arctan2(ahead[1], ahead[0]))
        yield RawBox(f"line {k + 1}", cells[0], (*center.tolist(), length, width, height, yaw))


def _points_to_camera(path: Path) -> np.ndarray:
    """[4, 4] from the frame of the points to that of the rectified camera."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no calibration {path}")
    rows = {}
    for line in decoded(path.read_bytes()).splitlines():
        name, _, values = line.partition(":")
        rows[name.strip()] = values.split()
    try:
        rectify, move = np.eye(4), np.eye(4)
        rectify[:3, :3] = np.array(rows["R0_rect"], np.float64).reshape(3, 3)
        move[:3] = np.array(rows["Tr_velo_to_cam"], np.float64).reshape(3, 4)
        matrix = rectify @ move
        if not np.isfinite(np.linalg.inv(matrix)).all():
            raise ValueError("it has no inverse")
    except (KeyError, ValueError, np.linalg.LinAlgError) as error:
        raise ValueError(
            f"has the calibration {path}, which is not understood ({type(error).__name__} {error}); expected R0_rect "
            "of 9 numbers and Tr_velo_to_cam of 12"
        ) from None
    return matrix


def _is_number(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True
