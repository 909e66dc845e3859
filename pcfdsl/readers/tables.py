"""Tables of boxes as spreadsheets write them: any separator, decimal commas, headers in any case, order and spelling.

Names of columns are compared without case, blanks, `_`, `-` and `.`; a unit in brackets may follow:

    class    class, class name, label, category, type, object type, object class, object, name
    centre   cx, center x, centre x, x center, centroid x, position x, pos x, location x, x; and so for y and z
    extents  dx, size x, x size, extent x, dimension x, dim x, scale x, sx; or length, width, height (l, w, h)
    yaw      yaw, heading, yaw angle, heading angle, rotation z, rot z, rz, angle, rotation; 0 without one
    tilt     roll, pitch, rotation x, rotation y, rot x, rot y, rx, ry
    or       x min, y min, z min, x max, y max, z max (min x, ...): boxes along the axes
    or       x1 y1 z1 ... x8 y8 z8 (or 0 to 7): the corners of an upright box in any order
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pcfdsl.readers.labelling import RawBox, corner_box
from pcfdsl.readers.text import number, separator

__all__ = ["read_table"]

_CLASS = ("class", "classname", "label", "category", "type", "objecttype", "objectclass", "object", "name")
_YAW = ("yaw", "heading", "yawangle", "headingangle", "rotationz", "rotz", "rz", "angle", "rotation")
_TILT = ("roll", "pitch", "rotationx", "rotationy", "rotx", "roty", "rx", "ry")
_CENTER = (
    "c{}",
    "center{}",
    "centre{}",
    "{}center",
    "{}centre",
    "centroid{}",
    "position{}",
    "pos{}",
    "location{}",
    "{}",
)
_SIZE = ("d{}", "size{}", "{}size", "extent{}", "dimension{}", "dim{}", "scale{}", "s{}")
_LENGTHS = {"x": ("length", "l"), "y": ("width", "w"), "z": ("height", "h")}
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_METRES, _RADIANS, _DEGREES = (
    ("m", "metre", "metres", "meter", "meters"),
    ("rad", "radian", "radians"),
    ("deg", "degree", "degrees", "°"),
)


def read_table(lines: Sequence[str]) -> Iterator[RawBox]:
    """The boxes of a table; values are in its own convention, but corners give full extents and centres.

    Raises:
        ValueError: If the header lacks a column, or a row has more or fewer cells than it; the message names the line.
    """
    lines = list(lines)
    cut: str | None = None
    start = 0
    if lines and (stated := re.fullmatch(r"\s*\"?sep=(.)\"?\s*", lines[0], re.IGNORECASE)):
        cut, start = stated[1], 1  # a line for Excel
    while start < len(lines) and not lines[start].strip(" \t,;"):
        start += 1
    if start == len(lines):
        raise ValueError(f"line 1: {_expected({})}, got an empty file")
    cut = cut or separator(lines[start])
    cells = _cells(lines[start], cut)
    columns = _columns(cells, start + 1)
    form = _form(columns)
    if form is None:
        raise ValueError(f"line {start + 1}: {_expected(columns)}, got {','.join(cells)}")
    width = max((k for k, cell in enumerate(cells) if cell), default=-1) + 1
    return _rows(lines, start + 1, cut, width, columns, form)


def _rows(
    lines: Sequence[str], start: int, cut: str | None, width: int, columns: Mapping[str, int], form: "_Form"
) -> Iterator[RawBox]:
    for line_number in range(start, len(lines)):
        row = _cells(lines[line_number], cut)
        place = f"line {line_number + 1}"
        if not any(row):
            continue
        if len(row) < width or any(row[width:]):
            raise ValueError(f"{place}: the number of columns differs from line {start}")
        try:
            values, tilt = form.box(row)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        yield RawBox(place, row[form.name], values, tilt)


class _Form:
    """Where a table has what; `box` makes (seven values, tilt) of a row."""

    def __init__(self, name: int, numbers: Sequence[int], kind: str, yaw: int | None, tilt: Sequence[int]):
        self.name, self.numbers, self.kind, self.yaw, self.tilt = name, numbers, kind, yaw, tilt

    def box(self, row: Sequence[str]) -> tuple[Sequence[float], float]:
        numbers = [number(row[k]) for k in self.numbers]
        yaw = number(row[self.yaw]) if self.yaw is not None and row[self.yaw] else 0.0
        tilt = max((number(row[k]) for k in self.tilt if row[k]), key=abs, default=0.0)
        if self.kind == "center":
            return (*numbers, yaw), tilt
        if yaw:
            raise ValueError(f"has {self.kind} and a yaw of {yaw:g} besides; expected one of them")
        if self.kind == "corners":
            return corner_box(np.array(numbers).reshape(8, 3)), tilt
        least, most = np.array(numbers[:3]), np.array(numbers[3:])
        return (*((least + most) / 2), *(most - least), 0.0), tilt


def _form(columns: Mapping[str, int]) -> _Form | None:
    name = _first(columns, _CLASS)
    if name is None:
        return None
    yaw = _first(columns, _YAW)
    tilt = [columns[key] for key in _TILT if key in columns]
    centers = [_first(columns, [spelling.format(axis) for spelling in _CENTER]) for axis in "xyz"]
    sizes = [_first(columns, (*[s.format(axis) for s in _SIZE], *_LENGTHS[axis])) for axis in "xyz"]
    limits = [_first(columns, (f"{axis}{end}", f"{end}{axis}")) for end in ("min", "max") for axis in "xyz"]
    corners = [[columns.get(f"{axis}{k}") for k in range(first, first + 8) for axis in "xyz"] for first in (0, 1)]
    for kind, found in (("center", centers + sizes), ("limits", limits), *(("corners", c) for c in corners)):
        present = [k for k in found if k is not None]
        if len(present) == len(found):
            return _Form(name, present, kind, yaw, tilt)
    return None


def _expected(columns: Mapping[str, int]) -> str:
    """What the header of a table lacks."""
    wanted = {"class": _CLASS}
    wanted |= {f"c{axis}": [spelling.format(axis) for spelling in _CENTER] for axis in "xyz"}
    wanted |= {f"d{axis}": (*[s.format(axis) for s in _SIZE], *_LENGTHS[axis]) for axis in "xyz"}
    missing = [key for key, spellings in wanted.items() if _first(columns, spellings) is None]
    return (
        f"no column {', '.join(missing)}; expected class,cx,cy,cz,dx,dy,dz,yaw (yaw is optional), or class with "
        "xmin,ymin,zmin,xmax,ymax,zmax or with x1,y1,z1 to x8,y8,z8"
    )


def _columns(cells: Sequence[str], line: int) -> dict[str, int]:
    """Columns by their plain names."""
    columns: dict[str, int] = {}
    for k, cell in enumerate(cells):
        unit = _UNIT.search(cell)
        name = re.sub(r"[\s_.\-]+", "", _UNIT.sub("", cell)).casefold()
        if unit and unit[1].casefold() not in (*_METRES, *_RADIANS, *_DEGREES):
            raise ValueError(
                f"line {line}: the column {cell!r} is in {unit[1]}; expected metres and radians or degrees"
            )
        if name and columns.setdefault(name, k) != k:
            raise ValueError(f"line {line}: two columns are named {cell!r}")
    return columns


def _first(columns: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((columns[name] for name in names if name in columns), None)


def _cells(line: str, cut: str | None) -> list[str]:
    if cut is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=cut, skipinitialspace=True), [])]
