"""Kernels of composites: the parts' frames, what is inside them, and points uniform over what is left of their surfaces.

The surface of each part is a mesh of flat triangles (wires: of cylinders about the sides of some). Solids say at the
corners of a triangle whether it lies within them, clear of them, or perhaps across their surface; in the last case
alone, its points are asked too. A mesh is within some thousandths of its part's size of the true surface.
"""

import numpy as np
from numba import njit

from pcfdsl.formula.composite_meshes import NUM_TRIANGLES, NUM_VERTICES
from pcfdsl.formula.surface import find_cell, position_in_cell, tabulate_cells, word

__all__ = [
    "BOX",
    "CONE",
    "CUTTER",
    "CYLINDER",
    "ELLIPSOID",
    "SOLID",
    "TORUS",
    "WIRES",
    "gauge",
    "place",
    "sample_cells",
]

BOX, ELLIPSOID, CYLINDER, CONE, TORUS = range(5)
SOLID, CUTTER, WIRES = range(3)
_THICKNESS = np.float32(0.04)  # radius of wires in units of a part's mean half extent
_NEED = np.uint32(1 << 31)  # the mark of cells that are kept only inside a solid
_ATTEMPTS = 64  # words per point, until a shape is given up
_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")
def _height(waves, x, y, z):
    """Height field at a direction: a sum of cosines of multiples of the angles to axes, as Chebyshev polynomials."""
    total = np.float32(0)
    for w in range(len(waves)):
        c = waves[w, 2] * x + waves[w, 3] * y + waves[w, 4] * z
        before, now = _ONE, c
        for _ in range(1, int(waves[w, 1])):
            before, now = now, _TWO * c * now - before
        total += waves[w, 0] * now
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gauge(kind, ratio, waves, x, y, z):
    """How far out a place in a part's own frame is: 1 on the surface, less within; twice as far out, twice as much."""
    if kind == TORUS:
        out = np.sqrt(x * x + y * y)
        shrink = (out - (_ONE - ratio)) / (max(out, np.float32(1e-6)) * ratio)
        x, y, z = x * shrink, y * shrink, z / ratio
    if kind == BOX:
        found = max(abs(x), abs(y), abs(z))
    elif kind == CYLINDER or kind == CONE:
        slope = (_ONE - ratio) * _HALF
        found = max((np.sqrt(x * x + y * y) + slope * z) / (_ONE - slope), abs(z))
    else:
        found = np.sqrt(x * x + y * y + z * z)
    if len(waves):
        length = _ONE / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
        found /= _ONE + _height(waves, x * length, y * length, z * length)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def place(kinds, parents, places, turns, sizes, ratios, waves):
    """Frames of the parts: [P, 3, 3] to the world, [P, 3, 3] back, [P, 3] centres, all float32.

    `waves` is [P, W, 5] with axes of length 1, as everywhere here; W is 0 where no part has a height field.
    """
    num_parts = len(kinds)
    world, local = np.empty((2, num_parts, 3, 3), np.float32)
    centers = np.zeros((num_parts, 3), np.float32)
    for i in range(num_parts):
        w, x, y, z = turns[i] / np.sqrt((turns[i] ** 2).sum())
        turn = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        for a in range(3):
            for b in range(3):
                world[i, a, b] = turn[a][b] * sizes[i, b]
                local[i, b, a] = turn[a][b] / sizes[i, b]
        if i == 0:
            continue
        p = parents[i]
        x, y, z = places[i] / np.sqrt((places[i] ** 2).sum())
        if kinds[p] == TORUS:
            ring = (_ONE - ratios[p]) / max(np.sqrt(x * x + y * y), np.float32(1e-6))
            tube = ratios[p] * (_ONE + _height(waves[p], x, y, z))
            x, y, z = x * (ring + tube), y * (ring + tube), z * tube
        else:
            out = _ONE / gauge(kinds[p], ratios[p], waves[p], x, y, z)
            x, y, z = x * out, y * out, z * out
        own = _ONE - ratios[i] if kinds[i] == TORUS else np.float32(0)  # where the middle of its tube is
        for a in range(3):
            at = world[p, a, 0] * x + world[p, a, 1] * y + world[p, a, 2] * z
            centers[i, a] = centers[p, a] + at - world[i, a, 0] * own
    return world, local, centers


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _mesh(template, kind, ratio, waves, world, center, vertices):
    """Vertices [3, V] of a part in the world; how far they reach from the centre."""
    slope = (_ONE - ratio) * _HALF if kind == CONE else np.float32(0)
    ring, tube = (_ONE - ratio, ratio) if kind == TORUS else (np.float32(0), _ONE)
    reach = np.float32(0)
    for v in range(np.uintp(NUM_VERTICES)):
        x, y, z = template[0, v], template[1, v], template[2, v]
        taper = _ONE - slope * (z + _ONE)
        x, y = x * taper, y * taper
        scale = tube
        if len(waves):
            length = _ONE / np.sqrt(x * x + y * y + z * z)
            scale *= _ONE + _height(waves, x * length, y * length, z * length)
        x, y, z = ring * template[3, v] + x * scale, ring * template[4, v] + y * scale, z * scale
        px = world[0, 0] * x + world[0, 1] * y + world[0, 2] * z
        py = world[1, 0] * x + world[1, 1] * y + world[1, 2] * z
        pz = world[2, 0] * x + world[2, 1] * y + world[2, 2] * z
        reach = max(reach, px * px + py * py + pz * pz)
        vertices[0, v], vertices[1, v], vertices[2, v] = center[0] + px, center[1] + py, center[2] + pz
    return np.sqrt(reach)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _triangle_areas(vertices, corners, areas):
    """Areas of a part's triangles; the square of the longest side."""
    longest = np.float32(0)
    for t in range(np.uintp(NUM_TRIANGLES)):
        a, b, c = np.uintp(corners[t, 0]), np.uintp(corners[t, 1]), np.uintp(corners[t, 2])
        ux, uy, uz = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a], vertices[2, b] - vertices[2, a]
        vx, vy, vz = vertices[0, c] - vertices[0, a], vertices[1, c] - vertices[1, a], vertices[2, c] - vertices[2, a]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        areas[t] = _HALF * np.sqrt(x * x + y * y + z * z)
        longest = max(longest, ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz)
    return longest


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _ask(kind, ratio, waves, local, center, margin, bit, vertices, deep, near):
    """Set a bit of `deep` for vertices well within a part, and of `near` for all that are not well outside."""
    for v in range(np.uintp(NUM_VERTICES)):
        dx, dy, dz = vertices[0, v] - center[0], vertices[1, v] - center[1], vertices[2, v] - center[2]
        x = local[0, 0] * dx + local[0, 1] * dy + local[0, 2] * dz
        y = local[1, 0] * dx + local[1, 1] * dy + local[1, 2] * dz
        z = local[2, 0] * dx + local[2, 1] * dy + local[2, 2] * dz
        found = gauge(kind, ratio, waves, x, y, z)
        deep[v] |= bit if found < _ONE - margin else np.uint32(0)
        near[v] |= bit if found < _ONE + margin else np.uint32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _steepness(kind, ratio, waves, size):
    """At most how fast a part's gauge changes near its surface, per unit of the world."""
    slope = (_ONE - ratio) * _HALF
    own = _ONE
    if kind == CONE:
        own = np.sqrt(_ONE + slope * slope) / (_ONE - slope)
    elif kind == TORUS:
        own = _ONE / ratio
    height, hills = np.float32(0), np.float32(0)
    for w in range(len(waves)):
        height += abs(waves[w, 0])
        hills += abs(waves[w, 0]) * waves[w, 1]
    return own * (_ONE + hills) / max(_ONE - height, np.float32(0.1)) / size.min()


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _fates(role, solids, cutters, corners, first, count, deep, near, areas, where, tests, kept):
    """Append what is left of `count` cells of a part; how many cells there are then.

    Args:
        corners: [count, 2 or 3] vertices of each cell.
        first: Number of the part's first cell, to which the cell's own is added in `where`.
        areas: [count] of the cells of this part, then of all that are kept.
        tests: Solids and cutters that points of a kept cell are asked of; with the mark `_NEED`, one of the solids must
            hold them.
    """
    for t in range(np.uintp(count)):
        inside, touched = ~np.uint32(0), np.uint32(0)
        for c in range(corners.shape[1]):
            inside &= deep[corners[t, c]]
            touched |= near[corners[t, c]]
        if role == CUTTER:
            if inside & cutters or not touched & solids:
                continue
            touched = touched & cutters if inside & solids else touched | _NEED
        elif inside:
            continue
        areas[kept], where[kept], tests[kept] = areas[first + t], first + t, touched
        kept += 1
    return kept


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _wire_areas(vertices, ends, radius, areas):
    """Areas of the cylinders about sides; the square of the longest side."""
    longest = np.float32(0)
    for s in range(np.uintp(len(ends))):
        a, b = np.uintp(ends[s, 0]), np.uintp(ends[s, 1])
        x, y, z = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a], vertices[2, b] - vertices[2, a]
        square = x * x + y * y + z * z
        areas[s] = np.float32(2 * np.pi) * radius * np.sqrt(square)
        longest = max(longest, square)
    return longest


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_triangle(vertices, corners, u, v):
    if u + v > _ONE:
        u, v = _ONE - u, _ONE - v
    w = _ONE - u - v
    a, b, c = np.uintp(corners[0]), np.uintp(corners[1]), np.uintp(corners[2])
    return (
        w * vertices[0, a] + u * vertices[0, b] + v * vertices[0, c],
        w * vertices[1, a] + u * vertices[1, b] + v * vertices[1, c],
        w * vertices[2, a] + u * vertices[2, b] + v * vertices[2, c],
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_wire(vertices, ends, radius, u, v):
    a, b = np.uintp(ends[0]), np.uintp(ends[1])
    x, y, z = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a], vertices[2, b] - vertices[2, a]
    px, py, pz = vertices[0, a] + u * x, vertices[1, a] + u * y, vertices[2, a] + u * z
    if abs(x) > abs(z):  # a direction across the wire, and another across both
        length = _ONE / np.sqrt(x * x + y * y)
        ex, ey, ez = -y * length, x * length, np.float32(0)
    else:
        length = _ONE / np.sqrt(y * y + z * z)
        ex, ey, ez = np.float32(0), -z * length, y * length
    length = _ONE / np.sqrt(x * x + y * y + z * z)
    fx, fy, fz = (y * ez - z * ey) * length, (z * ex - x * ez) * length, (x * ey - y * ex) * length
    angle = v * np.float32(2 * np.pi)
    c, s = np.cos(angle) * radius, np.sin(angle) * radius
    return px + c * ex + s * fx, py + c * ey + s * fy, pz + c * ez + s * fz


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _remains(tests, solids, kinds, ratios, waves, num_waves, local, centers, x, y, z):
    """Whether a point of a cell is on the skin."""
    held = not tests & _NEED
    for j in range(len(kinds)):
        bit = np.uint32(1) << np.uint32(j)
        if not tests & bit:
            continue
        dx, dy, dz = x - centers[j, 0], y - centers[j, 1], z - centers[j, 2]
        at_x = local[j, 0, 0] * dx + local[j, 0, 1] * dy + local[j, 0, 2] * dz
        at_y = local[j, 1, 0] * dx + local[j, 1, 1] * dy + local[j, 1, 2] * dz
        at_z = local[j, 2, 0] * dx + local[j, 2, 1] * dy + local[j, 2, 2] * dz
        if gauge(kinds[j], ratios[j], waves[j, : num_waves[j]], at_x, at_y, at_z) < _ONE:
            if not (tests & _NEED and solids & bit):
                return False
            held = True
    return held


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sample_cells(
    kinds, roles, parents, places, turns, sizes, ratios, waves, template, triangles, ends, starts, key, points
):
    """Fill points; how many were found, fewer than all if hardly anything is left of the shape."""
    num_parts = len(kinds)
    num_waves = np.zeros(num_parts, np.int64)
    for i in range(num_parts):
        if np.abs(waves[i, :, 0]).max() > 0:
            num_waves[i] = waves.shape[1]
    world, local, centers = place(kinds, parents, places, turns, sizes, ratios, waves)
    vertices = np.empty((num_parts, 3, NUM_VERTICES), np.float32)
    reach, radii = np.empty(num_parts, np.float32), np.zeros(num_parts, np.float32)
    solids, cutters = np.uint32(0), np.uint32(0)
    for i in range(num_parts):
        reach[i] = _mesh(
            template[kinds[i]], kinds[i], ratios[i], waves[i, : num_waves[i]], world[i], centers[i], vertices[i]
        )
        bit = np.uint32(1) << np.uint32(i)
        if roles[i] == SOLID:
            solids |= bit
        elif roles[i] == CUTTER:
            cutters |= bit
        else:
            radii[i] = _THICKNESS * np.float32((sizes[i, 0] * sizes[i, 1] * sizes[i, 2]) ** (1 / 3))
            reach[i] += radii[i]
    areas = np.empty(num_parts * NUM_TRIANGLES, np.float32)
    where, tests = np.empty(len(areas), np.int32), np.empty(len(areas), np.uint32)
    deep, near = np.empty(NUM_VERTICES, np.uint32), np.empty(NUM_VERTICES, np.uint32)
    num_cells = 0
    for i in range(num_parts):
        first, torus = i * NUM_TRIANGLES, 1 if kinds[i] == TORUS else 0
        start, stop = starts[torus, max(roles[i], WIRES) - WIRES], starts[torus, max(roles[i], WIRES) - WIRES + 1]
        if roles[i] >= WIRES:
            longest = _wire_areas(vertices[i], ends[start:stop], radii[i], areas[first:])
        else:
            longest = _triangle_areas(vertices[i], triangles[torus], areas[first:])
        within = np.float32(0.58) * np.sqrt(longest) + radii[i]  # of each place of a cell is one of its vertices
        deep[:], near[:] = 0, 0
        for j in range(num_parts):
            bit = np.uint32(1) << np.uint32(j)
            dx, dy, dz = centers[i, 0] - centers[j, 0], centers[i, 1] - centers[j, 1], centers[i, 2] - centers[j, 2]
            apart = dx * dx + dy * dy + dz * dz > (reach[i] + reach[j]) ** 2
            if j == i or apart or not (solids | cutters) & bit:
                continue
            own = waves[j, : num_waves[j]]
            margin = within * _steepness(kinds[j], ratios[j], own, sizes[j])
            _ask(kinds[j], ratios[j], own, local[j], centers[j], margin, bit, vertices[i], deep, near)
        if roles[i] >= WIRES:
            num_cells = _fates(
                roles[i],
                solids,
                cutters,
                ends[start:stop],
                first,
                stop - start,
                deep,
                near,
                areas,
                where,
                tests,
                num_cells,
            )
        else:
            num_cells = _fates(
                roles[i],
                solids,
                cutters,
                triangles[torus],
                first,
                NUM_TRIANGLES,
                deep,
                near,
                areas,
                where,
                tests,
                num_cells,
            )
    if num_cells == 0:
        return 0
    cumulative, guide = np.empty(num_cells), np.empty(num_cells, np.int32)
    total = tabulate_cells(areas[:num_cells], cumulative, guide)
    if not (total > 0 and np.isfinite(total)):
        return 0
    made = 0
    for attempt in range(_ATTEMPTS * (len(points) + 100)):
        random = word(key, attempt)
        cell = find_cell(cumulative, guide, random)
        u, v = position_in_cell(random)
        i, t = where[cell] // NUM_TRIANGLES, where[cell] % NUM_TRIANGLES
        torus = 1 if kinds[i] == TORUS else 0
        if roles[i] >= WIRES:
            segment = ends[starts[torus, roles[i] - WIRES] + t]
            x, y, z = _on_wire(vertices[i], segment, radii[i], u, v)
        else:
            x, y, z = _on_triangle(vertices[i], triangles[torus, t], u, v)
        if tests[cell] and not _remains(tests[cell], solids, kinds, ratios, waves, num_waves, local, centers, x, y, z):
            continue
        points[made, 0], points[made, 1], points[made, 2] = x, y, z
        made += 1
        if made == len(points):
            break
    return made
