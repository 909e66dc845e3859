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
def _height(waves, i, x, y, z):
    """Height field at a direction: a sum of cosines of multiples of the angles to axes, as Chebyshev polynomials."""
    total = np.float32(0)
    for w in range(waves.shape[1]):
        c = waves[i, w, 2] * x + waves[i, w, 3] * y + waves[i, w, 4] * z
        before, now = _ONE, c
        for _ in range(1, int(waves[i, w, 1])):
            before, now = now, _TWO * c * now - before
        total += waves[i, w, 0] * now
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gauge(kind, ratio, rough, waves, i, x, y, z):
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
    if rough:
        length = _ONE / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
        found /= _ONE + _height(waves, i, x * length, y * length, z * length)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def place(kinds, parents, places, turns, sizes, ratios, rough, waves):
    """Frames of the parts: [P, 3, 3] to the world, [P, 3, 3] back, [P, 3] centres, all float32."""
    num_parts = len(kinds)
    world, local = np.empty((num_parts, 3, 3), np.float32), np.empty((num_parts, 3, 3), np.float32)
    centers = np.zeros((num_parts, 3), np.float32)
    for i in range(num_parts):
        w, x, y, z = turns[i, 0], turns[i, 1], turns[i, 2], turns[i, 3]
        s = _TWO / (w * w + x * x + y * y + z * z)
        turn = (
            (_ONE - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)),
            (s * (x * y + w * z), _ONE - s * (x * x + z * z), s * (y * z - w * x)),
            (s * (x * z - w * y), s * (y * z + w * x), _ONE - s * (x * x + y * y)),
        )
        for a in range(3):
            for b in range(3):
                world[i, a, b] = turn[a][b] * sizes[i, b]
                local[i, b, a] = turn[a][b] / sizes[i, b]
        if i == 0:
            continue
        p = parents[i]
        length = _ONE / np.sqrt(places[i, 0] ** 2 + places[i, 1] ** 2 + places[i, 2] ** 2)
        x, y, z = places[i, 0] * length, places[i, 1] * length, places[i, 2] * length
        if kinds[p] == TORUS:
            ring = (_ONE - ratios[p]) / max(np.sqrt(x * x + y * y), np.float32(1e-6))
            tube = ratios[p] * (_ONE + _height(waves, p, x, y, z)) if rough[p] else ratios[p]
            x, y, z = x * (ring + tube), y * (ring + tube), z * tube
        else:
            out = _ONE / gauge(kinds[p], ratios[p], rough[p], waves, p, x, y, z)
            x, y, z = x * out, y * out, z * out
        own = _ONE - ratios[i] if kinds[i] == TORUS else np.float32(0)  # from its centre to the middle of its tube
        for a in range(3):
            at = world[p, a, 0] * x + world[p, a, 1] * y + world[p, a, 2] * z
            centers[i, a] = centers[p, a] + at - world[i, a, 0] * own
    return world, local, centers


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _mesh(i, template, kind, ratio, rough, waves, world, centers, vertices):
    """Vertices of a part in the world; how far they reach from its centre."""
    slope = (_ONE - ratio) * _HALF if kind == CONE else np.float32(0)
    ring, tube = (_ONE - ratio, ratio) if kind == TORUS else (np.float32(0), _ONE)
    a, b, c = world[i, 0, 0], world[i, 0, 1], world[i, 0, 2]
    d, e, f = world[i, 1, 0], world[i, 1, 1], world[i, 1, 2]
    g, h, j = world[i, 2, 0], world[i, 2, 1], world[i, 2, 2]
    to_x, to_y, to_z = centers[i, 0], centers[i, 1], centers[i, 2]
    first = np.uintp(i * NUM_VERTICES)
    farthest = np.float32(0)
    for v in range(np.uintp(NUM_VERTICES)):
        x, y, z = template[kind, 0, v], template[kind, 1, v], template[kind, 2, v]
        taper = _ONE - slope * (z + _ONE)
        x, y = x * taper, y * taper
        scale = tube
        if rough:
            length = _ONE / np.sqrt(x * x + y * y + z * z)
            scale *= _ONE + _height(waves, i, x * length, y * length, z * length)
        x, y, z = ring * template[kind, 3, v] + x * scale, ring * template[kind, 4, v] + y * scale, z * scale
        x, y, z = a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + j * z
        farthest = max(farthest, x * x + y * y + z * z)
        vertices[0, first + v], vertices[1, first + v], vertices[2, first + v] = to_x + x, to_y + y, to_z + z
    return np.sqrt(farthest)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _areas(i, corners, start, stop, radius, vertices, areas, first):
    """Areas of a part's cells, triangles or cylinders about sides; the longest of the sides."""
    own = np.uintp(i * NUM_VERTICES)
    longest = np.float32(0)
    for t in range(np.uintp(stop - start)):
        cell = np.uintp(start) + t
        a, b, c = own + corners[cell, 0], own + corners[cell, 1], own + corners[cell, 2]
        ux, uy, uz = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a], vertices[2, b] - vertices[2, a]
        u = ux * ux + uy * uy + uz * uz
        if radius:
            areas[first + t] = np.float32(2 * np.pi) * radius * np.sqrt(u)
            longest = max(longest, u)
            continue
        vx, vy, vz = vertices[0, c] - vertices[0, a], vertices[1, c] - vertices[1, a], vertices[2, c] - vertices[2, a]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        areas[first + t] = _HALF * np.sqrt(x * x + y * y + z * z)
        wx, wy, wz = vx - ux, vy - uy, vz - uz
        longest = max(longest, u, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz)
    return np.sqrt(longest)


@njit(cache=True, nogil=True, error_model="numpy")
def _steepness(i, kind, ratio, waves, sizes):
    """At most how fast a part's gauge changes near its surface, per unit of the world."""
    own, height, hills = _ONE, np.float32(0), np.float32(0)
    if kind == CONE:
        slope = (_ONE - ratio) * _HALF
        own = np.sqrt(_ONE + slope * slope) / (_ONE - slope)
    elif kind == TORUS:
        own = _ONE / ratio
    for w in range(waves.shape[1]):
        height += abs(waves[i, w, 0])
        hills += abs(waves[i, w, 0]) * waves[i, w, 1]
    return own * (_ONE + hills) / max(_ONE - height, np.float32(0.1)) / min(sizes[i, 0], sizes[i, 1], sizes[i, 2])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _ask(i, j, kind, ratio, rough, waves, local, centers, margin, vertices, deep, near):
    """Set bit j of `deep` for vertices of part i well within part j, and of `near` for those not well outside."""
    a, b, c = local[j, 0, 0], local[j, 0, 1], local[j, 0, 2]
    d, e, f = local[j, 1, 0], local[j, 1, 1], local[j, 1, 2]
    g, h, k = local[j, 2, 0], local[j, 2, 1], local[j, 2, 2]
    to_x, to_y, to_z = centers[j, 0], centers[j, 1], centers[j, 2]
    first, bit = np.uintp(i * NUM_VERTICES), np.uint32(1) << np.uint32(j)
    for v in range(np.uintp(NUM_VERTICES)):
        x, y, z = vertices[0, first + v] - to_x, vertices[1, first + v] - to_y, vertices[2, first + v] - to_z
        x, y, z = a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + k * z
        found = gauge(kind, ratio, rough, waves, j, x, y, z)
        deep[v] |= bit if found < _ONE - margin else np.uint32(0)
        near[v] |= bit if found < _ONE + margin else np.uint32(0)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _keep(i, role, solids, cutters, corners, start, stop, deep, near, areas, cells, tests, first, kept):
    """Append what is left of a part's cells; how many there are then.

    A cell's `tests` are the solids and cutters of which its points are asked; with the mark `_NEED`, a solid must hold
    them. Its third corner, if it is a wire, is -1 - i.
    """
    own = np.int32(i * NUM_VERTICES)
    for t in range(np.uintp(stop - start)):
        cell = np.uintp(start) + t
        a, b, c = np.uintp(corners[cell, 0]), np.uintp(corners[cell, 1]), np.uintp(corners[cell, 2])
        inside, touched = deep[a] & deep[b] & deep[c], near[a] | near[b] | near[c]
        if role == CUTTER:
            if inside & cutters or not touched & solids:
                continue
            touched = touched & cutters if inside & solids else touched | _NEED
        elif inside:
            continue
        areas[kept], tests[kept] = areas[first + t], touched
        cells[kept, 0], cells[kept, 1] = own + corners[cell, 0], own + corners[cell, 1]
        cells[kept, 2] = own + corners[cell, 2] if role < WIRES else np.int32(-1 - i)
        kept += np.uintp(1)
    return kept


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_triangle(vertices, a, b, c, u, v):
    """A place on a triangle."""
    folded = u + v > _ONE
    u, v = _ONE - u if folded else u, _ONE - v if folded else v
    w = _ONE - u - v
    return (
        w * vertices[0, a] + u * vertices[0, b] + v * vertices[0, c],
        w * vertices[1, a] + u * vertices[1, b] + v * vertices[1, c],
        w * vertices[2, a] + u * vertices[2, b] + v * vertices[2, c],
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _on_wire(vertices, a, b, radius, u, v):
    """A place on a cylinder about a side."""
    x, y, z = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a], vertices[2, b] - vertices[2, a]
    if abs(x) > abs(z):  # a direction across the wire, and one across both
        length = _ONE / np.sqrt(x * x + y * y)
        ex, ey, ez = -y * length, x * length, np.float32(0)
    else:
        length = _ONE / np.sqrt(y * y + z * z)
        ex, ey, ez = np.float32(0), -z * length, y * length
    length = _ONE / np.sqrt(x * x + y * y + z * z)
    fx, fy, fz = (y * ez - z * ey) * length, (z * ex - x * ez) * length, (x * ey - y * ex) * length
    angle = v * np.float32(2 * np.pi)
    c, s = np.cos(angle) * radius, np.sin(angle) * radius
    return (
        vertices[0, a] + u * x + c * ex + s * fx,
        vertices[1, a] + u * y + c * ey + s * fy,
        vertices[2, a] + u * z + c * ez + s * fz,
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _is_left(tests, solids, kinds, ratios, rough, waves, local, centers, x, y, z):
    """Whether a point of a cell is on the skin."""
    held = not tests & _NEED
    for j in range(np.uintp(len(kinds))):
        if not tests >> np.uint32(j) & np.uint32(1):
            continue
        dx, dy, dz = x - centers[j, 0], y - centers[j, 1], z - centers[j, 2]
        at_x = local[j, 0, 0] * dx + local[j, 0, 1] * dy + local[j, 0, 2] * dz
        at_y = local[j, 1, 0] * dx + local[j, 1, 1] * dy + local[j, 1, 2] * dz
        at_z = local[j, 2, 0] * dx + local[j, 2, 1] * dy + local[j, 2, 2] * dz
        if gauge(kinds[j], ratios[j], rough[j], waves, j, at_x, at_y, at_z) < _ONE:
            if not (tests & _NEED and solids >> np.uint32(j) & np.uint32(1)):
                return False
            held = True
    return held


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _draw(
    cells, tests, vertices, radii, solids, kinds, ratios, rough, waves, local, centers, cumulative, guide, key, points
):
    """Fill points; how many were found."""
    made = np.uintp(0)
    for attempt in range(np.uintp(_ATTEMPTS * (len(points) + 100))):
        if made == np.uintp(len(points)):
            break
        random = word(key, attempt)
        cell = find_cell(cumulative, guide, random)
        u, v = position_in_cell(random)
        a, b, last = np.uintp(cells[cell, 0]), np.uintp(cells[cell, 1]), cells[cell, 2]
        if last < 0:
            x, y, z = _on_wire(vertices, a, b, radii[-1 - last], u, v)
        else:
            x, y, z = _on_triangle(vertices, a, b, np.uintp(last), u, v)
        points[made, 0], points[made, 1], points[made, 2] = x, y, z
        if not tests[cell] or _is_left(tests[cell], solids, kinds, ratios, rough, waves, local, centers, x, y, z):
            made += np.uintp(1)
    return made


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sample_cells(
    kinds, roles, parents, places, turns, sizes, ratios, rough, waves, template, corners, starts, key, points
):
    """Fill points; how many were found, fewer than all if hardly anything is left of the shape."""
    num_parts = len(kinds)
    world, local, centers = place(kinds, parents, places, turns, sizes, ratios, rough, waves)
    vertices = np.empty((3, num_parts * NUM_VERTICES), np.float32)
    reach, radii = np.empty(num_parts, np.float32), np.zeros(num_parts, np.float32)
    solids, cutters = np.uint32(0), np.uint32(0)
    for i in range(num_parts):
        reach[i] = _mesh(i, template, kinds[i], ratios[i], rough[i], waves, world, centers, vertices)
        bit = np.uint32(1) << np.uint32(i)
        if roles[i] == SOLID:
            solids |= bit
        elif roles[i] == CUTTER:
            cutters |= bit
        else:
            radii[i] = _THICKNESS * np.float32((sizes[i, 0] * sizes[i, 1] * sizes[i, 2]) ** (1 / 3))
            reach[i] += radii[i]
    most = num_parts * NUM_TRIANGLES
    areas, cells, tests = np.empty(most, np.float32), np.empty((most, 3), np.int32), np.empty(most, np.uint32)
    deep, near = np.empty(NUM_VERTICES, np.uint32), np.empty(NUM_VERTICES, np.uint32)
    num_cells = np.uintp(0)
    for i in range(num_parts):
        first, torus, form = i * NUM_TRIANGLES, 1 if kinds[i] == TORUS else 0, max(roles[i] - CUTTER, 0)
        start, stop = starts[torus, form], starts[torus, form + 1]
        longest = _areas(i, corners, start, stop, radii[i], vertices, areas, first)
        within = np.float32(0.58) * longest + radii[i]  # of any place of a cell is one of its vertices
        deep[:], near[:] = 0, 0
        for j in range(num_parts):
            dx, dy, dz = centers[i, 0] - centers[j, 0], centers[i, 1] - centers[j, 1], centers[i, 2] - centers[j, 2]
            apart = dx * dx + dy * dy + dz * dz > (reach[i] + reach[j]) ** 2
            if i == j or apart or roles[j] >= WIRES:
                continue
            margin = within * _steepness(j, kinds[j], ratios[j], waves, sizes)
            _ask(i, j, kinds[j], ratios[j], rough[j], waves, local, centers, margin, vertices, deep, near)
        num_cells = _keep(
            i, roles[i], solids, cutters, corners, start, stop, deep, near, areas, cells, tests, first, num_cells
        )
    if num_cells == 0:
        return 0
    cumulative, guide = np.empty(num_cells), np.empty(num_cells, np.int32)
    total = tabulate_cells(areas[:num_cells], cumulative, guide)
    if not (total > 0 and np.isfinite(total)):
        return 0
    return _draw(
        cells,
        tests,
        vertices,
        radii,
        solids,
        kinds,
        ratios,
        rough,
        waves,
        local,
        centers,
        cumulative,
        guide,
        key,
        points,
    )
