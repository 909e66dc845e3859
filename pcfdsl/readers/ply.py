"""PLY files in all their dialects, by plyfile: the header is put in order first, and what it declares is checked.

What is tolerated: line ends of Unix, Windows and old Macs, a byte order mark before the header or the text, comments in
any encoding, blank lines, elements besides vertices and faces, properties of faces, bytes after the end.
Format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.columns import RawCloud, color_columns

__all__ = ["read_ply"]

_BOM = b"\xef\xbb\xbf"
_SIZES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


def read_ply(path: Path, *, faces: bool) -> RawCloud:
    """Vertices of a PLY file, and its faces as triangles if asked for; polygons become fans.

    Raises:
        OSError: If it cannot be read.
        Exception: Of any kind that plyfile finds, if it is damaged.
    """
    from plyfile import PlyData

    content = path.read_bytes().removeprefix(_BOM)
    end = re.search(rb"(?:\A|[\r\n])[ \t]*end_header[ \t]*(\r\n|\r|\n|\Z)", content)
    if not content.startswith(b"ply") or end is None:
        raise ValueError(f"has no whole PLY header, from `ply` to `end_header`; it begins with {content[:24]!r}")
    # After a header of lone carriage returns, a line feed is the first byte of the data.
    lone = end.group(1) == b"\r\n" and b"\n" not in content[: end.start(1)]
    body = content[end.end() - lone :]
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", content[: end.end(1)].decode("latin-1"))]
    header = [line for line in lines if line and line.split()[0] not in ("comment", "obj_info", "end_header")]
    text = header[1:2] == ["format ascii 1.0"]
    elements = _elements(header[2:])
    names = [element[0].split()[1] for element in elements]
    if "vertex" not in names:
        raise ValueError(f"has no element vertex; it has {', '.join(names) or 'none'}")
    needed = [name for name in names if name == "vertex" or (faces and name == "face")]
    elements = elements[: 1 + max(names.index(name) for name in needed)]
    if text:
        body = b"\n".join(line for line in body.replace(_BOM, b"").splitlines() if line.strip())
    _require_declared(elements, len(body), text=text)
    whole = "\n".join([*header[:2], *(line for element in elements for line in element), "end_header\n"])
    data = _parsed(PlyData, whole.encode("latin-1") + body, elements)
    vertices = data["vertex"].data
    by_name = {name.lower(): name for name in vertices.dtype.names}
    if not {"x", "y", "z"} <= by_name.keys():
        raise ValueError(f"its vertices have no x, y, z; they have {', '.join(by_name)}")
    points = np.stack([vertices[by_name[axis]] for axis in "xyz"], axis=1)
    colors = color_columns({name.lower(): vertices[name] for name in vertices.dtype.names if name})
    triangles = _triangles(data["face"].data) if faces and "face" in data else None
    return RawCloud(points=points, colors=colors, triangles=triangles)


def _elements(lines: list[str]) -> list[list[str]]:
    """The lines of each element, beginning with its own."""
    elements: list[list[str]] = []
    for line in lines:
        words = line.split()
        if words[0] == "element" and len(words) == 3:
            elements.append([line])
        elif words[0] == "property" and elements and len(words) in (3, 5):
            elements[-1].append(line)
        else:
            raise ValueError(f"has the line {line[:80]!r} in its header; expected elements and their properties")
    return elements


def _require_declared(elements: list[list[str]], held: int, *, text: bool) -> None:
    """Compare what elements need at least with the bytes that there are."""
    needed = 0
    for element, *properties in elements:
        kinds = [words[-3 if words[1] == "list" else 1] for words in map(str.split, properties)]
        if unknown := [kind for kind in kinds if kind not in _SIZES]:
            raise ValueError(f"has properties of type {unknown[0]}; expected one of {', '.join(_SIZES)}")
        count = int(element.split()[2])
        needed += max(count, 0) * (2 * len(kinds) if text else sum(_SIZES[kind] for kind in kinds))
    if needed > held + text:
        raise ValueError(f"is truncated: its header declares at least {needed} bytes, there are {held}")


def _parsed(reader: Any, content: bytes, elements: list[list[str]]) -> Any:
    """With lists of three numbers, which most meshes have, plyfile is a hundred times quicker if it knows."""
    names = [(lines[0].split()[1], [line.split()[-1] for line in lines[1:] if " list " in line]) for lines in elements]
    known = {name: dict.fromkeys(lists, 3) for name, lists in names if len(lists) == 1}
    if known and b"\nformat ascii" not in content[:40]:
        try:
            return reader.read(io.BytesIO(content), known_list_len=known)
        except Exception as error:  # polygons, or damage, which the next attempt will name
            del error
    return reader.read(io.BytesIO(content))


def _triangles(faces: np.ndarray) -> np.ndarray | None:
    names = [name for name in faces.dtype.names or () if name in ("vertex_indices", "vertex_index")]
    if not names:
        return None
    lists = faces[names[0]]
    if isinstance(lists, np.ndarray) and lists.ndim == 2 and lists.shape[1] == 3:
        return lists.astype(np.int64)
    fans = [[(face[0], face[k], face[k + 1]) for k in range(1, len(face) - 1)] for face in lists]
    return np.array([corner for fan in fans for corner in fan], np.int64).reshape(-1, 3)
