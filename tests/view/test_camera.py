import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcfdsl.view.camera import Camera

SIZE = (320, 200)
coordinates = st.floats(-50, 50, width=32)
clouds = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=30).map(
    lambda rows: np.array(rows, dtype=np.float32)
)


@settings(max_examples=150, deadline=None)
@example(np.float32([[1, 0, 0], [1, 0, 1.26e-18]]), 0.0, 0.0, 5.0, 1.0)
@given(clouds, st.floats(-180, 180), st.floats(-90, 90), st.floats(5, 100), st.floats(0.4, 2.5))
def test_every_point_of_the_cloud_it_looks_at_is_in_view(points, azimuth, elevation, fov, aspect):
    camera = Camera.looking_at(points, azimuth, elevation, fov=fov, aspect=aspect)
    size = (round(1000 * aspect), 1000)
    pixels, depth = camera.project(points, size)
    assert (depth > 0).all()
    assert (pixels >= -1e-3).all()
    assert (pixels <= np.array(size) + 1e-3).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-180, 180), st.floats(-90, 90), st.sampled_from([0.5, 1.0, 1.6]))
def test_no_nearer_camera_in_that_direction_sees_them_all(seed, azimuth, elevation, aspect):
    points = np.random.default_rng(seed).normal(size=(40, 3))
    camera = Camera.looking_at(points, azimuth, elevation, aspect=aspect)
    pixels, _ = camera.project(points, (round(1000 * aspect), 1000))
    width, height = np.ptp(pixels / (1000 * aspect, 1000), axis=0)
    margin = 0.08  # four percent on either side
    assert max(width, height) == pytest.approx(1 - margin, abs=2e-3)


def test_projection_is_a_pinhole_with_x_right_and_y_down():
    camera = Camera((0, -10, 0), (0, 0, 0), fov=2 * np.degrees(np.arctan(0.5)))  # half the height at 10 m is 5 m
    pixels, depth = camera.project(np.array([(0, 0, 0), (5, 0, 0), (0, 0, 5), (0, 10, 5), (0, -20, 0)]), SIZE)
    np.testing.assert_allclose(depth, [10, 10, 10, 20, -10])
    np.testing.assert_allclose(pixels[:4], [(160, 100), (260, 100), (160, 0), (160, 50)], atol=1e-9)


@pytest.mark.parametrize("azimuth", [-90, 0, 37])
def test_from_straight_above_azimuth_still_turns_the_picture(azimuth):
    camera = Camera.looking_at(np.array([(-1, -1, 0), (1, 1, 0.0)]), azimuth, 90)
    away = -np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth)), 0])
    (center, above), _ = camera.project(np.array([camera.target, np.add(camera.target, 0.1 * away)]), SIZE)
    assert above[0] == pytest.approx(center[0], abs=1e-6)
    assert above[1] < center[1]


def test_rooms_are_looked_at_from_higher_up():
    cube, slab = np.array([(0, 0, 0), (2, 2, 2)]), np.array([(0, 0, 0), (8, 6, 2.5)])
    for points, elevation in ((cube, 22), (slab, 40)):
        camera = Camera.looking_at(points)
        view = np.subtract(camera.position, camera.target)
        assert np.degrees(np.arcsin(view[2] / np.linalg.norm(view))) == pytest.approx(elevation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": (1, 2, 3), "target": (1, 2, 3)}, "no orientation"),
        ({"position": (0, 0, 5), "target": (0, 0, 0)}, "no orientation"),
        ({"position": (float("nan"), 0, 5), "target": (0, 0, 0)}, "no orientation"),
        ({"position": (0, 1, 5), "target": (0, 0, 0), "fov": 180}, "fov"),
    ],
)
def test_a_camera_without_a_view_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Camera(**arguments)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "nothing to look at"),
        (np.zeros((5, 6)), r"\[N, 3\]"),
        (np.array([(0, 0, np.nan), (1, 1, 1)]), "1 of 2 points are not finite"),
    ],
)
def test_what_cannot_be_looked_at(points, message):
    with pytest.raises(ValueError, match=message):
        Camera.looking_at(points)
