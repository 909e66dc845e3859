"""What looks wrong about a scan although it can be read: its unit, its up axis, its number of points."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

__all__ = ["class_hints", "scan_hints", "summarize_notes"]

_WIDE, _NARROW = 100.0, 0.1  # metres
_SLAB = 0.04  # share of an extent in which a floor lies
_FLOOR = 0.1  # share of the points by which a floor is fuller than a ceiling


def scan_hints(points: np.ndarray, *, num_points: int = 1000) -> tuple[str, ...]:
    """Sentences on what does not look like a scan in metres with z up; none of them is certain.

    A floor makes one end of the up axis much fuller than the other; where y is so and z is not, y is up.

    Args:
        points: [N, 3].
        num_points: How many points are expected at least.

    >>> scan_hints(np.zeros((5, 3), np.float32))
    ('has 5 points; at least 1000 are expected',)
    """
    hints = []
    extent = np.ptp(points, axis=0)
    width = max(extent[:2])
    if width > _WIDE:
        hints.append(
            f"is {width:.0f} wide and {extent[2]:.0f} high: are these metres? Divide millimetres by 1000, centimetres "
            "by 100"
        )
    elif 0 < extent.max() < _NARROW:
        hints.append(f"is {extent.max():.2g} wide: are these metres?")
    of_y, of_z = (_floor(points[:, axis], extent[axis]) for axis in (1, 2))
    if abs(of_y) > _FLOOR > 2 * abs(of_z) and extent[1] < max(extent[0], extent[2]):
        way = "up" if of_y > 0 else "down"
        hints.append(f"has its floor at one end of y: does y point {way}? Turn it so that z is up")
    elif extent[2] > 1.5 * width > 0:
        hints.append(f"is {extent[2]:.3g} high but only {width:.3g} wide: is z up?")
    if len(points) < num_points:
        hints.append(f"has {len(points)} points; at least {num_points} are expected")
    return tuple(hints)


def class_hints(names: Iterable[str]) -> tuple[str, ...]:
    """Sentences on class names that differ by case, blanks, hyphens or underscores alone.

    >>> class_hints(["Night stand", "night_stand", "bed"])
    ("the classes 'Night stand' and 'night_stand' differ by case or blanks alone; are they one?",)
    """
    alike: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        alike.setdefault("".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    return tuple(
        f"the classes {' and '.join(map(repr, group))} differ by case or blanks alone; are they one?"
        for group in alike.values()
        if len(group) > 1
    )


def summarize_notes(notes: Mapping[str, Sequence[str]], *, num_items: int) -> tuple[str, ...]:
    """Sentences on many files in one line for each kind of note, by its first three words.

    Args:
        notes: Those of each file.
        num_items: How many files there are.

    >>> summarize_notes({"a": ["is 900 wide: are these metres?"], "b": ["is 800 wide: are these metres?"]}, num_items=3)
    ('a is 900 wide: are these metres? The same of 1 more of 3',)
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, sentences in notes.items():
        for sentence in sentences:
            kind = " ".join(word for word in sentence.split()[:4] if not any(c.isdigit() for c in word))
            groups.setdefault(kind, []).append((name, sentence))
    lines = []
    for members in groups.values():
        name, sentence = members[0]
        more = f" The same of {len(members) - 1} more of {num_items}" if len(members) > 1 else ""
        lines.append(f"{name} {sentence}{'' if not more or sentence.endswith('?') else '.'}{more}")
    return tuple(lines)


def _floor(values: np.ndarray, extent: float) -> float:
    """Share of values in the slab at the lower end, less that at the upper end: of two walls about 0."""
    slab = _SLAB * extent
    return float((values <= values.min() + slab).mean() - (values >= values.max() - slab).mean())
