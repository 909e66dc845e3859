"""Polygons filled by the even-odd rule at pixel centres."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["fill_even_odd"]


def fill_even_odd(image: np.ndarray, polygons: np.ndarray, ink: int) -> None:
    """Ink every pixel whose centre lies inside an odd number of the polygons.

    Two nested polygons make a ring. Pixel (row, column) has its centre at the point (column, row), as in
    `draw_polygons`, so an outline drawn there follows the border of the area filled here.

    Args:
        image: [H, W], drawn into.
        polygons: float64 [P, V, 2] of x, y in pixels.
        ink: The value written.
    """
    _fill_even_odd(image, np.ascontiguousarray(polygons, np.float64), image.dtype.type(ink))


@kernel
def _fill_even_odd(image, polygons, ink):
    height, width = image.shape
    num_polygons, num_vertices, _ = polygons.shape
    lowest, highest = polygons[:, :, 1].min(), polygons[:, :, 1].max()
    crossings = np.empty(num_polygons * num_vertices)
    for row in range(max(0, np.ceil(lowest)), min(height - 1, np.floor(highest)) + 1):
        count = 0
        for p in range(num_polygons):
            for k in range(num_vertices):
                after = k + 1 if k + 1 < num_vertices else 0
                y0, y1 = polygons[p, k, 1], polygons[p, after, 1]
                if (y0 <= row) != (y1 <= row):
                    x0, x1 = polygons[p, k, 0], polygons[p, after, 0]
                    crossings[count] = x0 + (x1 - x0) * ((row - y0) / (y1 - y0))
                    count += 1
        crossings[:count].sort()
        for pair in range(0, count - 1, 2):
            first, last = max(0.0, np.ceil(crossings[pair])), min(width - 1.0, np.floor(crossings[pair + 1]))
            for column in range(np.int64(first), np.int64(last) + 1):
                image[row, column] = ink
