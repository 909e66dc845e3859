import dataclasses

import numpy as np
import pytest
import torch

from pcfdsl.models.decode import DecodeOptions, decode, decode_boxes, select_proposals
from pcfdsl.models.votenet import VoteNet
from pcfdsl.ops.boxes3d import box_corners

PUBLISHED_OPTIONS = {
    "train_cfg": DecodeOptions(),
    "no_cls_nms": DecodeOptions(nms="3d"),
    "nms2d": DecodeOptions(nms="2d"),
    "remove_empty": DecodeOptions(remove_empty=True),
    "single_cls": DecodeOptions(per_class_proposal=False),
}


@pytest.fixture
def output(sunrgbd_network, sunrgbd_case):
    with torch.no_grad():
        return sunrgbd_network.eval()(sunrgbd_case[1])


@pytest.mark.parametrize("name", PUBLISHED_OPTIONS)
def test_detections_are_those_of_the_published_code(name, output, sunrgbd_config, sunrgbd_case):
    arrays, points, _ = sunrgbd_case
    options = PUBLISHED_OPTIONS[name]
    boxes = decode_boxes(output, sunrgbd_config)
    objectness, classes = output.objectness_logits.softmax(-1)[..., 1], output.class_logits.argmax(-1)
    kept = select_proposals(boxes, objectness, classes, points, options=options)
    np.testing.assert_array_equal(kept, arrays[f"parse/{name}/pred_mask"])
    detections = decode(output, sunrgbd_config, points, options=options)
    counts = torch.bincount(detections.scene, minlength=2)
    np.testing.assert_array_equal(counts, arrays[f"parse/{name}/num_per_scene"])
    if f"parse/{name}/cls" in arrays:
        np.testing.assert_array_equal(detections.classes, arrays[f"parse/{name}/cls"])
        np.testing.assert_allclose(detections.scores, arrays[f"parse/{name}/score"], rtol=1e-5)
    if f"parse/{name}/corners" in arrays:
        published = arrays[f"parse/{name}/corners"][..., [0, 2, 1]] * [1, 1, -1]  # upright camera: x, -z, y
        distances = np.linalg.norm(box_corners(detections.boxes).numpy()[:, :, None] - published[:, None], axis=-1)
        assert distances.min(1).max() < 1e-5
        assert distances.min(2).max() < 1e-5


def test_nothing_survives(output, sunrgbd_config, sunrgbd_case):
    points = sunrgbd_case[1]
    far_away = torch.zeros_like(points) + 100
    for given_points, options in (
        (points, DecodeOptions(confidence=1.0)),
        (far_away, DecodeOptions(remove_empty=True)),
        (far_away, DecodeOptions(remove_empty=True, nms="2d", per_class_proposal=False)),
    ):
        detections = decode(output, sunrgbd_config, given_points, options=options)
        assert len(detections.scores) == 0
        assert detections.boxes.shape == (0, 7)


def test_class_scores_share_the_objectness(output, sunrgbd_config):
    single = decode(output, sunrgbd_config, options=DecodeOptions(per_class_proposal=False))
    every = decode(output, sunrgbd_config)
    assert len(every.scores) == 10 * len(single.scores)
    assert every.scores.sum().item() == pytest.approx(single.scores.sum().item(), rel=1e-5)
    assert (every.scene.diff() >= 0).all()


def test_empty_boxes_need_points_to_be_known(output, sunrgbd_config):
    with pytest.raises(ValueError, match="pass `points`"):
        decode(output, sunrgbd_config, options=DecodeOptions(remove_empty=True))


def test_boxes_are_decoded_from_their_targets(tiny_config, toy_scenes):
    points, _ = toy_scenes()
    output = VoteNet(tiny_config)(points)
    sizes = torch.tensor([[0.5, 0.6, 0.7], [0.9, 0.4, 0.3]])[:, None].expand(2, 16, 3)
    logits = torch.zeros_like(output.heading_logits)
    logits[..., 3] = 1
    residuals = torch.full_like(output.heading_residuals, 0.1)
    output = dataclasses.replace(
        output, heading_logits=logits, heading_residuals=residuals, size_residuals=(sizes - 1)[:, :, None]
    )
    boxes = decode_boxes(output, tiny_config)
    torch.testing.assert_close(boxes[..., :3], output.center)
    torch.testing.assert_close(boxes[..., 3:6], sizes)
    # Bin 3 of 4 is clockwise 270 degrees: counter-clockwise 90, less the residual.
    torch.testing.assert_close(boxes[..., 6], torch.full((2, 16), np.pi / 2 - 0.1))
    inside_out = dataclasses.replace(output, size_residuals=(-sizes - 1)[:, :, None])
    torch.testing.assert_close(decode_boxes(inside_out, tiny_config)[..., 3:6], sizes)
