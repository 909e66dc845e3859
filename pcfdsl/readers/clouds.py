"""One reader for files of points, whoever wrote them: near the origin, finite, with colours in 0..1.

| ending | what is read |
| --- | --- |
| .ply | vertices, colours, faces; see `pcfdsl.readers.ply` |
| .pcd | text, binary and compressed; see `pcfdsl.readers.pcd` |
| .npy | [N, 3 or more] numbers: x y z and, from six columns on, red green blue; or a structured array of x, y, z |
| .npz | array `points`, `positions` or `xyz` of that form, or the only array; with `colors` [N, 3 or 4] |
| .bin | float32 rows of `bin_columns`, as .npy |
| .xyz .xyzrgb .pts .txt .asc | rows of numbers as text; see `pcfdsl.readers.text` |
| .las .laz .e57 | with the extra `scans` |
| .obj .off .stl .glb | vertices, colours of vertices, faces, by trimesh |
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.arrays import array_names, read_array, read_arrays
from pcfdsl.readers.columns import RawCloud, color_columns, likely_columns, unit_colors
from pcfdsl.readers.folders import files_below, files_in, has_ending
from pcfdsl.readers.meshes import MESH_FILES, read_geometries
from pcfdsl.readers.pcd import read_pcd
from pcfdsl.readers.ply import read_ply
from pcfdsl.readers.survey import read_e57, read_las
from pcfdsl.readers.text import begins_with_rows, read_text_points

__all__ = ["CLOUD_FILES", "Cloud", "as_cloud", "cloud_files", "read_cloud"]

_TEXT_FILES = (".xyz", ".xyzrgb", ".pts", ".txt", ".asc")
_POINTS = ("points", "positions", "xyz")  # the second is Open3D's
CLOUD_FILES = (".ply", ".pcd", ".npy", ".npz", ".bin", *_TEXT_FILES, ".las", ".laz", ".e57", *MESH_FILES)

_FAR = 4096.0  # float32 is exact to a quarter of a millimetre below
_WHOLE = 100.0
_WIDEST = 1e9  # of which float32 and its squares are still sums


@dataclass(frozen=True, eq=False, kw_only=True)
class Cloud:
    """The points of a file.

    Attributes:
        points: [N, 3] float32, in the file's unit, less `offset`.
        offset: [3] float64, what was subtracted: zeros, but for axes whose coordinates are thousands of units from the
            origin, where float32 would round them by millimetres and more.
        colors: [N, 3] float32 in 0..1, or None.
        triangles: [T, 3] int64 rows of points, or None.
        kept: [M] bool, which of the file's points these are; the others were not finite.
        notes: What a person should know of the reading, a sentence each.
    """

    points: np.ndarray
    offset: np.ndarray
    colors: np.ndarray | None
    triangles: np.ndarray | None
    kept: np.ndarray
    notes: tuple[str, ...]


def cloud_files(folder: str | Path, *, deep: bool = True) -> list[Path]:
    """Files of points in a folder, at any depth or directly in it, sorted by path; of .txt files those with numbers."""
    found = files_below(folder, CLOUD_FILES) if deep else files_in(folder, CLOUD_FILES)
    return [path for path in found if not has_ending(path, (".txt",)) or begins_with_rows(path)]


def read_cloud(path: str | Path, *, bin_columns: int = 6, faces: bool = False) -> Cloud:
    """The points of a file, by its ending in any case; the head of this module lists them.

    Args:
        path: The file.
        bin_columns: Numbers in a row of a .bin file.
        faces: Whether triangles are wanted.

    Raises:
        OSError: If it cannot be read.
        ValueError: Naming the file, if it is damaged, of another form, empty, has no finite point, or needs a library
            that is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file of points")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        raw = _raw(path, path.suffix.lower(), bin_columns, faces)
        return as_cloud(raw)
    except OSError:
        raise
    except ImportError as error:
        raise ValueError(f"{path} needs {error.name}: pip install 'pcfdsl[scans]'") from None
    except Exception as error:  # readers of damaged files fail in every way there is
        if type(error) is ValueError:
            raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{path} cannot be read; it may be damaged ({type(error).__name__}: {reason})") from None


def as_cloud(raw: RawCloud) -> Cloud:
    """Points as they stand in a file, made finite and near, with colours in 0..1.

    Raises:
        ValueError: If there are none, or they are no numbers.
    """
    points, notes = np.asarray(raw.points), list(raw.notes)
    if points.shape == (0, 3):
        raise ValueError("has no points")
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers [N, 3 or more] with N > 0, got {points.dtype} {points.shape}")
    kept = np.asarray(np.isfinite(points).all(axis=1))
    if not kept.any():
        raise ValueError(f"has no finite points ({len(points)} in all)")
    if missing := int((~kept).sum()):
        notes.append(f"{missing} of {len(points)} points are not finite and were dropped")
    extent = max(float(points[kept, axis].max()) - float(points[kept, axis].min()) for axis in range(3))
    if extent > _WIDEST:
        raise ValueError(f"spans {extent:.3g} units, which are no coordinates; it may be damaged or of another type")
    offset = _offset(points[kept])
    near = np.ascontiguousarray((points[kept] - offset if offset.any() else points[kept]), np.float32)
    if offset.any():
        shown = ", ".join(f"{value:g}" for value in offset)
        notes.append(f"coordinates are far from the origin; they are kept relative to ({shown})")
    colors, refusal = (None, "") if raw.colors is None else unit_colors(np.asarray(raw.colors)[kept])
    notes += [refusal] if refusal else []
    triangles = raw.triangles
    if triangles is not None:
        if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(points):
            raise ValueError(f"has faces of vertices {triangles.min()} to {triangles.max()}, of {len(points)}")
        triangles = (np.cumsum(kept) - 1)[triangles[kept[triangles].all(axis=1)]]
    return Cloud(points=near, offset=offset, colors=colors, triangles=triangles, kept=kept, notes=tuple(notes))


def _raw(path: Path, kind: str, bin_columns: int, faces: bool) -> RawCloud:
    if kind == ".ply":
        return read_ply(path, faces=faces)
    if kind == ".pcd":
        return read_pcd(path)
    if kind == ".npy":
        return _columns(read_array(path))
    if kind == ".npz":
        return _of_npz(path)
    if kind == ".bin":
        return _of_bin(path, bin_columns)
    if kind in _TEXT_FILES:
        return read_text_points(path)
    if kind in (".las", ".laz"):
        return read_las(path)
    if kind == ".e57":
        return read_e57(path)
    if kind in MESH_FILES:
        return _of_mesh(path)
    raise ValueError(f"unknown ending {path.suffix}; expected one of {', '.join(CLOUD_FILES)}")


def _offset(points: np.ndarray) -> np.ndarray:
    """Hundreds of units near the middle, for axes on which that is far away."""
    middle = np.median(points[:: max(1, len(points) // 100_000)].astype(np.float64), axis=0)
    return np.where(np.abs(middle) >= _FAR, np.round(middle / _WHOLE) * _WHOLE, 0.0)


def _columns(rows: np.ndarray) -> RawCloud:
    if rows.dtype.names:
        columns = {name.lower(): rows[name].reshape(-1) for name in rows.dtype.names}
        if not {"x", "y", "z"} <= columns.keys():
            raise ValueError(f"has no fields x, y, z; it has {', '.join(columns)}")
        return RawCloud(points=np.stack([columns[axis] for axis in "xyz"], axis=1), colors=color_columns(columns))
    if rows.ndim == 2 and len(rows) < 10 and rows.shape[1] > 50:
        raise ValueError(f"has the shape {rows.shape}; expected a row for each point: transpose it")
    if rows.ndim != 2 or rows.shape[1] < 3:
        raise ValueError(f"expected numbers [N, 3 or more] with N > 0, got {rows.dtype} {rows.shape}")
    return RawCloud(points=rows[:, :3], colors=rows[:, 3:6] if rows.shape[1] >= 6 else None)


def _of_npz(path: Path) -> RawCloud:
    names = array_names(path)
    name = names[0] if len(names) == 1 else next((known for known in _POINTS if known in names), None)
    if name is None:
        raise ValueError(f"holds {', '.join(names) or 'nothing'}; expected an array `points` [N, 3 or more]")
    arrays = read_arrays(path, [known for known in (name, "colors") if known in names])
    raw = _columns(arrays[name])
    colors = arrays.get("colors", raw.colors)
    if colors is not None and colors.shape not in [(len(raw.points), width) for width in (3, 4)]:
        raise ValueError(f"holds colors of shape {colors.shape} for points of shape {raw.points.shape}")
    return RawCloud(points=raw.points, colors=None if colors is None else colors[:, :3])


def _of_bin(path: Path, bin_columns: int) -> RawCloud:
    if (size := path.stat().st_size) % (4 * bin_columns):
        raise ValueError(
            f"{size} bytes are not a multiple of a row of {bin_columns} float32; it is truncated, or has another "
            "number of columns (--bin-columns)"
        )
    values = np.fromfile(path, "<f4")
    raw = _columns(values.reshape(-1, bin_columns))
    likely = likely_columns(values)
    if likely in (0, bin_columns):
        return raw
    note = f"looks like rows of {likely} numbers, but was read in rows of {bin_columns} (--bin-columns)"
    return RawCloud(points=raw.points, colors=raw.colors, notes=(note,))


def _of_mesh(path: Path) -> RawCloud:
    parts = [part for part in read_geometries(path) if len(getattr(part, "vertices", ()))]
    if not parts:
        raise ValueError("holds neither triangles nor points")
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [
        np.asarray(part.faces) + start for part, start in zip(parts, starts, strict=False) if hasattr(part, "faces")
    ]
    colors = [_vertex_colors(part) for part in parts]
    known = [own for own in colors if own is not None]
    return RawCloud(
        points=np.concatenate([np.asarray(part.vertices) for part in parts]),
        colors=np.concatenate(known) if len(known) == len(parts) else None,
        triangles=np.concatenate(faces).astype(np.int64) if faces else None,
    )


def _vertex_colors(part: Any) -> np.ndarray | None:
    visual = getattr(part, "visual", None)
    colors = getattr(visual, "vertex_colors", None) if getattr(visual, "kind", None) == "vertex" else None
    colors = getattr(part, "colors", None) if visual is None else colors
    return None if colors is None or len(colors) != len(part.vertices) else np.asarray(colors)[:, :3]
