"""The parts of composites as solids: where they are, and how far out places lie in them.

Loops over rows of numbers, one result at a time, are those that compilers vectorise.
"""

import numpy as np

from pcfdsl.jit import kernel

__all__ = [
    "CONE",
    "CUTTER",
    "KINDS",
    "MAX_DEGREE",
    "NUM_WAVES",
    "RATIO",
    "SIZE",
    "SOLID",
    "TORUS",
    "WAVES",
    "WIRES",
    "frames",
    "gauge_at",
    "swell",
]

KINDS = ("box", "ellipsoid", "cylinder", "cone", "torus")
BOX, ELLIPSOID, CYLINDER, CONE, TORUS = range(5)
SOLID, CUTTER, WIRES = range(3)
PLACE, TURN, SIZE, RATIO, WAVES = 0, 3, 7, 10, 11  # columns of a part's numbers
NUM_WAVES, MAX_DEGREE = 3, 6
_ONE, _HALF, _TINY = np.float32(1), np.float32(0.5), np.float32(1e-6)


@kernel(fastmath={"contract"})
def swell(i, waves, x, y, z, work):
    """work[0] becomes 1 plus the height field of part i in the direction of each place.

    It is a sum of cosines of multiples of angles to axes: Chebyshev polynomials of the angles' cosines, summed by
    Clenshaw's rule.
    """
    num = np.uintp(len(x))
    total, length = work[0], work[1]
    for k in range(num):
        length[k] = _ONE / max(np.sqrt(x[k] * x[k] + y[k] * y[k] + z[k] * z[k]), _TINY)
    for k in range(num):
        total[k] = _ONE
    for w in range(NUM_WAVES):
        a, b, c = waves[i, w, 0], waves[i, w, 1], waves[i, w, 2]
        c1, c2, c3 = waves[i, w, 3], waves[i, w, 4], waves[i, w, 5]
        c4, c5, c6 = waves[i, w, 6], waves[i, w, 7], waves[i, w, 8]
        for k in range(num):
            u = (a * x[k] + b * y[k] + c * z[k]) * length[k]
            t = u + u
            b5 = c5 + t * c6
            b4 = c4 + t * b5 - c6
            b3 = c3 + t * b4 - b5
            b2 = c2 + t * b3 - b4
            b1 = c1 + t * b2 - b3
            total[k] += u * b1 - b2


@kernel(fastmath={"contract"})
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
        swell(i, waves, x, y, z, work)
        for k in range(num):
            found[k] /= work[0, k]


@kernel(fastmath={"contract"})
def gauge_at(i, kind, ratio, wavy, waves, local, centers, x, y, z, work, found):
    """As `_gauge` for places in the world; `work` is [7, N or more]."""
    num = np.uintp(len(x))
    to_x, to_y, to_z = centers[i, 0], centers[i, 1], centers[i, 2]
    for axis in range(3):
        own, a, b, c = work[axis], local[i, axis, 0], local[i, axis, 1], local[i, axis, 2]
        for k in range(num):
            own[k] = a * (x[k] - to_x) + b * (y[k] - to_y) + c * (z[k] - to_z)
    _gauge(i, kind, ratio, wavy, waves, work[0, :num], work[1, :num], work[2, :num], work[3:], found)


@kernel
def frames(kinds, parents, numbers):
    """What the numbers of the parts say.

    Returns:
        All float32: [P, 3, 3] matrices to the world; [P, 3, 3] matrices back; [P, 3] centres; [P, NUM_WAVES, 9] waves,
        each an axis of length 1 and an amplitude for each degree; [P] least distance of the surface with its height
        field from the centre, in units of that without.
    """
    num_parts = len(kinds)
    world, local = np.empty((num_parts, 3, 3), np.float32), np.empty((num_parts, 3, 3), np.float32)
    centers, waves = np.zeros((num_parts, 3), np.float32), np.zeros((num_parts, NUM_WAVES, 3 + MAX_DEGREE), np.float32)
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
            waves[i, w, 0], waves[i, w, 1], waves[i, w, 2] = x / length, y / length, z / length
            degree = numbers[i, first + 1]
            if not 1 <= degree <= MAX_DEGREE:
                raise ValueError("the degree of a composite's wave must be a number from 1 to 6")
            waves[i, w, 2 + int(degree)] = numbers[i, first]
            least[i] -= abs(numbers[i, first])
        if i == 0:
            continue
        p = parents[i]
        x, y, z = numbers[i, PLACE], numbers[i, PLACE + 1], numbers[i, PLACE + 2]
        at_x[0], at_y[0], at_z[0] = x, y, z
        if kinds[p] == TORUS:  # on the outer half of its tube
            swell(p, waves, at_x, at_y, at_z, work)
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
