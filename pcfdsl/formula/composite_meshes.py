"""Meshes of the primitives of composites, and those of their sides that are wires."""

from functools import lru_cache

import numpy as np

__all__ = ["NUM_TRIANGLES", "NUM_VERTICES", "lines", "templates"]

_STEPS = 12  # sides of the grid of triangles along an edge of a box
_AROUND, _ACROSS = 3 * _STEPS, 2 * _STEPS  # of a torus, which has as many triangles
NUM_VERTICES, NUM_TRIANGLES = 6 * _STEPS**2 + 2, 12 * _STEPS**2


@lru_cache
def templates() -> tuple[np.ndarray, np.ndarray]:
    """The meshes of all kinds.

    Returns:
        [5, 5, V] float32 vertices, of a torus relative to the centre of the tube, and the direction of that centre (zero
        for the other kinds); [2, T, 3] int32 corners of the triangles, of a torus last.
    """
    grid = _grid()
    number = _numbers(grid)
    faces = [np.take(number, side, axis) for axis in range(3) for side in (0, _STEPS)]
    cells = [_halves(face[:-1, :-1], face[1:, :-1], face[1:, 1:], face[:-1, 1:]) for face in faces]
    box = np.linspace(-1, 1, _STEPS + 1)[grid]
    bent = np.tan(np.pi / 4 * box)
    sphere = bent / np.linalg.norm(bent, axis=1, keepdims=True)
    largest = np.abs(box[:, :2]).max(1, keepdims=True)
    around = np.tan(np.pi / 4 * box[:, :2] / np.maximum(largest, 1e-9))
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-9)
    cylinder = np.concatenate([around * largest, box[:, 2:]], axis=1)
    u, v = (a.ravel() for a in np.meshgrid(np.arange(_AROUND), np.arange(_ACROSS), indexing="ij"))
    a, b = u * 2 * np.pi / _AROUND, v * 2 * np.pi / _ACROSS
    torus = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b), np.cos(a), np.sin(a)], axis=1)
    torus = np.concatenate([torus, torus[:2]])  # not used
    tube = _halves(_on_torus(u, v), _on_torus(u + 1, v), _on_torus(u + 1, v + 1), _on_torus(u, v + 1))
    convex = [np.pad(part, ((0, 0), (0, 2))) for part in (box, sphere, cylinder, cylinder)]
    vertices = np.stack([*convex, torus]).transpose(0, 2, 1)
    return np.ascontiguousarray(vertices, np.float32), np.stack([np.concatenate(cells), tube]).astype(np.int32)


@lru_cache
def lines() -> tuple[np.ndarray, np.ndarray]:
    """The sides of triangles that are wires.

    Returns:
        [S, 2] int32 vertices at their ends, and [2, 4] int32 where those begin that have 1, 2 and 3 meshes on an edge of
        the grid, first of convex kinds, then of tori; the last entry is their end.
    """
    grid = _grid()
    found, starts = [], []
    u, v = (a.ravel() for a in np.meshgrid(np.arange(_AROUND), np.arange(_ACROSS), indexing="ij"))
    number = _numbers(grid)
    outer = (grid == 0) | (grid == _STEPS)
    convex, tori = [], []
    for meshes in (1, 2, 3):
        on_line = grid % (_STEPS // meshes) == 0
        pairs = []
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            starts_here = outer[:, others].any(1) & on_line[:, others].all(1) & (grid[:, axis] < _STEPS)
            begins = grid[starts_here]
            ends = begins + np.eye(3, dtype=int)[axis]
            pairs.append(np.stack([number[tuple(begins.T)], number[tuple(ends.T)]], axis=1))
        convex.append(np.concatenate(pairs))
        circles, rings = u % (6 // meshes) == 0, v % (_ACROSS // 2 // meshes) == 0
        across = np.stack([_on_torus(u, v), _on_torus(u, v + 1)], axis=1)[circles]
        around = np.stack([_on_torus(u, v), _on_torus(u + 1, v)], axis=1)[rings]
        tori.append(np.concatenate([across, around]))
    for kind in (convex, tori):
        starts.append(sum(map(len, found)) + np.cumsum([0, *map(len, kind)]))
        found += kind
    return np.concatenate(found).astype(np.int32), np.array(starts, np.int32)


def _grid() -> np.ndarray:
    """[6 _STEPS^2 + 2, 3] places on the surface of a cube, 0 to _STEPS."""
    return np.argwhere(np.pad(np.zeros((_STEPS - 1,) * 3, bool), 1, constant_values=True))


def _numbers(grid: np.ndarray) -> np.ndarray:
    """[_STEPS + 1] * 3: the number of each place of the grid."""
    number = np.zeros((_STEPS + 1,) * 3, np.int64)
    number[tuple(grid.T)] = np.arange(len(grid))
    return number


def _on_torus(i, j):
    """Number of a vertex."""
    return i % _AROUND * _ACROSS + j % _ACROSS


def _halves(a, b, c, d) -> np.ndarray:
    """Two triangles of each cell of four corners in a row."""
    return np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)], axis=-2).reshape(-1, 3)
