"""What does not look like a scan in metres, z up."""

import numpy as np
import pytest

from pcfdsl.readers.hints import class_hints, scan_hints, summarize_notes


def room(num_points=4000):
    """Floor, four walls and things on the floor: 6 x 4 x 2.5 m."""
    rng = np.random.default_rng(0)
    points = rng.random((num_points, 3)) * (6, 4, 2.5)
    part = rng.integers(0, 10, num_points)
    points[part < 3, 2] = 0
    for axis, side, number in ((0, 0, 3), (0, 6, 4), (1, 0, 5), (1, 4, 6)):
        points[part == number, axis] = side
    return points


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p, None),
        (lambda p: p - (3, 20, 1), None),
        (lambda p: 1000 * p, "high: are these metres? Divide millimetres by 1000"),
        (lambda p: 100 * p, "centimetres by 100"),
        (lambda p: p / 1000, "is 0.006 wide: are these metres?"),
        (lambda p: p[:, [0, 2, 1]] * (1, 1, -1), "does y point up?"),
        (lambda p: p[:, [0, 2, 1]] * (1, -1, 1), "does y point down?"),
        (lambda p: p * (0.1, 0.1, 1), "is 2.5 high but only 0.6 wide: is z up?"),
        (lambda p: p[:60], "has 60 points; at least 1000 are expected"),
    ],
)
def test_what_is_noticed(change, words):
    hints = scan_hints(change(room()).astype(np.float32))
    if words is None:
        assert hints == ()
    else:
        assert any(words in hint for hint in hints)


def test_notes_of_many_files_take_a_line_for_each_kind():
    notes = {name: ("is 900 wide: are these metres?", f"{k} of 9 points are bad") for k, name in enumerate("abc")}
    assert summarize_notes(notes, num_items=5) == (
        "a is 900 wide: are these metres? The same of 2 more of 5",
        "a 0 of 9 points are bad. The same of 2 more of 5",
    )
    assert class_hints(["a", "b"]) == ()
