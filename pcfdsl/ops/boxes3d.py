"""Oriented boxes as tensors: corners, points inside, exact intersection over union.

Boxes are [K, 7] `cx cy cz dx dy dz yaw`: centre and full extents in metres, yaw in radians counter-clockwise from +x
about +z. A box without volume (an extent of 0) is allowed; its IoU with any box, even itself, is 0. Corners and
`iou_3d_pairs_torch` are differentiable, the rest is not. CPU tensors go through the kernels that `pcfdsl.scene.boxes`
uses for arrays.
"""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops.backends import numba_boxes

__all__ = [
    "axis_aligned_hull",
    "box_corners",
    "check_boxes",
    "iou_3d_pairs",
    "iou_3d_pairs_plain",
    "iou_3d_pairs_torch",
    "points_in_boxes",
    "points_in_boxes_plain",
]


_PAIRS_AT_A_TIME = 1 << 22  # of points and boxes


def check_boxes(boxes: Tensor, name: str = "boxes") -> None:
    """Raises ValueError unless `boxes` are [K, 7] floats, finite, without negative extents."""
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 7 or not boxes.is_floating_point():
        found = f"{list(boxes.shape)} {boxes.dtype}" if isinstance(boxes, Tensor) else f"a {type(boxes).__name__}"
        raise ValueError(f"{name} is {found}; expected a float tensor [K, 7] of cx cy cz dx dy dz yaw")
    wrong = ~(boxes.isfinite().all(1) & (boxes[:, 3:6] >= 0).all(1))
    if not wrong.any():  # the one wait for a GPU
        return
    row = int(wrong.nonzero()[0])
    if not boxes[row].isfinite().all():
        raise ValueError(
            f"{name}[{row}] = {boxes[row].tolist()} is not finite; expected finite numbers: drop such boxes"
        )
    raise ValueError(f"{name}[{row}] has extents {boxes[row, 3:6].tolist()}; expected dx, dy, dz >= 0: take abs()")


def box_corners(boxes: Tensor) -> Tensor:
    """Corners [K, 8, 3]: the lower face counter-clockwise from (-x, -y) of the box's frame, then the upper one."""
    check_boxes(boxes)
    signs = boxes.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]).repeat(2, 1)
    x, y = (signs * boxes[:, None, 3:5] / 2).unbind(-1)
    z = boxes[:, None, 5] * boxes.new_tensor([-0.5] * 4 + [0.5] * 4)
    cos, sin = boxes[:, 6:].cos(), boxes[:, 6:].sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], -1) + boxes[:, None, :3]


def axis_aligned_hull(boxes: Tensor) -> Tensor:
    """The smallest axis-aligned boxes around the given ones: [K, 6] `x1 y1 z1 x2 y2 z2`."""
    corners = box_corners(boxes)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points each box contains, its surface included: [K, N] bool.

    Raises:
        ValueError: If points are not [N, 3], or boxes are invalid.
    """
    _check_points(points)
    check_boxes(boxes)
    if points.device.type != "cpu":
        return _points_in_boxes(points, boxes)
    return torch.from_numpy(numba_boxes.points_inside(_array(points), _array(boxes), 0.0))


def points_in_boxes_plain(points: Tensor, boxes: Tensor) -> Tensor:
    """The twin of `points_in_boxes`: one box at a time."""
    points, boxes = _wide(points, boxes)
    mask = torch.zeros(len(boxes), len(points), dtype=torch.bool, device=points.device)
    for inside, box in zip(mask, boxes, strict=True):
        x, y, z = (points - box[:3]).unbind(1)
        cos, sin = box[6].cos(), box[6].sin()
        own = torch.stack([cos * x + sin * y, cos * y - sin * x, z], 1)
        inside[:] = (own.abs() <= box[3:6] / 2).all(1)
    return mask


def _points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """`points_in_boxes` on other devices than the CPU: as many boxes at a time as some 0.4 GB hold."""
    points, boxes = _wide(points, boxes)
    if not len(boxes):
        return torch.zeros(0, len(points), dtype=torch.bool, device=points.device)
    masks = []
    for some in boxes.split(max(1, _PAIRS_AT_A_TIME // max(len(points), 1))):
        x, y, z = (points - some[:, None, :3]).unbind(2)
        cos, sin = some[:, 6:].cos(), some[:, 6:].sin()
        own = torch.stack([cos * x + sin * y, cos * y - sin * x, z], 2)
        masks.append((own.abs() <= some[:, None, 3:6] / 2).all(2))
    return torch.cat(masks)


def iou_3d_pairs(a: Tensor, b: Tensor, *, bev: bool = False) -> Tensor:
    """Exact intersection over union of a[i] with b[i]: [K] in 0..1, in the dtype of the boxes.

    Args:
        a: [K, 7].
        b: [K, 7].
        bev: Bird's-eye view: areas seen from above instead of volumes.

    Raises:
        ValueError: If lengths differ or boxes are invalid.

    >>> box = torch.tensor([[0., 0, 0, 1, 1, 1, 0]])
    >>> turned = torch.tensor([[0., 0, 0, 1, 1, 1, torch.pi / 4]])
    >>> round(iou_3d_pairs(box, turned).item(), 4)
    0.7071
    """
    _check_pairs(a, b)
    if a.device.type != "cpu":
        return iou_3d_pairs_torch(a, b, bev=bev)
    return torch.from_numpy(numba_boxes.iou_pairs(_array(a), _array(b), bev)).to(a.dtype)


def iou_3d_pairs_torch(a: Tensor, b: Tensor, *, bev: bool = False) -> Tensor:
    """`iou_3d_pairs` on any device, all pairs at once, and differentiable.

    The intersection area is an integral around a's outline in b's frame (Green's theorem): each edge adds the area
    between itself and the x axis, with both coordinates clamped to b. There are no special cases, not even where
    edges coincide.
    """
    _check_pairs(a, b)
    dtype = a.dtype
    a, b = _wide(a, b)
    x, y = (a[:, :2] - b[:, :2]).unbind(1)
    cos, sin = b[:, 6].cos(), b[:, 6].sin()
    center = torch.stack([cos * x + sin * y, cos * y - sin * x], 1)
    outline = torch.cat([center, a[:, 2:6], a[:, 6:] - b[:, 6:]], 1)
    x0, y0 = box_corners(outline)[:, :4, :2].unbind(-1)
    x1, y1 = x0.roll(-1, 1), y0.roll(-1, 1)
    half_x, half_y = b[:, 3:4] / 2, b[:, 4:5] / 2
    start, stop = x0.clamp(-half_x, half_x), x1.clamp(-half_x, half_x)
    slope = torch.where(start == stop, 0, (y1 - y0) / torch.where(x0 == x1, 1, x1 - x0))
    y_start, y_stop = y0 + (start - x0) * slope, y0 + (stop - x0) * slope
    # An upright edge has no area, but a gradient that its mean height enters.
    y_stop = torch.where(x0 == x1, y1, y_stop)
    low, high = y_start.clamp(-half_y, half_y), y_stop.clamp(-half_y, half_y)
    before, within, after = (low - y_start).abs(), (high - low).abs(), (y_stop - high).abs()
    total = before + within + after
    mean = (before * low + within * (low + high) / 2 + after * high) / torch.where(total == 0, 1, total)
    shared = -((stop - start) * torch.where(total == 0, (low + high) / 2, mean)).sum(1).clamp(max=0)
    size_a, size_b = a[:, 3] * a[:, 4], b[:, 3] * b[:, 4]
    if not bev:
        top = torch.minimum(a[:, 2] + a[:, 5] / 2, b[:, 2] + b[:, 5] / 2)
        shared = shared * (top - torch.maximum(a[:, 2] - a[:, 5] / 2, b[:, 2] - b[:, 5] / 2)).clamp(min=0)
        size_a, size_b = size_a * a[:, 5], size_b * b[:, 5]
    shared = shared.minimum(size_a).minimum(size_b)
    union = size_a + size_b - shared
    return torch.where(union > 0, shared / torch.where(union > 0, union, 1), 0).to(dtype)


def iou_3d_pairs_plain(a: Tensor, b: Tensor, *, bev: bool = False) -> Tensor:
    """The twin of `iou_3d_pairs`: clips polygons (Sutherland and Hodgman 1974), pair by pair."""
    _check_pairs(a, b)
    return torch.tensor(
        [_iou_plain(*pair, bev=bev) for pair in zip(a.tolist(), b.tolist(), strict=True)], dtype=a.dtype
    )


def _iou_plain(a: list[float], b: list[float], *, bev: bool) -> float:
    shared = _polygon_area(_clip(_rectangle(a), _rectangle(b)))
    size_a, size_b = a[3] * a[4], b[3] * b[4]
    if not bev:
        shared *= max(0.0, min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2))
        size_a, size_b = size_a * a[5], size_b * b[5]
    return shared / (size_a + size_b - shared) if size_a > 0 and size_b > 0 else 0.0


def _rectangle(box: list[float]) -> list[complex]:
    turn = complex(math.cos(box[6]), math.sin(box[6]))
    halves = (complex(i * box[3], j * box[4]) / 2 for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1)))
    return [complex(box[0], box[1]) + turn * half for half in halves]


def _cross(u: complex, v: complex) -> float:
    return (u.conjugate() * v).imag


def _clip(polygon: list[complex], window: list[complex]) -> list[complex]:
    """The part of a polygon within a convex window; both counter-clockwise."""
    for p, q in zip(window, window[1:] + window[:1], strict=True):
        sides = [_cross(q - p, vertex - p) for vertex in polygon]
        clipped = []
        for i, (vertex, side) in enumerate(zip(polygon, sides, strict=True)):
            if side * sides[i - 1] < 0:
                clipped.append(polygon[i - 1] + (vertex - polygon[i - 1]) * sides[i - 1] / (sides[i - 1] - side))
            if side >= 0:
                clipped.append(vertex)
        polygon = clipped
    return polygon


def _polygon_area(polygon: list[complex]) -> float:
    return max(0.0, sum(_cross(u - polygon[0], v - polygon[0]) for u, v in itertools.pairwise(polygon)) / 2)


def _wide(*tensors: Tensor) -> list[Tensor]:
    """In double precision where the device supports it (Apple's does not)."""
    dtype = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    return [tensor.to(dtype) for tensor in tensors]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().contiguous().numpy()


def _check_points(points: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points have shape {list(points.shape)}; expected [N, 3]: pass xyz only, one cloud at a time")
    if not points.isfinite().all():
        raise ValueError("points hold values that are not finite; expected coordinates in metres: drop those points")


def _check_pairs(a: Tensor, b: Tensor) -> None:
    check_boxes(a, "a")
    check_boxes(b, "b")
    if len(a) != len(b):
        raise ValueError(f"{len(a)} boxes a and {len(b)} boxes b; expected pairs: as many of each")
