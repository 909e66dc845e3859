"""Pictures of a point cloud and its boxes, rendered in software: no display needed."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pcfdsl.scene.boxes import box_corners
from pcfdsl.view.camera import Camera, check_points
from pcfdsl.view.zbuffer import SUPERSAMPLING, blank, draw_line, shade, shrink, splat

__all__ = ["BOX_COLOR", "TRUTH_COLOR", "Camera", "box_lines", "height_colors", "label_colors", "render_points"]

BOX_COLOR = (214, 40, 40)
TRUTH_COLOR = (24, 150, 84)
UNLABELLED = (170, 170, 170)

# Violet to orange: lightness rises with height but stays legible on white and on black.
HEIGHT_RAMP = np.array(
    [
        (68, 22, 112),
        (54, 66, 160),
        (30, 112, 172),
        (20, 150, 148),
        (70, 176, 96),
        (176, 186, 46),
        (238, 156, 38),
        (220, 84, 40),
    ],
    dtype=np.float32,
)


def render_points(
    points: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    size: tuple[int, int] = (640, 480),
    camera: Camera | None = None,
    point_size: float | None = None,
    boxes: np.ndarray | None = None,
    box_colors: np.ndarray | None = None,
    box_labels: Sequence[str] | None = None,
    open_sides: bool = False,
    background: str = "white",
) -> np.ndarray:
    """Picture of a cloud, nearer points in front, with eye-dome lighting and boxes as wireframes.

    Lines of a box are solid in front of the points and faint behind them; the spoke on the top face points to the
    box's own +x. Deterministic: equal arguments give equal pixels.

    Args:
        points: [N, 3] metres, z up; N may be 0 when there are boxes or a camera.
        colors: [N, 3] uint8; by default `height_colors`.
        size: Width and height in pixels.
        camera: By default `Camera.looking_at` the points and boxes.
        point_size: Diameter in pixels of a point at the middle depth; nearer points are larger. By default from the
            number of points and the area they cover.
        boxes: [K, 7] cx cy cz dx dy dz yaw: full extents, yaw in radians counter-clockwise about +z.
        box_colors: [K, 3] uint8; by default red.
        box_labels: K texts, written above the boxes.
        open_sides: Cut open the sides of the cloud that face the camera, such as the near walls of a room.
        background: Name or #rrggbb.

    Returns:
        [height, width, 3] uint8.

    Raises:
        ValueError: For wrong shapes, values that are not finite, or when there is nothing to draw.
    """
    points = check_points(points)
    boxes = check_boxes(np.zeros((0, 7)) if boxes is None else boxes)
    colors = height_colors(points) if colors is None else check_colors(colors, len(points), "colors")
    line_colors = np.tile(np.array(BOX_COLOR, np.uint8), (len(boxes), 1)) if box_colors is None else box_colors
    line_colors = check_colors(line_colors, len(boxes), "box_colors")
    if box_labels is not None and len(box_labels) != len(boxes):
        raise ValueError(f"box_labels holds {len(box_labels)} texts for {len(boxes)} boxes; give one per box")
    width, height = size
    lines = box_lines(boxes)
    camera = camera or Camera.looking_at(np.concatenate([points, lines.reshape(-1, 3)]), aspect=width / height)

    fine = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    pixels, depth = camera.project(points, fine)
    near = 1e-3 * float(np.linalg.norm(np.subtract(camera.target, camera.position)))
    seen = depth > near
    if open_sides:
        seen &= ~_on_near_sides(points, camera)
    pixels, depth, colors = pixels[seen], depth[seen], colors[seen]
    nearest, middle, farthest = np.percentile(depth, [1, 50, 99]) if len(depth) else (near, 1.0, 1.0)
    depth_range = max(float(farthest - nearest), 1e-6 * float(middle))
    diameter = _point_size(pixels, fine) if point_size is None else point_size * SUPERSAMPLING
    radii = np.clip(diameter / 2 * middle / depth, 0.5, fine[1] / 8) if len(depth) else depth

    paper = np.array(ImageColor.getrgb(background)[:3], dtype=np.uint8)
    canvas, z_buffer = blank(fine[1], fine[0], paper)
    splat(pixels, depth, radii, colors, z_buffer, canvas)
    shade(z_buffer, canvas, paper, nearest, depth_range)
    for box, color in zip(lines, line_colors, strict=True):
        for start, end in box:
            _line(start, end, color, camera, fine, near, 0.01 * depth_range, z_buffer, canvas)
    picture = shrink(canvas)
    return picture if box_labels is None else _write_labels(picture, boxes, box_labels, line_colors, camera)


def box_lines(boxes: np.ndarray) -> np.ndarray:
    """Lines to draw for boxes [K, 7]: [K, 13, 2, 3], the twelve edges and the spoke to +x on the top face."""
    corners = box_corners(boxes)
    rings = [(i, (i + 1) % 4) for i in range(4)]
    edges = [*rings, *((i + 4, j + 4) for i, j in rings), *((i, i + 4) for i in range(4))]
    spoke = np.stack([corners[:, 4:].mean(axis=1), corners[:, 5:7].mean(axis=1)], axis=1)
    return np.concatenate([corners[:, np.array(edges)], spoke[:, None]], axis=1)


def height_colors(points: np.ndarray) -> np.ndarray:
    """Colours by z, violet at the bottom to orange at the top: [N, 3] -> [N, 3] uint8. The outer 1 % are clipped."""
    z = np.asarray(points)[:, 2]
    if len(z) == 0:
        return np.zeros((0, 3), dtype=np.uint8)
    low, high = np.percentile(z, [1, 99])
    at = np.clip((z - low) / max(high - low, 1e-12), 0, 1) * (len(HEIGHT_RAMP) - 1)
    below = np.minimum(at.astype(np.int64), len(HEIGHT_RAMP) - 2)
    share = (at - below)[:, None].astype(np.float32)
    return (HEIGHT_RAMP[below] * (1 - share) + HEIGHT_RAMP[below + 1] * share).astype(np.uint8)


def label_colors(labels: np.ndarray) -> np.ndarray:
    """Distinct colours for integers, the same in every picture: [N] -> [N, 3] uint8. Negative labels are grey."""
    labels = np.asarray(labels, dtype=np.int64)
    hue = labels * 0.618034 % 1.0 * 2 * np.pi
    light = 0.52 + 0.09 * (labels % 3 - 1)
    # A circle of equal saturation in a luma-chroma space: no colour is much paler than the others.
    u, v = 0.3 * np.cos(hue), 0.3 * np.sin(hue)
    rgb = np.stack([light + 1.14 * v, light - 0.395 * u - 0.581 * v, light + 2.03 * u], axis=-1)
    return np.where(labels[:, None] < 0, np.array(UNLABELLED, np.uint8), (np.clip(rgb, 0, 1) * 255).astype(np.uint8))


def _on_near_sides(points: np.ndarray, camera: Camera) -> np.ndarray:
    """[N] bool: within three percent of a side of the bounding box that the camera sees from outside."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    low, high = np.percentile(points, [0.5, 99.5], axis=0)  # robust to a few outliers
    margin = 0.03 * (high - low).max()
    toward = np.subtract(camera.position, camera.target) / np.linalg.norm(np.subtract(camera.position, camera.target))
    return ((toward > 0.1) & (points > high - margin) | (toward < -0.1) & (points < low + margin)).any(axis=1)


def _point_size(pixels: np.ndarray, fine: tuple[int, int]) -> float:
    """Diameter in fine pixels at which points spread evenly over their bounding rectangle would cover half of it."""
    if len(pixels) == 0:
        return 2.0 * SUPERSAMPLING
    low, high = np.maximum(pixels.min(axis=0), 0), np.minimum(pixels.max(axis=0), fine)
    area = float(np.prod(np.maximum(high - low, 1.0)))
    return float(np.clip(0.8 * np.sqrt(area / len(pixels)), 1.2 * SUPERSAMPLING, 5 * SUPERSAMPLING))


def _line(start, end, color, camera, fine, near, bias, z_buffer, canvas):
    """Draw one 3D segment, cut at the near plane."""
    ends = np.stack([start, end])
    pixels, depth = camera.project(ends, fine)
    if depth.max() <= near:
        return
    if depth.min() <= near:
        behind = int(np.argmin(depth))
        share = (2 * near - depth[behind]) / (depth[1 - behind] - depth[behind])
        ends[behind] += min(share, 1.0) * (ends[1 - behind] - ends[behind])
        pixels, depth = camera.project(ends, fine)
    draw_line(pixels, depth, np.asarray(color), bias, z_buffer, canvas)


def _write_labels(picture, boxes, labels, colors, camera) -> np.ndarray:
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=max(11, picture.shape[0] // 40))
    tops = boxes[:, :3] + boxes[:, 5:6] / 2 * (0, 0, 1)
    pixels, depth = camera.project(tops, (picture.shape[1], picture.shape[0]))
    for k in np.argsort(-depth):
        if depth[k] > 0:
            draw.text(tuple(pixels[k]), labels[k], anchor="mb", font=font, fill=tuple(int(c) for c in colors[k]),
                      stroke_width=2, stroke_fill="white")  # fmt: skip
    return np.asarray(image)


def check_boxes(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(f"boxes have shape {boxes.shape}; expected [K, 7]: cx cy cz dx dy dz yaw")
    if not np.isfinite(boxes).all():
        raise ValueError(f"{int((~np.isfinite(boxes)).any(axis=1).sum())} of {len(boxes)} boxes are not finite")
    return boxes


def check_colors(colors: np.ndarray, num_rows: int, name: str) -> np.ndarray:
    colors = np.asarray(colors)
    if colors.shape != (num_rows, 3) or colors.dtype != np.uint8:
        raise ValueError(f"{name} have shape {colors.shape} and type {colors.dtype}; expected [{num_rows}, 3] uint8")
    return colors
