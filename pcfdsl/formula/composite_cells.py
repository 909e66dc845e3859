"""The cells of a composite's skin: what is left of the surfaces of its parts.

The surface of each part is a grid of flat triangles (wires: of cylinders about some of their sides), within some
thousandths of its size of the true one. Cells within another part are dropped. Of most of the others it is certain that
they lie outside all other parts, so only the points of the rest have to be tested.
"""

import numpy as np

from pcfdsl.formula.composite_meshes import NUM_VERTICES, ROW
from pcfdsl.formula.composite_solids import BOX, CONE, CUTTER, ELLIPSOID, SIZE, TORUS, WIRES, gauge_at, swell
from pcfdsl.jit import kernel

__all__ = ["find_cells", "mesh"]

_LANES = 16
_GONE, _SURE = np.uint32(0), np.uint32(1)  # cells
_ONE, _HALF = np.float32(1), np.float32(0.5)
_THIRD = np.float32(3**-0.5)


@kernel(fastmath={"contract"})
def mesh(i, kind, ratio, wavy, waves, world, centers, grid, work, vertices):
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


@kernel(fastmath={"contract"})
def _triangles(x, y, z, areas, edges):
    """areas[h, v] and squares of the longest edges of the triangles (v, v + 1, v + ROW + 1) and (v, v + ROW + 1,
    v + ROW).
    """
    far = np.uintp(ROW + 1)
    for half in range(2):
        near, out, longest = np.uintp(1 if half == 0 else ROW), areas[half], edges[half]
        for v in range(np.uintp(NUM_VERTICES) - far):
            ux, uy, uz = x[v + far] - x[v], y[v + far] - y[v], z[v + far] - z[v]
            vx, vy, vz = x[v + near] - x[v], y[v + near] - y[v], z[v + near] - z[v]
            a, b, c = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            out[v] = _HALF * np.sqrt(a * a + b * b + c * c)
            wx, wy, wz = ux - vx, uy - vy, uz - vz
            one, two = vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz
            longest[v] = max(max(one, two), ux * ux + uy * uy + uz * uz)


@kernel(fastmath={"contract"})
def _wires(radius, x, y, z, areas, edges):
    """areas[h, v] and squares of the lengths of the cylinders about the sides from v to v + 1 and to v + ROW."""
    around = np.float32(2 * np.pi) * radius
    for half in range(2):
        near, out, longest = np.uintp(1 if half == 0 else ROW), areas[half], edges[half]
        for v in range(np.uintp(NUM_VERTICES) - near):
            ux, uy, uz = x[v + near] - x[v], y[v + near] - y[v], z[v + near] - z[v]
            square = ux * ux + uy * uy + uz * uz
            longest[v] = square
            out[v] = around * np.sqrt(square)


@kernel
def _greatest(values, valid):
    """The greatest of those that are valid; lanes side by side, because compilers keep the order of one."""
    lanes, greatest = np.zeros(_LANES, np.float32), np.float32(0)
    for half in range(2):
        row, there = values[half], valid[half]
        for first in range(0, NUM_VERTICES // _LANES * _LANES, _LANES):
            for k in range(np.uintp(_LANES)):
                value = row[np.uintp(first) + k] if there[np.uintp(first) + k] else np.float32(0)
                lanes[k] = max(lanes[k], value)
        for v in range(NUM_VERTICES // _LANES * _LANES, NUM_VERTICES):
            if there[v]:
                greatest = max(greatest, row[v])
    return max(greatest, lanes.max())


@kernel
def _bounds(kinds, ratios, numbers, least):
    """Of each part: the radius of a ball about its centre that holds it, the greatest value of its gauge within its
    height field, and how fast its gauge without the height field changes at most with the place in the world.
    """
    reach, most, steep = np.empty_like(least), np.empty_like(least), np.empty_like(least)
    for i in range(len(kinds)):
        x, y, z = numbers[i, SIZE], numbers[i, SIZE + 1], numbers[i, SIZE + 2]
        most[i] = 2 - least[i]
        wide = max(x, y)
        if kinds[i] == BOX:
            far = x * x + y * y + z * z
        elif kinds[i] == ELLIPSOID:
            far = max(wide, z) ** 2
        else:
            far = wide * wide + z * z
        reach[i] = most[i] * np.sqrt(far)
        slope = 1.0
        if kinds[i] == TORUS:
            slope = 1 / ratios[i]
        elif kinds[i] == CONE:
            rise = (1 - ratios[i]) / 2
            slope = np.sqrt(1 + rise * rise) / (1 - rise)
        steep[i] = slope / min(min(x, y), z)
    return reach, most, steep


@kernel
def find_cells(parts, solids, cutters, radii, numbers, waves, local, centers, least, vertices, valid, work):
    """The cells of all parts, but for those that certainly lie within another: first those whose points need no test.

    Args:
        parts: [P] kinds, [P] roles and [P] ratios of the parts.
        solids, cutters: Bits of the parts of these roles; that of part i is 2 << i.
        radii: [P] of wires, else 0.
        numbers, waves, local, centers, least: As in `frames`.
        vertices: [3, P * V or more] of `mesh`.
        valid: Of `meshes`.
        work: [7, V].

    Returns:
        [C] uint32 cells: twice the number of the first vertex, and 1 more if it is the second of the two there. [C]
        float32 areas. [C] uint32 parts, as bits, that points may lie in. How many of the cells are certainly of the
        skin, so that their points need no tests.
    """
    kinds, roles, ratios = parts
    reach, most, steep = _bounds(kinds, ratios, numbers, least)
    most_cells = 2 * len(kinds) * NUM_VERTICES + 1
    cells, masks = np.empty(most_cells, np.uint32), np.empty(most_cells, np.uint32)
    kept_areas = np.empty(most_cells, np.float32)
    areas, edges = np.zeros((2, NUM_VERTICES), np.float32), np.zeros((2, NUM_VERTICES), np.float32)
    near, deep = np.empty(NUM_VERTICES, np.uint32), np.empty(NUM_VERTICES, np.uint32)
    found, classes = np.empty(NUM_VERTICES, np.float32), np.empty((2, NUM_VERTICES), np.uint32)
    num_sure, mixed = np.uintp(0), np.uintp(most_cells - 1)
    for i in range(len(kinds)):
        first, wire = i * NUM_VERTICES, roles[i] >= WIRES
        own = slice(first, first + NUM_VERTICES)
        x, y, z = vertices[0, own], vertices[1, own], vertices[2, own]
        there = valid[max(roles[i] - CUTTER, 0), 1 if kinds[i] == TORUS else 0]
        if wire:
            _wires(radii[i], x, y, z, areas, edges)
        else:
            _triangles(x, y, z, areas, edges)
        # Any place of a cell is within this distance of one of its corners.
        cover = np.sqrt(_greatest(edges, there)) * (_HALF if wire else _THIRD) + radii[i]
        near[:], deep[:] = 0, 0
        for j in range(len(kinds)):
            if i == j or roles[j] >= WIRES:
                continue
            dx, dy, dz = centers[i, 0] - centers[j, 0], centers[i, 1] - centers[j, 1], centers[i, 2] - centers[j, 2]
            if np.sqrt(dx * dx + dy * dy + dz * dz) >= reach[i] + radii[i] + reach[j]:
                continue
            gauge_at(j, kinds[j], ratios[j], False, waves, local, centers, x, y, z, work, found)
            # A torus is not convex: cells may lie outside although their corners do not.
            slack = steep[j] * (cover if kinds[j] == TORUS else radii[i])
            inner, outer = least[j] - slack, most[j] + steep[j] * cover
            bit = np.uint32(2) << np.uint32(j)
            for v in range(np.uintp(NUM_VERTICES)):
                near[v] |= bit if found[v] < outer else np.uint32(0)
            for v in range(np.uintp(NUM_VERTICES)):
                deep[v] |= bit if found[v] < inner else np.uint32(0)
        hiding, wanted = solids | cutters, np.uint32(0)
        if roles[i] == CUTTER:
            hiding, wanted = cutters, solids
        _classify(there, wire, hiding, wanted, near, deep, classes)
        for half in range(2):
            start = np.uintp(2 * first + half)
            for v in range(np.uintp(NUM_VERTICES) - np.uintp(1 if half == 0 else ROW)):
                kind = classes[half, v]
                at = num_sure if kind == _SURE else mixed  # the others from the end on
                cells[at], kept_areas[at], masks[at] = start + np.uintp(2) * v, areas[half, v], kind
                num_sure += np.uintp(kind == _SURE)
                mixed -= np.uintp(kind > _SURE)
    total = num_sure + np.uintp(most_cells - 1) - mixed
    for c in range(num_sure, total):
        mixed += np.uintp(1)
        cells[c], kept_areas[c], masks[c] = cells[mixed], kept_areas[mixed], masks[mixed]
    return cells[:total], kept_areas[:total], masks[:total], num_sure


@kernel
def _classify(valid, wire, hiding, wanted, near, deep, classes):
    """classes[h, v] of a part's cells: not of the skin, wholly, or else the parts (bits) that points may lie in.

    Of the skin is what lies in no part of `hiding` and, if there are any of `wanted`, in one of those.
    """
    for half in range(2):
        side = np.uintp(1 if half == 0 else ROW)
        far = side if wire else np.uintp(ROW + 1)
        out, there = classes[half], valid[half]
        for v in range(np.uintp(NUM_VERTICES) - far):
            some, whole = near[v] | near[v + side] | near[v + far], deep[v] & deep[v + side] & deep[v + far]
            gone = (whole & hiding != 0) | ((wanted != 0) & (some & wanted == 0)) | (not there[v])
            sure = (some & hiding == 0) & ((wanted == 0) | (whole & wanted != 0))
            kind = _SURE if sure else some
            out[v] = _GONE if gone else kind
        for v in range(np.uintp(NUM_VERTICES) - far, np.uintp(NUM_VERTICES)):
            out[v] = _GONE
