"""Composites: boxes, ellipsoids, cylinders, cones and tori that grow out of one another, sampled over their skin.

Every part is an affine image of a simple solid, whose surface a height field may move. A function that is 1 on its
surface and less within (`measure`) tells which points of one part lie inside another and are dropped. Cutters take
material away: of their own surface the part inside the solids is kept. Parts may be wires on a surface's grid.
(As in Zeroverse, arXiv 2406.09371, used by Point-MAE-Zero, arXiv 2411.17467; the distributions are our own.)
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.composite_meshes import GRID_LINES, meshes
from pcfdsl.formula.composite_points import sample_cells
from pcfdsl.formula.composite_solids import (
    CONE,
    CUTTER,
    KINDS,
    MAX_DEGREE,
    NUM_WAVES,
    RATIO,
    SIZE,
    SOLID,
    TORUS,
    WAVES,
    WIRES,
    frames,
    gauge_at,
)
from pcfdsl.formula.surface import draw_key
from pcfdsl.jit import kernel

__all__ = ["KINDS", "MAX_PRIMITIVES", "Composite", "draw_composite", "measure", "perturb_composite", "sample_composite"]

MAX_PRIMITIVES = 16
_MAX_CUTTERS = 2
_DEGREES = 2, MAX_DEGREE + 1  # how many hills a wave of a height field has around
_AMPLITUDE = 0.08  # how high they are
_SHARE_OF_WIRES = 0.25  # of the parts of a composite with wires
# How a part's numbers vary: multiplied by exp of a Gaussian with this deviation, or with one added.
_FACTORS = np.array([0] * 7 + [1] * 4 + [1, 0, 0, 0, 0] * NUM_WAVES, np.float64)
_TERMS = np.array([3**-0.5] * 3 + [0.5] * 4 + [0] * 4 + [0, 0, *[3**-0.5] * 3] * NUM_WAVES)


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A shape of P parts. The first is at the origin; the centre of every other lies on the surface of an earlier one.

    Attributes:
        kinds: [P] int64 index in `KINDS`.
        roles: [P] int64: 0 is a solid, 1 a cutter (those come last), 2 + g wires with GRID_LINES[g] meshes on an edge.
        parents: [P] int64 part on whose surface this one sits.
        numbers: [P, 26] float64: 3 of the place there, a direction in that part's frame; 4 of the turn from this part's
            frame, a quaternion (w, x, y, z); 3 half extents; the ratio of a cone's top to its base or of a torus's tube
            to the whole; and for each of 3 waves of the height field its amplitude relative to the distance from the
            centre, its degree, and 3 of its axis. Directions, quaternions and axes may have any length.
    """

    kinds: np.ndarray
    roles: np.ndarray
    parents: np.ndarray
    numbers: np.ndarray


def draw_composite(
    rng: np.random.Generator, *, max_primitives: int = 9, heights: float = 0.0, cuts: float = 0.0, wires: float = 0.0
) -> Composite:
    """A random shape.

    Args:
        rng: Of the shape.
        max_primitives: The greatest number of parts; from 1, all are equally likely. Cutters come on top.
        heights: Share of the parts with height fields.
        cuts: Share of the shapes with one or two cutters.
        wires: Share of the shapes some of whose parts are wires.
    """
    num = int(rng.integers(1, max_primitives + 1))
    chance, first = rng.random((3, num)), rng.random(4)
    parents = (chance[0] * np.arange(num)).astype(np.int64)
    roles = np.full(num, SOLID)
    if first[0] < wires:
        chosen = chance[1] < _SHARE_OF_WIRES
        chosen[int(first[1] * num)] = True
        roles[chosen] = WIRES + rng.integers(len(GRID_LINES), size=chosen.sum())
    cut = rng.permutation(np.flatnonzero(roles == SOLID))[: int(1 + first[2] * _MAX_CUTTERS) if first[3] < cuts else 0]
    parents, roles = np.append(parents, cut), np.append(roles, np.full(len(cut), CUTTER))

    kinds = rng.integers(len(KINDS), size=len(roles))
    sizes = np.exp(rng.uniform(np.log(0.35), 0, (len(roles), 3)))
    sizes *= np.exp(rng.uniform(np.log(0.35), 0, (len(roles), 1))) / sizes.max(1, keepdims=True)
    means = np.cbrt(sizes.prod(1, keepdims=True))
    sizes[num:] *= means[cut] / means[num:] * rng.uniform(0.4, 0.8, (len(cut), 1))
    tops = rng.choice([0.0, 0.5], len(roles)) * rng.random(len(roles))
    ratios = np.select([kinds == CONE, kinds == TORUS], [tops, rng.uniform(0.12, 0.45, len(roles))], 1.0)
    waves = rng.standard_normal((len(roles), NUM_WAVES, 5))
    waves[:, :, 0] = rng.uniform(-_AMPLITUDE, _AMPLITUDE, waves.shape[:2])
    waves[:, :, 0] *= np.append(chance[2] < heights, np.zeros(len(cut), bool))[:, None]
    waves[:, :, 1] = rng.integers(*_DEGREES, waves.shape[:2])
    waves[:, :, 2:] = _unit(waves[:, :, 2:])
    places, turns = _unit(rng.standard_normal((len(roles), 3))), _unit(rng.standard_normal((len(roles), 4)))
    numbers = np.concatenate([places, turns, sizes, ratios[:, None], waves.reshape(len(roles), -1)], axis=1)
    return Composite(kinds=kinds, roles=roles, parents=parents, numbers=numbers)


def perturb_composite(rng: np.random.Generator, shape: Composite, *, variation: float) -> Composite:
    """Noise on all that is not a choice; kinds, roles, degrees and which part grows out of which stay.

    Sizes, ratios and amplitudes are multiplied by log-normal factors with a deviation of `variation`; places, turns and
    axes get Gaussian noise `variation` times as large as they are.
    """
    numbers = rng.standard_normal(shape.numbers.shape)
    _vary(shape.kinds, shape.numbers, variation, numbers)
    return Composite(kinds=shape.kinds, roles=shape.roles, parents=shape.parents, numbers=numbers)


@kernel
def _vary(kinds, numbers, variation, noise):
    """Noise becomes numbers with that noise."""
    for i in range(len(kinds)):
        for c in range(len(_FACTORS)):
            change = variation * noise[i, c]
            factor = np.exp(change * _FACTORS[c]) if _FACTORS[c] else 1.0
            noise[i, c] = numbers[i, c] * factor + change * _TERMS[c]
        for c in range(WAVES, WAVES + 5 * NUM_WAVES, 5):  # so that the surface stays off the centre
            noise[i, c] = min(max(noise[i, c], -0.3), 0.3)
        low, high = (0.08, 0.5) if kinds[i] == TORUS else (-np.inf, 1.0)
        noise[i, RATIO] = min(max(noise[i, RATIO], low), high)


def sample_composite(rng: np.random.Generator, shape: Composite, num_points: int) -> np.ndarray:
    """Points of the skin, uniform and evenly spread over its area: [num_points, 3] float32.

    Cutters that would leave nothing, which happens once in a thousand shapes at a variation of 1, are left out.

    Raises:
        ValueError: If the shape's numbers are not finite, or half extents not positive.
    """
    points, key = np.empty((num_points, 3), np.float32), draw_key(rng)
    if not shape.numbers[:, SIZE : SIZE + 3].min() > 0:
        raise ValueError(f"a composite's half extents must be positive, got {shape.numbers[:, SIZE : SIZE + 3].min()}")
    if sample_cells(shape.kinds, shape.roles, shape.parents, shape.numbers, *meshes(), key, points) == num_points:
        return points
    num = np.count_nonzero(shape.roles != CUTTER)  # cutters are the last
    parts = shape.kinds[:num], shape.roles[:num], shape.parents[:num], shape.numbers[:num]
    if sample_cells(*parts, *meshes(), key, points) == num_points:
        return points
    raise ValueError(
        f"a composite of {len(shape.kinds)} parts has no surface to draw from; its numbers must be finite and its "
        "sizes positive"
    )


def measure(shape: Composite, points: np.ndarray) -> np.ndarray:
    """How far out points lie in each part: [N, 3] -> [P, N] float32, 1 on a part's surface and less within."""
    _, local, centers, waves, _ = frames(shape.kinds, shape.parents, shape.numbers)
    x, y, z = np.ascontiguousarray(points.T, np.float32)
    work, found = np.empty((7, len(points)), np.float32), np.empty((len(shape.kinds), len(points)), np.float32)
    for i, kind in enumerate(shape.kinds):
        gauge_at(i, kind, np.float32(shape.numbers[i, RATIO]), True, waves, local, centers, x, y, z, work, found[i])
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
