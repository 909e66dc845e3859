"""Points uniform over what is left of the surfaces of a composite's parts.

The surface of each part is a grid of flat triangles (wires: of cylinders about some of their sides), within some
thousandths of its size of the true one. Cells within another part are dropped, and the points of the others that are.
"""

import numpy as np
from numba import njit

from pcfdsl.formula.composite_meshes import NUM_VERTICES, ROW
from pcfdsl.formula.composite_solids import CONE, CUTTER, RATIO, SIZE, SOLID, TORUS, WIRES, frames, gauge_at, swell
from pcfdsl.formula.surface import choose_cells, position_in_cell, word

__all__ = ["sample_cells"]

_THICKNESS = 0.04  # radius of wires in units of the geometric mean of a part's half extents
_SPARE, _ROUNDS = 1.2, 64  # candidates for each point that is missing; until a shape is given up
_BLOCK = 256  # not more than NUM_VERTICES
_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _mesh(i, kind, ratio, wavy, waves, world, centers, grid, work, vertices):
    """Vertices of part i in the world."""
    x, y, z, scale = work[4], work[5], work[6], work[0]
    for v in range(np.uintp(NUM_VERTICES)):
        x[v] = grid[kind, 0, v]
    for v in range(np.uintp(NUM_VERTICES)):
        y[v] = grid[kind, 1, v]
    for v in range(np.uintp(NUM_VERTICES)):
        z[v] = grid[kind, 2, v]
    if kind == CONE:
        slope = (_ONE - ratio) * _HALF
        for v in range(np.uintp(NUM_VERTICES)):
            x[v] *= _ONE - slope * (z[v] + _ONE)
        for v in range(np.uintp(NUM_VERTICES)):
            y[v] *= _ONE - slope * (z[v] + _ONE)
    ring, tube = (_ONE - ratio, ratio) if kind == TORUS else (np.float32(0), _ONE)
    if wavy:
        swell(i, waves, x, y, z, work)
        for v in range(np.uintp(NUM_VERTICES)):
            scale[v] *= tube
    else:
        for v in range(np.uintp(NUM_VERTICES)):
            scale[v] = tube
    for v in range(np.uintp(NUM_VERTICES)):
        x[v] = x[v] * scale[v] + ring * grid[kind, 3, v]
    for v in range(np.uintp(NUM_VERTICES)):
        y[v] = y[v] * scale[v] + ring * grid[kind, 4, v]
    for v in range(np.uintp(NUM_VERTICES)):
        z[v] *= scale[v]
    first = np.uintp(i * NUM_VERTICES)
    for axis in range(3):
        a, b, c, to = world[i, axis, 0], world[i, axis, 1], world[i, axis, 2], centers[i, axis]
        out = vertices[axis]
        for v in range(np.uintp(NUM_VERTICES)):
            out[first + v] = a * x[v] + b * y[v] + c * z[v] + to


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _triangle_areas(x, y, z, areas):
    """areas[h, v] of the triangles (v, v + 1, v + ROW + 1) and (v, v + ROW + 1, v + ROW)."""
    far = np.uintp(ROW + 1)
    for half in range(2):
        near, out = np.uintp(1 if half == 0 else ROW), areas[half]
        for v in range(np.uintp(NUM_VERTICES) - far):
            ux, uy, uz = x[v + far] - x[v], y[v + far] - y[v], z[v + far] - z[v]
            vx, vy, vz = x[v + near] - x[v], y[v + near] - y[v], z[v + near] - z[v]
            a, b, c = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            out[v] = _HALF * np.sqrt(a * a + b * b + c * c)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _wire_areas(radius, x, y, z, areas):
    """areas[h, v] of the cylinders about the sides from v to v + 1 and to v + ROW."""
    around = np.float32(2 * np.pi) * radius
    for half in range(2):
        near, out = np.uintp(1 if half == 0 else ROW), areas[half]
        for v in range(np.uintp(NUM_VERTICES) - near):
            ux, uy, uz = x[v + near] - x[v], y[v + near] - y[v], z[v + near] - z[v]
            out[v] = around * np.sqrt(ux * ux + uy * uy + uz * uz)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _keep(first, valid, wire, deep, areas, cells, kept_areas, kept):
    """Append a part's cells but for those that lie within another part; how many there are then.

    A cell is twice the number of its vertex, and 1 more if it is the second of the two.
    """
    for half in range(2):
        near = np.uintp(1 if half == 0 else ROW)
        far = near if wire else np.uintp(ROW + 1)
        for v in range(np.uintp(NUM_VERTICES) - far):
            cells[kept], kept_areas[kept] = 2 * (first + v) + half, areas[half, v]
            inside = deep[v] & deep[v + near] & deep[v + far]
            kept += np.uintp(valid[half, v] & (inside == 0))
    return kept


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_triangles(key, first, cells, vertices, x, y, z):
    """Places on cells, as if all were triangles."""
    for k in range(np.uintp(_BLOCK)):
        u, v = position_in_cell(word(key, np.uintp(first) + k))
        a = np.uintp(cells[k]) >> np.uintp(1)
        b = a + np.uintp(1) + (np.uintp(cells[k]) & np.uintp(1)) * np.uintp(ROW - 1)
        c = a + np.uintp(ROW + 1)
        low, high = min(u, v), max(u, v)  # in order, they cut 1 in three, uniformly
        s, t, w = low, high - low, _ONE - high
        x[k] = s * vertices[a, 0] + t * vertices[b, 0] + w * vertices[c, 0]
        y[k] = s * vertices[a, 1] + t * vertices[b, 1] + w * vertices[c, 1]
        z[k] = s * vertices[a, 2] + t * vertices[b, 2] + w * vertices[c, 2]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _sine(t):
    """sin(pi t) for t from -1/2 to 1/2, to five digits."""
    x = t * np.float32(np.pi)
    square = x * x
    series = square * (np.float32(1 / 120) - square * (np.float32(1 / 5040) - square * np.float32(1 / 362880)))
    return x * (_ONE - square * (np.float32(1 / 6)) + square * series)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_wires(key, first, cells, part, radii, vertices, x, y, z):
    """Places on the cells that are sides: on the cylinders about them."""
    for k in range(np.uintp(_BLOCK)):
        radius = radii[part[k]]
        if not radius:
            continue
        u, v = position_in_cell(word(key, np.uintp(first) + k))
        a = np.uintp(cells[k]) >> np.uintp(1)
        b = a + np.uintp(1) + (np.uintp(cells[k]) & np.uintp(1)) * np.uintp(ROW - 1)
        dx, dy, dz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        if abs(dx) > abs(dz):  # a direction across the wire, and one across both
            length = _ONE / np.sqrt(dx * dx + dy * dy)
            ex, ey, ez = -dy * length, dx * length, np.float32(0)
        else:
            length = _ONE / np.sqrt(dy * dy + dz * dz)
            ex, ey, ez = np.float32(0), -dz * length, dy * length
        length = _ONE / np.sqrt(dx * dx + dy * dy + dz * dz)
        fx, fy, fz = (dy * ez - dz * ey) * length, (dz * ex - dx * ez) * length, (dx * ey - dy * ex) * length
        s = _sine(v - _HALF)  # of half the angle around the wire
        c, s = (_ONE - _TWO * s * s) * radius, _TWO * s * np.sqrt(max(_ONE - s * s, np.float32(0))) * radius
        x[k] = vertices[a, 0] + u * dx + c * ex + s * fx
        y[k] = vertices[a, 1] + u * dy + c * ey + s * fy
        z[k] = vertices[a, 2] + u * dz + c * ez + s * fz


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _cells(kinds, roles, ratios, radii, waves, local, centers, least, vertices, valid, work):
    """The cells of all parts, but for those that certainly lie within another, and their areas."""
    most = 2 * vertices.shape[1] + 1
    cells, kept_areas, kept = np.empty(most, np.int32), np.empty(most, np.float32), np.uintp(0)
    areas, found = np.zeros((2, NUM_VERTICES), np.float32), np.empty(NUM_VERTICES, np.float32)
    deep = np.empty(NUM_VERTICES, np.uint32)
    for i in range(len(kinds)):
        first, wire = i * NUM_VERTICES, roles[i] >= WIRES
        own = slice(first, first + NUM_VERTICES)
        x, y, z = vertices[0, own], vertices[1, own], vertices[2, own]
        if wire:
            _wire_areas(radii[i], x, y, z, areas)
        else:
            _triangle_areas(x, y, z, areas)
        deep[:] = 0
        for j in range(len(kinds)):
            hides = roles[j] == CUTTER or (roles[j] == SOLID and roles[i] != CUTTER)
            if i == j or not hides or kinds[j] == TORUS:
                continue  # a torus is not convex: cells may lie outside although their corners do not
            gauge_at(j, kinds[j], ratios[j], False, waves, local, centers, x, y, z, work, found)
            bit = np.uint32(1) << np.uint32(j)
            for v in range(np.uintp(NUM_VERTICES)):
                deep[v] |= bit if found[v] < least[j] else np.uint32(0)
        there = valid[max(roles[i] - CUTTER, 0), 1 if kinds[i] == TORUS else 0]
        kept = _keep(first, there, wire, deep, areas, cells, kept_areas, kept)
    return cells[:kept], kept_areas[:kept]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sample_cells(kinds, roles, parents, numbers, grid, valid, key, points):
    """Fill points; how many were found, fewer than all if hardly anything is left of the shape."""
    world, local, centers, waves, least = frames(kinds, parents, numbers)
    vertices, work = np.empty((3, len(kinds) * NUM_VERTICES), np.float32), np.empty((7, NUM_VERTICES), np.float32)
    radii, ratios = np.zeros(len(kinds), np.float32), numbers[:, RATIO].astype(np.float32)
    solids, cutters = np.uint32(0), np.uint32(0)
    for i in range(len(kinds)):
        _mesh(i, kinds[i], ratios[i], least[i] < 1, waves, world, centers, grid, work, vertices)
        if roles[i] >= WIRES:
            radii[i] = _THICKNESS * (numbers[i, SIZE] * numbers[i, SIZE + 1] * numbers[i, SIZE + 2]) ** (1 / 3)
        elif roles[i] == CUTTER:
            cutters |= np.uint32(1) << np.uint32(i)
        else:
            solids |= np.uint32(1) << np.uint32(i)
    cells, areas = _cells(kinds, roles, ratios, radii, waves, local, centers, least, vertices, valid, work)
    corners = np.empty((vertices.shape[1] + ROW + 1, 3), np.float32)  # beyond the last: of sides taken for triangles
    for axis in range(3):
        for v in range(np.uintp(vertices.shape[1])):
            corners[v, axis] = vertices[axis, v]
    drawn, part, inside = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)
    block, made, num = np.empty((4, _BLOCK), np.float32), np.uintp(0), np.uintp(len(points))
    x, y, z, far = block[0], block[1], block[2], block[3]
    for attempt in range(_ROUNDS):
        own_key = word(key, ~np.uint64(attempt))
        candidates = np.empty((int((num - made) * _SPARE) // _BLOCK + 1) * _BLOCK, np.uint32)
        total = choose_cells(areas, own_key, candidates)
        if not (total > 0 and np.isfinite(total)):
            break
        for first in range(0, len(candidates), _BLOCK):
            for k in range(np.uintp(_BLOCK)):
                drawn[k] = cells[candidates[np.uintp(first) + k]]
            for k in range(np.uintp(_BLOCK)):
                part[k] = drawn[k] // np.uint32(2 * NUM_VERTICES)
                inside[k] = np.uint32(0)
            _on_triangles(own_key, first, drawn, corners, x, y, z)
            if radii.any():
                _on_wires(own_key, first, drawn, part, radii, corners, x, y, z)
            for j in range(len(kinds)):
                if roles[j] >= WIRES:
                    continue
                gauge_at(j, kinds[j], ratios[j], least[j] < 1, waves, local, centers, x, y, z, work, far)
                bit = np.uint32(1) << np.uint32(j)
                for k in range(np.uintp(_BLOCK)):
                    inside[k] |= bit if far[k] < _ONE else np.uint32(0)
            for k in range(np.uintp(_BLOCK)):
                own = np.uint32(1) << part[k]
                others = inside[k] & ~own
                of_cutter = own & cutters != 0
                left = others & cutters == 0 and (others & solids != 0) == of_cutter
                points[made, 0], points[made, 1], points[made, 2] = x[k], y[k], z[k]
                made += np.uintp(left)
                if made == num:
                    return made
    return made
