import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.image.camera import render_points, ring_rotation, sphere_rotation
from pcfdsl.rng import stream

clouds = hnp.arrays(np.float32, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-1.5, 1.5, width=16))
FOCAL = 32 / np.tan(np.radians(22.5))


def test_viewpoints_are_uniform_on_the_sphere_and_upright():
    rotations = np.stack([sphere_rotation(stream(0, i)) for i in range(4000)])
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (4000, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    viewpoints = rotations[:, 2]
    np.testing.assert_allclose(viewpoints.mean(axis=0), 0, atol=4 / np.sqrt(3 * 4000))
    np.testing.assert_allclose(viewpoints.T @ viewpoints / 4000, np.eye(3) / 3, atol=0.03)
    assert (rotations[:, 1, 2] >= 0).all()
    assert not rotations[:, 0, 2].any()


def test_the_ring_turns_about_y_in_equal_steps():
    rotations = np.stack([ring_rotation(view, 12) for view in range(12)])
    np.testing.assert_allclose(rotations @ [0, 1, 0], np.broadcast_to([0, 1, 0], (12, 3)))
    step = rotations[1] @ rotations[0].T
    np.testing.assert_allclose(rotations[1:], step @ rotations[:-1], atol=1e-12)
    np.testing.assert_allclose(np.linalg.matrix_power(step, 12), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(
        ring_rotation(0, 12, jitter=0.05), ring_rotation(0, 12) @ ring_rotation(11, 12, jitter=0.05)
    )


@given(clouds, st.integers(0, 1000), st.integers(1, 4), st.booleans())
def test_pictures_are_those_of_the_pinhole_equation(points, seed, point_size, shaded):
    rotation = sphere_rotation(stream(seed)).astype(np.float32)
    image = render_points(points, rotation, 64, point_size=point_size, shade_by_depth=shaded)
    x, y, z = rotation.astype(np.float64) @ points.astype(np.float64).T
    depth = 4 - z
    left = 32 + FOCAL * x / depth - (point_size - 1) / 2
    top = 32 - FOCAL * y / depth - (point_size - 1) / 2
    certain = (np.abs(left - np.round(left)) > 1e-3) & (np.abs(top - np.round(top)) > 1e-3)  # not on a pixel's edge
    inked = np.zeros((64, 64), bool)
    nearest = np.full((64, 64), np.inf)
    for i in range(len(points)):
        rows = slice(max(int(np.floor(top[i])), 0), max(int(np.floor(top[i])) + point_size, 0))
        columns = slice(max(int(np.floor(left[i])), 0), max(int(np.floor(left[i])) + point_size, 0))
        inked[rows, columns] = True
        nearest[rows, columns] = np.minimum(nearest[rows, columns], depth[i])
    if certain.all():
        np.testing.assert_array_equal(image != 0, inked)
        grey = np.clip(255 - 191 * (nearest[inked] - 3) / 2, 64, 255) if shaded else 255
        assert np.abs(image[inked] - np.asarray(grey)).max(initial=0) <= 1.01


def test_the_nearer_point_is_seen_whatever_the_order():
    points = np.array([[0, 0, 0.9], [0, 0, -0.9], [0, 0, 0]], np.float32)
    pictures = [
        render_points(points[list(order)], np.eye(3), 9, shade_by_depth=True) for order in ((0, 1, 2), (2, 1, 0))
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert pictures[0].max() == int(255 - 191 * (4 - 0.9 - 3) / 2)
    assert np.count_nonzero(pictures[0]) == 1


@pytest.mark.parametrize("position", [(0, 0, 3.5), (0, 0, 5.0), (5, 0, 0), (0, -9, 0), (np.nan, 0, 0)])
@pytest.mark.parametrize("shaded", [False, True])
def test_what_is_too_near_behind_outside_or_nowhere_is_not_drawn(position, shaded):
    points = np.array([position], np.float32)
    assert not render_points(points, np.eye(3), 32, shade_by_depth=shaded).any()
    assert render_points(np.array([[0, 0, 3.0]], np.float32), np.eye(3), 32, shade_by_depth=shaded).any()
