import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path
from PIL import Image, ImageDraw

from pcfdsl.image.fill import fill_even_odd
from pcfdsl.image.lines import draw_polygons

COORDINATES = st.floats(-400, 400, allow_nan=False, width=32) | st.integers(-5, 45).map(float)
POLYGONS = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 7), st.just(2)), elements=COORDINATES)


def drawn_by_pillow(polygons, inks, *, closed=True):
    image = Image.new("L", (50, 40))
    draw = ImageDraw.Draw(image)
    for polygon, ink in zip(polygons, inks, strict=True):
        last = len(polygon) if closed else len(polygon) - 1
        for k in range(last):
            draw.line((*polygon[k], *polygon[(k + 1) % len(polygon)]), fill=int(ink), width=1)
    return np.asarray(image)


@settings(max_examples=300)
@given(POLYGONS, st.booleans())
def test_lines_are_pillows_pixel_for_pixel(polygons, closed):
    inks = np.arange(len(polygons), dtype=np.uint8) + 100
    image = np.zeros((40, 50), np.uint8)
    draw_polygons(image, polygons, inks, closed=closed)
    np.testing.assert_array_equal(image, drawn_by_pillow(polygons, inks, closed=closed))


def test_wide_inks_and_origins():
    polygons = np.random.default_rng(0).normal(size=(4, 9, 2)) * 15
    narrow, wide = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint32)
    draw_polygons(narrow, polygons + np.array([20.5, 11.0]), np.arange(1, 5, dtype=np.uint8))
    draw_polygons(wide, polygons, np.arange(1, 5, dtype=np.uint32), origin=(20.5, 11.0))
    np.testing.assert_array_equal(narrow, wide)


def test_broken_sides_are_the_background_over_what_was_there():
    square = np.array([[[1.0, 1], [8, 1], [8, 8], [1, 8]]])
    broken = np.array([[True, False, False, True]])
    image = np.full((10, 10), 7, np.uint8)
    draw_polygons(image, square, np.array([1], np.uint8), broken=broken, background=9)
    assert (image[1, 1:8] == 9).all()  # side 0, drawn first; its last pixel is side 1's
    assert (image[1:9, 8] == 1).all()
    assert (image[8, 2:9] == 1).all()
    assert (image[1:9, 1] == 9).all()
    assert (image[2:8, 2:8] == 7).all()


def test_far_and_unbounded_coordinates_do_no_harm():
    image = np.zeros((8, 8), np.uint8)
    polygons = np.array([[[-1e300, 4.0], [1e300, 4.0], [np.inf, 1e9]]])
    draw_polygons(image, polygons, np.array([5], np.uint8), closed=False)
    assert (image[4] == 5).all()
    assert not image[:4].any()


def test_inks_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="inks are int64"):
        draw_polygons(np.zeros((8, 8), np.uint8), np.zeros((2, 3, 2)), np.zeros(2, np.int64))


@settings(max_examples=60)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 2), st.integers(3, 8), st.just(2)), elements=st.floats(-9, 29)))
def test_filled_is_what_lies_inside_an_odd_number_of_times(polygons):
    polygons = polygons + np.float64(1 / 3) + np.random.default_rng(0).random(polygons.shape) * 1e-3  # no ties
    image = np.zeros((20, 20), np.uint8)
    fill_even_odd(image, polygons, 3)
    columns, rows = np.meshgrid(np.arange(20.0), np.arange(20.0))
    crossed = np.zeros((20, 20), int)
    for x0, y0, x1, y1 in ((*a, *b) for p in polygons for a, b in zip(p, np.roll(p, -1, axis=0), strict=True)):
        spans = (y0 <= rows) != (y1 <= rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossed += spans & (x0 + (x1 - x0) * (rows - y0) / (y1 - y0) <= columns)
    np.testing.assert_array_equal(image == 3, crossed % 2 == 1)


def test_a_convex_shape_and_a_ring():
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = np.stack([circle * 8.3, circle * 15.7]) + 20.2
    image = np.zeros((40, 40), np.uint8)
    fill_even_odd(image, rings, 1)
    grid = np.stack(np.meshgrid(np.arange(40), np.arange(40)), axis=-1).reshape(-1, 2)
    inside = [Path(ring).contains_points(grid).reshape(40, 40) for ring in rings]
    np.testing.assert_array_equal(image.astype(bool), inside[1] & ~inside[0])
