"""CPU kernels of the point operators: the same indices as the plain twins in ops.reference, to the last tie.

Farthest point sampling and nearest neighbours share one structure: points in kd-tree leaves, each with its bounding
box. A leaf whose box is farther than the best found so far need not be opened. Squared distances are summed as
((dx dx) + (dy dy)) + (dz dz) in the type of the points, exactly as the twins do; box distances round differently, so a
leaf is skipped only if its box is farther by more than any rounding error.
"""

import numpy as np

from pcfdsl.jit import kernel

FPS_LEAF = 128
NEAREST_LEAF = 12
_SAFE = 1 - 1e-5  # relative allowance for the rounding of a box distance


@kernel
def build_leaves(points, order, leaf_size, starts):
    """Split `order` (indices into points) at medians until no leaf exceeds leaf_size; returns the number of leaves.

    Leaf l holds order[starts[l] : starts[l + 1]], ascending; `starts` must have room for 2 + 2 N / leaf_size entries.
    """
    first, stop = np.empty(64, np.int64), np.empty(64, np.int64)
    first[0], stop[0] = 0, len(order)
    depth, num_leaves = 1, 0
    while depth:
        depth -= 1
        a, b = first[depth], stop[depth]
        if b - a <= leaf_size:
            order[a:b].sort()
            starts[num_leaves] = a
            num_leaves += 1
            continue
        axis, widest = 0, -1.0
        for d in range(3):
            low = high = points[order[a], d]
            for i in range(a, b):
                low, high = min(low, points[order[i], d]), max(high, points[order[i], d])
            if high - low > widest:
                axis, widest = d, high - low
        middle = (a + b) // 2
        _select(points, order, a, b - 1, middle, axis)
        first[depth], stop[depth] = middle, b  # the lower half is split first, so that leaves come in order
        first[depth + 1], stop[depth + 1] = a, middle
        depth += 2
    starts[num_leaves] = len(order)
    return num_leaves


@kernel
def _select(points, order, a, b, middle, axis):
    """Hoare's quickselect: order[middle] as if order[a..b] were sorted along the axis."""
    while a < b:
        pivot = points[order[(a + b) // 2], axis]
        i, j = a, b
        while i <= j:
            while points[order[i], axis] < pivot:
                i += 1
            while points[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            b = j
        elif middle >= i:
            a = i
        else:
            return


@kernel
def _fill_leaves(points, order, starts, num_leaves, coordinates, boxes):
    """Points in leaf order as [3, N], and boxes [6, L] of low and high corners."""
    for leaf in range(num_leaves):
        for d in range(3):
            low, high = np.inf, -np.inf
            for i in range(starts[leaf], starts[leaf + 1]):
                value = points[order[i], d]
                coordinates[d, i] = value
                low, high = min(low, value), max(high, value)
            boxes[d, leaf], boxes[3 + d, leaf] = low, high


@kernel
def _box_distances(boxes, x, y, z, out):
    for leaf in range(len(out)):
        dx = max(max(boxes[0, leaf] - x, x - boxes[3, leaf]), 0.0)
        dy = max(max(boxes[1, leaf] - y, y - boxes[4, leaf]), 0.0)
        dz = max(max(boxes[2, leaf] - z, z - boxes[5, leaf]), 0.0)
        out[leaf] = dx * dx + dy * dy + dz * dz


@kernel
def farthest(points, candidates, distances, bits, out):
    """Farthest point sampling of one cloud into out [S], beginning with point 0.

    Args:
        points: [N, 3].
        candidates: [M] indices that may be chosen after the first; ascending.
        distances: [M] scratch of the points' type.
        bits: `distances` seen as integers, whose order is the same for what is not negative: a maximum of integers is
            vectorised, one of floats is not.
        out: [S] int64.
    """
    out[:] = 0
    if len(candidates) == 0:
        return
    order = candidates.copy()
    starts = np.empty(4 + 4 * len(order) // FPS_LEAF, np.int64)
    num_leaves = build_leaves(points, order, FPS_LEAF, starts)
    coordinates = np.empty((3, len(order)), points.dtype)
    boxes = np.empty((6, num_leaves), np.float64)
    _fill_leaves(points, order, starts, num_leaves, coordinates, boxes)
    distances[:] = 1e10
    farthest_bits = np.full(num_leaves, bits[0])
    farthest_distance = np.full(num_leaves, np.float64(distances[0]))
    from_box = np.empty(num_leaves)
    chosen = 0
    for sample in range(1, len(out)):
        x, y, z = points[chosen, 0], points[chosen, 1], points[chosen, 2]
        _box_distances(boxes, np.float64(x), np.float64(y), np.float64(z), from_box)
        for leaf in range(num_leaves):
            if from_box[leaf] * _SAFE >= farthest_distance[leaf]:
                continue
            a, b = starts[leaf], starts[leaf + 1]
            _lower(coordinates[0, a:b], coordinates[1, a:b], coordinates[2, a:b], x, y, z, distances[a:b])
            farthest_bits[leaf] = _largest(bits[a:b])
            farthest_distance[leaf] = _float_of(farthest_bits[leaf], distances[a:b], bits[a:b])
        largest = farthest_bits.max()
        chosen = len(points)
        for leaf in range(num_leaves):
            if farthest_bits[leaf] == largest:
                for i in range(starts[leaf], starts[leaf + 1]):
                    if bits[i] == largest:
                        chosen = min(chosen, order[i])
                        break
        out[sample] = chosen


@kernel
def _lower(xs, ys, zs, x, y, z, distances):
    for i in range(np.uintp(len(distances))):
        dx, dy, dz = xs[i] - x, ys[i] - y, zs[i] - z
        distances[i] = min(distances[i], ((dx * dx) + (dy * dy)) + (dz * dz))


@kernel
def _largest(bits):
    largest = bits[0]
    for i in range(np.uintp(len(bits))):
        largest = max(largest, bits[i])
    return largest


@kernel
def _float_of(value, distances, bits):
    for i in range(len(bits)):
        if bits[i] == value:
            return np.float64(distances[i])
    return np.inf


@kernel
def nearest(queries, points, length, distances, indices, start, stop):
    """The K nearest of points[:length] for queries start to stop: squared distances and indices, nearest first."""
    last = distances.shape[1] - 1
    depth = 0
    while length > NEAREST_LEAF << depth:
        depth += 1
    num_leaves = 1 << depth
    order = np.arange(length)
    starts = np.empty(4 + 4 * length // NEAREST_LEAF, np.int64)
    # At one depth sizes differ by 1 at most, so this leaf size gives 2^depth leaves: a tree without pointers.
    built = build_leaves(points, order, (length + num_leaves - 1) >> depth, starts)
    assert built == num_leaves
    coordinates = np.empty((3, length), points.dtype)
    leaf_boxes = np.empty((6, num_leaves), np.float64)
    _fill_leaves(points, order, starts, num_leaves, coordinates, leaf_boxes)
    boxes = np.empty((2 * num_leaves, 6))  # node i has children 2 i and 2 i + 1, the root is 1, leaves come last
    boxes[num_leaves:] = leaf_boxes.T
    for node in range(num_leaves - 1, 0, -1):
        for d in range(3):
            boxes[node, d] = min(boxes[2 * node, d], boxes[2 * node + 1, d])
            boxes[node, 3 + d] = max(boxes[2 * node, 3 + d], boxes[2 * node + 1, 3 + d])
    waiting, how_far = np.empty(64, np.int64), np.empty(64)
    for q in range(start, stop):
        x, y, z = queries[q, 0], queries[q, 1], queries[q, 2]
        ax, ay, az = np.float64(x), np.float64(y), np.float64(z)
        distances[q], indices[q] = np.inf, 0
        waiting[0], how_far[0] = 1, 0.0
        num_waiting = 1
        while num_waiting:
            num_waiting -= 1
            node = waiting[num_waiting]
            if how_far[num_waiting] * _SAFE > distances[q, last]:
                continue
            while node < num_leaves:  # the nearer child now, the farther one later
                node = 2 * node
                near, far = _box_distance(boxes, node, ax, ay, az), _box_distance(boxes, node + 1, ax, ay, az)
                other = node + 1
                if far < near:
                    node, other, near, far = other, node, far, near
                if far * _SAFE <= distances[q, last]:
                    waiting[num_waiting], how_far[num_waiting] = other, far
                    num_waiting += 1
            leaf = node - num_leaves
            _open(starts[leaf], starts[leaf + 1], order, coordinates, x, y, z, distances[q], indices[q])


@kernel
def _box_distance(boxes, node, x, y, z):
    dx = max(max(boxes[node, 0] - x, x - boxes[node, 3]), 0.0)
    dy = max(max(boxes[node, 1] - y, y - boxes[node, 4]), 0.0)
    dz = max(max(boxes[node, 2] - z, z - boxes[node, 5]), 0.0)
    return dx * dx + dy * dy + dz * dz


@kernel
def _open(a, b, order, coordinates, x, y, z, distances, indices):
    """Insert points a to b of the tree into the sorted list of the nearest; ties go to the lower index."""
    last = len(distances) - 1
    for i in range(a, b):
        dx, dy, dz = x - coordinates[0, i], y - coordinates[1, i], z - coordinates[2, i]
        distance = ((dx * dx) + (dy * dy)) + (dz * dz)
        if distance > distances[last]:
            continue
        index = order[i]
        k = last + 1
        while k > 0 and (distance < distances[k - 1] or (distance == distances[k - 1] and index < indices[k - 1])):
            k -= 1
            if k < last:
                distances[k + 1], indices[k + 1] = distances[k], indices[k]
        if k <= last:
            distances[k], indices[k] = distance, index


@kernel
def build_grid(points, length, cell, counts, cells, order):
    """Points sorted by grid cell, in index order within a cell.

    Args:
        cell: Edge of a cell, metres.
        counts: [3] int64, overwritten: cells along each axis.
        cells: [num_cells + 1] int64, overwritten: where the points of each cell start in `order`; zeros before.
        order: [length] int64, overwritten.
    """
    which = np.empty(length, np.int64)
    low = np.empty(3)
    for d in range(3):
        low[d] = points[:length, d].min()
    for i in range(length):
        c = np.int64(0)
        for d in range(3):
            c = c * counts[d] + min(np.int64((points[i, d] - low[d]) / cell), counts[d] - 1)
        which[i] = c
        cells[c + 1] += 1
    for c in range(len(cells) - 1):
        cells[c + 1] += cells[c]
    place = cells[:-1].copy()
    for i in range(length):
        order[place[which[i]]] = i
        place[which[i]] += 1
    return low


@kernel
def within(points, low, cell, counts, cells, order, centers, squared_radius, indices, found, start, stop):
    """Ball query of centres start to stop: the first K indices closer than the radius, padded with the first."""
    num_kept = indices.shape[1]
    hits = np.empty(len(order), np.int64)
    span = np.empty((3, 2), np.int64)
    for s in range(start, stop):
        x, y, z = centers[s, 0], centers[s, 1], centers[s, 2]
        for d in range(3):
            at = np.floor((centers[s, d] - low[d]) / cell)
            span[d, 0] = np.int64(max(min(at - 1, np.float64(counts[d])), 0.0))
            span[d, 1] = np.int64(max(min(at + 1, np.float64(counts[d] - 1)), -1.0))
        num_hits = 0
        for cx in range(span[0, 0], span[0, 1] + 1):
            for cy in range(span[1, 0], span[1, 1] + 1):
                row = (cx * counts[1] + cy) * counts[2]
                for o in range(cells[row + span[2, 0]], cells[row + span[2, 1] + 1]):
                    i = order[o]
                    dx, dy, dz = x - points[i, 0], y - points[i, 1], z - points[i, 2]
                    if ((dx * dx) + (dy * dy)) + (dz * dz) < squared_radius:
                        hits[num_hits] = i
                        num_hits += 1
        kept = hits[:num_hits]
        kept.sort()
        count = min(num_hits, num_kept)
        found[s] = count
        for k in range(num_kept):
            indices[s, k] = kept[k] if k < count else (kept[0] if count else 0)
