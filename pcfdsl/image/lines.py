"""Polygons with sides one pixel wide, pixel for pixel as Pillow's `ImageDraw.line` draws each of them."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["draw_polygons"]

_FAR = 2**20  # pixels; coordinates are clamped to this


def draw_polygons(
    image: np.ndarray,
    polygons: np.ndarray,
    inks: np.ndarray,
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    broken: np.ndarray | None = None,
    background: int = 0,
    closed: bool = True,
) -> None:
    """Draw the sides of polygons over an image, one polygon after another.

    Side k joins vertices k and k + 1, and the last side returns to the first vertex. Coordinates are truncated towards
    zero, as in Pillow. Pixels outside the image are skipped.

    Args:
        image: [H, W], C-contiguous, of any unsigned integer type; modified.
        polygons: float64 [L, V, 2] of x, y in pixels; row 0 is the top.
        inks: [L], of the image's dtype.
        origin: Added to every vertex.
        broken: Bool [L, V]: sides to draw with the background ink.
        background: That ink.
        closed: Whether to join the last vertex to the first.
    """
    if inks.dtype != image.dtype or inks.shape != polygons.shape[:1]:
        raise ValueError(f"inks are {inks.dtype} {inks.shape}; expected {image.dtype} {polygons.shape[:1]}")
    if broken is None:
        broken = np.zeros((0, 0), np.bool_)
    x, y, ground = float(origin[0]), float(origin[1]), image.dtype.type(background)
    _draw_polygons(image, polygons, inks, x, y, broken, ground, closed)


@kernel
def _draw_polygons(image, polygons, inks, origin_x, origin_y, broken, background, closed):
    num_polygons, num_vertices, _ = polygons.shape
    for line in range(num_polygons):
        last_x = _pixel(polygons[line, 0, 0] + origin_x)
        last_y = _pixel(polygons[line, 0, 1] + origin_y)
        for k in range(num_vertices if closed else num_vertices - 1):
            x0, y0 = last_x, last_y
            after = k + 1 if k + 1 < num_vertices else 0
            last_x = _pixel(polygons[line, after, 0] + origin_x)
            last_y = _pixel(polygons[line, after, 1] + origin_y)
            ink = background if broken.size and broken[line, k] else inks[line]
            _draw_line(image, x0, y0, last_x, last_y, ink)


@kernel
def _pixel(coordinate):
    return np.int64(min(max(coordinate, -_FAR), _FAR))


@kernel
def _draw_line(image, x0, y0, x1, y1, ink):
    """Bresenham's line, endpoints included. As in Pillow, ties step along the shorter axis, and y counts as the longer
    of two equal axes.
    """
    height, width = image.shape
    if (x0 < 0 and x1 < 0) or (y0 < 0 and y1 < 0) or (x0 >= width and x1 >= width) or (y0 >= height and y1 >= height):
        return
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    step_x, step_y = np.int64(1 if x1 >= x0 else -1), np.int64(1 if y1 >= y0 else -1)
    flat = image.reshape(-1)
    inside = min(x0, x1) >= 0 and max(x0, x1) < width and min(y0, y1) >= 0 and max(y0, y1) < height
    if dx > dy:
        long, short, long_x, short_x, long_y, short_y = dx, dy, step_x, np.int64(0), np.int64(0), step_y
    else:
        long, short, long_x, short_x, long_y, short_y = dy, dx, np.int64(0), step_x, step_y, np.int64(0)
    error = 2 * short - long
    if inside:
        place, along, across = y0 * width + x0, long_y * width + long_x, short_y * width + short_x
        for _ in range(long + 1):
            flat[np.uintp(place)] = ink
            if error >= 0:
                place += across
                error -= 2 * long
            error += 2 * short
            place += along
        return
    x, y = x0, y0
    for _ in range(long + 1):
        if 0 <= x < width and 0 <= y < height:
            flat[np.uintp(y * width + x)] = ink
        if error >= 0:
            x += short_x
            y += short_y
            error -= 2 * long
        error += 2 * short
        x += long_x
        y += long_y
