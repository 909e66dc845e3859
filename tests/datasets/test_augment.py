from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.config import ConfigError
from pcfdsl.datasets.augment import AugmentConfig, Transform, axis_aligned_hull, draw_transform, drop_and_jitter
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import box_corners, overlap_votes, points_in_boxes

TRANSFORMS = st.builds(
    Transform, flip_x=st.booleans(), flip_y=st.booleans(), angle=st.floats(-4, 4), scale=st.floats(0.5, 2)
)


def cloud_and_boxes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = stream(seed, "augment")
    boxes = np.concatenate([rng.normal(size=(6, 3)), rng.uniform(0.3, 2, (6, 3)), rng.uniform(-3, 3, (6, 1))], axis=1)
    return rng.normal(size=(300, 3)) * 1.5, boxes


@settings(deadline=None)
@given(st.integers(0, 1000), TRANSFORMS)
def test_boxes_hold_the_same_points_after_any_transform(seed, transform):
    points, boxes = cloud_and_boxes(seed)
    before = points_in_boxes(points, boxes)
    at_a_face = points_in_boxes(points, boxes, margin=1e-9) != points_in_boxes(points, boxes, margin=-1e-9)
    after = points_in_boxes(transform.points(points), transform.boxes(boxes))
    np.testing.assert_array_equal(before | at_a_face, after | at_a_face)


@settings(deadline=None)
@given(st.integers(0, 1000), TRANSFORMS)
def test_the_inverse_undoes_a_transform(seed, transform):
    points, boxes = cloud_and_boxes(seed)
    np.testing.assert_allclose(transform.inverse().points(transform.points(points)), points, atol=1e-9)
    back = transform.inverse().boxes(transform.boxes(boxes))
    np.testing.assert_allclose(back[:, :6], boxes[:, :6], atol=1e-9)
    np.testing.assert_allclose(
        np.cos(2 * (back[:, 6] - boxes[:, 6])), 1, atol=1e-9
    )  # half a turn leaves a box unchanged


@settings(deadline=None)
@given(st.integers(0, 1000), TRANSFORMS)
def test_corners_move_with_their_boxes(seed, transform):
    _, boxes = cloud_and_boxes(seed)
    moved, of_moved = transform.points(box_corners(boxes)), box_corners(transform.boxes(boxes))
    for a, b in zip(moved, of_moved, strict=True):
        distances = np.linalg.norm(a[:, None] - b[None], axis=2)
        assert distances.min(axis=1).max() < 1e-9


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_a_hull_is_the_smallest_upright_box_around_the_corners(seed):
    _, boxes = cloud_and_boxes(seed)
    corners, hulls = box_corners(boxes), axis_aligned_hull(boxes)
    np.testing.assert_allclose(hulls[:, :3] - hulls[:, 3:6] / 2, corners.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(hulls[:, :3] + hulls[:, 3:6] / 2, corners.max(axis=1), atol=1e-9)
    assert not hulls[:, 6].any()


@pytest.mark.parametrize("item", ["aug_seed2", "aug_seed3"])
def test_points_boxes_and_votes_turn_as_on_sun_rgbd(golden, item):
    """VoteNet's loader: flip x, rotate, scale; its headings are clockwise and its sizes half."""
    measured = golden("votenet_votes.npz")
    flip, angle, scale = measured[f"sunrgbd/{item}/aug_flipx_angle_scale"]
    transform = Transform(flip_x=flip > 0, angle=angle, scale=scale)
    halved, moved = measured["sunrgbd/boxes"], measured[f"sunrgbd/{item}/max_gt_bboxes"]
    boxes = np.concatenate([halved[:, :3], 2 * halved[:, 3:6], -halved[:, 6:7]], axis=1)
    ours, theirs = transform.boxes(boxes), moved[: len(boxes)]
    np.testing.assert_allclose(ours[:, :3], theirs[:, :3], atol=1e-6)
    np.testing.assert_allclose(ours[:, 3:6], 2 * theirs[:, 3:6], atol=1e-6)
    np.testing.assert_allclose(np.cos(ours[:, 6] + theirs[:, 6]), 1, atol=1e-6)

    expected = measured[f"sunrgbd/{item}/point_clouds"]
    rows = measured[f"sunrgbd/{item}/choices"][: len(expected)]
    points = measured["sunrgbd/points"]
    np.testing.assert_allclose(transform.points(points[rows]), expected[:, :3], atol=1e-5)
    offsets, mask = overlap_votes(points, boxes)
    np.testing.assert_array_equal(mask[rows], measured[f"sunrgbd/{item}/vote_label_mask"][: len(expected)])
    votes = transform.points(offsets[rows]).reshape(-1, 9)
    np.testing.assert_allclose(votes, measured[f"sunrgbd/{item}/vote_label"], atol=1e-5)


@pytest.mark.parametrize("item", ["aug_seed2", "aug_seed4"])
def test_boxes_become_hulls_as_on_scannet(golden, item):
    measured = golden("votenet_votes.npz")
    flip_x, flip_y, angle = measured[f"scannet/{item}/aug_flipx_flipy_angle"]
    transform = Transform(flip_x=flip_x > 0, flip_y=flip_y > 0, angle=angle)
    kept = measured["scannet/bbox_kept"]
    boxes = axis_aligned_hull(transform.boxes(np.concatenate([kept[:, :6], np.zeros((len(kept), 1))], axis=1)))
    np.testing.assert_allclose(boxes[:, :3], measured[f"scannet/{item}/center_label"][: len(kept)], atol=1e-5)
    means = golden("votenet_box_coding.npz")["scannet/mean_size_arr"]
    residuals = measured[f"scannet/{item}/size_residual_label"][: len(kept)]
    classes = measured[f"scannet/{item}/size_class_label"][: len(kept)]
    np.testing.assert_allclose(boxes[:, 3:6], means[classes] + residuals, atol=1e-5)
    rows = measured[f"scannet/{item}/choices"]
    points = transform.points(measured["scannet/out_vertices"][rows])
    np.testing.assert_allclose(points, measured[f"scannet/{item}/point_clouds"][:, :3], atol=1e-5)


def test_a_shift_moves_points_and_boxes_alike_and_is_undone():
    points, boxes = cloud_and_boxes(3)
    transform = draw_transform(stream(1), AugmentConfig(rotation=180, scale=(0.9, 1.1), translation=0.1))
    unmoved = replace(transform, shift=(0.0, 0.0, 0.0))
    np.testing.assert_allclose(transform.points(points) - unmoved.points(points), [transform.shift] * len(points))
    np.testing.assert_allclose(
        transform.boxes(boxes)[:, :3] - unmoved.boxes(boxes)[:, :3], [transform.shift] * len(boxes)
    )
    np.testing.assert_allclose(transform.inverse().points(transform.points(points)), points, atol=1e-9)
    shifts = [draw_transform(stream(seed), AugmentConfig(translation=0.1)).shift for seed in range(400)]
    np.testing.assert_allclose(np.std(shifts, axis=0), 0.1, atol=0.015)


def test_draws_follow_the_settings():
    config = AugmentConfig(flip_x=0.25, flip_y=0.0, rotation=30, scale=(0.85, 1.15))
    drawn = [draw_transform(stream(seed), config) for seed in range(800)]
    assert np.mean([t.flip_x for t in drawn]) == pytest.approx(0.25, abs=0.05)
    assert not any(t.flip_y for t in drawn)
    angles = np.degrees([t.angle for t in drawn])
    assert -30 <= angles.min() < -29
    assert 29 < angles.max() <= 30
    assert 0.85 <= min(t.scale for t in drawn) < 0.86
    assert draw_transform(stream(0), AugmentConfig(flip_x=0, flip_y=0, rotation=0)) == Transform()


def test_dropped_points_become_copies_of_kept_points():
    config = AugmentConfig(dropout=0.9, jitter=0.02)
    for seed in range(20):
        rows, offsets = drop_and_jitter(stream(seed), 500, config=config)
        moved = rows != np.arange(500)
        assert np.isin(rows[moved], rows[~moved]).all()
        assert moved.mean() <= 0.95
        assert offsets.std() == pytest.approx(0.02, rel=0.1)
    rows, offsets = drop_and_jitter(stream(0), 5, config=AugmentConfig())
    np.testing.assert_array_equal(rows, np.arange(5))
    assert not offsets.any()


def test_an_empty_range_is_refused():
    with pytest.raises(ConfigError, match=r"scale: from 1.2 to 0.8 is empty"):
        AugmentConfig(scale=(1.2, 0.8))
