import dataclasses

import numpy as np
import pytest
import torch

from pcfdsl.config import ConfigError
from pcfdsl.models.losses import votenet_loss
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.ops.backends import choice
from pcfdsl.rng import stream

# Names of the measured outputs; those of the published code.
MEASURED = {
    "seed_idx": "fp2_inds",
    "seed_xyz": "seed_xyz",
    "vote_xyz": "vote_xyz",
    "cluster_xyz": "aggregated_vote_xyz",
    "cluster_idx": "aggregated_vote_inds",
    "objectness_logits": "objectness_scores",
    "center": "center",
    "heading_logits": "heading_scores",
    "heading_residuals_normalized": "heading_residuals_normalized",
    "heading_residuals": "heading_residuals",
    "size_logits": "size_scores",
    "size_residuals_normalized": "size_residuals_normalized",
    "size_residuals": "size_residuals",
    "class_logits": "sem_cls_scores",
}


def test_outputs_are_those_of_the_published_network(sunrgbd_network, sunrgbd_case):
    arrays, points, _ = sunrgbd_case
    with torch.no_grad():
        output = sunrgbd_network.eval()(points)
    for name, published in MEASURED.items():
        expected = arrays[f"eval/{published}"]
        np.testing.assert_allclose(getattr(output, name), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("seed_features", "vote_features"):
        every_16th = getattr(output, name).transpose(1, 2)[:, :, ::16]
        np.testing.assert_allclose(every_16th, arrays[f"eval/{name}"], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("data", "num_classes", "num_bins"), [("scannet", 18, 1), ("sunrgbd", 10, 12)])
def test_tensors_have_the_published_names_shapes_and_order(data, num_classes, num_bins, mean_sizes, state_dicts):
    config = VoteNetConfig(num_classes=num_classes, num_heading_bins=num_bins, mean_sizes=mean_sizes[data])
    network = VoteNet(config)
    published = state_dicts[f"votenet_{data}"]
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert list(shapes.items()) == list(published["state_dict"].items())
    assert sum(parameter.numel() for parameter in network.parameters()) == published["num_params"]
    checkpoint = {name: torch.ones(shape) for name, shape in published["state_dict"].items()}
    assert str(network.load_state_dict(checkpoint, strict=True)) == "<All keys matched successfully>"


def test_coordinates_are_checked_once_where_they_enter_and_once_where_they_are_voted(
    tiny_config, toy_scenes, monkeypatch
):
    points, _ = toy_scenes()
    network = VoteNet(tiny_config)
    checks, all_finite = [], choice._all_finite
    monkeypatch.setattr(choice, "_all_finite", lambda values: checks.append(values.shape) or all_finite(values))
    network(points)
    assert len(checks) == 2
    points[1, 7, 0] = torch.nan
    with pytest.raises(ValueError, match="points hold NaN or infinity, first at batch item 1, point 7"):
        network(points)


def test_one_batch_can_be_over_fitted(tiny_config, toy_scenes):
    points, targets = toy_scenes()
    network = VoteNet(tiny_config).train()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(150):
        loss = votenet_loss(network(points), targets, tiny_config)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < losses[0] / 5
    assert loss.objectness_accuracy > 0.95


@pytest.mark.parametrize("sampling", ["vote_fps", "seed_fps", "random"])
def test_every_way_of_choosing_clusters_trains(sampling, tiny_config, toy_scenes):
    points, targets = toy_scenes()
    config = dataclasses.replace(tiny_config, cluster_sampling=sampling)
    network = VoteNet(config)
    output = network(points, generator=stream(0, "clusters"))
    num_seeds = config.backbone.num_seeds
    assert output.vote_xyz.shape == (2, num_seeds, 3)
    assert torch.equal(output.cluster_xyz, torch.take_along_dim(output.vote_xyz, output.cluster_idx[..., None], 1))
    if sampling == "seed_fps":
        assert (output.cluster_idx == torch.arange(config.num_proposals)).all()
    votenet_loss(output, targets, config).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_random_clusters_need_and_follow_the_generator(tiny_config, toy_scenes):
    points, _ = toy_scenes()
    network = VoteNet(dataclasses.replace(tiny_config, cluster_sampling="random"))
    with pytest.raises(ValueError, match="pass `generator`"):
        network(points)
    first, same, other = (network(points, generator=stream(seed, "clusters")).cluster_idx for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_thousand_categories_share_one_size(tiny_config, toy_scenes):
    points, targets = toy_scenes()
    config = dataclasses.replace(tiny_config, num_classes=1000)
    targets = dataclasses.replace(targets, classes=targets.classes + 997)
    output = VoteNet(config)(points)
    assert output.class_logits.shape == (2, 16, 1000)
    assert output.size_residuals.shape == (2, 16, 1, 3)
    loss = votenet_loss(output, targets, config)
    assert loss.total.isfinite()
    assert loss.size_class == 0


def test_seeds_are_input_points_and_votes_have_unit_length(tiny_config, toy_scenes):
    points, _ = toy_scenes()
    output = VoteNet(tiny_config).eval()(points)
    assert torch.equal(torch.take_along_dim(points[..., :3], output.seed_idx[..., None], 1), output.seed_xyz)
    torch.testing.assert_close(output.vote_features.norm(dim=-1), torch.ones(2, 32))


def test_bfloat16_products_stay_near_float32(tiny_config, toy_scenes):
    points, targets = toy_scenes()
    network = VoteNet(dataclasses.replace(tiny_config, cluster_sampling="seed_fps"))
    full = network(points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(points)
        loss = votenet_loss(half, targets, tiny_config)
    loss.total.backward()
    for field in dataclasses.fields(half):
        value = getattr(half, field.name)
        assert value.dtype in (torch.float32, torch.int64), field.name
    assert torch.equal(half.seed_idx, full.seed_idx)
    assert (half.vote_xyz - full.vote_xyz).abs().mean() < 0.05
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_each_scene_of_a_batch_is_seen_alone_in_evaluation(tiny_config, toy_scenes):
    points, _ = toy_scenes(num_scenes=3)
    network = VoteNet(tiny_config).eval()
    together = network(points)
    for i in range(3):
        alone = network(points[i : i + 1])
        torch.testing.assert_close(alone.center[0], together.center[i], rtol=1e-5, atol=1e-5)


def test_inconsistent_settings_are_named(tiny_config):
    with pytest.raises(ConfigError) as error:
        VoteNetConfig(
            num_classes=3,
            mean_sizes=((1, 1, 1),) * 2,
            num_proposals=33,
            backbone=PointNet2Config(**vars(tiny_config.backbone)),
        )
    assert {key for key, _ in error.value.problems} == {"mean_sizes", "num_proposals"}


def test_points_that_are_not_finite_are_refused(tiny_config, toy_scenes):
    points, _ = toy_scenes()
    points = points.clone()
    points[1, 7, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity, first at batch item 1, point 7"):
        VoteNet(tiny_config)(points)
