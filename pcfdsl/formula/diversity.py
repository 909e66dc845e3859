"""How much the categories of a set differ: maps, singular values, box dimensions, distances between clouds.

The variance check looks at one system at a time. What it does to a set shows here: at a threshold of 0.15 nearly all
accepted systems of the uniform sampler have two maps.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcfdsl.formula.ifs import IFS, effective_maps
from pcfdsl.formula.iterate import chaos_game
from pcfdsl.formula.normalize import center_min_max_joint, is_one_point
from pcfdsl.jit import kernel

__all__ = ["Diversity", "Quantiles", "box_counts", "box_dimension", "chamfer_distance", "diversity"]

_GRIDS = (4, 6, 8, 12, 16, 24, 32)  # cells along the longest axis; powers of two alone resonate with some sets
_POINTS = 100_000  # of a solid cube, these reach 95 % of the cells of the finest grid
_MAX_DIMENSIONS = 200  # box dimensions are those of at most so many systems
_MAX_CLOUDS, _CLOUD_POINTS = 48, 512  # distances are between so many clouds of so many points: about a second
_FLAT = 1e9  # condition number of a map that flattens space; infinity is no number in JSON


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """The values below which 5, 50 and 95 % of some values lie."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Quantiles":
        """Each is one of the values (of any shape), rounded to four digits.

        Raises:
            ValueError: Without values.
        """
        low, median, high = (
            float(f"{value:.4g}") for value in np.quantile(values, (0.05, 0.5, 0.95), method="nearest")
        )
        return cls(low=low, median=median, high=high)


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Figures of a set of 3D systems.

    Attributes:
        num_maps: Number of maps -> systems that have it.
        effective_maps: Of the systems, see `pcfdsl.formula.ifs.effective_maps`.
        largest_singular_value: Of all maps; a map that is above 1 expands space in some direction.
        smallest_singular_value: Of all maps.
        condition_number: Of all maps, the largest over the smallest; at most `_FLAT`.
        box_dimension: Of the systems' clouds, see `box_dimension`; at most `_MAX_DIMENSIONS` systems, spread evenly.
        chamfer_distance: Between the clouds of two categories, in half extents of a cloud; of all pairs among at most
            `_MAX_CLOUDS` of them, spread evenly.
        nearest_distance: Of a cloud to that of the most similar other category among them. None for one category.
        num_without_cloud: Systems among them whose clouds diverge or have no extent.
    """

    num_maps: dict[int, int]
    effective_maps: Quantiles
    largest_singular_value: Quantiles
    smallest_singular_value: Quantiles
    condition_number: Quantiles
    box_dimension: Quantiles | None
    chamfer_distance: Quantiles | None
    nearest_distance: Quantiles | None
    num_without_cloud: int


def diversity(systems: Sequence[IFS], rng: np.random.Generator) -> Diversity:
    """Figures of a set of 3D systems and of clouds that are drawn from them.

    Args:
        systems: One per category.
        rng: For the clouds.

    Returns:
        The figures; about 20 ms for each system whose cloud is drawn.

    Raises:
        ValueError: Without systems, or if one is not 3D.
    """
    if not systems or any(ifs.dim != 3 for ifs in systems):
        raise ValueError("diversity is that of one or more 3D systems; got none, or a system of another dimension")
    values = np.linalg.svd(np.concatenate([ifs.matrices for ifs in systems]), compute_uv=False)
    conditions = values[:, 0] / np.maximum(values[:, -1], np.maximum(values[:, 0] / _FLAT, np.finfo(float).tiny))
    step = -(-len(systems) // _MAX_DIMENSIONS)
    dimensions, clouds, num_without_cloud = [], [], 0
    for ifs in systems[::step]:  # one cloud at a time: all of them take half a gigabyte
        orbit = chaos_game(ifs, _POINTS, rng)
        if orbit.stopped or is_one_point(orbit.points) or not center_min_max_joint(orbit.points):
            num_without_cloud += 1
            continue
        dimensions.append(box_dimension(orbit.points))
        clouds.append(orbit.points[:_CLOUD_POINTS].copy())
    compared = np.array(clouds[:: -(-len(clouds) // _MAX_CLOUDS) or 1])
    distances = _pairwise(compared) if len(compared) > 1 else None
    return Diversity(
        num_maps=dict(sorted(Counter(ifs.num_maps for ifs in systems).items())),
        effective_maps=Quantiles.of(np.array([effective_maps(ifs.probabilities) for ifs in systems])),
        largest_singular_value=Quantiles.of(values[:, 0]),
        smallest_singular_value=Quantiles.of(values[:, -1]),
        condition_number=Quantiles.of(conditions),
        box_dimension=Quantiles.of(np.array(dimensions)) if dimensions else None,
        chamfer_distance=None if distances is None else Quantiles.of(distances[np.triu_indices(len(distances), 1)]),
        nearest_distance=None if distances is None else Quantiles.of(_nearest(distances)),
        num_without_cloud=num_without_cloud,
    )


def box_counts(points: np.ndarray, grids: Sequence[int] = _GRIDS) -> np.ndarray:
    """Occupied cells of grids over the cube that begins at the least coordinates and has the longest extent as side.

    Args:
        points: [N, 3], finite and with an extent.
        grids: Cells along the side of the cube.

    Returns:
        One count per grid, int64.

    Raises:
        ValueError: If there is no finite extent.
    """
    low = points.min(axis=0)
    extent = float(np.ptp(points, axis=0).max())
    if not 0 < extent < np.inf:
        raise ValueError(f"points have an extent of {extent}; boxes are counted of clouds with a finite one")
    return np.array([_count_cells(points, low, extent, grid) for grid in grids])


def box_dimension(points: np.ndarray) -> float:
    """Box-counting dimension of a cloud: the slope of log(occupied cells) over log(cells along the longest axis).

    The slope is a least-squares fit over grids of 4 to 32 cells, so it describes what a network can see rather than the
    limit. With 100,000 points it is right within 0.02 for a solid cube, a face and an edge along the axes, within 0.15
    for a Sierpinski tetrahedron, and within 0.1 for Cantor dust at an angle. It is 0.2 too high for dust along the
    axes, as the cells meet its gaps, and up to 0.5 too low for a solid at an angle, as coarse cells go beyond it. A few
    distant outliers make a cloud small, and its dimension too.

    Args:
        points: [N, 3], finite and with an extent.

    >>> line = np.linspace(0, 1, 1000)[:, None] * [1, 1, 1]
    >>> round(box_dimension(line), 6)
    1.0
    """
    slope, _ = np.polyfit(np.log(_GRIDS), np.log(box_counts(points)), 1)
    return float(slope)


def chamfer_distance(points: np.ndarray, others: np.ndarray) -> float:
    """Mean distance to the nearest point of the other cloud, averaged over both directions.

    Args:
        points, others: [N, 3] and [M, 3].

    >>> chamfer_distance(np.array([[0.0, 0, 0]]), np.array([[0.0, 0, 1], [0, 0, 3]]))
    1.5
    """
    return float(_one_way(points, others) + _one_way(others, points)) / 2


def _pairwise(clouds: np.ndarray) -> np.ndarray:
    """[S, N, 3] -> [S, S], zero on the diagonal."""
    distances = np.zeros((len(clouds), len(clouds)))
    for a, b in zip(*np.triu_indices(len(clouds), 1), strict=True):
        distances[a, b] = distances[b, a] = chamfer_distance(clouds[a], clouds[b])
    return distances


def _nearest(distances: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(distances), dtype=bool), np.inf, distances).min(axis=1)


@kernel
def _one_way(points, others):
    total = 0.0
    for i in range(len(points)):
        nearest = np.inf
        for j in range(len(others)):
            squared = 0.0
            for d in range(3):
                squared += (points[i, d] - others[j, d]) ** 2
            nearest = min(nearest, squared)
        total += np.sqrt(nearest)
    return total / len(points)


@kernel
def _count_cells(points, low, extent, grid):
    occupied = np.zeros((grid, grid, grid), np.bool_)
    scale, last = grid / extent, grid - 1  # the points at the far sides belong to the last cells
    for i in range(len(points)):
        x = min(int((points[i, 0] - low[0]) * scale), last)
        y = min(int((points[i, 1] - low[1]) * scale), last)
        z = min(int((points[i, 2] - low[2]) * scale), last)
        occupied[x, y, z] = True
    return occupied.sum()
