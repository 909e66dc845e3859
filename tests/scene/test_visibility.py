import numpy as np
import pytest

from pcfdsl.rng import stream
from pcfdsl.scene.visibility import visible_from


def wall(x: float, half: float, *, spacing: float = 0.02) -> np.ndarray:
    y, z = np.meshgrid(np.arange(-half, half, spacing), np.arange(-half, half, spacing))
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1)


def test_a_wall_hides_what_is_behind_it_and_nothing_before_or_beside_it():
    camera = np.array([1.0, -2.0, 0.5])
    screen, behind = wall(2.0, 1.0), wall(4.0, 0.9)
    front, beside = wall(0.8, 0.2), wall(3.0, 0.4) + np.array([0, 2.2, 0])
    parts = [screen, behind, front, beside]
    owner = np.repeat(np.arange(4), [len(part) for part in parts])
    seen = visible_from(np.concatenate(parts) + camera, camera, resolution=1.0)
    assert [bool(seen[owner == k].all()) for k in (2, 3)] == [True, True]
    assert not seen[owner == 1].any()
    hidden = ~seen[owner == 0]
    y, z = screen[hidden, 1], screen[hidden, 2]
    assert hidden.any()
    assert max(np.abs(y).max(), np.abs(z).max()) < 0.2 * 2.0 / 0.8 + 0.1  # the shadow of what is in front
    assert visible_from(behind + camera, camera, resolution=2.0).all()


def test_moving_everything_together_changes_nothing():
    points = stream(1, "points").normal(size=(2000, 3)).astype(np.float32)
    shift = np.array([8, -4, 2], np.float32)  # powers of two, so that rounding stays out of it
    seen = visible_from(points, np.zeros(3), resolution=5)
    moved = visible_from((points + shift) - shift + shift, shift, resolution=5)
    assert 0 < seen.mean() < 1
    assert (seen == moved).mean() > 0.99


def test_a_field_of_view_cuts_to_its_sides_and_looks_slightly_down():
    angles = np.radians(np.arange(-177.5, 180, 5))
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)
    seen = visible_from(ring, np.zeros(3), heading=np.pi / 2, fov=60)
    np.testing.assert_array_equal(seen, np.abs(angles - np.pi / 2) <= np.radians(30))
    up_and_down = np.array([[0, 1.0, 0.9], [0, 1.0, -0.6]])
    np.testing.assert_array_equal(visible_from(up_and_down, np.zeros(3), heading=np.pi / 2, fov=60), [False, True])


def test_the_point_at_the_camera_is_seen():
    assert visible_from(np.zeros((1, 3)), np.zeros(3)).all()


@pytest.mark.parametrize("wrong", [{"resolution": 0.0}, {"resolution": 90.0}, {"fov": 0.0}, {"fov": 400.0}])
def test_impossible_pictures_are_refused(wrong):
    with pytest.raises(ValueError, match="degrees; expected"):
        visible_from(np.zeros((1, 3)), np.zeros(3), **wrong)
