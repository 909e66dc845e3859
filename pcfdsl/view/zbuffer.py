"""Kernels that draw discs and lines into a depth buffer, shade them, and average pixels down."""

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["blank", "draw_line", "shade", "shrink", "splat"]

SUPERSAMPLING = 2
HIDDEN_LINE_OPACITY = 0.28
EDGE_DARKENING = 5.0
FOG = 0.3  # share of the background in the colour of the farthest point


@kernel
def blank(height, width, paper):
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    for r in range(height):
        for c in range(width):
            for k in range(3):
                canvas[r, c, k] = paper[k]
    return canvas, np.full((height, width), np.float32(np.inf), dtype=np.float32)


@kernel
def splat(pixels, depth, radii, colors, z_buffer, canvas):
    """Draw each point as a disc; a disc covers the pixels whose centres it contains, and always the one it falls in."""
    height, width = z_buffer.shape
    for i in range(len(depth)):
        x, y, z, radius = pixels[i, 0], pixels[i, 1], np.float32(depth[i]), radii[i]
        if not (-radius <= x < width + radius and -radius <= y < height + radius):
            continue
        column, row = int(np.floor(x)), int(np.floor(y))
        reach = int(np.ceil(radius))
        for r in range(max(row - reach, 0), min(row + reach + 1, height)):
            for c in range(max(column - reach, 0), min(column + reach + 1, width)):
                inside = (c + 0.5 - x) ** 2 + (r + 0.5 - y) ** 2 <= radius * radius or (c == column and r == row)
                if inside and z < z_buffer[r, c]:
                    z_buffer[r, c] = z
                    canvas[r, c] = colors[i]


@kernel
def shade(z_buffer, canvas, paper, nearest, depth_range):
    """Eye-dome lighting (Boucheny 2009): a pixel is darkened by how far it lies behind its neighbours.

    Distant pixels then fade into the background, so that depth shows where nothing overlaps.
    """
    height, width = z_buffer.shape
    reach = SUPERSAMPLING
    for r in range(height):
        for c in range(width):
            z = z_buffer[r, c]
            if z == np.inf:
                continue
            behind = 0.0
            for dr in (-reach, 0, reach):
                for dc in (-reach, 0, reach):
                    rr, cc = r + dr, c + dc
                    if 0 <= rr < height and 0 <= cc < width:
                        behind += min(max(z - z_buffer[rr, cc], 0.0) / depth_range, 0.5)
            light = np.exp(-EDGE_DARKENING * behind / 8)
            fade = FOG * min(max((z - nearest) / depth_range, 0.0), 1.0)
            for k in range(3):
                canvas[r, c, k] = int((canvas[r, c, k] * light) * (1 - fade) + paper[k] * fade)


@kernel
def draw_line(pixels, depth, color, bias, z_buffer, canvas):
    """Step along the longer axis, a short run of pixels across at each step; 1/depth is linear in the picture."""
    height, width = z_buffer.shape
    along = 0 if abs(pixels[1, 0] - pixels[0, 0]) >= abs(pixels[1, 1] - pixels[0, 1]) else 1
    first, last = (0, 1) if pixels[0, along] <= pixels[1, along] else (1, 0)
    low, high = pixels[first, along], pixels[last, along]
    limit = width if along == 0 else height
    for step in range(int(max(np.floor(low), 0)), int(min(np.floor(high), limit - 1)) + 1):
        share = min(max((step + 0.5 - low) / max(high - low, 1e-9), 0.0), 1.0)
        across = pixels[first, 1 - along] * (1 - share) + pixels[last, 1 - along] * share
        z = 1 / ((1 - share) / depth[first] + share / depth[last])
        middle = int(np.floor(across))
        for other in range(middle - 1, middle + 2):
            row, column = (other, step) if along == 0 else (step, other)
            if 0 <= row < height and 0 <= column < width:
                opacity = 1.0 if z <= z_buffer[row, column] + bias else HIDDEN_LINE_OPACITY
                for k in range(3):
                    canvas[row, column, k] = int(canvas[row, column, k] * (1 - opacity) + color[k] * opacity)


@kernel
def shrink(canvas):
    """Mean over SUPERSAMPLING x SUPERSAMPLING pixels, rounded."""
    height, width = canvas.shape[0] // SUPERSAMPLING, canvas.shape[1] // SUPERSAMPLING
    picture = np.empty((height, width, 3), dtype=np.uint8)
    cells = SUPERSAMPLING * SUPERSAMPLING
    for r in range(height):
        for c in range(width):
            for k in range(3):
                total = cells // 2
                for i in range(SUPERSAMPLING):
                    for j in range(SUPERSAMPLING):
                        total += canvas[r * SUPERSAMPLING + i, c * SUPERSAMPLING + j, k]
                picture[r, c, k] = total // cells
    return picture
