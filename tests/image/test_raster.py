import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.config import ConfigError
from pcfdsl.image.raster import (
    DrawConfig,
    average_down,
    count_ink,
    fit_frame,
    rasterize,
    released_hues,
)
from pcfdsl.rng import stream

clouds = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 90), st.just(2)), elements=st.floats(-100, 100, width=32)
).filter(lambda points: np.ptp(points, axis=0).min() > 1e-2)
sizes = st.tuples(st.integers(8, 90), st.integers(8, 90), st.integers(0, 3))


def pixels_of(points, frame):
    """Twin of the kernels' arithmetic: columns and rows, int64 [N]."""
    return [np.floor((points[:, d] - frame[3 * d]) * frame[3 * d + 1] + frame[3 * d + 2]).astype(int) for d in range(2)]


def uniform_points(count, seed=0):
    return stream(seed).uniform(-1, 1, (count, 2)).astype(np.float32)


@given(clouds, sizes, st.booleans())
def test_a_frame_takes_the_bounding_box_into_the_padding(points, size, keep_aspect):
    height, width, pad = size
    frame = fit_frame(points, height, width, pad=pad, keep_aspect=keep_aspect)
    assert frame is not None
    columns, rows = pixels_of(points, frame)
    assert columns.min() >= pad
    assert columns.max() < width - pad
    assert rows.min() >= pad
    assert rows.max() < height - pad
    spans = np.array([np.ptp(columns) + 1 == width - 2 * pad, np.ptp(rows) + 1 == height - 2 * pad])
    assert spans.any() if keep_aspect else spans.all()
    assert rows[points[:, 1].argmax()] == rows.min()  # y points up
    if keep_aspect:
        assert frame[1] == -frame[4]
        for indices, side in ((columns, width), (rows, height)):
            assert abs(indices.min() + indices.max() - (side - 1)) <= 2  # centred


@given(clouds, sizes)
def test_dots_are_where_the_frame_says(points, size):
    height, width, pad = size
    image = rasterize(points, height, width, DrawConfig(style="dot", ink=200, pad=pad))
    columns, rows = pixels_of(points, fit_frame(points, height, width, pad=pad))
    expected = np.zeros((height, width), np.uint8)
    expected[rows, columns] = 200
    np.testing.assert_array_equal(image, expected)


@given(clouds, sizes)
def test_patches_paste_one_mask_per_point_in_order(points, size):
    height, width, pad = size
    image = rasterize(points, height, width, DrawConfig(style="patch", pad=pad), rng=stream(3))
    key = stream(3).integers(2**32, size=2, dtype=np.uint32)
    words = np.arange(len(points), dtype=np.uint32) * np.uint32(0x9E3779B9) + key[0]
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x7FEB352D) + key[1]
    words = (words ^ (words >> np.uint32(15))) * np.uint32(0x846CA68B)
    masks = 1 + ((words ^ (words >> np.uint32(16))).astype(np.uint64) * np.uint64(511) >> np.uint64(32)).astype(int)
    plane = np.zeros((height + 2, width + 2), np.uint8)
    for mask, column, row in zip(masks, *pixels_of(points, fit_frame(points, height, width, pad=pad)), strict=True):
        plane[row : row + 3, column : column + 3] = (mask >> np.arange(9).reshape(3, 3) & 1) * 127
    np.testing.assert_array_equal(image, plane[1:-1, 1:-1])


def isolated_patches(style):
    """Pictures of single points: every patch stands alone."""
    grid = np.stack(np.meshgrid(np.arange(150), np.arange(150)), -1).reshape(-1, 2).astype(np.float32)
    image = rasterize(grid, 750, 750, DrawConfig(style=style, pad=2), rng=stream(1))
    assert image is not None
    cells = image.reshape(150, 5, 150, 5).swapaxes(1, 2).reshape(-1, 25) != 0
    return cells @ (1 << np.arange(25))


def test_every_point_has_its_own_mask_all_equally_likely_and_none_empty():
    codes, counts = np.unique(isolated_patches("patch"), return_counts=True)
    assert len(codes) == 511
    assert codes.min() > 0
    assert ((counts - 44.03) ** 2 / 44.03).sum() < 510 + 5 * np.sqrt(2 * 510)  # chi square, 22,500 patches


def test_one_mask_for_the_picture_is_the_same_everywhere():
    codes = np.unique(isolated_patches("image_patch"))
    assert len(codes) == 1
    assert codes[0] > 0


def test_one_mask_never_erases_and_the_published_kind_does():
    points = uniform_points(20_000)
    dots = rasterize(points, 64, 64, DrawConfig(style="dot", pad=2))
    assert dots is not None
    for seed in range(5):
        one = rasterize(points, 64, 64, DrawConfig(style="image_patch", pad=2), rng=stream(seed))
        each = rasterize(points, 64, 64, DrawConfig(style="patch", pad=2), rng=stream(seed))
        assert one is not None
        assert each is not None
        assert count_ink(one) >= 0.95 * count_ink(dots)
        assert 0.4 < count_ink(each) / count_ink(dots) < 0.7


def test_density_orders_pixels_by_their_counts():
    points = np.repeat([[0, 0], [1, 0], [0, 1], [1, 1]], [1, 5, 20, 100], axis=0).astype(np.float32)
    image = rasterize(points, 2, 2, DrawConfig(style="density", pad=0, ink=30))
    np.testing.assert_array_equal(image, [[176, 255], [30, 109]])
    color = rasterize(points, 2, 2, DrawConfig(style="density", pad=0, color=True))
    assert color is not None
    assert color.shape == (2, 2, 3)
    assert color[0, 1, 0] > 200
    assert color[1, 0, 2] > color[1, 0, 1]


def test_hues_follow_the_number_of_the_point():
    points = np.stack([np.arange(300), np.zeros(300)], 1).astype(np.float32)
    image = rasterize(points, 1, 300, DrawConfig(style="dot", pad=0, color=True))
    assert image is not None
    np.testing.assert_array_equal(image[0], released_hues()[np.arange(300) % 128])


@given(hnp.arrays(np.uint8, st.tuples(st.just(12), st.just(8), st.integers(1, 3))), st.sampled_from([1, 2, 4]))
def test_averages_are_rounded_means(image, factor):
    exact = image.reshape(12 // factor, factor, 8 // factor, factor, -1).mean(axis=(1, 3))
    assert np.abs(average_down(image, factor) - exact).max() <= 0.5


def test_supersampling_keeps_the_mean_and_gives_grey_edges():
    points = uniform_points(3000)
    config = DrawConfig(style="dot", pad=2, supersample=4)
    image = rasterize(points, 32, 32, config)
    large = rasterize(points, 128, 128, DrawConfig(style="dot", pad=8))
    assert image is not None
    assert large is not None
    np.testing.assert_array_equal(image, average_down(large, 4))
    assert len(np.unique(image)) - 2 > 0


@pytest.mark.parametrize(
    "points",
    [np.zeros((0, 2)), np.ones((40, 2)), np.array([[0, np.nan], [1, 1]]), np.array([[0, 0]] * 40 + [[np.inf, 1]])],
)
def test_what_has_no_frame_gives_none(points):
    assert rasterize(points.astype(np.float32), 16, 16, DrawConfig(style="dot", pad=0)) is None


def test_a_set_without_height_lies_in_the_middle():
    points = np.stack([np.linspace(0, 1, 50), np.ones(50)], 1).astype(np.float32)
    image = rasterize(points, 11, 20, DrawConfig(style="dot", pad=1))
    assert image is not None
    assert np.flatnonzero(image.any(axis=1)).tolist() == [5]
    assert np.flatnonzero(image.any(axis=0)).tolist() == list(range(1, 19))


def test_unusable_settings_are_refused():
    points = uniform_points(10)
    with pytest.raises(ValueError, match="12 x 40 pixels has no room inside a padding of 6"):
        rasterize(points, 12, 40, DrawConfig(style="dot"))
    with pytest.raises(ValueError, match="draws random masks; pass rng"):
        rasterize(points, 40, 40, DrawConfig(style="patch"))
    with pytest.raises(ConfigError, match="ink: must be at least 1"):
        DrawConfig(ink=0)
