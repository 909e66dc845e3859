"""Text files as spreadsheets and scanners write them: their encoding, what separates their cells, decimal commas."""

import codecs
import csv
import re
from pathlib import Path

import numpy as np

from pcfdsl.readers.columns import RawCloud, color_columns, may_be_colors

__all__ = ["begins_with_rows", "cells_of", "decoded", "number", "read_text_points", "separator"]

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?\Z")
_NAN = re.compile(r"[-+]?(?:nan\(\w*\)|\d\.#\w+)\Z", re.IGNORECASE)  # of Microsoft's C library
_UNIT = re.compile(r"\s*[\[(][^\])]*[\])]\Z")
_AXES = (("x", "y", "z"), ("points:0", "points:1", "points:2"))  # the second are ParaView's


def decoded(content: bytes) -> str:
    """Text in UTF-8, in UTF-16 with a byte order mark, or else in Latin-1.

    Raises:
        ValueError: If it is no text: it has zero bytes.
    """
    content = content.rstrip(b"\x1a")  # the end of a text file of DOS
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding)
    if b"\0" in content:
        raise ValueError("is no text: it has zero bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def separator(line: str) -> str | None:
    """What separates the cells of a line: ; a tab, or a comma; None for blanks.

    >>> [separator(line) for line in ("1,5;2,5", "1, 2, 3", "1,5 2,5 3,5", "1 2 3", "a\\tb c")]
    [';', ',', None, None, '\\t']
    """
    for candidate in (";", "\t"):
        if candidate in line:
            return candidate
    cells = line.split()
    if "," not in line or (len(cells) > 2 and all("," not in c or _DECIMAL_COMMA.match(c) for c in cells)):
        return None
    return ","


def number(text: str) -> float:
    """A number with a decimal point or comma.

    Raises:
        ValueError: If it is none.

    >>> number(" 1,5 ")
    1.5
    """
    text = text.strip()
    if _NAN.match(text):
        return float("nan")
    return float(text.replace(",", ".") if _DECIMAL_COMMA.match(text) else text)


def begins_with_rows(path: Path) -> bool:
    """Whether the first lines of a text file have a row of three numbers or more, from its first cell."""
    with open(path, "rb") as file:
        content = file.read(1 << 12)
    try:
        return any(map(_is_row, decoded(content).splitlines()[:20]))
    except ValueError:
        return False


def read_text_points(path: Path) -> RawCloud:
    """Rows of numbers: x y z, and red green blue where a header names them or three columns can be colours.

    A line of names, a number of points before the first row, comments (# or //) and blank lines are understood. Without
    names, colours are columns 3 to 5; of 7 columns 4 to 6, with the intensity before them, if the file is a .pts or
    only those can be colours.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no rows of three numbers and more.
    """
    lines = decoded(path.read_bytes()).splitlines()
    first = next((k for k, line in enumerate(lines) if _is_row(line)), None)
    if first is None:
        raise ValueError("has no row of three numbers or more")
    cut = separator(lines[first])
    width = _numeric_width(cells_of(lines[first], cut))
    table = _table(lines[first:], cut, width)
    names = _names(lines[:first], width)
    columns = {name: table[:, k] for name, k in names.items()}
    axes = next((axes for axes in _AXES if names.keys() >= set(axes)), None)
    if axes is not None:
        return RawCloud(points=np.stack([columns[axis] for axis in axes], axis=1), colors=color_columns(columns))
    notes = [f"its columns are named {', '.join(names)}; the first three were taken for x, y, z"] if names else []
    start = 3
    if width == 7:
        possible = [may_be_colors(table[:, k : k + 3]) for k in (3, 4)]
        leica = path.suffix.lower() == ".pts"
        start = 4 if leica or possible == [False, True] else 3
        if all(possible) and not leica:
            notes.append(
                "columns 3 to 5 of 7 (from 0) were taken for colours; if they are 4 to 6, name them in a first line"
            )
    colors = table[:, start : start + 3] if width >= start + 3 else None
    return RawCloud(points=table[:, :3], colors=colors, notes=tuple(notes))


def _table(lines: list[str], cut: str | None, width: int) -> np.ndarray:
    """[N, width] float64 of lines, comments and blank lines left out."""
    rows = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", "//"))]
    plain = [line.replace(",", ".") for line in rows] if cut != "," else rows
    try:
        return np.loadtxt(plain, delimiter=cut, usecols=range(width), comments=None, ndmin=2)
    except ValueError:  # cells in quotes, or numbers in other spellings, which take longer
        pass
    table = np.empty((len(rows), width))
    for k, line in enumerate(rows):
        cells = cells_of(line, cut)
        if _numeric_width(cells) < width:
            raise ValueError(f"has the row {line[:80]!r}, which does not begin with {width} numbers as its first does")
        table[k] = [number(cell) for cell in cells[:width]]
    return table


def cells_of(line: str, cut: str | None) -> list[str]:
    """The cells of a line, without blanks around them; see `separator`."""
    if cut is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=cut, skipinitialspace=True), [])]


def _numeric_width(cells: list[str]) -> int:
    """How many cells from the first are numbers."""
    for k, cell in enumerate(cells):
        try:
            number(cell)
        except ValueError:
            return k
    return len(cells)


def _is_row(line: str) -> bool:
    return bool(line.strip()) and _numeric_width(cells_of(line, separator(line))) >= 3


def _names(lines: list[str], width: int) -> dict[str, int]:
    """Columns by the last line before the rows that is no number of points, if it has a name for each of them."""
    for line in reversed([line for line in lines if line.strip()]):
        bare = line.strip().lstrip("#/").strip()
        names = [_UNIT.sub("", name.strip('"')).casefold() for name in cells_of(bare, separator(bare))]
        if len(names) == 1 and names[0].isdecimal():
            continue
        if len(names) >= width and len(set(names)) == len(names):
            return {name: k for k, name in enumerate(names[:width])}
        return {}
    return {}
