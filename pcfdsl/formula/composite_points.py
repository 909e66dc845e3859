"""Points uniform over the skin of a composite: places on its cells, but for those within other parts.

Points are made in the order of their cells, so those next to one another share what has to be looked up and tested, and
are written in another order, in which any part of a cloud is spread over the whole.
"""

import numpy as np

from pcfdsl.formula.composite_cells import find_cells, mesh
from pcfdsl.formula.composite_meshes import NUM_VERTICES, ROW
from pcfdsl.formula.composite_solids import CUTTER, RATIO, SIZE, WIRES, frames, gauge_at
from pcfdsl.formula.surface import (
    BLOCK,
    SPARE,
    cells_in_order,
    circle,
    golden_steps,
    position_in_cell,
    running_areas,
    word,
)
from pcfdsl.jit import kernel

__all__ = ["sample_cells"]

_THICKNESS = 0.04  # radius of wires in units of the geometric mean of a part's half extents
_ROUNDS = 64  # until a shape is given up
_LOSS = 0.4  # of the points that are tested: a little more than are usually dropped
_CELLS = np.uint32(2 * NUM_VERTICES)  # of a part
_Y, _Z, _KEPT = np.uintp(1), np.uintp(2), np.uintp(3)  # places have four numbers
_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)


@kernel(fastmath={"contract"})
def _weights(key, first, u, v, weights):
    """Two random numbers for each point, and the weights of a triangle's corners that they say; vectorised."""
    for k in range(np.uintp(BLOCK)):
        u[k], v[k] = position_in_cell(word(key, np.uintp(first) + k))
    for k in range(np.uintp(BLOCK)):
        low, high = min(u[k], v[k]), max(u[k], v[k])  # in order, they cut 1 in three, uniformly
        weights[0, k], weights[1, k], weights[2, k] = low, high - low, _ONE - high


@kernel
def _ends(cell):
    """A cell's first vertex, and the next one, where a side of a wire ends."""
    a = np.uintp(cell >> np.uint32(1))
    return a, a + np.uintp(1) + np.uintp(cell & np.uint32(1)) * np.uintp(ROW - 1)


@kernel(fastmath={"contract"})
def _on_triangles(chosen, cells, weights, x, y, z, drawn, block):
    """Look up cells by their number, and the places on them as if all were triangles, each followed by 1."""
    for k in range(np.uintp(BLOCK)):
        cell = cells[chosen[k]]
        drawn[k] = cell
        a, b = _ends(cell)
        c, to = a + np.uintp(ROW + 1), np.uintp(4) * k
        s, t, w = weights[0, k], weights[1, k], weights[2, k]
        block[to] = s * x[a] + t * x[b] + w * x[c]
        block[to + _Y] = s * y[a] + t * y[b] + w * y[c]
        block[to + _Z] = s * z[a] + t * z[b] + w * z[c]
        block[to + _KEPT] = _ONE


@kernel(fastmath={"contract"})
def _on_wires(cells, radii, u, v, vertices, ends, block):
    """Places on those cells that are sides of wires: on the cylinders about them."""
    radius = ends[6]
    for k in range(np.uintp(BLOCK)):
        radius[k] = radii[np.uintp(cells[k] // _CELLS)]
        a, b = _ends(cells[k])
        for axis in range(np.uintp(3)):
            ends[axis, k], ends[np.uintp(3) + axis, k] = vertices[axis, a], vertices[axis, b] - vertices[axis, a]
    for k in range(np.uintp(BLOCK)):
        dx, dy, dz = ends[3, k], ends[4, k], ends[5, k]
        across = abs(dx) > abs(dz)  # a direction across the wire, and one across both
        ex, ey, ez = -dy if across else np.float32(0), dx if across else -dz, np.float32(0) if across else dy
        length = radius[k] / np.sqrt(ex * ex + ey * ey + ez * ez)
        ex, ey, ez = ex * length, ey * length, ez * length
        length = _ONE / np.sqrt(dx * dx + dy * dy + dz * dz)
        fx, fy, fz = (dy * ez - dz * ey) * length, (dz * ex - dx * ez) * length, (dx * ey - dy * ex) * length
        c, s = circle(v[k])
        ends[0, k] += u[k] * dx + c * ex + s * fx
        ends[1, k] += u[k] * dy + c * ey + s * fy
        ends[2, k] += u[k] * dz + c * ez + s * fz
    for k in range(np.uintp(BLOCK)):
        if radius[k]:
            to = np.uintp(4) * k
            block[to], block[to + _Y], block[to + _Z] = ends[0, k], ends[1, k], ends[2, k]


@kernel(fastmath={"contract"})
def sample_cells(kinds, roles, parents, numbers, grid, valid, key, points):
    """Fill points; how many were found, fewer than all if hardly anything is left of the shape."""
    world, local, centers, waves, least = frames(kinds, parents, numbers)
    # Beyond the last vertices are those of sides taken for triangles.
    vertices = np.empty((3, len(kinds) * NUM_VERTICES + ROW + 1), np.float32)
    work = np.empty((7, NUM_VERTICES), np.float32)
    radii, ratios = np.zeros(len(kinds), np.float32), numbers[:, RATIO].astype(np.float32)
    solids, cutters, wires = np.uint32(0), np.uint32(0), np.uint32(0)
    for i in range(len(kinds)):
        mesh(i, kinds[i], ratios[i], least[i] < 1, waves, world, centers, grid, work, vertices)
        if roles[i] >= WIRES:
            wires |= np.uint32(2) << np.uint32(i)
            radii[i] = _THICKNESS * (numbers[i, SIZE] * numbers[i, SIZE + 1] * numbers[i, SIZE + 2]) ** (1 / 3)
        elif roles[i] == CUTTER:
            cutters |= np.uint32(2) << np.uint32(i)
        else:
            solids |= np.uint32(2) << np.uint32(i)
    parts = (kinds, roles, ratios)
    cells, areas, masks, num_sure = find_cells(
        parts, solids, cutters, radii, numbers, waves, local, centers, least, vertices, valid, work
    )
    before = running_areas(areas)
    all_area = before[len(cells)]
    made, num = np.uintp(0), np.uintp(len(points))
    if not (num and all_area > 0 and np.isfinite(all_area)):  # below a place is written before it is counted
        return made
    drawn, inside = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    random, weights = np.empty((2, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    ends = np.empty((7, BLOCK), np.float32)
    x, y, z, far = ends[0], ends[1], ends[2], ends[3]
    share = 1 - _LOSS * (1 - before[num_sure] / all_area)  # of the points that will be kept
    for attempt in range(_ROUNDS):
        own_key = word(key, ~np.uint64(attempt))
        tried = np.uintp((int((num - made) / share) // BLOCK + 1) * BLOCK)
        in_order = np.empty(tried + np.uintp(SPARE), np.uint32)
        cells_in_order(before, own_key, in_order)
        buffer = np.empty(np.uintp(4) * tried, np.float32)  # the fourth of each place says whether it is kept
        for first in range(0, tried, BLOCK):
            chosen, block = in_order[first : first + BLOCK], buffer[4 * first : 4 * (first + BLOCK)]
            _weights(own_key, first, random[0], random[1], weights)
            _on_triangles(chosen, cells, weights, vertices[0], vertices[1], vertices[2], drawn, block)
            present = np.uint32(0)
            for k in range(np.uintp(BLOCK)):
                present |= np.uint32(2) << np.uint32(drawn[k] // _CELLS)
            if present & wires:
                _on_wires(drawn, radii, random[0], random[1], vertices, ends, block)
            if chosen[BLOCK - 1] < num_sure:
                continue
            some = np.uint32(0)
            for k in range(np.uintp(BLOCK)):
                some |= masks[chosen[k]]
                inside[k] = np.uint32(0)
            for k in range(np.uintp(BLOCK)):
                to = np.uintp(4) * k
                x[k], y[k], z[k] = block[to], block[to + _Y], block[to + _Z]
            for j in range(len(kinds)):
                bit = np.uint32(2) << np.uint32(j)
                if not some & bit:
                    continue
                gauge_at(j, kinds[j], ratios[j], least[j] < 1, waves, local, centers, x, y, z, work, far)
                for k in range(np.uintp(BLOCK)):
                    inside[k] |= bit if far[k] < _ONE else np.uint32(0)
            for k in range(np.uintp(BLOCK)):
                own = np.uint32(2) << np.uint32(drawn[k] // _CELLS)
                others = inside[k] & ~own
                of_cutter = own & cutters != 0
                left = others & cutters == 0 and (others & solids != 0) == of_cutter
                left |= chosen[k] < num_sure
                block[np.uintp(4) * k + _KEPT] = _ONE if left else np.float32(0)
        i, step = golden_steps(own_key, tried)
        so_far = made
        for _ in range(tried):
            at = np.uintp(4) * i
            i += step
            i -= tried if i >= tried else np.uintp(0)
            points[made, 0], points[made, 1], points[made, 2] = buffer[at], buffer[at + _Y], buffer[at + _Z]
            made += np.uintp(buffer[at + _KEPT])
            if made == num:
                return made
        share = max((made - so_far) / tried, 0.01) * 0.95
    return made
