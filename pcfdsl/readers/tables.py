"""Tables of boxes as spreadsheets write them: any separator, decimal commas, headers in any case, order and spelling.

Names of columns are compared without case, blanks, `_`, `-` and `.`; a unit in brackets may follow:

    class    class, class name, label, category, type, object type, object class, object, name
    centre   cx, center x, centre x, x center, centroid x, position x, pos x, location x, x; and so for y and z
    extents  dx, size x, x size, extent x, dimension x, dim x, scale x, sx; or length, width, height (l, w, h)
    yaw      yaw, heading, yaw angle, heading angle, rotation z, rot z, rz, angle, rotation; 0 without one
    tilt     roll, pitch, rotation x, rotation y, rot x, rot y, rx, ry
             in degrees or radians if its name says so: yaw (deg), yaw_deg, heading [rad]
    or       x min, y min, z min, x max, y max, z max (min x, ...): boxes along the axes
    or       x1 y1 z1 ... x8 y8 z8 (or 0 to 7): the corners of an upright box in any order
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pcfdsl.readers.labelling import RawBox, corner_box
from pcfdsl.readers.text import cells_of, number, separator

__all__ = ["read_table"]

_YAW = ("yaw", "heading", "yawangle", "headingangle", "rotationz", "rotz", "rz", "angle", "rotation")
_TILT = ("roll", "pitch", "rotationx", "rotationy", "rotx", "roty", "rx", "ry")
_CENTER = "c{} center{} centre{} {}center {}centre centroid{} position{} pos{} location{} {}"
_SIZE = "d{} size{} {}size extent{} dimension{} dim{} scale{} s{}"
_LENGTHS = {"x": ("length", "l"), "y": ("width", "w"), "z": ("height", "h")}
_CENTERS = {f"c{axis}": _CENTER.replace("{}", axis).split() for axis in "xyz"}
_SIZES = {f"d{axis}": (*_SIZE.replace("{}", axis).split(), *_LENGTHS[axis]) for axis in "xyz"}
_CLASS = ("class", "classname", "label", "category", "type", "objecttype", "objectclass", "object", "name")
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_METRES, _RADIANS, _DEGREES = (
    ("m", "metre", "metres", "meter", "meters"),
    ("rad", "radian", "radians"),
    ("deg", "degree", "degrees", "°"),
)


def read_table(lines: Sequence[str], *, angle: str = "radians") -> tuple[Iterator[RawBox], str]:
    """The boxes of a table, and what gives them if it has a convention of its own: limits or corners.

    Args:
        lines: Those of the file.
        angle: What yaw is to be in, "radians" or "degrees"; a column whose name says its unit is converted to it.

    Raises:
        ValueError: If the header lacks a column, or a row has more or fewer cells than it; the message names the line.
    """
    lines = list(lines)
    cut: str | None = None
    start = 0
    if lines and (stated := re.fullmatch(r"\s*\"?sep=(.)\"?\s*", lines[0], re.IGNORECASE)):
        cut, start = stated[1], 1  # a line for Excel
    first = None
    for k in range(start, len(lines)):
        if not lines[k].strip(" \t,;"):
            continue
        is_comment = lines[k].lstrip().startswith("#")
        header = lines[k].lstrip().lstrip("#")
        cells = cells_of(header, cut or separator(header))
        columns = _columns(cells, k + 1)
        form = _form(columns, angle, k + 1)
        first = first or (k, columns, cells)
        if form is not None:
            width = max((c for c, cell in enumerate(cells) if cell), default=-1) + 1
            return _rows(lines, k + 1, cut or separator(header), width, form), _OWN.get(form.kind, "")
        if not is_comment:
            break
    if first is None:
        raise ValueError(f"line 1: {_expected({})}, got an empty file")
    k, columns, cells = first
    raise ValueError(f"line {k + 1}: {_expected(columns)}, got {','.join(cells)}")


_OWN = {"limits": "least and greatest coordinates", "corners": "corners of boxes"}


def _rows(lines: Sequence[str], start: int, cut: str | None, width: int, form: "_Form") -> Iterator[RawBox]:
    reader = None if cut is None else csv.reader(lines[start:], delimiter=cut, skipinitialspace=True)
    for k, cells in enumerate(reader or map(str.split, lines[start:])):
        row = [cell.strip() for cell in cells]
        place = f"line {start + (reader.line_num if reader else k + 1)}"
        if not any(row):
            continue
        if len(row) < width or any(row[width:]):
            raise ValueError(f"{place}: the number of columns differs from line {start}")
        try:
            values, tilt = form.box(row)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        yield RawBox(place, row[form.name], values, tilt)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """Which columns of a table hold what; `box` makes (seven values, tilt) of a row."""

    kind: str  # what the numbers are: centre and extents, limits or corners
    name: int
    numbers: Sequence[int]
    yaw: int | None
    factor: float  # of the values of yaw
    tilt: Mapping[int, float]  # columns, and the factor of each

    def box(self, row: Sequence[str]) -> tuple[Sequence[float], float]:
        numbers = [number(row[k]) for k in self.numbers]
        yaw = self.factor * number(row[self.yaw]) if self.yaw is not None and row[self.yaw] else 0.0
        tilt = max((factor * number(row[k]) for k, factor in self.tilt.items() if row[k]), key=abs, default=0.0)
        if self.kind == "center":
            return (*numbers, yaw), tilt
        if yaw:
            raise ValueError(f"has {self.kind} and a yaw of {yaw:g} besides; expected one of them")
        if self.kind == "corners":
            return corner_box(np.array(numbers).reshape(8, 3)), tilt
        least, most = np.array(numbers[:3]), np.array(numbers[3:])
        return (*((least + most) / 2), *(most - least), 0.0), tilt


def _form(columns: Mapping[str, int], angle: str, line: int) -> _Form | None:
    name = _first(columns, _CLASS)
    if name is None:
        return None
    yaw, factor = _yaw(columns, angle, line)
    units = _factors(angle).items()
    tilt = {columns[key + unit]: of_unit for unit, of_unit in units for key in _TILT if key + unit in columns}
    parts = [_first(columns, spellings) for spellings in (_CENTERS | _SIZES).values()]
    limits = [_first(columns, (f"{axis}{end}", f"{end}{axis}")) for end in ("min", "max") for axis in "xyz"]
    corners = [[columns.get(f"{axis}{k}") for k in range(first, first + 8) for axis in "xyz"] for first in (0, 1)]
    for kind, found in (("center", parts), ("limits", limits), *(("corners", c) for c in corners)):
        present = [k for k in found if k is not None]
        if len(present) == len(found):
            return _Form(kind=kind, name=name, numbers=present, yaw=yaw, factor=factor, tilt=tilt)
    return None


def _yaw(columns: Mapping[str, int], angle: str, line: int) -> tuple[int | None, float]:
    """The column of yaw, and what makes its values `angle`."""
    for unit, factor in _factors(angle).items():
        if (found := _first(columns, [f"{name}{unit}" for name in _YAW])) is not None:
            return found, factor
    tilts = {key + unit for unit in _factors(angle) for key in _TILT}
    if odd := [name for name in columns if _MAY_BE_YAW.search(name) and name not in tilts]:
        raise ValueError(f"line {line}: is the column {odd[0]!r} the yaw? Name it yaw, or else rename it")
    return None, 1.0


def _factors(angle: str) -> dict[str, float]:
    """What makes an angle in a unit `angle`, by the end of a column's plain name."""
    if angle == "radians":
        return {"": 1.0, "rad": 1.0, "deg": math.pi / 180}
    return {"": 1.0, "rad": 180 / math.pi, "deg": 1.0}


_MAY_BE_YAW = re.compile(r"yaw|heading|theta|orientation|azimuth|^rot|^angle")


def _expected(columns: Mapping[str, int]) -> str:
    """What the header of a table lacks."""
    wanted = {"class": _CLASS, **_CENTERS, **_SIZES}
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
        if name in (*_YAW, *_TILT) and unit:
            name += unit[1].casefold().replace("°", "deg")
        stated = re.fullmatch(rf"({'|'.join((*_YAW, *_TILT))})(deg|rad)(?:rees?|ians?)?", name)
        name = name if stated is None else stated[1] + stated[2]
        if name and columns.setdefault(name, k) != k:
            raise ValueError(f"line {line}: two columns are named {cell!r}")
    return columns


def _first(columns: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((columns[name] for name in names if name in columns), None)
