"""Labelled boxes of scans, as spreadsheets and labelling tools write them; messages name the file and the line."""

import csv
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pcfdsl.readers.labelling import (
    RawBox,
    is_kitti,
    is_labelcloud,
    is_sustech,
    kitti_boxes,
    labelcloud_boxes,
    mmdetection3d_rows,
    sustech_boxes,
)
from pcfdsl.readers.tables import read_table
from pcfdsl.readers.text import decoded

__all__ = ["BOX_FILES", "COLUMNS", "CONVENTIONS", "Convention", "LabelledBoxes", "read_boxes"]

COLUMNS = ("class", "cx", "cy", "cz", "dx", "dy", "dz", "yaw")
BOX_FILES = (".csv", ".tsv", ".json", ".txt")

# What may be said of a source's boxes; the first of each is ours.
CONVENTIONS = {
    "yaw": ("ccw", "cw"),
    "sizes": ("full", "half"),
    "z": ("center", "bottom"),
    "angle": ("radians", "degrees"),
}
_MAX_TILT = np.deg2rad(15)
_FARTHEST = 1e9  # as wide as a cloud may be


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The convention of a source's boxes.

    Attributes:
        yaw: "ccw": counter-clockwise from +x seen from above; "cw": clockwise (VoteNet's heading).
        sizes: "full" or "half" extents (VoteNet's SUN RGB-D files have half).
        z: Whether cz is the "center" of the box or its "bottom" (mmdetection3d).
        angle: Whether yaw is in "radians" or "degrees" (labelCloud's centroid_abs).
    """

    yaw: str = "ccw"
    sizes: str = "full"
    z: str = "center"
    angle: str = "radians"

    def __post_init__(self) -> None:
        for name, known in CONVENTIONS.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; expected {' or '.join(known)}")

    def native(self, boxes: np.ndarray) -> np.ndarray:
        """Convert [K, 7] boxes to pcfdsl's convention."""
        boxes = boxes.copy()
        boxes[:, 3:6] *= 2 if self.sizes == "half" else 1
        boxes[:, 2] += boxes[:, 5] / 2 if self.z == "bottom" else 0
        boxes[:, 6] *= -1 if self.yaw == "cw" else 1
        boxes[:, 6] *= np.pi / 180 if self.angle == "degrees" else 1
        return boxes


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledBoxes:
    """The boxes of a scan in pcfdsl's convention.

    Attributes:
        names: K class names.
        boxes: [K, 7] float64, centre, full extents in metres, yaw in radians counter-clockwise from +x.
        notes: What a person should know of the reading.
    """

    names: tuple[str, ...]
    boxes: np.ndarray
    notes: tuple[str, ...] = ()


def read_boxes(
    path: Path, *, convention: Convention | None = None, calibration: Path | None = None, camera_frame: bool = True
) -> LabelledBoxes:
    """Read the boxes of a scan, of which there may be none.

    Tables (.csv, .tsv, .txt) have a header with a column for the class, and either centre, extents and perhaps yaw, or
    least and greatest coordinates, or eight corners; `pcfdsl.readers.tables` lists the names of columns. Besides them
    are read JSON of ours, of labelCloud (centroids and vertices) and of SUSTechPOINTS, labels of KITTI, and rows
    x y z dx dy dz yaw class as MMDetection3D and OpenPCDet take them. What is not of a format with a convention of its
    own is in `convention`.

    Args:
        path: The file.
        convention: The convention of its boxes; None: pcfdsl's.
        calibration: The scan's calibration of KITTI, with R0_rect and Tr_velo_to_cam.
        camera_frame: Whether labels of KITTI are in the frame of the camera, as KITTI's are; False: they are in the
            frame of the points and have the centre of the box (labelCloud's kitti_untransformed).

    Raises:
        OSError: If it cannot be read.
        ValueError: If a column is missing, a value is not a finite number, an extent is not positive, an angle is no
            angle in radians, or a box is not upright. The message names the file and the line or entry.
    """
    convention = convention or Convention()
    try:
        text = decoded(path.read_bytes())
        rows, own = _parse(text, path, calibration, camera_frame, convention.angle)
        names, boxes, tilt = _checked(rows)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} {error}" if _is_clause(error) else f"{path}, {error}") from None
    if own and replace(convention, angle="radians") != Convention():
        raise ValueError(f"{path} holds {own}, whose convention is fixed; leave out the options yaw, sizes and z")
    if own and own != _LABELCLOUD and convention.angle != "radians":
        raise ValueError(f"{path} holds {own}, whose angles are in radians; leave out the option angle")
    native = convention.native(boxes)
    turned = np.abs(native[:, 6]).max(initial=0)
    turns = 1 if own == _LABELCLOUD and convention.angle == "radians" else 2  # centroid_rel is within a turn
    if turned > turns * np.pi + 0.01:
        expected = "-pi to pi" if turns == 1 else "-2 pi to 2 pi"
        raise ValueError(
            f"{path}: yaw reaches {turned:.4g}; expected radians, {expected}. Are these degrees (option angle)?"
        )
    tilt = np.abs(np.deg2rad(tilt) if convention.angle == "degrees" else tilt)
    if tilt.max(initial=0) > _MAX_TILT:
        raise ValueError(
            f"{path}: a box is tilted by {np.rad2deg(tilt.max()):.0f} degrees about x or y; boxes stand upright, "
            "so draw it upright or leave it out"
        )
    notes = (
        (f"has {int((tilt > 1e-3).sum())} tilted boxes; they were set upright",) if tilt.max(initial=0) > 1e-3 else ()
    )
    return LabelledBoxes(names=names, boxes=native, notes=notes)


_LABELCLOUD = "centroids of labelCloud"


def _parse(
    text: str, path: Path, calibration: Path | None, camera_frame: bool, angle: str
) -> tuple[Iterator[RawBox], str]:
    """The boxes of a file, and the name of their format if its convention is its own."""
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}; it may be truncated") from None
        if is_labelcloud(content):
            has_corners = any("vertices" in entry for entry in content["objects"] if isinstance(entry, dict))
            return labelcloud_boxes(content), "vertices of labelCloud" if has_corners else _LABELCLOUD
        if is_sustech(content):
            return sustech_boxes(content), "boxes of SUSTechPOINTS"
        return _own_json(content), ""
    lines = text.splitlines()
    if is_kitti(lines):
        return kitti_boxes(lines, calibration, camera_frame=camera_frame), "labels of KITTI"
    if path.suffix.lower() == ".txt" and not text.strip():
        return iter(()), ""  # KITTI's and MMDetection3D's way to say that there are no objects
    rows = mmdetection3d_rows(lines)
    return (rows, "") if rows is not None else read_table(lines, angle=angle)


def _own_json(content: object) -> Iterator[RawBox]:
    if not isinstance(content, list):
        raise ValueError(
            f"holds a {type(content).__name__}; expected a list of boxes, or what labelCloud or SUSTechPOINTS write"
        )
    for number, entry in enumerate(content):
        try:
            (cx, cy, cz), (dx, dy, dz) = entry["center"], entry["size"]
            yield RawBox(f"box {number}", entry["class"], (cx, cy, cz, dx, dy, dz, entry.get("yaw", 0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"box {number}: {type(error).__name__} {error}; expected class, center[3], size[3] and yaw"
            ) from None


def _checked(rows: Iterator[RawBox]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Class names, [K, 7] boxes and [K] tilts."""
    names, boxes, tilts = [], [], []
    for row in rows:
        try:
            box = [float(value) for value in row.values]
            tilt = float(row.tilt)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{row.place}: {error}") from None
        if not np.isfinite([*box, tilt]).all():
            raise ValueError(f"{row.place}: {box} is not finite")
        if max(map(abs, box)) > _FARTHEST:
            raise ValueError(f"{row.place}: {box} has numbers above {_FARTHEST:.0e}, which are no coordinates")
        if min(box[3:6]) <= 0:
            raise ValueError(f"{row.place}: extents dx dy dz are {box[3:6]}; they must be positive")
        name = unicodedata.normalize("NFC", str(row.name).strip())  # of macOS and others alike
        if not name or not name.isprintable():
            raise ValueError(f"{row.place}: the class name {row.name!r} is empty or not of one line")
        names.append(name)
        boxes.append(box)
        tilts.append(tilt)
    return tuple(names), np.array(boxes, np.float64).reshape(-1, 7), np.array(tilts, np.float64)


def _is_clause(error: Exception) -> bool:
    """Whether a message goes on from the file's name ("is not JSON") or names a place in it ("line 3: ...")."""
    return not str(error).startswith(("line ", "box "))
