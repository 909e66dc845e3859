"""What a source of objects must be and give: a slip in a formula of one's own is named here, not trained on."""

import math
import operator
from typing import Any

import numpy as np

from pcfdsl.scene.colors import Thing

__all__ = ["check_source", "checked_object"]

_NO_EXTENT = 1e-9  # an axis of no more is left flat when a cloud gets its size


def check_source(source: Any) -> None:
    """Refuse what is no source of objects.

    Raises:
        TypeError: If it is a class instead of an instance, or has no `sample` to call, or no number of categories.
        ValueError: If that number is below 1.
    """
    expected = "expected an object with num_categories and sample(rng, num_points)"
    if isinstance(source, type):
        raise TypeError(f"source is the class {source.__name__}; {expected}, such as {source.__name__}()")
    name = type(source).__name__
    if not callable(getattr(source, "sample", None)):
        raise TypeError(f"source is of class {name}, which has no method sample; {expected}")
    if not hasattr(source, "num_categories"):
        raise TypeError(f"source is of class {name}, which has no num_categories; {expected}")
    number = source.num_categories
    if not isinstance(number, int | np.integer) or isinstance(number, bool):
        what = "a method, perhaps without @property" if callable(number) else repr(number)
        raise TypeError(f"source is of class {name}, whose num_categories is {what}; expected an integer, 1 or more")
    if number < 1:
        raise ValueError(f"source is of class {name}, whose num_categories is {number}; expected 1 or more")


def checked_object(source: Any, given: Any, num_points: int, *, in_parts: bool = False) -> tuple[Thing, int]:
    """An object that a source has sampled, and its category; a few microseconds.

    Args:
        source: What sampled it.
        given: What `sample` gave or, if `in_parts`, `sample_in_parts`.
        num_points: How many points it was asked for. A source that has fewer may give fewer, but not a single one.
        in_parts: See `given`.

    Returns:
        (object, category): its points [N, 3] as float64.

    Raises:
        TypeError, ValueError: If it is something else than `ObjectSource` and `PartSource` say; the message names the
            class of the source, and says what it gave and what is expected.
    """

    def refuse(what: str, kind: type[Exception] = ValueError) -> Exception:
        return kind(
            f"{type(source).__name__}.{'sample_in_parts' if in_parts else 'sample'}(rng, {num_points}) gave {what}; "
            f"expected {'four things' if in_parts else 'a pair'}: points, an array [N, 3] of finite floats, N > 1 and "
            f"not all the same; their category, an integer from 0 to {source.num_categories - 1}"
            + ("; the part of each point, an array [N] of integers; the number of parts" if in_parts else "")
        )

    if not isinstance(given, (tuple, list)) or len(given) != (4 if in_parts else 2):
        raise refuse(_described(given), TypeError)
    points = given[0]
    if not isinstance(points, np.ndarray) or points.dtype.kind != "f":
        raise refuse(f"as points {_described(points)}", TypeError)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < min(num_points, 2):
        raise refuse(f"as points {_described(points)}")
    points = np.asarray(points, np.float64)
    if not math.isfinite(np.vdot(points, points)) and not np.isfinite(points).all():  # the first is the faster one
        broken = int((~np.isfinite(points)).any(axis=1).sum())
        raise refuse(f"{len(points)} points, {broken} of them not finite")
    seem_same = math.dist(points[0].tolist(), points[-1].tolist()) <= _NO_EXTENT
    if num_points > 1 and seem_same and np.ptp(points, axis=0).max() <= _NO_EXTENT:
        raise refuse(f"{len(points)} points that are all at {tuple(points[0].tolist())}")
    try:
        category = operator.index(given[1])
    except TypeError:
        raise refuse(f"as category {_described(given[1])}", TypeError) from None
    if not 0 <= category < source.num_categories:
        raise refuse(f"category {category}")
    if not in_parts:
        return Thing(points=points), category
    parts, num_parts = given[2:]
    if not isinstance(parts, np.ndarray) or parts.dtype.kind not in "iu" or parts.shape != (len(points),):
        raise refuse(f"as parts {_described(parts)}")
    if not isinstance(num_parts, int | np.integer) or not 0 <= parts.min() <= parts.max() < num_parts:
        raise refuse(f"parts from {parts.min()} to {parts.max()}, {_described(num_parts)} in all")
    return Thing(points=points, parts=parts, num_parts=int(num_parts)), category


def _described(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array {list(given.shape)} of {given.dtype}"
    if isinstance(given, (tuple, list)):
        return f"a {type(given).__name__} of length {len(given)}"
    return repr(given) if given is None or isinstance(given, int | float | str | np.generic) else type(given).__name__
