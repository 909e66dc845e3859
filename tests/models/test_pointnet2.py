import dataclasses

import pytest
import torch
import torch.nn.functional as F

from pcfdsl.config import ConfigError
from pcfdsl.models.pointnet2 import FeaturePropagation, Level, PointNet2, PointNet2Config, SetAbstraction
from pcfdsl.ops.sampling import farthest_point_sample


def plain_set_abstraction(layer: SetAbstraction, xyz, features, centers):
    """The published layer: padded groups [B, C, S, K], 1x1 convolutions, batch norm, ReLU, maximum over K."""
    pooled = []
    for points, channels, middles in zip(xyz, features, centers, strict=True):
        inside = (points[None] - middles[:, None]).square().sum(-1) < layer.radius**2
        groups = []
        for i, row in enumerate(inside):
            found = row.nonzero().flatten()[: layer.num_neighbors]
            chosen = torch.cat([found, found[:1].expand(layer.num_neighbors - len(found))])
            groups.append(torch.cat([(points[chosen] - middles[i]) / layer.radius, channels[chosen]], -1))
        pooled.append(torch.stack(groups))
    values = torch.stack(pooled).permute(0, 3, 1, 2)
    running = []
    for unit in layer.mlp_module.children():
        norm = unit.norm
        mean, variance = torch.zeros_like(norm.running_mean), torch.ones_like(norm.running_var)
        values = F.conv2d(values, unit.conv.weight)
        values = F.batch_norm(values, mean, variance, norm.weight, norm.bias, True, 0.1, norm.eps).relu()
        running += [mean, variance]
    return values.amax(3).transpose(1, 2), running


def test_set_abstraction_equals_the_published_padded_layer():
    layer = SetAbstraction(radius=0.5, num_neighbors=8, widths=(5, 16, 12, 24)).double()
    xyz = torch.rand(2, 60, 3, dtype=torch.float64).requires_grad_()
    features = torch.randn(2, 60, 5, dtype=torch.float64).requires_grad_()
    inputs = (xyz, features, *layer.parameters())
    out = layer(xyz, features, xyz[:, :20])
    expected, running = plain_set_abstraction(layer, xyz, features, xyz[:, :20])
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-11)
    probe = torch.sin(torch.arange(out.numel())).view_as(out).double()
    mine = torch.autograd.grad((out * probe).sum(), inputs)
    twin = torch.autograd.grad((expected * probe).sum(), inputs)
    for a, b in zip(mine, twin, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
    tracked = [t for name, t in layer.named_buffers() if "running" in name]
    for a, b in zip(tracked, running, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_feature_propagation_weighs_three_neighbors_by_inverse_distance():
    layer = FeaturePropagation((5, 4)).double().eval()
    fine = Level(torch.rand(1, 7, 3).double(), torch.randn(1, 7, 2).double(), torch.arange(7)[None])
    coarse = Level(torch.rand(1, 4, 3).double(), torch.randn(1, 4, 3).double(), torch.arange(4)[None])
    distances = torch.cdist(fine.xyz, coarse.xyz, compute_mode="donot_use_mm_for_euclid_dist")[0]
    carried = torch.zeros(7, 3, dtype=torch.float64)
    for i, row in enumerate(distances):
        nearest = row.argsort()[:3]
        shares = 1 / (row[nearest] + 1e-8)
        carried[i] = (shares / shares.sum()) @ coarse.features[0, nearest]
    expected = torch.cat([carried, fine.features[0]], -1) @ layer.mlp.layers[0].conv.weight.flatten(1).T
    norm = layer.mlp.layers[0].norm
    expected = F.relu(expected / torch.sqrt(norm.running_var + norm.eps))
    result = layer(fine, coarse)
    torch.testing.assert_close(result.features[0], expected.detach(), rtol=1e-7, atol=1e-9, check_dtype=False)
    assert result.point_idx is fine.point_idx


@pytest.mark.parametrize("skip_near_origin", [False, True])
def test_farthest_points_of_farthest_points_are_the_first_of_them(skip_near_origin):
    xyz = torch.randint(-3, 4, (3, 300, 3)).float() / 4  # many ties, duplicates, and points at the origin
    first = farthest_point_sample(xyz, 256, skip_near_origin=skip_near_origin)
    chosen = torch.take_along_dim(xyz, first[..., None], 1)
    again = torch.take_along_dim(first, farthest_point_sample(chosen, 64, skip_near_origin=skip_near_origin), 1)
    assert torch.equal(torch.take_along_dim(xyz, again[..., None], 1), chosen[:, :64])


def test_moving_and_reordering_the_points_moves_and_reorders_the_seeds(tiny_config):
    wide = dataclasses.replace(tiny_config.backbone, num_neighbors=(512,) * 4, input_channels=0)
    network = PointNet2(wide).double().eval()
    points = torch.rand(1, 256, 3, dtype=torch.float64) * 3
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(255)])  # sampling starts at the first
    seeds, moved = network(points), network(points[:, order] + torch.tensor([1.0, -2.0, 0.5]))
    assert torch.equal(order[moved.point_idx[0]], seeds.point_idx[0])
    torch.testing.assert_close(moved.features, seeds.features, rtol=1e-6, atol=1e-9)


def test_width_multiplies_the_backbone():
    one, two = PointNet2(PointNet2Config()), PointNet2(PointNet2Config(width=2))
    shapes = {name: tuple(tensor.shape) for name, tensor in two.named_parameters()}
    assert shapes["sa1.mlp_module.layer0.conv.weight"] == (128, 4, 1, 1)
    assert shapes["sa4.mlp_module.layer2.conv.weight"] == (512, 256, 1, 1)
    assert shapes["fp2.mlp.layer1.conv.weight"] == (512, 512, 1, 1)
    assert list(shapes) == [name for name, _ in one.named_parameters()]
    assert two.config.num_features == 512


def test_convolutions_start_kaiming_normal_and_norms_as_identity():
    network = PointNet2(PointNet2Config())
    weight = network.get_parameter("fp1.mlp.layer0.conv.weight")
    assert weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    for name, parameter in network.named_parameters():
        if ".bn." in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()


def test_settings_that_do_not_fit_are_all_named():
    with pytest.raises(ConfigError) as error:
        PointNet2Config(
            num_centers=(64, 128), radii=(0.2,), num_neighbors=(8, 8), mlps=((8,), ()), fp_widths=((8,),) * 2
        )
    assert {key for key, _ in error.value.problems} == {"num_centers", "radii", "mlps", "fp_widths"}


@pytest.mark.parametrize("shape", [(100, 4), (1, 100, 3)])
def test_points_of_another_shape_are_refused(shape, tiny_config):
    with pytest.raises(ValueError, match=r"expected \[B, N, 4\]"):
        PointNet2(tiny_config.backbone)(torch.zeros(shape))
