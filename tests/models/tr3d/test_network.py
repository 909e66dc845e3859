"""TR3D's network: the published parameters by count and name, where its voxels lie, and what it refuses."""

import pytest
import torch

from pcfdsl.config import ConfigError
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.network import TR3D

SMALL = TR3DConfig(
    num_classes=3, voxel_size=0.1, stem_channels=8, planes=(8, 12, 16), layers=(1, 1, 1), neck_channels=10
)


def published_shapes(num_box_channels: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """MMDetection3D's state dict, written out from its modules."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name, channels):
        shapes.update({f"{name}.bn.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    shapes["backbone.conv1.kernel"] = (27, 3, 64)
    norm("backbone.norm1", 64)
    channels = 64
    for stage, (planes, count) in enumerate(((64, 3), (128, 4), (128, 6), (128, 3)), 1):
        for block in range(count):
            name = f"backbone.layer{stage}.{block}"
            shapes[f"{name}.conv1.kernel"], shapes[f"{name}.conv2.kernel"] = (
                (27, channels, planes),
                (27, planes, planes),
            )
            norm(f"{name}.norm1", planes)
            norm(f"{name}.norm2", planes)
            if block == 0:
                shapes[f"{name}.downsample.0.kernel"] = (1, channels, planes)
                norm(f"{name}.downsample.1", planes)
            channels = planes
    for part in ("up_block_1", "up_block_2", "lateral_block_0", "lateral_block_1", "out_block_0", "out_block_1"):
        shapes[f"neck.{part}.0.kernel"] = (27, 128, 128)
        norm(f"neck.{part}.1", 128)
    for part, width in (("reg", num_box_channels), ("cls", num_classes)):
        shapes[f"bbox_head.conv_{part}.kernel"], shapes[f"bbox_head.conv_{part}.bias"] = (128, width), (1, width)
    return shapes


@pytest.mark.parametrize(
    ("oriented", "num_classes", "num_parameters"),
    [(False, 18, 14_661_464), (True, 10, 14_660_690), (False, 5, 14_659_787)],
    ids=["ScanNetV2", "SUN RGB-D", "S3DIS"],
)
def test_parameters_have_the_published_names_shapes_and_number(oriented, num_classes, num_parameters):
    network = TR3D(TR3DConfig(oriented=oriented, num_classes=num_classes))
    state = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert state == published_shapes(8 if oriented else 6, num_classes)
    assert len(state) == 262
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    assert network.bbox_head.conv_cls.bias[0, 0].item() == pytest.approx(-4.595, abs=1e-3)
    kernel = network.backbone.layer1[0].conv1.kernel  # type: ignore[union-attr,index]
    assert kernel.std().item() == pytest.approx((2 / (27 * 64)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("stem_pool", "voxel_size"), [(True, 0.01), (False, 0.02)])
def test_locations_are_the_low_corners_of_16_and_32_centimetres(stem_pool, voxel_size):
    config = TR3DConfig(
        num_classes=2,
        voxel_size=voxel_size,
        stem_pool=stem_pool,
        stem_channels=4,
        planes=(4, 4, 4, 4),
        layers=(1,) * 4,
        neck_channels=4,
    )
    points = torch.rand(2, 500, 3) * torch.tensor([3.0, 3.0, 2.0]) - 1
    output = TR3D(config)(points)
    for level, edge in ((0, 0.16), (1, 0.32)):
        locations = output.locations[output.level == level]
        cells = locations / edge
        torch.testing.assert_close(cells, cells.round(), rtol=0, atol=1e-4)
        found = torch.cat([output.scene[output.level == level, None], cells.round().long()], 1)
        scene = torch.arange(2).repeat_interleave(500)
        corners = torch.cat([scene[:, None], torch.floor(points.flatten(0, 1) / edge).long()], 1)
        assert set(map(tuple, corners.tolist())) <= set(map(tuple, found.tolist()))
    assert output.class_logits.shape == (len(output.scene), 2)
    assert output.regression.shape == (len(output.scene), 8)


def test_scenes_do_not_meet_and_the_order_of_points_matters_only_for_colours():
    torch.manual_seed(0)
    network = TR3D(SMALL).eval()
    points = torch.rand(2, 300, 3) * 2
    both, alone = network(points), network(points[1:])
    torch.testing.assert_close(both.class_logits[both.scene == 1], alone.class_logits, rtol=1e-4, atol=1e-5)
    shuffled = network(points[1:, torch.randperm(300)])
    torch.testing.assert_close(shuffled.regression, alone.regression, rtol=1e-4, atol=1e-5)


def test_colours_are_taken_as_stored():
    """Samples hold colours minus 0.5; published weights were trained on colours from 0 to 1."""
    network = TR3D(TR3DConfig(**{**vars(SMALL), "features": "color"})).eval()
    seen = []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].features))
    points = torch.rand(1, 50, 6)
    points[..., 3:] -= 0.5
    network(points)
    assert {tuple(row) for row in seen[0].tolist()} <= {tuple(row) for row in (points[0, :, 3:] + 0.5).tolist()}


def test_what_does_not_fit_is_refused():
    network = TR3D(SMALL)
    with pytest.raises(ValueError, match=r"expected \[B, N, 3\] where voxels start with ones"):
        network(torch.zeros(1, 5, 4))
    with pytest.raises(ConfigError, match="2 stages; the neck joins three"):
        TR3DConfig(planes=(8, 8), layers=(1, 1))
    with pytest.raises(ConfigError, match="layers: has 4 stages, planes has 3"):
        TR3DConfig(planes=(8, 8, 8))
    with pytest.raises(ConfigError, match="has 1 classes; expected none or 3"):
        TR3DConfig(num_classes=3, class_levels=(0,))
    assert SMALL.misfit(use_height=False, use_color=False) is None
    assert "points.use_height=false" in SMALL.misfit(use_height=True, use_color=False)[1]  # type: ignore[index]
