"""Composites: boxes, ellipsoids, cylinders, cones and tori that grow out of one another, sampled over their skin.

Every part is an affine image of a simple solid, whose surface may be moved by a height field. A solid has a function
that is 1 on its surface and less within (`measure`): this tells which points of one part lie inside another and are
dropped. Cutters take material away, so of their own surface the part inside the solids is kept. Parts may be wires, the
lines of a grid on a surface. (As in Zeroverse, arXiv 2406.09371, which Point-MAE-Zero, 2411.17467, learns from; the
distributions are our own.)
"""

from dataclasses import dataclass, replace

import numpy as np

from pcfdsl.formula.composite_cells import CONE, CUTTER, SOLID, TORUS, WIRES, gauge, place, sample_cells
from pcfdsl.formula.composite_meshes import meshes
from pcfdsl.formula.surface import draw_key

__all__ = ["KINDS", "MAX_PRIMITIVES", "Composite", "draw_composite", "measure", "perturb_composite", "sample_composite"]

KINDS = ("box", "ellipsoid", "cylinder", "cone", "torus")
MAX_PRIMITIVES = 16
_MAX_CUTTERS = 2
_WAVES, _DEGREES, _AMPLITUDE = 3, (2, 7), 0.08  # of a height field; the degree says how many hills there are around
_SHARE_OF_WIRES, _GRID_LINES = 0.25, (1, 2, 3)  # of the parts of a composite with wires; meshes on an edge of the grid


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A shape of P parts. The first is at the origin; the centre of every other lies on the surface of an earlier one.

    Attributes:
        kinds: [P] index in `KINDS`.
        roles: [P] 0 is a solid, 1 a cutter, n + 1 wires with n meshes on an edge of the grid.
        parents: [P] the part on whose surface this one sits.
        places: [P, 3] where on it, as a direction in its frame; any length.
        turns: [P, 4] rotation from the part's frame, a quaternion (w, x, y, z) of any length.
        sizes: [P, 3] half extents.
        ratios: [P] radius of a cone's top in units of that of its base, or of a torus's tube in units of the whole's.
        waves: [P, _WAVES, 5] of the height field: amplitude relative to the distance from the centre, degree, axis.
    """

    kinds: np.ndarray
    roles: np.ndarray
    parents: np.ndarray
    places: np.ndarray
    turns: np.ndarray
    sizes: np.ndarray
    ratios: np.ndarray
    waves: np.ndarray


def draw_composite(
    rng: np.random.Generator, *, max_primitives: int = 9, heights: float = 0.0, cuts: float = 0.0, wires: float = 0.0
) -> Composite:
    """A random shape.

    Args:
        rng: What it depends on.
        max_primitives: 1 to this many parts, all numbers equally likely; cutters are not counted.
        heights: Share of the parts with height fields.
        cuts: Share of the shapes with one or two cutters.
        wires: Share of the shapes some of whose parts are wires.
    """
    num_solids = int(rng.integers(1, max_primitives + 1))
    chance, first = rng.random((3, num_solids)), rng.random(4)
    roles = np.full(num_solids, SOLID)
    if first[0] < wires:
        roles[chance[0] < _SHARE_OF_WIRES] = WIRES
        roles[int(first[1] * num_solids)] = WIRES  # at least one
        roles[roles == WIRES] += rng.choice(_GRID_LINES, num_solids)[roles == WIRES] - 1
    parents = (chance[1] * np.arange(num_solids)).astype(np.int64)
    solids = np.flatnonzero(roles == SOLID)
    num_cutters = min(int(1 + first[3] * _MAX_CUTTERS), len(solids)) if first[2] < cuts else 0
    parents = np.append(parents, rng.permutation(solids)[:num_cutters])
    roles = np.append(roles, np.full(num_cutters, CUTTER))
    num_parts = len(roles)

    kinds = rng.integers(len(KINDS), size=num_parts)
    sizes = np.exp(rng.uniform(np.log(0.35), 0, (num_parts, 3)))
    sizes *= np.exp(rng.uniform(np.log(0.35), 0, (num_parts, 1))) / sizes.max(1, keepdims=True)
    cutter = roles == CUTTER
    whole = np.cbrt(sizes.prod(1, keepdims=True))
    sizes[cutter] *= (whole[parents] / whole * rng.uniform(0.4, 0.8, (num_parts, 1)))[cutter]
    tops = rng.choice([0.0, 0.5], num_parts) * rng.random(num_parts)
    ratios = np.select([kinds == CONE, kinds == TORUS], [tops, rng.uniform(0.12, 0.45, num_parts)], 1.0)
    waves = rng.standard_normal((num_parts, _WAVES, 5))
    waves[..., 2:] = _unit(waves[..., 2:])
    waves[..., 1] = rng.integers(*_DEGREES, (num_parts, _WAVES))
    waves[..., 0] = rng.uniform(-_AMPLITUDE, _AMPLITUDE, (num_parts, _WAVES))
    waves[:num_solids, :, 0] *= (chance[2] < heights)[:, None]
    waves[num_solids:, :, 0] = 0
    return Composite(
        kinds=kinds,
        roles=roles,
        parents=parents,
        places=_unit(rng.standard_normal((num_parts, 3))),
        turns=_unit(rng.standard_normal((num_parts, 4))),
        sizes=sizes,
        ratios=ratios,
        waves=waves,
    )


def perturb_composite(rng: np.random.Generator, shape: Composite, *, variation: float) -> Composite:
    """Noise on all but the kinds, the roles and which part grows out of which.

    Sizes and amplitudes are multiplied by a log-normal factor with a deviation of `variation`; places, turns and axes
    get Gaussian noise `variation` times as large as they are.
    """
    num_parts = len(shape.kinds)
    noise = variation * rng.standard_normal((num_parts, 12 + 4 * _WAVES))
    ratios = shape.ratios * np.exp(noise[:, 0])
    waves = noise[:, 12:].reshape(num_parts, _WAVES, 4)
    amplitudes, axes = shape.waves[..., :1] * np.exp(waves[..., :1]), shape.waves[..., 2:] + waves[..., 1:] / np.sqrt(3)
    return replace(
        shape,
        places=shape.places + noise[:, 2:5] / np.sqrt(3),
        turns=shape.turns + noise[:, 5:9] / 2,
        sizes=shape.sizes * np.exp(noise[:, 9:12]),
        ratios=np.where(shape.kinds == TORUS, np.clip(ratios, 0.08, 0.5), np.minimum(ratios, 1.0)),
        waves=np.concatenate([amplitudes, shape.waves[..., 1:2], _unit(axes)], axis=2),
    )


def sample_composite(rng: np.random.Generator, shape: Composite, num_points: int) -> np.ndarray:
    """Points of the common skin, uniform over its area and in random order: [num_points, 3] float32.

    Raises:
        ValueError: If nothing is left of the shape.
    """
    points = np.empty((num_points, 3), np.float32)
    made = sample_cells(*_arrays(shape), *meshes(), draw_key(rng), points)
    if made < num_points:
        raise ValueError(
            f"only {made} of {num_points} points were found on a composite of {len(shape.kinds)} parts: its cutters "
            "leave nothing of it, or it is not finite; lower the variation"
        )
    return points


def measure(shape: Composite, points: np.ndarray) -> np.ndarray:
    """How far out points lie in each part: [N, 3] -> [P, N] float32, 1 on a part's surface and less within."""
    kinds, _, parents, places, turns, sizes, ratios, rough, waves = _arrays(shape)
    _, local, centers = place(kinds, parents, places, turns, sizes, ratios, rough, waves)
    found = np.empty((len(kinds), len(points)), np.float32)
    for i in range(len(kinds)):
        own = (points.astype(np.float32) - centers[i]) @ local[i].T
        found[i] = [gauge(kinds[i], ratios[i], rough[i], waves, i, x, y, z) for x, y, z in own]
    return found


def _arrays(shape: Composite) -> tuple[np.ndarray, ...]:
    """As the kernels take them: with marks of the parts that have a height field before the waves."""
    whole = (shape.kinds, shape.roles, shape.parents)
    real = (shape.places, shape.turns, shape.sizes, shape.ratios)
    rough = shape.waves[:, :, 0].any(1)
    return (
        *(a.astype(np.int64) for a in whole),
        *(a.astype(np.float32) for a in real),
        rough,
        shape.waves.astype(np.float32),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
