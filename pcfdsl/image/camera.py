"""Rendering of point clouds: a pinhole camera that looks at the origin, and points drawn with a depth test."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["render_points", "ring_rotation", "sphere_rotation"]

_NEAR = 1.0  # the released near plane, in units of the cloud


def sphere_rotation(rng: np.random.Generator) -> np.ndarray:
    """World to camera for a viewpoint uniform on the sphere, float64 [3, 3]; z of the world points up in the picture.

    Rows are the camera's right, up and backward axes. The height of the viewpoint is uniform in (-1, 1) (Archimedes).
    """
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)
    c, s, flat = np.cos(azimuth), np.sin(azimuth), np.sqrt(1 - height**2)
    return np.array([[-s, c, 0], [-height * c, -height * s, flat], [flat * c, flat * s, height]])


def ring_rotation(view: int, num_views: int, *, jitter: float = 0.0) -> np.ndarray:
    """World to camera of MV-FractalDB's viewpoints: about y only, at 2 pi view / num_views + 30 degrees + jitter.

    The y axis of the world points up in the picture, and without rotation the camera looks along -z.

    Args:
        view: 0 .. num_views - 1.
        num_views: 12 in the released set.
        jitter: Radians.
    """
    angle = 2 * np.pi * view / num_views + np.pi / 6 + jitter
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def render_points(
    points: np.ndarray,
    rotation: np.ndarray,
    size: int,
    *,
    field_of_view: float = 45.0,
    distance: float = 4.0,
    point_size: int = 1,
    shade_by_depth: bool = False,
) -> np.ndarray:
    """Perspective picture of a cloud about the origin, uint8 [size, size], white on black.

    Each point is a square of point_size pixels; nearer points hide farther ones. Points at a depth below 1 or outside
    the picture are not drawn.

    Args:
        points: [N, 3] float32, about within [-1.2, 1.2].
        rotation: World to camera, [3, 3]; rows are the camera's right, up and backward axes.
        size: Side of the picture, in pixels.
        field_of_view: Full angle across the side, in degrees.
        distance: Distance of the camera from the origin.
        point_size: Side of a point, in pixels.
        shade_by_depth: Grey from 255 at depth distance - 1 to 64 at distance + 1, instead of white.
    """
    image = np.zeros((size, size), np.uint8)
    focal = size / 2 / np.tan(np.radians(field_of_view) / 2)
    camera = np.asarray(rotation, np.float32), np.float32(focal), np.float32(distance)
    if shade_by_depth:
        _draw_shaded(points, *camera, point_size, image, np.full(image.shape, np.inf, np.float32))
    else:
        _draw_white(points, *camera, point_size, image)
    return image


@kernel(inline="always")
def _project(point, rotation, focal, distance, half):
    """Column and row of a point, in pixels from the top left corner, and its depth."""
    x, y, z = point[0], point[1], point[2]
    depth = distance - (rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z)
    scale = focal / depth
    column = half + scale * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z)
    row = half - scale * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z)
    return column, row, depth


@kernel
def _draw_white(points, rotation, focal, distance, point_size, image):
    """Draw without a depth test, since all points are equally white."""
    size = image.shape[0]
    half, before = np.float32(size / 2), np.float32((point_size - 1) / 2)
    for i in range(np.uintp(len(points))):
        column, row, depth = _project(points[i], rotation, focal, distance, half)
        if not depth >= _NEAR:
            continue
        left, top = int(np.floor(column - before)), int(np.floor(row - before))
        for r in range(max(top, 0), min(top + point_size, size)):
            for c in range(max(left, 0), min(left + point_size, size)):
                image[r, c] = 255


@kernel
def _draw_shaded(points, rotation, focal, distance, point_size, image, nearest):
    size = image.shape[0]
    half, before = np.float32(size / 2), np.float32((point_size - 1) / 2)
    for i in range(np.uintp(len(points))):
        column, row, depth = _project(points[i], rotation, focal, distance, half)
        if not depth >= _NEAR:
            continue
        left, top = int(np.floor(column - before)), int(np.floor(row - before))
        grey = np.uint8(min(max(255 - 191 * (depth - distance + 1) / 2, 64), 255))
        for r in range(max(top, 0), min(top + point_size, size)):
            for c in range(max(left, 0), min(left + point_size, size)):
                if depth < nearest[r, c]:
                    nearest[r, c] = depth
                    image[r, c] = grey
