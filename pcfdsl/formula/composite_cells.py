"""Kernels of composites: the frames of the parts, what is inside them, and points uniform over what is left of them.

The surface of each part is a grid of flat triangles (wires: of cylinders about some of their sides), within some
thousandths of its size of the true one. Cells within another part are dropped, and the points of the others that are.
Loops over whole rows of numbers, one result at a time, are those that compilers vectorise.
"""

import numpy as np
from numba import njit

from pcfdsl.formula.composite_meshes import NUM_VERTICES, ROW
from pcfdsl.formula.surface import find_cell, position_in_cell, tabulate_cells, word

__all__ = ["CONE", "CUTTER", "KINDS", "NUM_WAVES", "SOLID", "TORUS", "WIRES", "frames", "gauge_at", "sample_cells"]

KINDS = ("box", "ellipsoid", "cylinder", "cone", "torus")
BOX, ELLIPSOID, CYLINDER, CONE, TORUS = range(5)
SOLID, CUTTER, WIRES = range(3)
PLACE, TURN, SIZE, RATIO, WAVES = 0, 3, 7, 10, 11  # columns of a part's numbers
NUM_WAVES = 3
_THICKNESS = 0.04  # radius of wires in units of the geometric mean of a part's half extents
_ATTEMPTS = 64  # words per point, until a shape is given up
_BLOCK = 256
_ONE, _TWO, _HALF, _TINY = np.float32(1), np.float32(2), np.float32(0.5), np.float32(1e-6)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _swell(i, waves, x, y, z, work):
    """work[0] becomes 1 plus the height field of part i in the direction of each place.

    It is a sum of cosines of multiples of the angle to an axis, which are Chebyshev polynomials of its cosine.
    """
    num = np.uintp(len(x))
    total, cosine, now, before = work[0], work[1], work[2], work[3]
    for k in range(num):
        total[k] = _ONE
    for w in range(NUM_WAVES):
        amplitude, a, b, c = waves[i, w, 0], waves[i, w, 2], waves[i, w, 3], waves[i, w, 4]
        for k in range(num):
            length = np.sqrt(x[k] * x[k] + y[k] * y[k] + z[k] * z[k])
            cosine[k] = (a * x[k] + b * y[k] + c * z[k]) / max(length, _TINY)
        for k in range(num):
            now[k] = cosine[k]
        for k in range(num):
            before[k] = _ONE
        for _ in range(1, int(waves[i, w, 1])):
            for k in range(num):
                before[k] = _TWO * cosine[k] * now[k] - before[k]
            now, before = before, now
        for k in range(num):
            total[k] += amplitude * now[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _gauge(i, kind, ratio, wavy, waves, x, y, z, work, found):
    """How far out places in the frame of part i are, with its height field if `wavy`: 1 on its surface, less within.

    Those of a torus become relative to the nearest place on the middle of the tube, in units of its radius.
    """
    num = np.uintp(len(x))
    if kind == TORUS:
        scale, middle = _ONE / ratio, _ONE - ratio
        for k in range(num):
            out = np.sqrt(x[k] * x[k] + y[k] * y[k])
            found[k] = (out - middle) / max(out * ratio, _TINY)
        for k in range(num):
            x[k] *= found[k]
        for k in range(num):
            y[k] *= found[k]
        for k in range(num):
            z[k] *= scale
    if kind == BOX:
        for k in range(num):
            found[k] = max(max(abs(x[k]), abs(y[k])), abs(z[k]))
    elif kind in (CYLINDER, CONE):
        slope = (_ONE - ratio) * _HALF if kind == CONE else np.float32(0)
        scale = _ONE / (_ONE - slope)
        for k in range(num):
            found[k] = max((np.sqrt(x[k] * x[k] + y[k] * y[k]) + slope * z[k]) * scale, abs(z[k]))
    else:
        for k in range(num):
            found[k] = np.sqrt(x[k] * x[k] + y[k] * y[k] + z[k] * z[k])
    if wavy:
        _swell(i, waves, x, y, z, work)
        for k in range(num):
            found[k] /= work[0, k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gauge_at(i, kind, ratio, wavy, waves, local, centers, x, y, z, work, found):
    """As `_gauge` for places in the world; `work` is [7, N or more]."""
    num = np.uintp(len(x))
    to_x, to_y, to_z = centers[i, 0], centers[i, 1], centers[i, 2]
    for axis in range(3):
        own, a, b, c = work[axis], local[i, axis, 0], local[i, axis, 1], local[i, axis, 2]
        for k in range(num):
            own[k] = a * (x[k] - to_x) + b * (y[k] - to_y) + c * (z[k] - to_z)
    _gauge(i, kind, ratio, wavy, waves, work[0, :num], work[1, :num], work[2, :num], work[3:], found)


@njit(cache=True, nogil=True, error_model="numpy")
def frames(kinds, parents, numbers):
    """What the numbers of the parts say.

    Returns:
        All float32: [P, 3, 3] matrices to the world; [P, 3, 3] matrices back; [P, 3] centres; [P, NUM_WAVES, 5] waves,
        axes of length 1; [P] least distance of the surface with its height field, in units of that without.
    """
    num_parts = len(kinds)
    world, local = np.empty((num_parts, 3, 3), np.float32), np.empty((num_parts, 3, 3), np.float32)
    centers, waves = np.zeros((num_parts, 3), np.float32), np.empty((num_parts, NUM_WAVES, 5), np.float32)
    least, work, found = np.ones(num_parts, np.float32), np.empty((4, 1), np.float32), np.empty(1, np.float32)
    at_x, at_y, at_z = np.empty(1, np.float32), np.empty(1, np.float32), np.empty(1, np.float32)
    for i in range(num_parts):
        w, x, y, z = numbers[i, TURN], numbers[i, TURN + 1], numbers[i, TURN + 2], numbers[i, TURN + 3]
        s = 2 / (w * w + x * x + y * y + z * z)
        turn = (
            (1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)),
            (s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)),
            (s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)),
        )
        for a in range(3):
            for b in range(3):
                world[i, a, b] = turn[a][b] * numbers[i, SIZE + b]
                local[i, b, a] = turn[a][b] / numbers[i, SIZE + b]
        for w in range(NUM_WAVES):
            first = WAVES + 5 * w
            x, y, z = numbers[i, first + 2], numbers[i, first + 3], numbers[i, first + 4]
            length = np.sqrt(x * x + y * y + z * z)
            waves[i, w, 0], waves[i, w, 1] = numbers[i, first], numbers[i, first + 1]
            waves[i, w, 2], waves[i, w, 3], waves[i, w, 4] = x / length, y / length, z / length
            least[i] -= abs(waves[i, w, 0])
        if i == 0:
            continue
        p = parents[i]
        x, y, z = numbers[i, PLACE], numbers[i, PLACE + 1], numbers[i, PLACE + 2]
        at_x[0], at_y[0], at_z[0] = x, y, z
        if kinds[p] == TORUS:  # on the outer half of its tube
            _swell(p, waves, at_x, at_y, at_z, work)
            tube = numbers[p, RATIO] * work[0, 0] / np.sqrt(x * x + y * y + z * z)
            ring = (1 - numbers[p, RATIO]) / np.sqrt(x * x + y * y)
            x, y, z = x * (ring + tube), y * (ring + tube), z * tube
        else:
            _gauge(p, kinds[p], np.float32(numbers[p, RATIO]), True, waves, at_x, at_y, at_z, work, found)
            x, y, z = x / found[0], y / found[0], z / found[0]
        own = 1 - numbers[i, RATIO] if kinds[i] == TORUS else 0.0  # from its centre to the middle of its tube
        for a in range(3):
            at = world[p, a, 0] * x + world[p, a, 1] * y + world[p, a, 2] * z
            centers[i, a] = centers[p, a] + at - world[i, a, 0] * own
    return world, local, centers, waves, least


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
        _swell(i, waves, x, y, z, work)
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
def _keep(first, valid, wire, dropped_by, deep, areas, cells, kept_areas, kept):
    """Append a part's cells that do not lie within one of the parts `dropped_by`; how many there are then.

    A cell is twice the number of its vertex, and 1 more if it is the second of the two.
    """
    for half in range(2):
        near = np.uintp(1 if half == 0 else ROW)
        far = near if wire else np.uintp(ROW + 1)
        for v in range(np.uintp(NUM_VERTICES) - far):
            cells[kept], kept_areas[kept] = 2 * (first + v) + half, areas[half, v]
            inside = deep[v] & deep[v + near] & deep[v + far] & dropped_by
            kept += np.uintp(valid[half, v] & (inside == 0))
    return kept


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_wire(ax, ay, az, x, y, z, radius, u, v):
    """A place on the cylinder about a side that begins at a."""
    if abs(x) > abs(z):  # a direction across the wire, and one across both
        length = _ONE / np.sqrt(x * x + y * y)
        ex, ey, ez = -y * length, x * length, np.float32(0)
    else:
        length = _ONE / np.sqrt(y * y + z * z)
        ex, ey, ez = np.float32(0), -z * length, y * length
    length = _ONE / np.sqrt(x * x + y * y + z * z)
    fx, fy, fz = (y * ez - z * ey) * length, (z * ex - x * ez) * length, (x * ey - y * ex) * length
    c, s = np.cos(v * np.float32(2 * np.pi)) * radius, np.sin(v * np.float32(2 * np.pi)) * radius
    return ax + u * x + c * ex + s * fx, ay + u * y + c * ey + s * fy, az + u * z + c * ez + s * fz


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _candidates(key, first, cumulative, guide, cells, radii, vertices, part, x, y, z):
    """A block of points uniform over all cells, and the part that each is of."""
    far = np.uintp(ROW + 1)
    for k in range(np.uintp(_BLOCK)):
        random = word(key, np.uintp(first) + k)
        cell = np.uintp(cells[find_cell(cumulative, guide, random)])
        u, v = position_in_cell(random)
        a = cell >> np.uintp(1)
        b = a + (np.uintp(ROW) if cell & np.uintp(1) else np.uintp(1))
        part[k] = a // np.uintp(NUM_VERTICES)
        ax, ay, az = vertices[0, a], vertices[1, a], vertices[2, a]
        bx, by, bz = vertices[0, b] - ax, vertices[1, b] - ay, vertices[2, b] - az
        if radii[part[k]]:
            x[k], y[k], z[k] = _on_wire(ax, ay, az, bx, by, bz, radii[part[k]], u, v)
            continue
        folded = u + v > _ONE
        u, v = _ONE - u if folded else u, _ONE - v if folded else v
        c = a + far
        x[k] = ax + u * bx + v * (vertices[0, c] - ax)
        y[k] = ay + u * by + v * (vertices[1, c] - ay)
        z[k] = az + u * bz + v * (vertices[2, c] - az)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sample_cells(kinds, roles, parents, numbers, grid, valid, key, points):
    """Fill points; how many were found, fewer than all if hardly anything is left of the shape."""
    num_parts = len(kinds)
    world, local, centers, waves, least = frames(kinds, parents, numbers)
    most = num_parts * 2 * NUM_VERTICES
    vertices, work = np.empty((3, num_parts * NUM_VERTICES), np.float32), np.empty((7, NUM_VERTICES), np.float32)
    radii, ratios = np.zeros(num_parts, np.float32), numbers[:, RATIO].astype(np.float32)
    solids, cutters = np.uint32(0), np.uint32(0)
    for i in range(num_parts):
        _mesh(i, kinds[i], ratios[i], least[i] < 1, waves, world, centers, grid, work, vertices)
        bit = np.uint32(1) << np.uint32(i)
        if roles[i] == SOLID:
            solids |= bit
        elif roles[i] == CUTTER:
            cutters |= bit
        else:
            radii[i] = _THICKNESS * (numbers[i, SIZE] * numbers[i, SIZE + 1] * numbers[i, SIZE + 2]) ** (1 / 3)

    areas, found = np.zeros((2, NUM_VERTICES), np.float32), np.empty(NUM_VERTICES, np.float32)
    kept_areas, cells = np.empty(most + 1, np.float32), np.empty(most + 1, np.int32)
    deep, num_cells = np.empty(NUM_VERTICES, np.uint32), np.uintp(0)
    for i in range(num_parts):
        own = slice(i * NUM_VERTICES, (i + 1) * NUM_VERTICES)
        x, y, z = vertices[0, own], vertices[1, own], vertices[2, own]
        if roles[i] >= WIRES:
            _wire_areas(radii[i], x, y, z, areas)
        else:
            _triangle_areas(x, y, z, areas)
        deep[:] = 0
        for j in range(num_parts):
            bit, hides = np.uint32(1) << np.uint32(j), cutters if roles[i] == CUTTER else solids | cutters
            if i == j or kinds[j] == TORUS or not hides & bit:
                continue  # a torus is not convex: cells may lie outside although their corners do not
            gauge_at(j, kinds[j], ratios[j], False, waves, local, centers, x, y, z, work, found)
            for v in range(np.uintp(NUM_VERTICES)):
                deep[v] |= bit if found[v] < least[j] else np.uint32(0)
        form, torus = max(roles[i] - CUTTER, 0), 1 if kinds[i] == TORUS else 0
        num_cells = _keep(
            i * NUM_VERTICES,
            valid[form, torus],
            roles[i] >= WIRES,
            ~np.uint32(0),
            deep,
            areas,
            cells,
            kept_areas,
            num_cells,
        )
    cumulative, guide = np.empty(num_cells), np.empty(num_cells, np.int32)
    total = tabulate_cells(kept_areas[:num_cells], cumulative, guide)
    if not (total > 0 and np.isfinite(total)):
        return 0

    made, part, inside = 0, np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.uint32)
    block = np.empty((3, _BLOCK), np.float32)
    x, y, z = block[0], block[1], block[2]
    for first in range(0, _ATTEMPTS * (len(points) + _BLOCK), _BLOCK):
        _candidates(key, first, cumulative, guide, cells, radii, vertices, part, x, y, z)
        inside[:] = 0
        for j in range(num_parts):
            if roles[j] >= WIRES:
                continue
            gauge_at(j, kinds[j], ratios[j], least[j] < 1, waves, local, centers, x, y, z, work, found[:_BLOCK])
            bit = np.uint32(1) << np.uint32(j)
            for k in range(np.uintp(_BLOCK)):
                inside[k] |= bit if found[k] < _ONE else np.uint32(0)
        for k in range(np.uintp(_BLOCK)):
            others = inside[k] & ~(np.uint32(1) << np.uint32(part[k]))
            cutter = roles[part[k]] == CUTTER
            left = others & cutters == 0 and others & solids != 0 if cutter else others == 0
            if left and made < len(points):
                points[made, 0], points[made, 1], points[made, 2] = x[k], y[k], z[k]
                made += 1
        if made == len(points):
            break
    return made
