"""What files of points have in common: columns of numbers with names or without, of which some are colours."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["RawCloud", "color_columns", "likely_columns", "may_be_colors", "unit_colors"]

_FEWEST = 600  # numbers from which the width of a row can be told
_NARROWER, _EQUAL = 0.1, 0.05  # natural logarithms of ratios of spreads
_COLOR_NAMES = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("scalar_red", "scalar_green", "scalar_blue"),
    ("colorred", "colorgreen", "colorblue"),
    ("rf", "gf", "bf"),  # CloudCompare's in 0..1
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


def likely_columns(values: np.ndarray, *, most: int = 8) -> int:
    """How many numbers there seem to be in a row of points, from 3; 0 if nothing speaks for any number.

    Coordinates, colours and intensities differ in range. Columns that are columns are therefore narrow; with any other
    width of a row all of them become the same mixture.

    Args:
        values: All numbers, row by row.
        most: The greatest width that is tried.

    >>> rows = np.random.default_rng(0).uniform(0, 1, (300, 4)) * [50, 50, 3, 1]
    >>> likely_columns(rows.reshape(-1)), likely_columns(rows.reshape(-1)[:60])
    (4, 0)
    """
    if len(values) < _FEWEST or not np.isfinite(values).all():
        return 0
    values = values.astype(np.float64)
    floor = 1e-3 * values.std() + 1e-12  # of columns of a single value
    widths = [width for width in range(3, most + 1) if len(values) % width == 0]
    spreads = {width: np.log(values.reshape(-1, width).std(axis=0) + floor).mean() for width in widths}
    least = min(spreads.values(), default=0.0)
    if not spreads or least > np.log(values.std() + floor) - _NARROWER:
        return 0
    return next(width for width in widths if spreads[width] <= least + _EQUAL)


def may_be_colors(values: np.ndarray) -> bool:
    """Whether numbers are all in 0..1, or all whole and in 0..255.

    >>> [may_be_colors(np.array([row])) for row in ([0.5, 1.0, 0.0], [3, 200, 7], [0.5, 200, 7], [-1, 2, 3])]
    [True, True, False, False]
    """
    least, most = values.min(initial=0), values.max(initial=0)
    return bool(least >= 0 and (most <= 1 or (most <= 255 and (values == np.round(values)).all())))


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
    if len(found) > 1 and most == least == 0:
        return None, "the colours are all black, as where they were never set; no colours were read"
    if least < 0 or most > 65535:
        return None, f"the columns where colours are expected go from {least:g} to {most:g}; no colours were read"
    if most <= 1 and values.dtype.kind == "f":
        return found.astype(np.float32), ""
    return (found / (255 if most <= 255 else 65535)).astype(np.float32), ""
