"""Growth: tubes that branch into tubes, sampled uniformly over their skin.

A rule says how a tube's end branches: for each branch how far it leans from the tube, where around it, and how much
shorter and thinner it is. Every branch follows the same rule, as often as `depth` says, as in a bracketed L-system
(Prusinkiewicz and Lindenmayer, The Algorithmic Beauty of Plants, 1990), whose tropism is here too. The tubes' skins are
cones without ends, and may run into one another.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.surface import BLOCK, choose_cells, circle, draw_key, interleave, position_in_cell, word
from pcfdsl.jit import kernel

__all__ = ["MAX_DEPTH", "Growth", "draw_growth", "perturb_growth", "sample_growth", "segments"]

MAX_DEPTH = 7
_MAX_BRANCHES, _MAX_TUBES = 4, 400
_STEPS = 3  # segments of a tube, between which it bends
_ROW = 14  # numbers of a segment
# How a branch's numbers vary: by a Gaussian with this deviation that is added, or by exp of it.
_TERMS, _FACTORS = np.array([0.5, 1.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.3, 0.3])


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A shape. The first tube begins at the origin, is 1 long, and rises along z.

    Attributes:
        depth: How often tubes branch.
        rule: [B, 4] of each branch: its angle to the tube and the angle around it, in radians; its length and its
            radius in units of the tube's.
        radius: Of the first tube, where it begins.
        tropism: How much tubes bend upwards, or downwards if negative: added to their direction on their way.
    """

    depth: int
    rule: np.ndarray
    radius: float
    tropism: float


def draw_growth(rng: np.random.Generator, *, max_depth: int = 5) -> Growth:
    """A random shape: two to four branches; not more than 400 tubes. Half the shapes have one that goes on ahead."""
    num = int(rng.integers(2, _MAX_BRANCHES + 1))
    depths = [d for d in range(1, max_depth + 1) if _num_tubes(num, d) <= _MAX_TUBES]
    around = 2 * np.pi * np.arange(num) / num + rng.uniform(-0.4, 0.4, num)
    rule = np.stack(
        [rng.uniform(0.3, 1.2, num), around, rng.uniform(0.6, 0.9, num), rng.uniform(0.5, 0.8, num)], axis=1
    )
    if rng.random() < 0.5:
        rule[0] = rng.uniform(0.05, 0.3), rng.uniform(0, 2 * np.pi), 0.9, 0.8
    depth = int(rng.integers(min(2, len(depths)), len(depths) + 1))
    radius = float(np.exp(rng.uniform(np.log(0.05), np.log(0.25))))
    return Growth(depth=depth, rule=rule, radius=radius, tropism=float(rng.uniform(-0.6, 0.9)))


def perturb_growth(rng: np.random.Generator, shape: Growth, *, variation: float) -> Growth:
    """Noise on all numbers; how many branches there are, and how often, stay."""
    noise = variation * rng.standard_normal((len(shape.rule) + 1, 4))
    rule = shape.rule * np.exp(noise[:-1] * _FACTORS) + noise[:-1] * _TERMS
    rule[:, 2:] = rule[:, 2:].clip(0.2, 0.95)
    radius, tropism = shape.radius * float(np.exp(noise[-1, 0])), shape.tropism + 0.3 * float(noise[-1, 1])
    return Growth(depth=shape.depth, rule=rule, radius=radius, tropism=min(max(tropism, -1.5), 1.5))


def sample_growth(rng: np.random.Generator, shape: Growth, num_points: int) -> np.ndarray:
    """Points of the skin, uniform and evenly spread over its area: [num_points, 3] float32.

    Raises:
        ValueError: If the skin has no area.
    """
    points = np.empty((num_points, 3), np.float32)
    if not _sample(segments(shape), draw_key(rng), points):
        raise ValueError("these tubes have no skin to draw from; give a radius and a rule that are finite and positive")
    return points


def segments(shape: Growth) -> np.ndarray:
    """[S, 14] float32 of each piece of a tube: where it begins; the way to its end; two directions across, of length 1;
    the radii at the beginning and the end. The pieces of a tube follow one another, its branches' come later.
    """
    tubes = _num_tubes(len(shape.rule), shape.depth)
    found = np.empty((tubes * _STEPS, _ROW), np.float32)
    _grow(shape.rule, shape.radius, shape.tropism, np.empty((tubes, 11)), found)
    return found


def _num_tubes(num_branches: int, depth: int) -> int:
    return sum(num_branches**level for level in range(depth + 1))


@kernel
def _grow(rule, radius, tropism, tubes, found):
    """Fill the segments. Of each of `tubes`: where it begins, its direction, one across, its length and radius."""
    tubes[0] = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0, 1, radius])
    cosines, sines, num = np.cos(rule[:, :2]), np.sin(rule[:, :2]), len(rule)
    thinner = rule[:, 3].max()  # a tube ends as thick as its thickest branch begins
    for n in range(len(tubes)):
        tube = tubes[n]
        x, y, z, a, b, c = tube[0], tube[1], tube[2], tube[3], tube[4], tube[5]
        d, e, f, length, thick = tube[6], tube[7], tube[8], tube[9], tube[10]
        for step in range(_STEPS):
            c += tropism / _STEPS
            scale = 1 / np.sqrt(a * a + b * b + c * c)
            a, b, c = a * scale, b * scale, c * scale
            along = a * d + b * e + c * f
            d, e, f = d - along * a, e - along * b, f - along * c
            scale = 1 / np.sqrt(d * d + e * e + f * f)
            d, e, f = d * scale, e * scale, f * scale
            g, h, i = b * f - c * e, c * d - a * f, a * e - b * d
            row, way = found[n * _STEPS + step], length / _STEPS
            row[0], row[1], row[2], row[3], row[4], row[5] = x, y, z, a * way, b * way, c * way
            row[6], row[7], row[8], row[9], row[10], row[11] = d, e, f, g, h, i
            row[12] = thick * (1 - (1 - thinner) * step / _STEPS)
            row[13] = thick * (1 - (1 - thinner) * (step + 1) / _STEPS)
            x, y, z = x + a * way, y + b * way, z + c * way
        for k in range(num):
            branch = n * num + 1 + k
            if branch >= len(tubes):
                break
            lean, around = (cosines[k, 0], sines[k, 0]), (cosines[k, 1], sines[k, 1])
            u, v, w = around[0] * d + around[1] * g, around[0] * e + around[1] * h, around[0] * f + around[1] * i
            to = tubes[branch]
            to[0], to[1], to[2] = x, y, z
            to[3], to[4], to[5] = lean[0] * a + lean[1] * u, lean[0] * b + lean[1] * v, lean[0] * c + lean[1] * w
            to[6], to[7], to[8] = lean[0] * u - lean[1] * a, lean[0] * v - lean[1] * b, lean[0] * w - lean[1] * c
            to[9], to[10] = length * rule[k, 2], thick * rule[k, 3]


@kernel(fastmath={"contract"})
def _sample(found, key, points):
    areas = np.empty(len(found), np.float32)
    for s in range(len(found)):
        row = found[s]
        slope = row[12] - row[13]
        areas[s] = (row[12] + row[13]) * np.sqrt(row[3] * row[3] + row[4] * row[4] + row[5] * row[5] + slope * slope)
    cells = np.empty(len(points), np.uint32)
    total = choose_cells(areas, key, cells)
    if not (total > 0 and np.isfinite(total)):
        return False
    rows, x, y, z = (
        np.empty((_ROW, BLOCK), np.float32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.float32),
    )
    for first in range(0, len(points), BLOCK):
        block = cells[first : first + BLOCK]
        for k in range(np.uintp(len(block))):
            row = found[block[k]]
            for column in range(np.uintp(_ROW)):
                rows[column, k] = row[column]
        _places(key, first, len(block), rows, x, y, z)
        interleave(x, y, z, points[first : first + BLOCK])
    return True


@kernel(fastmath={"contract"})
def _places(key, first, count, rows, x, y, z):
    """Points on segments; a loop that is vectorised."""
    for k in range(np.uintp(count)):
        u, v = position_in_cell(word(key, np.uintp(first) + k))
        near, far = rows[12, k], rows[13, k]
        # Along a cone the density is proportional to its radius.
        u *= (near + far) / (near + np.sqrt(near * near + u * (far * far - near * near)))
        radius = near + u * (far - near)
        cosine, sine = circle(v)
        cosine, sine = cosine * radius, sine * radius
        x[k] = rows[0, k] + u * rows[3, k] + cosine * rows[6, k] + sine * rows[9, k]
        y[k] = rows[1, k] + u * rows[4, k] + cosine * rows[7, k] + sine * rows[10, k]
        z[k] = rows[2, k] + u * rows[5, k] + cosine * rows[8, k] + sine * rows[11, k]
