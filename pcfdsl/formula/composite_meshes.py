"""Meshes of the primitives of composites, and those of their sides that are wires."""

from functools import lru_cache

import numpy as np

__all__ = ["NUM_TRIANGLES", "NUM_VERTICES", "meshes"]

_STEPS = 12  # sides of the grid of triangles along an edge of a box
_AROUND, _ACROSS = 3 * _STEPS, 2 * _STEPS  # of a torus, which has as many triangles
NUM_VERTICES, NUM_TRIANGLES = 6 * _STEPS**2 + 2, 12 * _STEPS**2


@lru_cache
def meshes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The meshes of all kinds: box, ellipsoid, cylinder, cone, torus.

    Returns:
        [5, 5, V] float32 vertices, those of a torus relative to the centre of its tube, followed by the direction of that
        centre (zero for the other kinds); [C, 3] int32 vertices of the cells: triangles, or sides, of which the second
        vertex is also the third; [2, 5] int64 where those begin that are triangles, and sides that are wires with 1, 2
        and 3 meshes on an edge of the grid, first of the kinds without hole, then of tori, and where they end.
    """
    grid = _grid()
    number = np.zeros((_STEPS + 1,) * 3, np.int64)
    number[tuple(grid.T)] = np.arange(len(grid))
    faces = [np.take(number, side, axis) for axis in range(3) for side in (0, _STEPS)]
    u, v = (a.ravel() for a in np.meshgrid(np.arange(_AROUND), np.arange(_ACROSS), indexing="ij"))
    tables = [
        [
            np.concatenate([_halves(face[:-1, :-1], face[1:, :-1], face[1:, 1:], face[:-1, 1:]) for face in faces]),
            *(_lines(grid, number, meshes) for meshes in (1, 2, 3)),
        ],
        [
            _halves(_on_torus(u, v), _on_torus(u + 1, v), _on_torus(u + 1, v + 1), _on_torus(u, v + 1)),
            *(_lines_on_torus(u, v, meshes) for meshes in (1, 2, 3)),
        ],
    ]
    starts, cells = [], []
    for tables_of_one in tables:
        starts.append(sum(map(len, cells)) + np.cumsum([0, *map(len, tables_of_one)]))
        cells += tables_of_one
    return _vertices(grid, u, v), np.concatenate(cells).astype(np.int32), np.array(starts, np.int64)


def _vertices(grid, u, v) -> np.ndarray:
    box = np.linspace(-1, 1, _STEPS + 1)[grid]
    bent = np.tan(np.pi / 4 * box)
    sphere = bent / np.linalg.norm(bent, axis=1, keepdims=True)
    largest = np.abs(box[:, :2]).max(1, keepdims=True)
    around = np.tan(np.pi / 4 * box[:, :2] / np.maximum(largest, 1e-9))
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-9)
    cylinder = np.concatenate([around * largest, box[:, 2:]], axis=1)
    a, b = u * 2 * np.pi / _AROUND, v * 2 * np.pi / _ACROSS
    torus = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b), np.cos(a), np.sin(a)], axis=1)
    torus = np.concatenate([torus, torus[:2]])  # as many as the others have; not used
    convex = [np.pad(part, ((0, 0), (0, 2))) for part in (box, sphere, cylinder, cylinder)]
    return np.ascontiguousarray(np.stack([*convex, torus]).transpose(0, 2, 1), np.float32)


def _lines(grid, number, meshes: int) -> np.ndarray:
    """Sides on the lines of a coarser grid: [S, 3]."""
    outer, on_line = (grid == 0) | (grid == _STEPS), grid % (_STEPS // meshes) == 0
    found = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        start = grid[outer[:, others].any(1) & on_line[:, others].all(1) & (grid[:, axis] < _STEPS)]
        stop = number[tuple((start + np.eye(3, dtype=int)[axis]).T)]
        found.append(np.stack([number[tuple(start.T)], stop, stop], axis=1))
    return np.concatenate(found)


def _lines_on_torus(u, v, meshes: int) -> np.ndarray:
    here, across, around = _on_torus(u, v), _on_torus(u, v + 1), _on_torus(u + 1, v)
    across = np.stack([here, across, across], axis=1)[u % (6 // meshes) == 0]
    around = np.stack([here, around, around], axis=1)[v % (_ACROSS // 2 // meshes) == 0]
    return np.concatenate([across, around])


def _grid() -> np.ndarray:
    """[6 _STEPS^2 + 2, 3] places on the surface of a cube, 0 to _STEPS."""
    return np.argwhere(np.pad(np.zeros((_STEPS - 1,) * 3, bool), 1, constant_values=True))


def _on_torus(i, j):
    """Number of a vertex."""
    return i % _AROUND * _ACROSS + j % _ACROSS


def _halves(a, b, c, d) -> np.ndarray:
    """Two triangles of each cell of four corners in a row."""
    return np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)], axis=-2).reshape(-1, 3)
