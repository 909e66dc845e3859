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
