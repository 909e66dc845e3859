"""What a depth camera sees: a point is hidden by another that is clearly nearer in nearly the same direction."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["visible_from"]


def visible_from(
    points: np.ndarray,
    camera: np.ndarray,
    *,
    resolution: float = 1.0,
    tolerance: float = 0.06,
    relative_tolerance: float = 0.01,
    heading: float = 0.0,
    fov: float = 360.0,
) -> np.ndarray:
    """Points visible from one position, by a spherical depth buffer.

    The sphere around the camera is divided into cells of equal azimuth and elevation. A point is visible unless its
    cell contains one that is nearer by more than `tolerance + relative_tolerance * distance`, which allows for the
    thickness of a surface within a cell.

    Args:
        points: [N, 3] metres, z up.
        camera: [3] position.
        resolution: Size of a cell, degrees. An occluding surface needs a point in every cell, so choose about the
            spacing of points over their distance.
        tolerance: Metres.
        relative_tolerance: Metres per metre of distance.
        heading: Azimuth of the middle of the view, radians counter-clockwise from +x.
        fov: Horizontal field of view, degrees; 360 sees in all directions. Narrower views see 3/4 of that
            vertically, centred 15 degrees below the horizon.

    Returns:
        [N] bool.

    Raises:
        ValueError: If the resolution or the field of view is out of range.
    """
    if not 0.05 <= resolution <= 45:
        raise ValueError(f"resolution is {resolution} degrees; expected 0.05 to 45")
    if not 0 < fov <= 360:
        raise ValueError(f"fov is {fov} degrees; expected more than 0 and at most 360")
    relative = np.ascontiguousarray(points, np.float32) - np.asarray(camera, np.float32)
    columns, rows = int(np.ceil(360 / resolution)), int(np.ceil(180 / resolution))
    half_fov = np.radians(min(fov, 360.0)) / 2
    return _visible(relative, rows, columns, np.float32(tolerance), np.float32(relative_tolerance), heading, half_fov)


CAMERA_TILT = np.radians(-15.0)
_OUTSIDE = np.int32(-1)


@kernel
def _visible(relative, rows, columns, tolerance, relative_tolerance, heading, half_fov):
    """Three plain loops, each faster than its part of one: cells, the nearest point in each, who is near enough."""
    cells, distances = np.empty(len(relative), np.int32), np.empty(len(relative), np.float32)
    for n in range(np.uintp(len(relative))):  # unsigned indices avoid the check for negative ones
        x, y, z = relative[n, 0], relative[n, 1], relative[n, 2]
        distance = np.sqrt(x * x + y * y + z * z)
        azimuth = np.arctan2(y, x)
        elevation = np.arcsin(min(max(z / distance, np.float32(-1)), np.float32(1))) if distance > 0 else np.float32(0)
        column = min(np.int32((azimuth + np.pi) / (2 * np.pi) * columns), columns - 1)
        row = min(np.int32((elevation + np.pi / 2) / np.pi * rows), rows - 1)
        cells[n], distances[n] = row * columns + column, distance
        if half_fov < np.pi:
            turned = (azimuth - heading + np.pi) % (2 * np.pi) - np.pi
            if abs(turned) > half_fov or abs(elevation - CAMERA_TILT) > 0.75 * half_fov:
                cells[n] = _OUTSIDE
    nearest = np.full(rows * columns, np.float32(np.inf))
    for n in range(np.uintp(len(cells))):
        if cells[n] != _OUTSIDE:
            nearest[np.uintp(cells[n])] = min(nearest[np.uintp(cells[n])], distances[n])
    seen = np.zeros(len(cells), np.bool_)
    for n in range(np.uintp(len(cells))):
        if cells[n] != _OUTSIDE:
            reach = nearest[np.uintp(cells[n])] + tolerance + relative_tolerance * distances[n]
            seen[n] = distances[n] <= reach
    return seen
