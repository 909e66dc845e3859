"""The files of a ScanNet scan: mesh vertices, segments, groups of segments, axis alignment, and the table of labels.

Every error message names the file and what is wrong with it. No number in a file is trusted before it has been checked
against the file's size.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Group",
    "aligned",
    "read_alignment",
    "read_groups",
    "read_label_table",
    "read_segments",
    "read_vertices",
]

_MAX_HEADER = 1 << 16
_PLY_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """An annotated object of a scan.

    Attributes:
        object_id: From 0.
        label: Its raw category.
        segments: [S] int64, ids of the mesh segments it consists of.
    """

    object_id: int
    label: str
    segments: np.ndarray


def read_vertices(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the vertices of a binary PLY file, which must be its first element; faces are ignored.

    Returns:
        ([N, 3] float32 as in the file, [N, 3] uint8 red, green, blue), N > 0.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a file, or truncated. The message names it.
    """
    with path.open("rb") as file:
        count, row = _ply_header(file, path)
        there = path.stat().st_size - file.tell()
        if count * row.itemsize > there:
            raise ValueError(
                f"{path} is truncated: its header declares {count} vertices, but it holds {there // row.itemsize}"
            )
        content = file.read(count * row.itemsize)
    vertices = np.frombuffer(content, row, count=count)
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float32)
    if bad := int((~np.isfinite(points).all(axis=1)).sum()):
        raise ValueError(f"{path}: {bad} of {count} vertices are not finite")
    return points, np.stack([vertices[color] for color in ("red", "green", "blue")], axis=1)


def read_segments(path: Path) -> np.ndarray:
    """Read the segment of each vertex, [N] int64, from a `.segs.json` file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a file. The message names it.
    """
    content = _read_json(path)
    return _integers(content.get("segIndices"), f"{path}: segIndices")


def read_groups(path: Path) -> tuple[Group, ...]:
    """Read the objects of an `.aggregation.json` file, in its order.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a file, or an object appears twice. The message names the file.
    """
    entries = _read_json(path).get("segGroups")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: segGroups is not a list of objects")
    groups = {}
    for place, entry in enumerate(entries):
        object_id, label = entry.get("objectId"), entry.get("label")
        if not isinstance(object_id, int) or isinstance(object_id, bool) or not 0 <= object_id < 2**31:
            raise ValueError(f"{path}: objectId of group {place} is {_shown(object_id)}; expected 0 or more")
        if not isinstance(label, str):
            raise ValueError(f"{path}: label of object {object_id} is {_shown(label)}; expected a name")
        if object_id in groups:
            raise ValueError(f"{path}: object {object_id} appears twice")
        segments = _integers(entry.get("segments"), f"{path}: segments of object {object_id}")
        groups[object_id] = Group(object_id=object_id, label=label, segments=segments)
    return tuple(groups.values())


def read_alignment(path: Path) -> np.ndarray:
    """Read the [4, 4] float64 rigid motion that aligns a scan with the axes from its `.txt` file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has no such line, or the matrix is not a rigid motion. The message names the file.
    """
    lines = [line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = [value for name, sign, value in lines if sign and name.strip() == "axisAlignment"]
    if not found:
        raise ValueError(f"{path} has no line axisAlignment = ...; ScanNet does not give it for test scans")
    try:
        numbers = [float(number) for number in found[-1].split()]
    except ValueError as error:
        raise ValueError(f"{path}: axisAlignment: {error}") from None
    if len(numbers) != 16:
        raise ValueError(f"{path}: axisAlignment has {len(numbers)} numbers; expected 16")
    matrix = np.array(numbers).reshape(4, 4)
    rotation = matrix[:3, :3]
    rigid = (
        np.abs(matrix).max() < 1e4  # metres; also false for NaN
        and np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-2
        and np.linalg.det(rotation) > 0
        and np.abs(matrix[3] - (0, 0, 0, 1)).max() < 1e-6
    )
    if not rigid:
        raise ValueError(f"{path}: axisAlignment is not a rotation and a shift: {numbers}")
    return matrix


def aligned(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """[N, 3] float32 points moved by a [4, 4] motion in double precision; infinite where float32 overflows."""
    with np.errstate(over="ignore"):
        return (np.c_[points.astype(np.float64), np.ones(len(points))] @ matrix.T)[:, :3].astype(np.float32)


def read_label_table(path: Path, *, column: str = "nyu40id") -> dict[str, int]:
    """Read ScanNet's `scannetv2-labels.combined.tsv`: raw category -> nyu40 number, or that of another column.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not such a table. The message names the file and line.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a text table: {error}") from None
    header = rows[0] if rows else []
    if missing := {"raw_category", column} - set(header):
        raise ValueError(f"{path} has no column {' and no column '.join(sorted(missing))}; expected ScanNet's labels")
    name, number = header.index("raw_category"), header.index(column)
    table = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) <= max(name, number) or not row[number].strip().isdecimal() or len(row[number]) > 9:
            raise ValueError(f"{path}, line {line}: {column} is missing")
        table[row[name]] = int(row[number])
    return table


def _ply_header(file: Any, path: Path) -> tuple[int, np.dtype]:
    """Parse the header: the number of vertices and the dtype of one."""
    header = file.read(_MAX_HEADER)
    end = header.find(b"end_header")
    line_end = header.find(b"\n", end)
    if header[:3] != b"ply" or end < 0 or line_end < 0:
        raise ValueError(f"{path} is not a PLY file, or its header is truncated")
    file.seek(line_end + 1)
    lines = [line.split() for line in header[:end].decode("ascii", errors="replace").splitlines()]
    lines = [line for line in lines[1:] if line and line[0] not in ("comment", "obj_info")]
    if not lines or lines[0][:2] != ["format", "binary_little_endian"]:
        kind = " ".join(lines[0]) if lines else "nothing"
        raise ValueError(f"{path}: expected format binary_little_endian, which ScanNet's meshes have; got {kind}")
    starts = [place for place, line in enumerate(lines) if line[0] == "element"]
    first = lines[starts[0]] if starts else []
    if len(first) != 3 or first[1] != "vertex" or not first[2].isdecimal() or len(first[2]) > 12:
        raise ValueError(f"{path}: the first element is {' '.join(first) or 'missing'}; expected a vertex count")
    properties = lines[starts[0] + 1 : starts[1] if len(starts) > 1 else len(lines)]
    if any(len(line) != 3 or line[0] != "property" or line[1] not in _PLY_TYPES for line in properties):
        raise ValueError(f"{path}: vertices have unsupported properties: {properties}")
    kinds = {line[2]: _PLY_TYPES[line[1]] for line in properties}
    if len(kinds) < len(properties):
        raise ValueError(f"{path}: vertices have duplicate properties")
    for names, wanted in (("x y z", ("f4", "f8")), ("red green blue", ("u1",))):
        if any(kinds.get(name) not in wanted for name in names.split()):
            raise ValueError(f"{path}: vertices have no {names} of type {' or '.join(wanted)}; they have {kinds}")
    if int(first[2]) == 0:
        raise ValueError(f"{path} has no vertices")
    return int(first[2]), np.dtype([(name, "<" + kind) for name, kind in kinds.items()])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError covers text that is not UTF-8
        raise ValueError(f"{path} is not JSON ({error}); it may be truncated") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def _integers(value: Any, where: str) -> np.ndarray:
    numbers = np.asarray(value) if isinstance(value, list) and all(type(item) is int for item in value) else None
    if numbers is None or (len(numbers) and numbers.dtype.kind != "i"):
        raise ValueError(f"{where} is not a list of integers")
    return numbers.astype(np.int64)


def _shown(value: Any) -> str:
    return repr(value)[:80]
