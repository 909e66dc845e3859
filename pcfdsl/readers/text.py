"""Text files as spreadsheets and scanners write them: their encoding, what separates their cells, decimal commas."""

import codecs
import re
from pathlib import Path

import numpy as np

from pcfdsl.readers.columns import RawCloud, color_columns

__all__ = ["begins_with_rows", "decoded", "number", "read_text_points", "separator"]

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?\Z")


def decoded(content: bytes) -> str:
    """Text in UTF-8, in UTF-16 with a byte order mark, or else in Latin-1.

    Raises:
        ValueError: If it is no text: it has zero bytes.
    """
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

    A line of names, a number of points in the first line, comments (# or //) and blank lines are understood. Without
    names, colours are columns 3 to 5, or 4 to 6 of a .pts file of 7 columns, whose column 3 is the intensity.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no rows of three numbers and more.
    """
    lines = decoded(path.read_bytes()).splitlines()
    first = next((k for k, line in enumerate(lines) if _is_row(line)), None)
    if first is None:
        raise ValueError("has no row of three numbers or more")
    cut = separator(lines[first])
    width = _numeric_width(_cells(lines[first], cut))
    rows = [line for line in lines[first:] if line.strip() and not line.lstrip().startswith(("#", "//"))]
    if cut != "," and "," in lines[first]:
        rows = [line.replace(",", ".") for line in rows]
    try:
        table = np.loadtxt(rows, delimiter=cut, usecols=range(width), comments=None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"has a row that is not of {width} numbers as its first: {error}") from None
    names = _names(lines[:first], width)
    if {"x", "y", "z"} <= names.keys():
        columns = {name: table[:, k] for name, k in names.items()}
        return RawCloud(points=np.stack([columns[axis] for axis in "xyz"], axis=1), colors=color_columns(columns))
    start = 4 if path.suffix.lower() == ".pts" and width == 7 else 3
    return RawCloud(points=table[:, :3], colors=table[:, start : start + 3] if width >= start + 3 else None)


def _cells(line: str, cut: str | None) -> list[str]:
    return [cell.strip() for cell in (line.split() if cut is None else line.split(cut))]


def _numeric_width(cells: list[str]) -> int:
    """How many cells from the first are numbers."""
    for k, cell in enumerate(cells):
        try:
            number(cell)
        except ValueError:
            return k
    return len(cells)


def _is_row(line: str) -> bool:
    return bool(line.strip()) and _numeric_width(_cells(line, separator(line))) >= 3


def _names(lines: list[str], width: int) -> dict[str, int]:
    """Columns by the last line before the rows, if it has a name for each of them."""
    for line in reversed([line for line in lines if line.strip()]):
        bare = line.strip().lstrip("#/").strip()
        names = [name.strip('"').lower() for name in _cells(bare, separator(bare))]
        if len(names) >= width and len(set(names)) == len(names):
            return {name: k for k, name in enumerate(names[:width])}
        return {}
    return {}
