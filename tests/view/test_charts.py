import io

import numpy as np
import pytest
from PIL import Image

from pcfdsl.view.charts import COLORS, bar_chart, line_chart


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def has(image, color, tolerance=12):
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(image - rgb).max(axis=2) <= tolerance).sum()


def test_each_series_has_its_curve_and_its_band():
    steps = np.linspace(0, 1, 30)
    narrow = line_chart({"a": np.stack([steps, steps]), "b": np.stack([1 - steps, 1 - steps])})
    wide = line_chart({"a": np.stack([steps - 0.3, steps + 0.3]), "b": np.stack([1 - steps, 1 - steps])})
    assert pixels(narrow).shape == (420, 720, 3)
    assert min(has(pixels(narrow), color) for color in COLORS[:2]) > 300
    tint = "#d8e4f2"  # the first colour at the band's opacity on white
    assert has(pixels(wide), tint) > 10_000 > has(pixels(narrow), tint)
    assert narrow == line_chart({"a": np.stack([steps, steps]), "b": np.stack([1 - steps, 1 - steps])})


def test_more_series_than_colours_differ_in_their_lines():
    steps = np.linspace(0, 1, 60)
    names = "abcdefg"
    line = {name: steps if name == "g" else np.full(60, np.nan) for name in names}
    dashed = has(pixels(line_chart(line)), COLORS[0])
    whole = has(pixels(line_chart(line | {"a": steps, "g": np.full(60, np.nan)})), COLORS[0])
    assert 0.3 < dashed / whole < 0.9


def test_missing_values_leave_a_gap_and_no_warning():
    values = np.tile(np.linspace(0, 1, 40), (3, 1))
    values[0, 10:] = np.nan
    values[:, 25:] = np.nan
    image = pixels(line_chart({"a": values}, x=np.arange(40), x_label="epoch", y_label="mAP", title="A"))
    assert has(image, COLORS[0]) > 100


def test_bars_are_as_high_as_their_means():
    image = pixels(bar_chart({"a": {"10 %": [10.0]}, "b": {"10 %": [20.0], "100 %": [40.0, 40.0]}}))
    blue = np.abs(image - [76, 130, 191]).max(axis=2) < 14
    orange = np.abs(image - [223, 122, 80]).max(axis=2) < 14
    heights = []
    for bars in (blue, orange):
        columns = np.flatnonzero(bars.sum(axis=0) > 40)
        parts = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
        heights += [np.median(bars[:, part].sum(axis=0)) for part in parts]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 2, 4], rtol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: line_chart({}), "no series"),
        (lambda: line_chart({"a": np.zeros((2, 3, 4))}), r"shape \(2, 3, 4\)"),
        (lambda: line_chart({"a": np.zeros((2, 3))}, x=np.arange(4)), r"expected \[num_seeds, num_steps\]"),
        (lambda: bar_chart({}), "no series"),
        (lambda: bar_chart({"a": {"10 %": []}}), "no values for '10 %'"),
    ],
)
def test_what_makes_no_chart(call, message):
    with pytest.raises(ValueError, match=message):
        call()
