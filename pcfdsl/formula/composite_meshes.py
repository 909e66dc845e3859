"""Grids on the surfaces of the primitives of composites.

The surface of each kind consists of six patches of 12 x 12 meshes: the faces of a box, which are bent to make an
ellipsoid, a cylinder and a cone; three around a torus by two across its tube. So one numbering serves all: vertex v of
a patch has its neighbours at v + 1 and v + ROW.
"""

from functools import lru_cache

import numpy as np

__all__ = ["GRID_LINES", "NUM_VERTICES", "ROW", "meshes"]

_STEPS = 12
ROW = _STEPS + 1
NUM_VERTICES = 6 * ROW**2
GRID_LINES = (1, 2, 3)  # of wires: meshes on an edge of the coarser grid that they are


@lru_cache
def meshes() -> tuple[np.ndarray, np.ndarray]:
    """The grids of all kinds: box, ellipsoid, cylinder, cone, torus.

    Returns:
        [5, 5, V] float32 vertices, of a torus relative to the middle of its tube, and the direction of that middle from
        the centre (zero for the other kinds). [4, 2, 2, V] which cells there are, first of the kinds without hole, then
        of tori: the two triangles at each vertex, and for each of `GRID_LINES` the sides from v to v + 1 and to v + ROW
        that are wires; a side that two patches share counts once.
    """
    line = np.arange(ROW)
    i, j = np.meshgrid(line, line, indexing="ij")
    faces = [np.roll(np.stack([np.full_like(i, s), i, j], -1), axis, -1) for axis in range(3) for s in (0, _STEPS)]
    cube = np.concatenate(faces).reshape(-1, 3)
    torus = np.concatenate([np.stack([i + _STEPS * a, j + _STEPS * b], -1) for a in range(3) for b in range(2)])
    torus = torus.reshape(-1, 2)

    box = cube / _STEPS * 2 - 1
    bent = np.tan(np.pi / 4 * box)  # even in angle
    sphere = bent / np.linalg.norm(bent, axis=1, keepdims=True)
    square = np.abs(box[:, :2]).max(1, keepdims=True)
    circle = np.tan(np.pi / 4 * box[:, :2] / np.maximum(square, 1e-9))
    circle *= square / np.maximum(np.linalg.norm(circle, axis=1, keepdims=True), 1e-9)
    cylinder = np.concatenate([circle, box[:, 2:]], axis=1)
    around, across = (torus * (2 * np.pi / _STEPS) / (3, 2)).T
    ring = np.stack([np.cos(around), np.sin(around)], axis=1)
    tube = np.concatenate([np.cos(across)[:, None] * ring, np.sin(across)[:, None], ring], axis=1)
    vertices = np.stack([*(np.pad(part, ((0, 0), (0, 2))) for part in (box, sphere, cylinder, cylinder)), tube])
    cells = [[_triangles()] * 2]
    for meshes_on_edge in GRID_LINES:
        spacing = _STEPS // meshes_on_edge
        cells.append([_sides(cube, (spacing,) * 3), _sides(torus % (3 * _STEPS, 2 * _STEPS), (spacing // 2, spacing))])
    return np.ascontiguousarray(vertices.transpose(0, 2, 1), np.float32), np.array(cells)


def _triangles() -> np.ndarray:
    inner = np.zeros((6, ROW, ROW), bool)
    inner[:, :-1, :-1] = True
    return np.stack([inner.ravel()] * 2)


def _sides(places: np.ndarray, spacing: tuple[int, ...]) -> np.ndarray:
    """[2, V] which sides from a vertex lie on a coarser grid, one of those that patches share.

    A side lies on a line of the grid if all coordinates but the one that it changes are multiples of the spacing.
    """
    found, known = np.zeros((2, len(places)), bool), set()
    for half, step in enumerate((1, ROW)):
        for v in np.flatnonzero(_triangles_reach(step)):
            ends = places[v], places[v + step]
            still = ends[0] == ends[1]
            on_line = (ends[0] % spacing == 0)[still].all()
            name = frozenset((tuple(ends[0].tolist()), tuple(ends[1].tolist())))
            if on_line and name not in known:
                known.add(name)
                found[half, v] = True
    return found


def _triangles_reach(step: int) -> np.ndarray:
    """Which vertices have a neighbour `step` further in their patch."""
    inner = np.ones((6, ROW, ROW), bool)
    inner[:, :, -1] &= step == ROW
    inner[:, -1, :] &= step == 1
    return inner.ravel()
