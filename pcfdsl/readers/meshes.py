"""Meshes and clouds as others send them: of one file, without any other that it names, and no promise is believed."""

import json
from pathlib import Path
from typing import Any

__all__ = ["MESH_FILES", "read_geometries"]

MESH_FILES = (".obj", ".ply", ".off", ".stl", ".glb")
_MAX_SMALL = 1 << 24


def read_geometries(path: Path) -> list[Any]:
    """The `trimesh.Trimesh` and `trimesh.PointCloud` of a file, each in its place; none of an empty file.

    Materials and textures, which may lie in other files, are left out.

    Raises:
        Exception: Of any kind that trimesh finds, if the file is damaged.
        ValueError: If it is, or promises or repeats more than 16 million numbers, or as many as it has bytes.
    """
    import trimesh  # takes a second

    limit = max(path.stat().st_size, _MAX_SMALL)
    if path.suffix.lower() == ".glb":
        _require_glb_sound(path, limit)
    loaded: Any = trimesh.load(path, process=False, skip_materials=True)
    if not isinstance(loaded, trimesh.Scene):
        return [loaded]
    parts = [loaded.geometry[loaded.graph[node][1]] for node in loaded.graph.nodes_geometry]
    size = sum(len(part.vertices) + len(getattr(part, "faces", ())) for part in parts)
    if size > limit:  # a part may stand in any number of places
        raise ValueError(f"repeats its parts to {size} vertices and faces; at most {limit} are read")
    return list(loaded.dump())


def _require_glb_sound(path: Path, limit: int) -> None:
    """Binary glTF: a header of 12 bytes, then a part with JSON, which numbers what lies in the other parts."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(20)[12:16], "little")
        about = json.loads(file.read(min(length, size)))
    for accessor in about.get("accessors", ()):
        if accessor["count"] > limit:
            raise ValueError(f"promises {accessor['count']} vertices in {size} bytes")
    if any("uri" in buffer for buffer in about.get("buffers", ())):
        raise ValueError("keeps its vertices in other files, which are not read; pack it into one")
