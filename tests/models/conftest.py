"""Networks and scenes shared by the model tests."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.models.box_coding import decode_size, decode_yaw
from pcfdsl.models.losses import BoxTargets
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.rng import stream

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config() -> VoteNetConfig:
    """A network for seconds."""
    backbone = PointNet2Config(
        num_centers=(64, 32, 16, 8),
        num_neighbors=(8, 8, 4, 4),
        radii=(0.4, 0.6, 0.9, 1.5),
        mlps=((16, 16, 32), (32, 32), (32, 32), (32, 32)),
        fp_widths=((32,), (32, 32)),
    )
    return VoteNetConfig(num_classes=3, num_heading_bins=4, num_proposals=16, backbone=backbone)


@pytest.fixture(scope="session")
def state_dicts() -> dict:
    """Names and shapes of the published networks' tensors."""
    return json.loads((GOLDEN / "votenet_state_dict.json").read_text())


@pytest.fixture(scope="session")
def mean_sizes() -> dict[str, tuple[tuple[float, float, float], ...]]:
    coding = np.load(GOLDEN / "votenet_box_coding.npz")
    return {name: tuple(map(tuple, coding[f"{name}/mean_size_arr"].tolist())) for name in ("scannet", "sunrgbd")}


@pytest.fixture(scope="session")
def sunrgbd_config(mean_sizes) -> VoteNetConfig:
    """The network of golden/votenet_forward_sunrgbd.npz."""
    return VoteNetConfig(
        num_classes=10,
        num_heading_bins=12,
        mean_sizes=mean_sizes["sunrgbd"],
        num_proposals=64,
        cluster_sampling="seed_fps",
    )


@pytest.fixture
def sunrgbd_network(sunrgbd_config) -> VoteNet:
    """That network with the deterministic weights of the measurement."""
    network = VoteNet(sunrgbd_config)
    for i, (name, tensor) in enumerate(network.state_dict().items(), start=1):
        if name.endswith("num_batches_tracked"):
            continue
        waves = np.sin(12.9898 * np.arange(tensor.numel()) + 78.233 * i) * 43758.5453
        uniform = waves - np.floor(waves)
        if name.endswith("running_var"):
            values = 0.5 + uniform
        elif tensor.ndim >= 2:
            values = 2 * (uniform - 0.5) * np.sqrt(3 / tensor[0].numel())
        elif name.endswith("weight"):
            values = 0.8 + 0.4 * uniform
        else:
            values = 0.2 * (uniform - 0.5)
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))
    return network


@pytest.fixture(scope="session")
def sunrgbd_case(mean_sizes):
    """Measured arrays, the points, and the truth in our form."""
    arrays = np.load(GOLDEN / "votenet_forward_sunrgbd.npz")

    def given(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[f"in/{name}"])

    means = torch.tensor(mean_sizes["sunrgbd"])
    sizes = decode_size(given("size_residual_label"), given("size_class_label"), means)
    yaws = decode_yaw(given("heading_class_label"), given("heading_residual_label"), 12)
    targets = BoxTargets(
        boxes=torch.cat([given("center_label"), sizes, yaws[..., None]], -1),
        classes=given("sem_cls_label"),
        mask=given("box_label_mask").bool(),
        vote_offsets=given("vote_label").unflatten(2, (3, 3)),
        vote_mask=given("vote_label_mask").bool(),
    )
    return arrays, given("point_clouds"), targets


@pytest.fixture(scope="session")
def toy_scenes():
    """Function: (num_scenes, num_points, num_boxes) -> points with height, and their truth."""
    return _toy_scenes


def _toy_scenes(*, num_scenes: int = 2, num_points: int = 512, num_boxes: int = 3) -> tuple[torch.Tensor, BoxTargets]:
    """Scenes of box surfaces far enough apart, and a floor; height is the last column."""
    random = stream(0, "toy scenes")
    scenes, boxes, offsets, masks = [], [], [], []
    for _ in range(num_scenes):
        angles = np.arange(num_boxes) * 2 * np.pi / num_boxes + random.uniform(0, 2)
        sizes = random.uniform(0.5, 0.9, (num_boxes, 3))
        centers = np.c_[1.5 * np.cos(angles), 1.5 * np.sin(angles), sizes[:, 2] / 2]
        on_box = num_points * 3 // 4
        owner = random.integers(0, num_boxes, on_box)
        surface = random.uniform(-0.5, 0.5, (on_box, 3))
        axis = random.integers(0, 3, on_box)
        surface[np.arange(on_box), axis] = np.sign(surface[np.arange(on_box), axis]) / 2
        objects = surface * sizes[owner] + centers[owner]
        floor = np.c_[random.uniform(-2.5, 2.5, (num_points - on_box, 2)), np.zeros(num_points - on_box)]
        points = np.r_[objects, floor]
        to_center = np.r_[centers[owner] - objects, np.zeros_like(floor)]
        order = random.permutation(num_points)
        scenes.append(np.c_[points, points[:, 2]][order])
        offsets.append(np.repeat(to_center[order, None], 3, axis=1))
        masks.append(np.arange(num_points)[order] < on_box)
        boxes.append(np.c_[centers, sizes, np.zeros(num_boxes)])
    targets = BoxTargets(
        boxes=torch.from_numpy(np.stack(boxes).astype(np.float32)),
        classes=torch.arange(num_boxes).expand(num_scenes, -1) % 3,
        mask=torch.ones(num_scenes, num_boxes, dtype=torch.bool),
        vote_offsets=torch.from_numpy(np.stack(offsets).astype(np.float32)),
        vote_mask=torch.from_numpy(np.stack(masks)),
    )
    return torch.from_numpy(np.stack(scenes).astype(np.float32)), targets
