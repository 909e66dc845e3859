"""TR3D's assigner, loss and decoding against plain twins and numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.decode import decode_locations, decode_tr3d
from pcfdsl.models.tr3d.loss import assign, box_levels, distance_iou_loss, focal_loss, tr3d_loss
from pcfdsl.models.tr3d.network import TR3D, TR3DOutput
from pcfdsl.ops.boxes3d import iou_3d_pairs_plain

SMALL = TR3DConfig(
    num_classes=3, voxel_size=0.1, stem_channels=8, planes=(8, 12, 16), layers=(1, 1, 1), neck_channels=10
)


def output_of(locations, scene, level, *, num_classes=3, num_channels=8, **given):
    values = {
        "regression": torch.zeros(len(locations), num_channels),
        "class_logits": torch.zeros(len(locations), num_classes),
    }
    return TR3DOutput(locations=locations, scene=scene, level=level, **(values | given))


def assign_plain(output, boxes, levels, mask):
    """One location and one box at a time."""
    answer = []
    for place, scene, level in zip(output.locations, output.scene.tolist(), output.level.tolist(), strict=True):
        best, chosen = math.inf, -1
        rows = (output.scene == scene).nonzero()[:, 0]
        for g in mask[scene].nonzero()[:, 0].tolist():
            if levels[scene, g] != level:
                continue
            center = boxes[scene, g, :3]
            others = [
                float(((output.locations[row] - center) ** 2).sum()) if output.level[row] == level else math.inf
                for row in rows
            ]
            limit = sorted(others)[min(6, len(others) - 1)]
            squared = float(((place - center) ** 2).sum())
            if squared < limit and squared < best:
                best, chosen = squared, g
        answer.append(chosen)
    return answer


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(0, 5), st.integers(0, 2**31))
def test_locations_are_assigned_as_by_the_plain_twin(num_locations, num_boxes, seed):
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randint(3, (num_locations,), generator=generator)
    level = torch.randint(2, (num_locations,), generator=generator)
    output = output_of(torch.rand(num_locations, 3, generator=generator) * 3, scene, level)
    boxes = torch.rand(3, num_boxes, 7, generator=generator) * 3
    levels = torch.randint(2, (3, num_boxes), generator=generator)
    mask = torch.rand(3, num_boxes, generator=generator) < 0.8
    assert assign(output, boxes, levels, mask).tolist() == assign_plain(output, boxes, levels, mask)


def test_a_box_has_six_locations_even_far_from_it():
    locations = torch.arange(20.0)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    output = output_of(locations, torch.zeros(20, dtype=torch.int64), torch.zeros(20, dtype=torch.int64))
    box = torch.tensor([[[4.1, 9.0, 9.0, 0.1, 0.1, 0.1, 0.0]]])
    found = assign(output, box, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
    assert (found >= 0).nonzero()[:, 0].tolist() == [2, 3, 4, 5, 6, 7][: found.ge(0).sum()]
    assert found.ge(0).sum() == 6


def test_levels_go_by_class_or_by_size():
    boxes = torch.tensor([[[0, 0, 0, 0.7, 0.79, 0.1, 0], [0, 0, 0, 0.1, 0.1, 0.8, 0], [0.0] * 7]])
    classes = torch.tensor([[1, 0, 2]])
    assert box_levels(boxes, classes, SMALL).tolist() == [[0, 1, 0]]
    by_class = TR3DConfig(**{**vars(SMALL), "class_levels": (1, 0, 1)})
    assert box_levels(boxes, classes, by_class).tolist() == [[0, 1, 1]]


def test_the_focal_loss_is_its_formula():
    logits = torch.tensor([[2.0, -1.0], [0.3, -3.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    expected = 0.0
    for x, t in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        true_probability, alpha = (p, 0.25) if t else (1 - p, 0.75)
        expected -= alpha * (1 - true_probability) ** 2 * math.log(true_probability)
    assert focal_loss(logits, target).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, target), logits)


def test_the_distance_iou_loss_of_boxes_worked_out_by_hand():
    a = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 1, 1, 1, 0]])
    b = torch.tensor([[1.0, 0, 0, 2, 2, 2, 0], [0, 0, 5, 1, 1, 1, math.pi / 2]])
    losses, iou = distance_iou_loss(a, b)
    torch.testing.assert_close(iou, torch.tensor([1 / 3, 0.0]))
    torch.testing.assert_close(losses, torch.tensor([1 - 1 / 3 + 1 / (9 + 4 + 4), 1 + 25 / (1 + 1 + 36)]))


@pytest.mark.parametrize("num_channels", [6, 8])
@pytest.mark.parametrize("released", [False, True])
def test_the_box_loss_has_the_gradient_of_numerical_differences(num_channels, released):
    generator = torch.Generator().manual_seed(3)
    random = {"generator": generator, "dtype": torch.float64}
    regression = (0.4 * torch.randn(12, num_channels, **random)).requires_grad_()
    locations = torch.rand(12, 3, **random)
    true = torch.rand(12, 7, **random) + 0.5
    if num_channels == 6:
        true[:, 6] = 0

    def loss(regression):
        return distance_iou_loss(decode_locations(locations, regression, released=released), true)[0]

    assert torch.autograd.gradcheck(loss, regression)


def test_decoding_follows_the_published_formulas():
    location = torch.tensor([[1.0, 2.0, 3.0]])
    plain = decode_locations(location, torch.tensor([[0.1, 0.2, 0.3, 0.0, math.log(2), math.log(3)]]))
    torch.testing.assert_close(plain, torch.tensor([[1.1, 2.2, 3.3, 1.0, 2.0, 3.0, 0.0]]))
    sine, cosine = math.log(3) * math.sin(0.5), math.log(3) * math.cos(0.5)  # q = 3, twice the yaw = 0.5
    r = torch.tensor([[0.1, 0.2, 0.3, 0.0, math.log(3), math.log(5), sine, cosine]])
    torch.testing.assert_close(decode_locations(location, r), torch.tensor([[1.1, 2.2, 3.3, 1.0, 3.0, 5.0, 0.25]]))
    released = decode_locations(location, r, released=True)
    torch.testing.assert_close(released, torch.tensor([[1.1, 2.2, 3.3, 1.0, 3.0, 8.0, 0.25]]))


def test_what_is_decoded_of_a_scene():
    """Of the most probable locations every class above the threshold; suppressed within its class, from above."""
    places = torch.tensor([[0.0, 0, 0], [0.0, 0, 9], [5.0, 0, 0], [9.0, 0, 0]])
    logits = torch.tensor([[3.0, -9, 1], [2.0, -9, -9], [0.0, -9, -9], [-1.0, -9, -9]])
    output = output_of(
        places,
        torch.zeros(4, dtype=torch.int64),
        torch.zeros(4, dtype=torch.int64),
        regression=torch.zeros(4, 6),
        class_logits=logits,
    )
    config = TR3DConfig(**{**vars(SMALL), "oriented": False, "max_locations": 3})
    found = decode_tr3d(output, config)
    places = found.boxes[:, 0].round().int().tolist()
    rows = dict(zip(zip(places, found.classes.tolist(), strict=True), found.scores.tolist(), strict=True))
    # the second lies above the first; the fourth is not among the three most probable
    assert rows == {(0, 0): pytest.approx(0.9526, abs=1e-4), (0, 2): pytest.approx(0.7311, abs=1e-4), (5, 0): 0.5}
    assert (found.boxes[:, 2] == 0).all()


@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("num_boxes", [0, 2])
def test_every_parameter_has_a_finite_gradient_with_boxes_and_without(oriented, num_boxes):
    torch.manual_seed(1)
    config = TR3DConfig(**{**vars(SMALL), "oriented": oriented})
    network = TR3D(config)
    boxes = torch.rand(2, num_boxes, 7) + 0.2
    parts = tr3d_loss(
        network(torch.rand(2, 200, 3)),
        boxes,
        torch.zeros(2, num_boxes, dtype=torch.int64),
        torch.ones(2, num_boxes, dtype=torch.bool),
        config,
    )
    parts.total.backward()
    assert parts.total.isfinite()
    assert (parts.positives > 0) == (num_boxes > 0)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_boxes_that_are_predicted_exactly_have_no_box_loss():
    true = torch.tensor([[[0.3, 0.2, 0.1, 0.5, 0.4, 0.6, 0.0]]])
    locations = torch.cartesian_prod(*[torch.arange(4.0) * 0.16] * 3)
    regression = torch.cat([true[0, :, :3] - locations, true[0, :, 3:6].log().expand(64, 3)], 1)
    zeros = torch.zeros(64, dtype=torch.int64)
    output = output_of(locations, zeros, zeros, regression=regression)
    config = TR3DConfig(**{**vars(SMALL), "oriented": False})
    parts = tr3d_loss(output, true, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), config)
    assert parts.boxes.item() == pytest.approx(0, abs=1e-5)
    assert parts.iou.item() == pytest.approx(1, abs=1e-5)
    assert iou_3d_pairs_plain(decode_locations(locations[:1], regression[:1]), true[0]).item() == pytest.approx(1)
