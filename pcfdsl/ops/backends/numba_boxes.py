"""CPU kernels for boxes, without torch: scenes use them too. Arrays are float64, boxes `cx cy cz dx dy dz yaw`."""

import math

import numpy as np

from pcfdsl.jit import kernel


@kernel
def _area_below(x0, y0, x1, y1, half_x, half_y):
    """Integral over x from x0 to x1 of the segment's height, with x and y clamped to the rectangle."""
    start, stop = min(max(x0, -half_x), half_x), min(max(x1, -half_x), half_x)
    if start == stop:
        return 0.0
    slope = (y1 - y0) / (x1 - x0)
    y_start, y_stop = y0 + (start - x0) * slope, y0 + (stop - x0) * slope
    low, high = min(max(y_start, -half_y), half_y), min(max(y_stop, -half_y), half_y)
    before, within, after = abs(low - y_start), abs(high - low), abs(y_stop - high)
    total = before + within + after
    mean = low if total == 0 else (before * low + within * 0.5 * (low + high) + after * high) / total
    return (stop - start) * mean


@kernel
def _overlap_area(a, b):
    """Intersection area of two boxes seen from above."""
    x, y = a[0] - b[0], a[1] - b[1]
    reach = 0.5 * (math.hypot(a[3], a[4]) + math.hypot(b[3], b[4]))
    if x * x + y * y >= reach * reach:
        return 0.0
    cos_b, sin_b = math.cos(b[6]), math.sin(b[6])
    x, y = cos_b * x + sin_b * y, cos_b * y - sin_b * x
    cos_a, sin_a = math.cos(a[6] - b[6]), math.sin(a[6] - b[6])
    ux, uy, vx, vy = 0.5 * a[3] * cos_a, 0.5 * a[3] * sin_a, -0.5 * a[4] * sin_a, 0.5 * a[4] * cos_a
    corner_x = (x + ux + vx, x - ux + vx, x - ux - vx, x + ux - vx)
    corner_y = (y + uy + vy, y - uy + vy, y - uy - vy, y + uy - vy)
    area = 0.0
    for i in range(4):
        j = (i + 1) % 4
        area -= _area_below(corner_x[i], corner_y[i], corner_x[j], corner_y[j], 0.5 * b[3], 0.5 * b[4])
    return max(area, 0.0)


@kernel
def _iou(a, b, bev):
    size_a, size_b, height = a[3] * a[4], b[3] * b[4], 1.0
    if not bev:
        top, bottom = min(a[2] + 0.5 * a[5], b[2] + 0.5 * b[5]), max(a[2] - 0.5 * a[5], b[2] - 0.5 * b[5])
        height = top - bottom
        size_a, size_b = size_a * a[5], size_b * b[5]
    if height <= 0 or size_a <= 0 or size_b <= 0:
        return 0.0
    shared = min(_overlap_area(a, b) * height, size_a, size_b)
    return shared / (size_a + size_b - shared)


@kernel
def iou_pairs(a, b, bev):
    out = np.empty(len(a))
    for i in range(len(a)):
        out[i] = _iou(a[i], b[i], bev)
    return out


@kernel
def suppress_oriented(boxes, order, groups, threshold):
    """Greedy suppression of boxes [K, 7] in `order`, within equal `groups`, by their exact IoU seen from above."""
    picked = np.empty(len(boxes), np.int64)
    num_picked = 0
    for rank in range(len(order)):
        i = order[rank]
        alive = True
        for p in range(num_picked):
            best = picked[p]
            if groups[best] == groups[i] and _iou(boxes[best], boxes[i], True) > threshold:
                alive = False
                break
        if alive:
            picked[num_picked] = i
            num_picked += 1
    return picked[:num_picked]


@kernel
def points_inside(points, boxes, margin):
    """[K, N] bool, surfaces included; every face is moved outwards by `margin`."""
    mask = np.zeros((len(boxes), len(points)), np.bool_)
    for k in range(len(boxes)):
        cos, sin = math.cos(boxes[k, 6]), math.sin(boxes[k, 6])
        half_x, half_y, half_z = 0.5 * boxes[k, 3] + margin, 0.5 * boxes[k, 4] + margin, 0.5 * boxes[k, 5] + margin
        for n in range(len(points)):
            x, y, z = points[n, 0] - boxes[k, 0], points[n, 1] - boxes[k, 1], points[n, 2] - boxes[k, 2]
            mask[k, n] = abs(z) <= half_z and abs(cos * x + sin * y) <= half_x and abs(cos * y - sin * x) <= half_y
    return mask


@kernel
def suppress(boxes, order, groups, threshold, own_size):
    """Greedy suppression of boxes [K, 2, D] (minimum and maximum corner) in `order`, within equal `groups`."""
    dimensions = boxes.shape[2]
    sizes = np.ones(len(boxes))
    for i in range(len(boxes)):
        for d in range(dimensions):
            sizes[i] *= boxes[i, 1, d] - boxes[i, 0, d]
    picked = np.empty(len(boxes), np.int64)
    num_picked = 0
    alive = np.ones(len(boxes), np.bool_)
    for rank in range(len(order)):
        best = order[rank]
        if not alive[best]:
            continue
        picked[num_picked] = best
        num_picked += 1
        for later in range(rank + 1, len(order)):
            i = order[later]
            if not alive[i] or groups[i] != groups[best]:
                continue
            shared = 1.0
            for d in range(dimensions):
                shared *= max(0.0, min(boxes[i, 1, d], boxes[best, 1, d]) - max(boxes[i, 0, d], boxes[best, 0, d]))
            whole = sizes[i] if own_size else sizes[i] + sizes[best] - shared
            if shared > 0 and shared / whole > threshold:
                alive[i] = False
    return picked[:num_picked]
