"""Files of point clouds and meshes as items of a page or a sheet."""

from pathlib import Path

import numpy as np

from pcfdsl.readers.arrays import read_array, read_arrays
from pcfdsl.readers.meshes import MESH_FILES, read_geometries
from pcfdsl.rng import stream
from pcfdsl.scene.objects import sample_surface
from pcfdsl.view.page import PageItem

__all__ = ["FILE_KINDS", "points_item", "read_cloud"]

FILE_KINDS = (*MESH_FILES, ".npy", ".npz", ".bin")
MESH_POINTS = 20_000


def read_cloud(path: Path, caption: str, *, bin_columns: int) -> PageItem:
    """The cloud in a file; points that are not finite are dropped and counted in the caption.

    Args:
        path: A file whose name ends in one of `FILE_KINDS`.
        caption: What to call it.
        bin_columns: Number of float32 per point in a .bin file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold what its name promises, or no finite point.
    """
    try:
        return _cloud_of_file(path, caption, bin_columns)
    except (OSError, ValueError):
        raise
    except Exception as error:  # a broken file can raise anything inside a reader
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _cloud_of_file(path: Path, caption: str, bin_columns: int) -> PageItem:
    kind = path.suffix.lower()
    if kind in MESH_FILES:
        return _from_mesh(path, caption)
    if kind == ".bin":
        size = path.stat().st_size
        if size % (4 * bin_columns):
            raise ValueError(
                f"{path} has {size} bytes, which are not rows of {bin_columns} float32; "
                "give the number of columns (--bin-columns)"
            )
        return points_item(np.fromfile(path, dtype="<f4").reshape(-1, bin_columns), caption, path)
    if kind == ".npy":
        return points_item(read_array(path), caption, path)
    if kind == ".npz":
        arrays = read_arrays(path)
        if "points" not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise ValueError(f"{path} holds {held}; expected an array `points` [N, 3 or more]")
        boxes, colors = arrays.get("boxes"), arrays.get("colors")
        return points_item(arrays["points"], caption, path, boxes=boxes, colors=colors)
    raise ValueError(
        f"{path} is of a kind that cannot be shown; expected {' '.join(FILE_KINDS)}, a picture or a recipe"
    )


def points_item(rows: np.ndarray, caption: str, path: Path, *, boxes=None, colors=None) -> PageItem:
    """An array [N, 3 or more] of a file: x y z and, from six columns on, red green blue in 0..1 or 0..255."""
    if rows.ndim != 2 or rows.shape[1] < 3 or not np.issubdtype(rows.dtype, np.number):
        raise ValueError(f"{path} holds {rows.dtype} of shape {rows.shape}; expected numbers [N, 3 or more]")
    if colors is None and rows.shape[1] >= 6:
        colors = rows[:, 3:6]
    return _item(rows[:, :3], caption, path, boxes=boxes, colors=colors)


def _from_mesh(path: Path, caption: str) -> PageItem:
    try:
        parts = read_geometries(path)
    except ValueError as error:  # its message does not name the file
        raise ValueError(f"{path} cannot be read: {error}") from error
    if surfaces := [np.asarray(part.triangles) for part in parts if getattr(part, "area", 0) > 0]:
        corners = np.concatenate(surfaces)
        return _item(sample_surface(stream(0, "view", "surface"), corners, num_points=MESH_POINTS), caption, path)
    vertices = np.concatenate([np.zeros((0, 3)), *(part.vertices for part in parts)])
    colors = getattr(parts[0], "colors", None) if len(parts) == 1 else None
    has_colors = colors is not None and len(colors) == len(vertices)
    return _item(vertices, caption, path, colors=np.asarray(colors)[:, :3] if has_colors else None)


def _item(points, caption: str, path: Path, *, boxes=None, colors=None) -> PageItem:
    """Drop points that are not finite; colours to uint8."""
    finite = np.isfinite(points).all(axis=1)
    missing = len(points) - int(finite.sum())
    if not finite.any():
        raise ValueError(f"{path} holds no finite points ({len(points)} in all)")
    if colors is not None:
        colors = np.nan_to_num(np.asarray(colors, dtype=np.float64))
        if colors.shape != points.shape:
            raise ValueError(f"{path} holds colors of shape {colors.shape} for points of shape {points.shape}")
        scale = 255.0 if colors.max() <= 1 else 1.0
        colors = np.clip(colors * scale, 0, 255).round().astype(np.uint8)[finite]
    return PageItem(
        np.asarray(points, dtype=np.float32)[finite],
        colors,
        boxes=np.zeros((0, 7)) if boxes is None else boxes,
        caption=f"{caption} ({missing} points not finite)" if missing else caption,
    )
