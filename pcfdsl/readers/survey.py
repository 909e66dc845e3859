"""Files of surveyors: LAS and LAZ by laspy, E57 by pye57. Both are in the extra `scans`."""

from pathlib import Path

import numpy as np

from pcfdsl.readers.columns import RawCloud, color_columns

__all__ = ["read_e57", "read_las"]


def read_las(path: Path) -> RawCloud:
    """Points and colours of a LAS or LAZ file.

    Raises:
        ImportError: If laspy is not installed.
        Exception: Of any kind that laspy finds, if the file is damaged.
    """
    import laspy

    with laspy.open(path) as file:
        least = 1 if file.header.are_points_compressed else 1000 * file.header.point_format.size
        if least * file.header.point_count > 1000 * path.stat().st_size:
            raise ValueError(f"is truncated: its header declares {file.header.point_count} points")
        content = file.read()
    dimensions = {name: np.asarray(content[name]) for name in content.point_format.dimension_names if name in _RGB}
    return RawCloud(points=np.asarray(content.xyz), colors=color_columns(dimensions))


def read_e57(path: Path) -> RawCloud:
    """Points and colours of all scans of an E57 file, each placed by its pose.

    Raises:
        ImportError: If pye57 is not installed.
        Exception: Of any kind that pye57 finds, if the file is damaged.
    """
    import pye57

    file = pye57.E57(str(path))
    try:
        scans = [file.read_scan(k, colors=True, ignore_missing_fields=True) for k in range(file.scan_count)]
    finally:
        file.close()
    if not scans:
        raise ValueError("holds no scan")
    points = [np.stack([scan[f"cartesian{axis}"] for axis in "XYZ"], axis=1) for scan in scans]
    colors = [color_columns({name.lower(): values for name, values in scan.items()}) for scan in scans]
    if any(color is None for color in colors):
        return RawCloud(points=np.concatenate(points))
    return RawCloud(points=np.concatenate(points), colors=np.concatenate([c for c in colors if c is not None]))


_RGB = ("red", "green", "blue")
