import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.samples.detection import DetectionBatch, DetectionDataset, collate
from pcfdsl.scene.boxes import Scene, height_above_floor, points_in_boxes

AUGMENT = AugmentConfig(flip_x=0.5, flip_y=0.5, rotation=180, scale=(0.8, 1.2), dropout=0.3)


def equal(a, b) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_a_sample_depends_only_on_seed_epoch_and_index(rooms):
    data = DetectionDataset(rooms, num_points=512, augment=AUGMENT, seed=3)
    expected = data[2, 4]
    data[0], data[1, 1]
    assert equal(data[2, 4], expected)
    assert equal(pickle.loads(pickle.dumps(data))[2, 4], expected)
    assert equal(data[4], data[0, 4])
    assert not np.array_equal(data[3, 4].points, expected.points)
    assert not np.array_equal(DetectionDataset(rooms, num_points=512, augment=AUGMENT)[2, 4].points, expected.points)


def test_loader_workers_give_the_same_batches(rooms):
    data = DetectionDataset(rooms, num_points=256, augment=AUGMENT)
    pairs = [[(1, i), (1, i + 1)] for i in range(0, 6, 2)]
    alone, helped = (
        list(DataLoader(data, batch_sampler=pairs, num_workers=workers, collate_fn=collate))  # type: ignore[arg-type]
        for workers in (0, 2)
    )
    for a, b in zip(alone, helped, strict=True):
        assert all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(DetectionBatch))


def test_points_stay_in_their_boxes_and_votes_point_to_the_centres(clean_rooms):
    data = DetectionDataset(clean_rooms, num_points=1000, augment=AUGMENT)
    for epoch in range(3):
        for i in range(3):
            sample = data[epoch, i]
            xyz = sample.points[sample.vote_mask, :3]
            for slot in range(3):
                ends = xyz + sample.vote_offsets[sample.vote_mask, slot]
                distance = np.linalg.norm(ends[:, None] - sample.boxes[None, :, :3], axis=2)
                assert distance.min(axis=1).max() < 1e-5
                inside = points_in_boxes(xyz, sample.boxes, margin=1e-4)
                assert inside[distance.argmin(axis=1), np.arange(len(xyz))].all()
            assert not sample.vote_offsets[~sample.vote_mask].any()


def test_height_is_that_in_the_original_cloud(rooms):
    data = DetectionDataset(rooms, num_points=1500)
    sample, scene = data[0], rooms[0]
    order = np.lexsort(scene.points.T)
    np.testing.assert_array_equal(sample.points[np.lexsort(sample.points[:, :3].T), :3], scene.points[order])
    heights = sample.points[np.lexsort(sample.points[:, :3].T), 3]
    np.testing.assert_array_equal(heights, height_above_floor(scene.points)[order])
    scaled = DetectionDataset(rooms, num_points=700, augment=AugmentConfig(scale=(2.0, 2.0)))[0]
    offset = scaled.points[:, 2] - scaled.points[:, 3]
    np.testing.assert_allclose(offset, 2 * np.percentile(scene.points[:, 2], 0.99), atol=1e-5)


def test_columns_are_xyz_colour_height(rooms):
    colored = [replace(scene, colors=np.full_like(scene.points, 0.75)) for scene in rooms[:2]]
    data = DetectionDataset(colored, num_points=64, use_color=True)
    assert data[0].points.shape == (64, 7)
    np.testing.assert_allclose(data[0].points[:, 3:6], 0.25)
    assert DetectionDataset(rooms, num_points=64, use_height=False)[0].points.shape == (64, 3)
    with pytest.raises(ValueError, match="scene 0 has no colours"):
        DetectionDataset(rooms, num_points=64, use_color=True)[0]


def test_points_are_repeated_only_if_all_are_used(rooms):
    few = DetectionDataset(rooms, num_points=1000, use_height=False)[0].points
    many = DetectionDataset(rooms, num_points=2000, use_height=False)[0].points
    assert len(np.unique(few, axis=0)) == 1000
    assert len(np.unique(many, axis=0)) == 1500


def test_votes_of_jittered_points_still_point_to_the_centres(rooms):
    sample = DetectionDataset(rooms, num_points=500, augment=AugmentConfig(jitter=0.1))[0]
    ends = (sample.points[:, :3] + sample.vote_offsets[:, 0])[sample.vote_mask]
    distance = np.linalg.norm(ends[:, None] - sample.boxes[None, :, :3], axis=2)
    assert distance.min(axis=1).max() < 1e-5


def test_hulls_can_replace_boxes(clean_rooms):
    sample = DetectionDataset(clean_rooms, num_points=500, augment=replace(AUGMENT, hull=True))[0]
    assert not sample.boxes[:, 6].any()
    inside = points_in_boxes(sample.points[sample.vote_mask, :3], sample.boxes, margin=1e-4)
    assert inside.any(axis=0).all()


def test_votes_for_extents_and_overlapping_boxes():
    points = np.array([[0, 0, 0], [1, 0, 0], [5, 0, 0]], np.float32)
    boxes = np.array([[0, 0, 0, 3, 1, 1, 0], [1, 0, 0, 1, 1, 1, 0]], np.float32)
    scene = Scene(points=points, boxes=boxes, categories=np.array([3, 1]), instance_ids=np.array([0, 0, -1]))
    expected = {
        "box": [[[0, 0, 0]] * 3, [[-1, 0, 0]] * 3, [[0, 0, 0]] * 3],
        "extent": [[[0.5, 0, 0]] * 3, [[-0.5, 0, 0]] * 3, [[0, 0, 0]] * 3],
        "overlap": [[[0, 0, 0]] * 3, [[-1, 0, 0], [0, 0, 0], [-1, 0, 0]], [[0, 0, 0]] * 3],
    }
    for kind, offsets in expected.items():
        sample = DetectionDataset([scene], num_points=3, votes=kind)[0]
        order = np.argsort(sample.points[:, 0])
        np.testing.assert_allclose(sample.vote_offsets[order], offsets, atol=1e-6)
        np.testing.assert_array_equal(sample.vote_mask[order], [True, True, False])
        np.testing.assert_array_equal(sample.classes, [3, 1])
    assert not DetectionDataset([scene], num_points=3, class_agnostic=True)[0].classes.any()


def test_batches_pad_boxes_and_move_between_devices(rooms):
    empty = replace(
        rooms[0], boxes=np.zeros((0, 7)), categories=np.zeros(0), instance_ids=np.full(len(rooms[0].points), -1)
    )
    data = DetectionDataset([rooms[0], empty, rooms[1]], num_points=128)
    batch = collate([data[i] for i in range(3)]).to("cpu", non_blocking=True)
    counts = [len(rooms[0].boxes), 0, len(rooms[1].boxes)]
    assert batch.box_mask.sum(dim=1).tolist() == counts
    assert batch.boxes.shape == (3, max(counts), 7)
    assert not batch.boxes[~batch.box_mask].any()
    torch.testing.assert_close(batch.boxes[0][batch.box_mask[0]], torch.from_numpy(rooms[0].boxes))
    assert batch.scene_idx.tolist() == [0, 1, 2]
    assert not batch.vote_mask[1].any()
    assert len(batch) == 3
    alone = collate([data[1]])
    assert alone.boxes.shape == (1, 1, 7)
    kinds = {f.name: getattr(batch, f.name).dtype for f in fields(batch)}
    assert kinds == {
        "points": torch.float32,
        "boxes": torch.float32,
        "classes": torch.int64,
        "box_mask": torch.bool,
        "vote_offsets": torch.float32,
        "vote_mask": torch.bool,
        "instance_ids": torch.int64,
        "scene_idx": torch.int64,
    }


def test_invalid_settings_and_scenes_are_named(rooms):
    with pytest.raises(ValueError, match="num_points is 0"):
        DetectionDataset(rooms, num_points=0)
    with pytest.raises(ValueError, match="expected one of box, extent, overlap"):
        DetectionDataset(rooms, num_points=8, votes="centre")
    with pytest.raises(IndexError, match="sample 6 of a data set of 6"):
        DetectionDataset(rooms, num_points=8)[6]
    nothing = Scene(points=np.zeros((0, 3)), boxes=np.zeros((0, 7)), categories=np.zeros(0), instance_ids=np.zeros(0))
    with pytest.raises(ValueError, match="scene 0 has no points"):
        DetectionDataset([nothing], num_points=8)[0]
