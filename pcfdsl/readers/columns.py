"""What files of points have in common: columns of numbers with names or without, of which some are colours."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["RawCloud", "color_columns", "unit_colors"]

_COLOR_NAMES = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("scalar_red", "scalar_green", "scalar_blue"),
    ("colorred", "colorgreen", "colorblue"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class RawCloud:
    """A file's points as they stand in it.

    Attributes:
        points: [N, 3] numbers of any type.
        colors: [N, 3] numbers of any type, or None.
        triangles: [T, 3] rows of points, or None.
        notes: What a person should know of the reading.
    """

    points: np.ndarray
    colors: np.ndarray | None = None
    triangles: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def color_columns(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The columns [N] of red, green and blue under one of their names, in lower case, as [N, 3]; None without them."""
    for names in _COLOR_NAMES:
        if all(name in columns for name in names):
            return np.stack([columns[name] for name in names], axis=1)
    return None


def unit_colors(values: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Colours of any type in 0..1.

    Integers count to 255, or to 65535 if any is greater; so do floating-point numbers, of which none is greater than 1
    if they count to 1. Colours that are not finite are black.

    Returns:
        ([N, 3] float32 or None if they can be no colours, why not or "").

    >>> unit_colors(np.array([[0, 51, 255]], np.uint8))[0].round(3).tolist()
    [[0.0, 0.20000000298023224, 1.0]]
    """
    found = np.nan_to_num(np.asarray(values, np.float64), posinf=0.0, neginf=0.0)
    least, most = found.min(initial=0), found.max(initial=0)
    if least < 0 or most > 65535:
        return None, f"the columns where colours are expected go from {least:g} to {most:g}; no colours were read"
    if most <= 1 and values.dtype.kind == "f":
        return found.astype(np.float32), ""
    return (found / (255 if most <= 255 else 65535)).astype(np.float32), ""
