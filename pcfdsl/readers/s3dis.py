"""The files of S3DIS (`Area_k/ROOM/Annotations/CLASS_n.txt`): rows `x y z red green blue`, the points of one object.

A few bytes of the official download have lost their bit 0x20: a blank became NUL, a digit or point a control character
(`185\\x00187` in Area_5/hallway_6/Annotations/ceiling_1.txt, `-9.1\\x160` in Area_3/hallway_2). They are set right.
"""

import re
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["ObjectPoints", "read_object"]

_ORDINARY = b"0123456789+-.eE \t\r\n"
_LOST_BIT = re.compile(rb"[\x00\x0e\x10-\x19]")
_MAX_LEFT_OUT = 10
_LOWEST, _HIGHEST = np.array([-1e5] * 3 + [0] * 3), np.array([1e5] * 3 + [255] * 3)


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectPoints:
    """The points of an object.

    Attributes:
        points: [N, 3] float64, metres as in the file, N > 0.
        colors: [N, 3] float32, 0 to 255.
        repairs: What was set right, one phrase for each byte with its line.
        left_out: The rows that could not be read, one phrase for each with its line.
    """

    points: np.ndarray
    colors: np.ndarray
    repairs: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def read_object(path: Path) -> ObjectPoints:
    """Read the points of an object.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has no points, or more than ten rows that are no points. The message names the file.
    """
    content, repairs = _mended(path.read_bytes())
    lines = content.decode("latin-1").split("\n")
    left_out: list[str] = []
    try:
        table = np.loadtxt(lines, ndmin=2, comments=None) if content.strip() else np.zeros((0, 6))
    except ValueError:
        table = np.zeros((0, 0))
    if not (table.shape[1] == 6 and _are_points(table).all()):
        table = _row_by_row(lines, left_out)
        if len(left_out) > _MAX_LEFT_OUT:
            raise ValueError(
                f"{path}: {len(left_out)} rows are not x y z red green blue, the first is {left_out[0]}; "
                "unpack it again"
            )
    if not len(table):
        raise ValueError(f"{path} has no points; expected rows of x y z red green blue")
    return ObjectPoints(
        points=table[:, :3], colors=table[:, 3:].astype(np.float32), repairs=repairs, left_out=tuple(left_out)
    )


def _mended(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The content with the lost bits put back, and where."""
    if not _LOST_BIT.search(content.translate(None, _ORDINARY)):
        return content, ()
    repairs = []
    for found in _LOST_BIT.finditer(content):
        line, byte = content.count(b"\n", 0, found.start()) + 1, found[0][0]
        repairs.append(f"line {line}: the byte 0x{byte:02x} is read as {chr(byte | 0x20)!r}")
    return _LOST_BIT.sub(lambda found: bytes([found[0][0] | 0x20]), content), tuple(repairs)


def _row_by_row(lines: list[str], left_out: list[str]) -> np.ndarray:
    """[N, 6] the rows that are points; what the others are goes to `left_out`."""
    rows = array("d")  # 48 bytes a row: files have millions
    for number, line in enumerate(lines, start=1):
        try:
            row = [float(cell) for cell in line.split()]
        except ValueError:
            row = []
        if len(row) == 6 and _are_points(np.array([row]))[0]:
            rows.extend(row)
        elif line.strip():
            left_out.append(f"line {number}: {line.strip()[:60]!r}")
    return np.array(rows).reshape(-1, 6)


def _are_points(table: np.ndarray) -> np.ndarray:
    """Whether each row of [N, 6] has coordinates in metres and colours of 0 to 255; false for NaN."""
    return np.all((table >= _LOWEST) & (table <= _HIGHEST), axis=1)
