import pytest
import torch

from pcfdsl.ops.detections import Detections, GroundTruth


def detections(num_boxes=2, **change):
    values = {
        "scene": torch.zeros(num_boxes, dtype=torch.int64),
        "boxes": torch.ones(num_boxes, 7),
        "scores": torch.ones(num_boxes),
        "classes": torch.zeros(num_boxes, dtype=torch.int64),
    }
    return Detections(**values | change)


def test_scenes_keep_their_place():
    boxes = torch.arange(21.0).reshape(3, 7)
    scenes = [(boxes[:1], torch.tensor([4])), (boxes[:0], torch.zeros(0)), (boxes[1:], torch.tensor([0, 1]))]
    truth = GroundTruth.from_scenes(scenes)
    assert truth.scene.tolist() == [0, 2, 2]
    assert truth.classes.tolist() == [4, 0, 1]
    assert torch.equal(truth.boxes, boxes)
    assert len(GroundTruth.from_scenes([])) == len(Detections.from_scenes([])) == 0


def test_parts_join():
    joined = Detections.concatenate([detections(1), detections(2, scene=torch.tensor([4, 4])), detections(0)])
    assert joined.scene.tolist() == [0, 4, 4]
    with pytest.raises(ValueError, match="at least one Detections"):
        Detections.concatenate([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.ones(2, 6)}, r"Detections.boxes is \[2, 6\]"),
        ({"boxes": torch.full((2, 7), torch.nan)}, "not finite"),
        ({"boxes": -torch.ones(2, 7)}, "take abs"),
        ({"scores": torch.ones(3)}, r"scores is of shape \[3\]"),
        ({"scores": torch.tensor([1, torch.inf])}, "drop those detections"),
        ({"scene": torch.zeros(2)}, r"use `.long\(\)`"),
        ({"classes": torch.tensor([0, -1])}, "indices start at 0"),
        ({"classes": [0, 0]}, "a list"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        detections(**change)
