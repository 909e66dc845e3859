"""A point cloud and its boxes as a picture: a software z-buffer in numba, no display needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from PIL import Image, ImageColor, ImageDraw, ImageFont

__all__ = ["Camera", "box_lines", "height_colors", "label_colors", "render_points"]

SUPERSAMPLING = 2
MARGIN = 0.04  # of the picture, kept free on each side
HIDDEN_LINE_OPACITY = 0.28
EDGE_DARKENING = 5.0
FOG = 0.3  # share of the background in the colour of the farthest point
UNLABELLED = (170, 170, 170)

# Violet to orange: lightness rises with height but never gets pale, so it reads on white and on black.
HEIGHT_RAMP = np.array(
    [(68, 22, 112), (54, 66, 160), (30, 112, 172), (20, 150, 148), (70, 176, 96), (176, 186, 46), (238, 156, 38), (220, 84, 40)],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the frame of the points.

    Attributes:
        position: Where the camera is, metres.
        target: What it looks at: the centre of the picture.
        up: A direction that points upwards in the picture; not parallel to the view.
        fov: Vertical field of view, degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    fov: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.fov < 180:
            raise ValueError(f"Camera.fov is {self.fov}; it must lie between 0 and 180 degrees")
        forward = np.subtract(self.target, self.position)
        if not np.linalg.norm(np.cross(forward, self.up)) > 1e-9 * np.linalg.norm(forward) * np.linalg.norm(self.up):
            raise ValueError(
                f"the camera at {self.position} looking at {self.target} with up={self.up} has no orientation: "
                "position and target must differ, and up must not be parallel to the view"
            )

    @classmethod
    def looking_at(
        cls, points: np.ndarray, azimuth: float = -60.0, elevation: float = 22.0, *, fov: float = 30.0, aspect: float = 1.0
    ) -> "Camera":
        """The nearest camera in the given direction that has every point in view, with a small margin.

        Args:
            points: [N, 3] finite, N >= 1.
            azimuth: Degrees counter-clockwise from +x, seen from above, at which the camera stands; -90 looks along +y.
            elevation: Degrees above the horizon; 90 looks straight down.
            fov: Vertical field of view, degrees.
            aspect: Width over height of the picture.

        Raises:
            ValueError: If there are no points, or some are not finite.
        """
        points = check_points(points)
        if len(points) == 0:
            raise ValueError("there is nothing to look at: 0 points and no boxes")
        az, el = np.radians([azimuth, elevation])
        toward_camera = np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
        up = np.array([-np.sin(el) * np.cos(az), -np.sin(el) * np.sin(az), np.cos(el)])
        right = np.cross(up, toward_camera)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        middle = (low + high) / 2
        nearness = (points - middle) @ toward_camera

        # A point is inside one side of the frustum when  +-(x - shift) <= slope * (distance - nearness).  Taking the
        # tightest point for either sign gives two equations in shift and distance: an exact fit without iteration.
        slope_up = np.tan(np.radians(fov) / 2) * (1 - 2 * MARGIN)
        extent = float(np.linalg.norm(high - low)) or 1.0
        distance = float(nearness.max()) + 0.1 * extent
        center = middle
        for axis, slope in ((right, slope_up * aspect), (up, slope_up)):
            along = (points - middle) @ axis
            one_side, other_side = (along + slope * nearness).max(), (slope * nearness - along).max()
            distance = max(distance, float(one_side + other_side) / (2 * slope))
            center = center + axis * (one_side - other_side) / 2
        return cls(_triple(center + distance * toward_camera), _triple(center), _triple(up), fov)

    def project(self, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Where points fall in a picture.

        Args:
            points: [N, 3].
            size: Width and height in pixels.

        Returns:
            (pixels, depth): [N, 2] float64 with x to the right and y down, pixel (column, row) covering
            [column, column + 1) x [row, row + 1); and [N] float64, metres along the view. Where the depth is not positive the
            point is behind the camera and its pixel is meaningless.
        """
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        relative = np.asarray(points, dtype=np.float64) - self.position
        view = relative @ np.stack([right, np.cross(forward, right), forward], axis=1)
        depth = view[:, 2]
        focal = size[1] / 2 / np.tan(np.radians(self.fov) / 2)
        safe = np.where(depth == 0, 1e-12, depth)
        return view[:, :2] * (focal / safe)[:, None] + (size[0] / 2, size[1] / 2), depth


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
    background: str = "white",
) -> np.ndarray:
    """Picture of a cloud, nearer points in front, with eye-dome lighting and boxes as wireframes.

    Lines of a box are full where they are in front of the points and faint behind them; the spoke on the top face points
    to the box's own +x. Nothing is random: equal arguments give equal pixels.

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
        background: Name or #rrggbb.

    Returns:
        [height, width, 3] uint8.

    Raises:
        ValueError: For wrong shapes, values that are not finite, or when there is nothing to draw.
    """
    points = check_points(points)
    boxes = check_boxes(np.zeros((0, 7)) if boxes is None else boxes)
    colors = height_colors(points) if colors is None else check_colors(colors, len(points), "colors")
    line_colors = np.tile(np.uint8([214, 40, 40]), (len(boxes), 1)) if box_colors is None else box_colors
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
    pixels, depth, colors = pixels[seen], depth[seen], colors[seen]
    nearest, middle, farthest = np.percentile(depth, [1, 50, 99]) if len(depth) else (near, 1.0, 1.0)
    depth_range = max(float(farthest - nearest), 1e-6 * float(middle))
    diameter = _point_size(pixels, fine) if point_size is None else point_size * SUPERSAMPLING
    radii = np.clip(diameter / 2 * middle / depth, 0.5, fine[1] / 8) if len(depth) else depth

    paper = np.array(ImageColor.getrgb(background)[:3], dtype=np.uint8)
    canvas, z_buffer = _blank(fine[1], fine[0], paper)
    _splat(pixels, depth, radii, colors, z_buffer, canvas)
    _shade(z_buffer, canvas, paper, nearest, depth_range)
    for box, color in zip(lines, line_colors, strict=True):
        for start, end in box:
            _line(start, end, color, camera, fine, near, 0.01 * depth_range, z_buffer, canvas)
    picture = _shrink(canvas)
    return picture if box_labels is None else _write_labels(picture, boxes, box_labels, line_colors, camera)


def box_lines(boxes: np.ndarray) -> np.ndarray:
    """Line segments to draw for boxes: [K, 7] -> [K, 13, 2, 3], the twelve edges and the spoke to +x on the top face."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    edges = [(i, i | bit) for bit in (4, 2, 1) for i in range(8) if not i & bit]
    local = np.concatenate([corners[np.array(edges)], [[(0, 0, 0.5), (0.5, 0, 0.5)]]])  # [13, 2, 3]
    boxes = np.asarray(boxes, dtype=np.float64)
    scaled = local * boxes[:, None, None, 3:6]
    cos, sin = np.cos(boxes[:, 6])[:, None, None], np.sin(boxes[:, 6])[:, None, None]
    turned = np.stack(
        [cos * scaled[..., 0] - sin * scaled[..., 1], sin * scaled[..., 0] + cos * scaled[..., 1], scaled[..., 2]], axis=-1
    )
    return turned + boxes[:, None, None, :3]


def height_colors(points: np.ndarray) -> np.ndarray:
    """Colours by z, violet at the bottom to orange at the top: [N, 3] -> [N, 3] uint8. The outer 1 % share the end colours."""
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
    return np.where(labels[:, None] < 0, np.uint8(UNLABELLED), (np.clip(rgb, 0, 1) * 255).astype(np.uint8))


def _point_size(pixels: np.ndarray, fine: tuple[int, int]) -> float:
    """Diameter in fine pixels at which points spread evenly over their bounding rectangle would cover about half of it."""
    if len(pixels) == 0:
        return 2.0 * SUPERSAMPLING
    low, high = np.maximum(pixels.min(axis=0), 0), np.minimum(pixels.max(axis=0), fine)
    area = float(np.prod(np.maximum(high - low, 1.0)))
    return float(np.clip(0.8 * np.sqrt(area / len(pixels)), 1.2 * SUPERSAMPLING, 5 * SUPERSAMPLING))


@njit(cache=True, nogil=True)
def _blank(height, width, paper):
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    for r in range(height):
        for c in range(width):
            for k in range(3):
                canvas[r, c, k] = paper[k]
    return canvas, np.full((height, width), np.float32(np.inf), dtype=np.float32)


@njit(cache=True, nogil=True)
def _splat(pixels, depth, radii, colors, z_buffer, canvas):
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


@njit(cache=True, nogil=True)
def _shade(z_buffer, canvas, paper, nearest, depth_range):
    """Eye-dome lighting (Boucheny 2009): darken a pixel by how far it lies behind its neighbours; then fade with depth."""
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
    _draw_line(pixels, depth, np.asarray(color), bias, z_buffer, canvas)


@njit(cache=True, nogil=True)
def _draw_line(pixels, depth, color, bias, z_buffer, canvas):
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


@njit(cache=True, nogil=True)
def _shrink(canvas):
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


def check_points(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points have shape {points.shape}; expected [N, 3] (for extra columns pass points[:, :3])")
    bad = len(points) - int(np.isfinite(points).all(axis=1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(points)} points are not finite; drop them: points[np.isfinite(points).all(axis=1)]")
    return points


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
        raise ValueError(f"{name} have shape {colors.shape} and type {colors.dtype}; expected [{num_rows}, 3] uint8 (0 to 255)")
    return colors


def _triple(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z
