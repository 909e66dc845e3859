"""Files of point clouds and meshes as items of a page or a sheet."""

from pathlib import Path

import numpy as np

from pcfdsl.readers.arrays import array_names, read_arrays
from pcfdsl.readers.clouds import CLOUD_FILES, Cloud, as_cloud, read_cloud
from pcfdsl.readers.columns import RawCloud
from pcfdsl.readers.folders import has_ending
from pcfdsl.rng import stream
from pcfdsl.scene.objects import sample_surface
from pcfdsl.view.page import PageItem

__all__ = ["FILE_KINDS", "item_of_file", "points_item"]

FILE_KINDS = CLOUD_FILES
MESH_POINTS = 20_000


def item_of_file(path: Path, caption: str, *, bin_columns: int) -> PageItem:
    """The cloud in a file, or points on the surface of its triangles; points that are not finite are dropped.

    Args:
        path: A file whose name ends in one of `FILE_KINDS`.
        caption: What to call it; how many points were dropped is added.
        bin_columns: Number of float32 per point in a .bin file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold what its name promises, or no finite point.
    """
    cloud = read_cloud(path, bin_columns=bin_columns, faces=True)
    boxes = None
    if has_ending(path, (".npz",)) and "boxes" in array_names(path):
        boxes = read_arrays(path, ("boxes",))["boxes"]
        if cloud.offset.any():
            boxes = boxes - np.pad(cloud.offset, (0, 4))
    return _item(cloud, caption, boxes)


def points_item(rows: np.ndarray, caption: str, path: Path) -> PageItem:
    """An array [N, 3 or more] of a file: x y z and, from six columns on, red green blue in 0..1 or 0..255."""
    try:
        return _item(
            as_cloud(RawCloud(points=rows[:, :3], colors=rows[:, 3:6] if rows.shape[1] >= 6 else None)), caption
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _item(cloud: Cloud, caption: str, boxes: np.ndarray | None = None) -> PageItem:
    points, colors, notes = cloud.points, None, cloud.notes
    if cloud.triangles is not None and len(cloud.triangles):
        try:
            points = sample_surface(stream(0, "view", "surface"), points, cloud.triangles, num_points=MESH_POINTS)
        except ValueError as error:
            notes = (*notes, f"is shown by its vertices: {error}")
    if points is cloud.points and cloud.colors is not None:
        colors = np.clip(cloud.colors * 255, 0, 255).round().astype(np.uint8)
    missing = int((~cloud.kept).sum())
    return PageItem(
        points,
        colors,
        boxes=np.zeros((0, 7)) if boxes is None else boxes,
        caption=f"{caption} ({missing} points not finite)" if missing else caption,
        notes=notes,
    )
