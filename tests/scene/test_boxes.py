import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.rng import stream
from pcfdsl.scene.boxes import (
    Scene,
    axis_bounds,
    box_corners,
    height_above_floor,
    overlap_votes,
    points_in_boxes,
    tight_box,
    votes,
)

ANGLES = st.floats(-7, 7)


def two_boxes() -> Scene:
    points = [[0, 0, 0], [1, 0, 0.5], [4, 4, 1], [5, 5, 3], [9, 9, 0]]
    boxes = [[0.5, 0, 0.25, 1.2, 1, 1, 0.0], [4.5, 4.5, 2, 1.5, 1.5, 2.5, 0.3]]
    return Scene(points=points, boxes=boxes, categories=[7, 2], instance_ids=[0, 0, 1, 1, -1])  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.integers(0, 10**6), ANGLES)
def test_tight_box_holds_every_point_and_no_smaller_box_does(seed, yaw):
    points = stream(seed, "cloud").normal(size=(50, 3)).astype(np.float32)
    box = tight_box(points, yaw)
    assert points_in_boxes(points, box[None], margin=1e-5).all()
    for axis in range(3):
        smaller = box.copy()
        smaller[3 + axis] -= 1e-3
        assert not points_in_boxes(points, smaller[None]).all()


@settings(deadline=None)
@given(st.integers(0, 10**6), ANGLES)
def test_corners_are_in_the_box_and_span_it(seed, yaw):
    rng = stream(seed, "box")
    box = np.array([[*rng.normal(size=3), *rng.uniform(0.1, 3, 3), yaw]])
    corners = box_corners(box)[0]
    assert points_in_boxes(corners, box, margin=1e-9).all()
    np.testing.assert_allclose(tight_box(corners, yaw), box[0], atol=1e-5)


def test_yaw_turns_counter_clockwise_from_x():
    box = np.array([[0, 0, 0, 4, 0.2, 1, np.pi / 4]])
    inside = points_in_boxes(np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]), box)
    np.testing.assert_array_equal(inside, [[True, False]])


def test_flat_clouds_get_a_box_that_can_be_used():
    assert tight_box(np.zeros((3, 3)), 0.5)[3:6].min() == pytest.approx(1e-3)
    with pytest.raises(ValueError, match="at least one point"):
        tight_box(np.zeros((0, 3)), 0)


def test_votes_lead_to_the_box_centre_or_the_middle_of_the_points():
    scene = two_boxes()
    for target, middles in (("box", scene.boxes[:, :3]), ("extent", [[0.5, 0, 0.25], [4.5, 4.5, 2]])):
        offsets, mask = votes(scene, target=target)
        np.testing.assert_array_equal(mask, [True, True, True, True, False])
        np.testing.assert_allclose((scene.points + offsets)[mask], np.repeat(middles, 2, axis=0), atol=1e-6)
        assert not offsets[~mask].any()
    with pytest.raises(ValueError, match="unknown vote target"):
        votes(scene, target="corner")


def test_a_box_without_points_does_not_disturb_votes():
    scene = Scene(
        points=np.zeros((2, 3)), boxes=np.ones((2, 7)), categories=np.zeros(2), instance_ids=np.array([1, -1])
    )
    assert np.isfinite(votes(scene, target="extent")[0]).all()


def test_overlap_votes_fill_slots_in_the_order_of_the_boxes(golden):
    measured = golden("votenet_votes.npz")
    boxes = measured["sunrgbd/boxes"]  # cx cy cz, half sizes, heading (clockwise), class
    ours = np.concatenate([boxes[:, :3], 2 * boxes[:, 3:6], -boxes[:, 6:7]], axis=1)
    offsets, mask = overlap_votes(measured["sunrgbd/points"], ours)
    assert measured["sunrgbd/num_boxes"].max() == 4
    np.testing.assert_array_equal(mask, measured["sunrgbd/votes"][:, 0] > 0)
    np.testing.assert_allclose(offsets.reshape(-1, 9), measured["sunrgbd/votes"][:, 1:], atol=1e-5)


def test_point_categories_follow_the_instances():
    np.testing.assert_array_equal(two_boxes().point_categories, [7, 7, 2, 2, -1])


def test_height_is_over_the_lowest_hundredth_percentile():
    z = np.linspace(0, 1, 10_001)
    points = np.stack([z * 0, z * 0, z + 5], axis=1)
    np.testing.assert_allclose(height_above_floor(points), z - 0.0099, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((5, 2))}, r"points has shape \(5, 2\); expected \[N, 3\]"),
        ({"points": np.full((5, 3), np.nan)}, "points row 0 is not finite"),
        ({"boxes": np.zeros((2, 6))}, r"expected \[N, 7\]"),
        ({"boxes": [[0, 0, 0, 1, 0, 1, 0]] * 2}, "row 0 is .* positive extents"),
        ({"boxes": [[0, 0, 0, 1, 1, 1, 0], [0, 0, np.inf, 1, 1, 1, 0]]}, "row 1"),
        ({"categories": np.zeros(3)}, "3 entries; expected 2"),
        ({"instance_ids": np.zeros(4)}, "4 entries; expected 5"),
        ({"instance_ids": np.array([0, 0, 0, 0, 2])}, "from 0 to 2; expected -1"),
        ({"colors": np.zeros((4, 3))}, "colors has 4 entries"),
    ],
)
def test_unsound_scenes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Scene(**(two_boxes().arrays() | change))


def test_a_scene_may_be_empty():
    scene = Scene(points=[], boxes=[], categories=[], instance_ids=[])  # type: ignore[arg-type]
    assert scene.points.shape == (0, 3)
    assert scene.boxes.shape == (0, 7)
    assert votes(scene)[0].shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_are_the_least_and_greatest_coordinates(dtype):
    for count in (1, 2, 1000):
        points = np.random.default_rng(count).normal(size=(count, 3)).astype(dtype)
        low, high = axis_bounds(points)
        assert low.dtype == high.dtype == dtype
        assert (low == points.min(axis=0)).all()
        assert (high == points.max(axis=0)).all()
