import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.config import ConfigError
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import box_corners
from pcfdsl.scene.layout import LayoutConfig, lay_out


def arranged(seed: int, num_objects: int, config: LayoutConfig):
    rng = stream(seed, "layout")
    sizes = np.exp(rng.uniform(np.log(0.3), np.log(2.0), (num_objects, 3)))
    return sizes, lay_out(rng, sizes, config=config)


def outlines(sizes, layout) -> np.ndarray:
    """[K, 4, 2] corners of the footprints."""
    rows = np.concatenate([layout.positions, np.zeros((len(sizes), 1)), sizes, layout.yaws[:, None]], axis=1)
    return box_corners(rows)[:, :4, :2]


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Distance of two convex outlines along the best of their edges' normals; negative where they overlap."""
    best = -np.inf
    for outline in (first, second):
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
        a, b = first @ normals.T, second @ normals.T
        best = max(best, (b.min(axis=0) - a.max(axis=0)).max(), (a.min(axis=0) - b.max(axis=0)).max())
    return float(best)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 14), st.sampled_from(["free", "quarter", "axis_aligned"]))
def test_footprints_keep_their_gap_and_stay_in_the_room(seed, num_objects, yaw):
    config = LayoutConfig(yaw=yaw, coverage=(0.3, 0.6), stacking=0.3)
    sizes, layout = arranged(seed, num_objects, config)
    corners = outlines(sizes, layout)
    assert (np.abs(corners[layout.placed]) <= layout.room / 2).all()
    on_floor = np.flatnonzero(layout.placed & (layout.supports < 0))
    for i, a in enumerate(on_floor):
        for b in on_floor[:i]:
            assert apart(corners[a], corners[b]) >= config.gap - 1e-9
    for k in np.flatnonzero(layout.placed & (layout.supports >= 0)):
        below = layout.supports[k]
        assert layout.placed[below]
        assert layout.supports[below] < 0
        assert list(layout.order).index(below) < list(layout.order).index(k)
        assert np.hypot(*sizes[k, :2]) <= sizes[below, :2].min()
    assert sorted(layout.order) == list(range(num_objects))


def test_the_published_distance_of_centres():
    sizes, layout = arranged(3, 12, LayoutConfig(rule="center_distance", room=(15, 15), stacking=0, against_wall=0))
    assert layout.placed.all()
    for a in range(12):
        for b in range(a):
            distance = np.linalg.norm(layout.positions[a] - layout.positions[b])
            assert distance >= (np.hypot(*sizes[a, :2]) + np.hypot(*sizes[b, :2])) / 2 + 0.25


def test_backs_of_wall_objects_touch_their_walls():
    config = LayoutConfig(room=(6, 5), against_wall=1.0, stacking=0.0)
    sizes, layout = arranged(0, 8, config)
    backs = np.stack([-np.sin(layout.yaws), np.cos(layout.yaws)], axis=1)  # +y of the object
    for k in np.flatnonzero(layout.placed):
        reach = layout.positions[k] + backs[k] * sizes[k, 1] / 2
        assert np.abs(reach / (layout.room / 2)).max() == pytest.approx(1, abs=0.01)
    assert layout.placed.sum() >= 4


def test_what_is_larger_than_the_room_is_left_out():
    layout = lay_out(stream(0), np.array([[4.0, 4, 1], [0.5, 0.5, 1]]), config=LayoutConfig(room=(3, 3), stacking=0))
    np.testing.assert_array_equal(layout.placed, [False, True])


def test_a_fitted_room_has_the_coverage_asked_for():
    config = LayoutConfig(coverage=(0.2, 0.2), stacking=0.0)
    sizes, layout = arranged(5, 40, config)
    assert (sizes[:, 0] * sizes[:, 1]).sum() / layout.room.prod() == pytest.approx(0.2, rel=1e-6)


def test_settings_that_cannot_be_are_named():
    with pytest.raises(
        ConfigError, match=r"coverage: the range from 0\.5 to 0\.2 is empty\nroom: sides must be positive"
    ):
        LayoutConfig(coverage=(0.5, 0.2), room=(0.0, 3.0))
