"""Every backbone describes points and gives seeds; SR-UNet does so by voxels."""

from dataclasses import replace

import pytest
import torch

from pcfdsl.checkpoints.layouts import to_ours
from pcfdsl.checkpoints.start import transfer
from pcfdsl.models.backbone import BackboneConfig, SRUNetSettings, build_backbone
from pcfdsl.models.point_transformer import PointTokensConfig, TransformerConfig
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.ops.sampling import farthest_point_sample

NARROW = SRUNetConfig(stem_planes=4, planes=(4, 8, 8, 8, 8, 8, 8, 8), layers=(1,) * 8, out_channels=16)
POINTNET2 = PointNet2Config(
    input_channels=0,
    num_centers=(64, 32, 16, 8),
    num_neighbors=(8, 8, 8, 8),
    mlps=((8, 16), (16, 16), (16, 16), (16, 16)),
    fp_widths=((16,), (16,)),
)


TRANSFORMER = TransformerConfig(
    embed_dim=16, depth=2, num_heads=2, num_seeds=40, tokens=PointTokensConfig(num_groups=24, group_size=8)
)


def settings(**changes) -> BackboneConfig:
    srunet = SRUNetSettings(**{"voxel_size": 0.25, "num_seeds": 40, "net": NARROW, **changes})
    return BackboneConfig(backbone_type="srunet", srunet=srunet)


def transformer(**changes) -> BackboneConfig:
    return BackboneConfig(backbone_type="point_transformer", transformer=replace(TRANSFORMER, **changes))


EVERY = pytest.mark.parametrize(
    "config",
    [settings(), BackboneConfig(backbone=POINTNET2), transformer()],
    ids=["srunet", "pointnet2", "transformer"],
)


@pytest.fixture
def points():
    return torch.rand(3, 500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([4.0, 3.0, 2.0])


def build(config: BackboneConfig):
    torch.manual_seed(0)
    return build_backbone(config).eval()


def test_srunet_describes_the_first_point_of_every_voxel(points):
    described = build(settings()).describe(points)
    expected = []
    for scene in range(3):
        first: dict[tuple, int] = {}
        for i, cell in enumerate(torch.floor(points[scene] / 0.25).tolist()):
            first.setdefault(tuple(cell), i)
        expected += [(scene, i) for i in sorted(first.values())]
    assert list(zip(described.scene_idx.tolist(), described.point_idx.tolist(), strict=True)) == expected
    assert torch.equal(described.xyz, described.of_points(points))
    assert described.features.shape == (len(expected), 16)


@EVERY
def test_a_scene_is_described_as_if_it_were_alone(points, config):
    backbone = build(config)
    together = backbone.describe(points)
    for scene in range(3):
        alone, rows = backbone.describe(points[scene : scene + 1]), together.scene_idx == scene
        assert torch.equal(alone.point_idx, together.point_idx[rows])
        torch.testing.assert_close(alone.features, together.features[rows], atol=1e-5, rtol=1e-4)


@EVERY
def test_seeds_are_described_points(points, config):
    backbone = build(config)
    seeds, described = backbone(points), backbone.describe(points)
    assert seeds.features.shape == (3, config.num_seeds, config.num_features)
    assert torch.equal(seeds.xyz, points.gather(1, seeds.point_idx[..., None].expand(-1, -1, 3)))
    rows = {
        key: row for row, key in enumerate(zip(described.scene_idx.tolist(), described.point_idx.tolist(), strict=True))
    }
    for scene in range(3):
        chosen = seeds.point_idx[scene].tolist()
        assert len(set(chosen)) == config.num_seeds
        torch.testing.assert_close(
            seeds.features[scene], described.features[[rows[scene, point] for point in chosen]], atol=1e-5, rtol=1e-4
        )


def test_where_voxels_are_fewer_than_seeds_they_repeat(points):
    points = points.clone()
    points[1] = points[1] % 0.25  # one voxel
    seeds = build(settings())(points)
    assert seeds.point_idx[1].tolist() == [0] * 40
    assert len(set(seeds.point_idx[0].tolist())) == 40


def test_colours_are_features_of_voxels(points):
    backbone = build(settings(features="color"))
    colors = torch.rand(3, 500, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    plain = backbone.describe(torch.cat([points, colors], 2)).features
    assert not torch.allclose(plain, backbone.describe(torch.cat([points, -colors], 2)).features)
    with pytest.raises(ValueError, match=r"expected \[B, N, 6\] where SR-UNet starts with color"):
        backbone.describe(points)
    with pytest.raises(ValueError, match=r"expected \[B, N, 3\].*leave the height out"):
        build(settings()).describe(torch.cat([points, colors[..., :1]], 2))


def test_seeds_of_a_transformer_are_the_first_farthest_points_and_so_are_its_tokens(points):
    few, many = (build(transformer(num_seeds=count))(points) for count in (10, 40))
    assert torch.equal(few.point_idx, many.point_idx[:, :10])
    assert torch.equal(many.point_idx, farthest_point_sample(points, 40))
    torch.testing.assert_close(few.features, many.features[:, :10])


def test_features_of_a_transformer_say_where_between_its_tokens_a_seed_lies(points):
    backbone = build(transformer())
    given = []
    backbone.seeds.register_forward_pre_hook(lambda module, args: given.append(args[0].unflatten(0, (3, 40))))
    seeds = backbone(points)
    tokens = backbone.describe_clouds(points)[:, 1:]
    # A seed that is the centre of a token has its features, and no offset.
    torch.testing.assert_close(given[0][:, :24, :16], tokens, atol=1e-4, rtol=1e-4)
    assert given[0][:, :24, 16:].abs().max() < 1e-4
    for scene in range(3):
        centers, xyz = seeds.xyz[scene, :24], seeds.xyz[scene, 30]
        nearest = (centers - xyz).norm(dim=1).argsort()[:3]
        weights = 1 / (centers[nearest] - xyz).norm(dim=1)
        middle = (weights / weights.sum()) @ centers[nearest]
        torch.testing.assert_close(given[0][scene, 30, 16:], xyz - middle, atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_parameter_of_a_detector_on_a_transformer(points):
    torch.manual_seed(0)
    net = VoteNet(VoteNetConfig(num_proposals=8, **vars(transformer())))
    out = net(points)
    torch.stack([value.sum() for value in vars(out).values() if value.is_floating_point()]).sum().backward()
    without = {name for name, value in net.named_parameters() if value.grad is None}
    assert without == set()
    assert all(value.grad.any() for name, value in net.backbone_net.named_parameters() if value.numel() > 64)


def test_gradients_reach_every_parameter_of_the_detector(points):
    torch.manual_seed(0)
    net = VoteNet(VoteNetConfig(num_proposals=8, **vars(settings())))
    out = net(points)
    torch.stack([value.sum() for value in vars(out).values() if value.is_floating_point()]).sum().backward()
    without = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert [name for name in without if not name.endswith((".weight", ".bias"))] == []  # convolution kernels
    assert not any(name.startswith("backbone_net.net.final") for name in without)


def test_the_published_encoder_is_the_detectors():
    net = VoteNet(VoteNetConfig(backbone_type="srunet"))
    state = net.backbone_net.state_dict()
    assert len(state) == 374
    assert sum(value.numel() for value in net.backbone_net.parameters()) == 37_869_536
    assert all(name.startswith("net.") for name in state)


def test_published_names_load_and_what_does_not_fit_is_named():
    torch.manual_seed(1)
    published = SRUNet(SRUNetConfig(stem_planes=4, planes=NARROW.planes, layers=NARROW.layers, out_channels=32))
    state = {f"encoder.{name}": value for name, value in published.state_dict().items()}
    detector = VoteNet(VoteNetConfig(num_proposals=8, **vars(settings())))
    report = transfer(detector, to_ours(state, layout="backbone").state, prefixes=("backbone_net",))
    assert {name for name, _, _ in report.mismatched} == {
        "backbone_net.net.final.kernel",
        "backbone_net.net.final.bias",
    }
    assert not report.unused
    assert not report.missing
    assert len(report.loaded) == len(state) - 2
    for name, value in published.state_dict().items():
        if not name.startswith("final"):
            assert torch.equal(detector.state_dict()[f"backbone_net.net.{name}"], value)


def test_names_of_a_whole_detector_stay():
    for config in (settings(), BackboneConfig(backbone=POINTNET2), transformer()):
        state = VoteNet(VoteNetConfig(num_proposals=8, **vars(config))).state_dict()
        assert list(to_ours(state, layout="votenet").state) == list(state)
        if config.backbone_type == "point_transformer":
            continue  # nobody else has one like it to convert
        bare = build_backbone(config).state_dict()
        inner = {name.removeprefix("net."): value for name, value in bare.items()}
        assert list(to_ours(inner, layout="backbone").state) == [f"backbone_net.{name}" for name in bare]


def test_what_the_points_must_have():
    assert settings().misfit(use_height=False, use_color=False) is None
    assert settings(features="color").misfit(use_height=False, use_color=True) is None
    misfit = settings().misfit(use_height=True, use_color=False)
    assert misfit is not None
    assert "points.use_height=false points.use_color=false" in misfit[1]
    assert transformer().misfit(use_height=False, use_color=False) is None
    misfit = transformer().misfit(use_height=True, use_color=False)
    assert misfit == (
        "backbone_type",
        "is point_transformer, which needs points.use_height=false points.use_color=false",
    )
    misfit = BackboneConfig(backbone=POINTNET2).misfit(use_height=True, use_color=False)
    assert misfit is not None
    assert misfit[0] == "backbone.input_channels"
