import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pcfdsl.models.losses import assign_proposals, votenet_loss
from pcfdsl.models.votenet import VoteNet

MEASURED = {
    "total": "loss",
    "vote": "vote_loss",
    "objectness": "objectness_loss",
    "center": "center_loss",
    "heading_class": "heading_cls_loss",
    "heading_residual": "heading_reg_loss",
    "size_class": "size_cls_loss",
    "size_residual": "size_reg_loss",
    "semantic": "sem_cls_loss",
    "objectness_accuracy": "obj_acc",
    "positive_ratio": "pos_ratio",
    "negative_ratio": "neg_ratio",
}


def test_losses_are_those_of_the_published_code(sunrgbd_network, sunrgbd_case):
    arrays, points, targets = sunrgbd_case
    with torch.no_grad():
        output = sunrgbd_network.eval()(points)
        loss = votenet_loss(output, targets, sunrgbd_network.config, padded_truth_bug=True)
    for name, published in MEASURED.items():
        np.testing.assert_allclose(getattr(loss, name), arrays[f"eval_loss/{published}"], rtol=1e-5, err_msg=name)
    assignment = assign_proposals(output.cluster_xyz, targets.boxes[..., :3], torch.ones_like(targets.mask))
    np.testing.assert_array_equal(assignment.positive, arrays["eval_loss/objectness_label"])
    np.testing.assert_array_equal(assignment.judged, arrays["eval_loss/objectness_mask"])
    np.testing.assert_array_equal(assignment.box_idx, arrays["eval_loss/object_assignment"])


def test_training_losses_and_gradient_norms_are_those_of_the_published_code(sunrgbd_network, sunrgbd_case):
    arrays, points, targets = sunrgbd_case
    loss = votenet_loss(sunrgbd_network.train()(points), targets, sunrgbd_network.config, padded_truth_bug=True)
    loss.total.backward()
    # Batch norms of two scenes amplify rounding here (some gradients are near 10^4), hence the tolerances.
    for name, published in MEASURED.items():
        if f"train_loss/{published}" in arrays:
            expected = arrays[f"train_loss/{published}"]
            np.testing.assert_allclose(getattr(loss, name).detach(), expected, rtol=1e-4, atol=2e-5, err_msg=name)
    norms = [sunrgbd_network.get_parameter(name).grad.norm().item() for name in arrays["train_grad_names"]]
    np.testing.assert_allclose(norms, arrays["train_grad_norm"], rtol=2e-3, atol=2e-4)
    assert np.median(np.abs(np.array(norms) / arrays["train_grad_norm"] - 1)) < 3e-4


@pytest.fixture
def case(tiny_config, toy_scenes):
    points, targets = toy_scenes(num_points=1024)
    output = VoteNet(dataclasses.replace(tiny_config, cluster_sampling="seed_fps"))(points)
    clusters = torch.cat(
        [targets.boxes[..., :3] + 0.1, output.cluster_xyz[:, 3:]], 1
    )  # some that are certainly objects
    return dataclasses.replace(output, cluster_xyz=clusters), targets, tiny_config


def padded(targets, extra, **values):
    """Padding of any content."""
    return dataclasses.replace(
        targets,
        boxes=F.pad(targets.boxes, (0, 0, 0, extra), value=values.get("boxes", 0.0)),
        classes=F.pad(targets.classes, (0, extra), value=values.get("classes", 0)),
        mask=F.pad(targets.mask, (0, extra)),
    )


def scalars_of(loss):
    return {name: value.item() for name, value in vars(loss).items()}


def test_padding_changes_nothing(case):
    output, targets, config = case
    plain = scalars_of(votenet_loss(output, targets, config))
    assert plain["positive_ratio"] > 0
    for extra, values in ((1, {}), (61, {"boxes": 0.3, "classes": 2}), (100, {"boxes": -1.0})):
        assert scalars_of(votenet_loss(output, padded(targets, extra, **values), config)) == pytest.approx(plain)


def test_the_published_padding_makes_objects_at_the_origin(case):
    output, targets, config = case
    clusters = output.cluster_xyz.clone()
    clusters[:, 10] = torch.tensor([0.05, 0.0, 0.1])
    output = dataclasses.replace(output, cluster_xyz=clusters)
    clean = votenet_loss(output, targets, config)
    published = votenet_loss(output, targets, config, padded_truth_bug=True)
    assert published.positive_ratio > clean.positive_ratio
    beyond_64 = votenet_loss(output, padded(targets, 70), config, padded_truth_bug=True)
    assert beyond_64.total.item() == pytest.approx(published.total.item())


@pytest.mark.parametrize("num_boxes", [0, 5])
@pytest.mark.parametrize("bug", [False, True])
def test_a_batch_without_boxes_has_a_finite_loss(num_boxes, bug, case, toy_scenes):
    _, targets, config = case
    points, _ = toy_scenes(num_points=1024)
    network = VoteNet(config)
    empty = dataclasses.replace(
        targets,
        boxes=torch.zeros(2, num_boxes, 7),
        classes=torch.zeros(2, num_boxes, dtype=torch.int64),
        mask=torch.zeros(2, num_boxes, dtype=torch.bool),
        vote_mask=torch.zeros_like(targets.vote_mask),
    )
    loss = votenet_loss(network(points), empty, config, padded_truth_bug=bug)
    loss.total.backward()
    assert loss.total.isfinite()
    assert loss.vote == 0
    if not bug:
        assert loss.positive_ratio == 0
        assert loss.negative_ratio == 1
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_one_empty_scene_does_not_disturb_the_other(case):
    output, targets, config = case
    mask = targets.mask.clone()
    mask[1] = False
    targets = dataclasses.replace(targets, mask=mask)
    first = {f.name: getattr(output, f.name)[:1] for f in dataclasses.fields(output)}
    alone = dataclasses.replace(targets, **{f.name: getattr(targets, f.name)[:1] for f in dataclasses.fields(targets)})
    both = votenet_loss(output, targets, config)
    only = votenet_loss(type(output)(**first), alone, config)
    for name in ("center", "heading_class", "heading_residual", "size_residual", "semantic"):
        assert getattr(both, name).item() == pytest.approx(getattr(only, name).item(), rel=1e-5), name


def test_a_perfect_prediction_costs_nothing_but_its_confidence(case):
    output, targets, config = case
    num = targets.boxes.shape[1]
    certain = 50.0
    idx = torch.arange(config.num_proposals) % num
    boxes = targets.boxes[:, idx]
    perfect = dataclasses.replace(
        output,
        cluster_xyz=boxes[..., :3],
        center=boxes[..., :3],
        objectness_logits=torch.tensor([0.0, certain]).expand(2, config.num_proposals, 2),
        heading_logits=torch.tensor([certain, 0, 0, 0]).expand(2, config.num_proposals, 4),
        heading_residuals_normalized=torch.zeros_like(output.heading_residuals_normalized),
        size_residuals_normalized=(boxes[..., None, 3:6] - 1) / 1,
        class_logits=certain * F.one_hot(targets.classes[:, idx], 3).float(),
        vote_xyz=output.seed_xyz + torch.take_along_dim(targets.vote_offsets[:, :, 0], output.seed_idx[..., None], 1),
    )
    # Yaw 0 lies in the middle of bin 0, and the mean size is one metre.
    scalars = scalars_of(votenet_loss(perfect, targets, config))
    for name in (
        "total",
        "vote",
        "objectness",
        "center",
        "heading_class",
        "heading_residual",
        "size_residual",
        "semantic",
    ):
        assert scalars[name] == pytest.approx(0, abs=1e-4), name
    assert scalars["objectness_accuracy"] == pytest.approx(1)


def test_weights_weigh_the_parts(case):
    output, targets, config = case
    published = votenet_loss(output, targets, config)
    box = published.center + 0.1 * published.heading_class + published.heading_residual
    box = box + 0.1 * published.size_class + published.size_residual
    expected = 10 * (published.vote + 0.5 * published.objectness + box + 0.1 * published.semantic)
    torch.testing.assert_close(published.total, expected)
