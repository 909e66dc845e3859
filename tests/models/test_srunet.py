import dataclasses
import json
from pathlib import Path

import pytest
import torch

from pcfdsl.config import ConfigError
from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.ops.sparse import SparseGlobalPool, quantize
from pcfdsl.ops.sparse.kernel_map import kernel_offsets

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SMALL = SRUNetConfig(out_channels=5, stem_planes=8, planes=(8, 12, 16, 24, 16, 12, 8, 8), layers=(1,) * 8)


@pytest.fixture(scope="module")
def published() -> dict:
    return json.loads((GOLDEN / "srunet_state_dict.json").read_text())


def cloud(num_points: int = 400, num_clouds: int = 2, seed: int = 0):
    """Voxels of random points, and features."""
    random = torch.Generator().manual_seed(seed)
    points = torch.rand(num_points, 3, generator=random) * 4 - 2
    batch_idx = torch.randint(num_clouds, (num_points,), generator=random)
    coordinates, _, _ = quantize(points, 0.2, batch_idx=batch_idx)
    return coordinates, torch.randn(len(coordinates), 3, generator=random)


def test_names_shapes_and_settings_are_those_published(published):
    layout = published["Res16UNet34C_in3_out256_conv1k3"]
    network = SRUNet(SRUNetConfig())
    state = network.state_dict()
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == list(layout["state_dict"].items())
    assert len(state) == layout["num_tensors"] == 374
    assert sum(parameter.numel() for parameter in network.parameters()) == layout["num_params"]
    for name, momentum in layout["bn_momentum"].items():
        assert network.get_submodule(name).bn.momentum == momentum
    regions = {"HYPERCUBE": "cube", "HYBRID": "hybrid"}
    for name, region in layout["region_type"].items():
        assert network.get_submodule(name).region == regions[region] or network.get_submodule(name).kernel_size < 3


def test_kernel_orders_are_those_published(published):
    for name, mine in (
        ("hypercube_k3", kernel_offsets(3)),
        ("hypercube_k2", kernel_offsets(2)),
        ("hybrid_all_cube_k3", kernel_offsets(3, "hybrid")),
    ):
        assert [list(offset) for offset in mine] == published["kernel_offsets_xyz"][name]


def test_weights_by_name_and_shape_load_strictly(published):
    layout = published["Res16UNet34C_in3_out256_conv1k3"]["state_dict"]
    state = {name: torch.full(shape, 0.5) for name, shape in layout.items()}
    network = SRUNet(SRUNetConfig())
    network.load_state_dict(state, strict=True)
    assert all((tensor == 0.5).all() for name, tensor in network.state_dict().items() if "num_batches" not in name)


def test_rows_come_back_in_the_order_of_the_input_to_the_bit(backend):
    network = SRUNet(SMALL, backend=backend)
    coordinates, features = cloud()
    out = network(coordinates, features)
    assert out.shape == (len(coordinates), 5)
    order = torch.randperm(len(coordinates))
    assert torch.equal(network(coordinates[order].int(), features[order]), out[order])


def test_batch_items_do_not_meet(backend):
    network = SRUNet(SMALL, backend=backend).eval()
    coordinates, features = cloud(num_clouds=3)
    out, deepest = network(coordinates, features), network.encode(coordinates, features)
    pooled = SparseGlobalPool("max")(deepest)
    assert deepest.features.shape[1] == pooled.shape[1] == SMALL.num_bottleneck_channels
    assert deepest.voxels.stride == 16
    for item in range(3):
        rows = coordinates[:, 0] == item
        alone = coordinates[rows] * torch.tensor([0, 1, 1, 1])
        torch.testing.assert_close(network(alone, features[rows]), out[rows], rtol=1e-4, atol=1e-5)
        one = SparseGlobalPool("max")(network.encode(alone, features[rows]))
        torch.testing.assert_close(one[0], pooled[item], rtol=1e-4, atol=1e-5)


def test_a_shift_by_whole_coarsest_voxels_changes_nothing(backend):
    network = SRUNet(SMALL, backend=backend).eval()
    coordinates, features = cloud()
    moved = coordinates + torch.tensor([0, -32, 48, 16])
    torch.testing.assert_close(network(moved, features), network(coordinates, features), rtol=1e-4, atol=1e-5)


def test_backends_agree_forward_and_backward(backend):
    settings = {"first_kernel": 5, "out_channels": 4, "planes": (8, 8, 12, 12, 8, 8, 8, 8), "layers": (1,) * 8}
    networks = [SRUNet(SRUNetConfig(**settings), backend=name).double() for name in ("torch", backend)]
    networks[1].load_state_dict(networks[0].state_dict())
    coordinates, features = cloud(3000)
    results = []
    for network in networks:
        x = features.double().requires_grad_()
        out = network(coordinates, x)
        out.square().sum().backward()
        results.append([out.detach(), x.grad, *(p.grad for p in network.parameters()), *network.buffers()])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-8 * float(expected.abs().max() + 1))


def test_block_regions_differ_only_in_the_order_of_the_weights():
    hybrid, cube = SRUNet(SMALL).eval(), SRUNet(dataclasses.replace(SMALL, block_region="cube")).eval()
    order = [kernel_offsets(3, "hybrid").index(offset) for offset in kernel_offsets(3)]
    in_blocks = {name for name, module in hybrid.named_modules() if getattr(module, "region", "cube") == "hybrid"}
    state = {
        name: tensor[order] if name.removesuffix(".kernel") in in_blocks else tensor
        for name, tensor in hybrid.state_dict().items()
    }
    cube.load_state_dict(state)
    coordinates, features = cloud()
    torch.testing.assert_close(hybrid(coordinates, features), cube(coordinates, features), rtol=1e-4, atol=1e-5)
    cube.load_state_dict(hybrid.state_dict())
    assert not torch.allclose(hybrid(coordinates, features), cube(coordinates, features), rtol=1e-2)


def test_learns_what_a_voxel_alone_does_not_tell():
    """Which of two clouds a voxel is in, from where its neighbours are."""
    coordinates, _ = cloud(600)
    features = torch.ones(len(coordinates), 3)
    network = SRUNet(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(coordinates, features), coordinates[:, 0])
        loss.backward()
        optimizer.step()
    assert (network(coordinates, features).argmax(1) == coordinates[:, 0]).float().mean() > 0.98


def test_autocast_stays_close_and_gives_float32_gradients():
    network = SRUNet(SMALL).eval()
    coordinates, features = cloud()
    exact = network(coordinates, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(coordinates, features)
    assert (rounded.float() - exact).norm() < 0.05 * exact.norm()
    rounded.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planes": (8,) * 7}, "planes: has 7 entries; expected 8"),
        ({"layers": (1,) * 9}, "layers: has 9 entries; expected 8"),
        ({"first_kernel": 4}, "first_kernel: is 4; expected an odd size"),
        ({"block_region": "cross"}, "block_region: is cross"),
        ({"planes": (0,) * 8}, "planes: must be at least 1"),
    ],
)
def test_configurations_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SRUNetConfig(**settings)


def test_input_that_does_not_fit_is_refused_with_a_reason():
    network = SRUNet(SMALL)
    coordinates, features = cloud()
    with pytest.raises(ValueError, match="takes 3 channels, the features have 4"):
        network(coordinates, torch.ones(len(coordinates), 4))
    with pytest.raises(ValueError, match=r"int32 or int64 \[V, 4\]"):
        network(coordinates.float(), features)
    with pytest.raises(ValueError, match="duplicates"):
        network(coordinates[[0, 1, 1]], features[:3])
    with pytest.raises(ValueError, match="no voxels"):
        network(coordinates[:0], features[:0])
    with pytest.raises(ValueError, match="V = "):
        network(coordinates, features[1:])
