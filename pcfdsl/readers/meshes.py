"""Meshes and clouds of unknown origin: one file alone, without others that it names, and with its sizes checked."""

import io
import json
from pathlib import Path
from typing import Any

__all__ = ["MESH_FILES", "read_geometries"]

MESH_FILES = (".obj", ".off", ".stl", ".glb")
_MAX_SMALL = 1 << 24


def read_geometries(path: Path) -> list[Any]:
    """Read the meshes (`trimesh.Trimesh`) and clouds (`trimesh.PointCloud`) of a file, each placed by the scene graph.

    An empty file gives none. Materials and textures, which may be in other files, are ignored.

    Raises:
        ValueError: If it declares or instantiates more vertices than the larger of 16 million and its size in bytes.
        Exception: Whatever trimesh raises, if the file is damaged.
    """
    import trimesh  # takes a second

    limit = max(path.stat().st_size, _MAX_SMALL)
    if path.suffix.lower() == ".glb":
        _require_glb_sound(path, limit)
    loaded: Any = (
        trimesh.load(_stl(path), file_type="stl", process=False)
        if path.suffix.lower() == ".stl"
        else trimesh.load(path, process=False, skip_materials=True)
    )
    if not isinstance(loaded, trimesh.Scene):
        return [loaded]
    parts = [loaded.geometry[loaded.graph[node][1]] for node in loaded.graph.nodes_geometry]
    size = sum(len(part.vertices) + len(getattr(part, "faces", ())) for part in parts)
    if size > limit:  # the scene graph may use a part any number of times
        raise ValueError(f"repeats its parts, giving {size} vertices and faces; at most {limit} are read")
    return list(loaded.dump())


def _stl(path: Path) -> io.BytesIO:
    """The file without bytes after the triangles that a binary one declares: trimesh takes it for text with them."""
    content = path.read_bytes()
    size = 84 + 50 * int.from_bytes(content[80:84], "little")
    if content[:6] != b"solid " and size > len(content):
        raise ValueError(f"is truncated: it declares {size} bytes, there are {len(content)}")
    return io.BytesIO(content if content[:6] == b"solid " and size != len(content) else content[:size])


def _require_glb_sound(path: Path, limit: int) -> None:
    """Check a binary glTF: after a 12-byte header, a JSON chunk declares the sizes of what the other chunks hold."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(20)[12:16], "little")
        about = json.loads(file.read(min(length, size)))
    for accessor in about.get("accessors", ()):
        if accessor["count"] > limit:
            raise ValueError(f"declares {accessor['count']} vertices in {size} bytes")
    if any("uri" in buffer for buffer in about.get("buffers", ())):
        raise ValueError("keeps its vertices in other files, which are not read; pack everything into one file")
