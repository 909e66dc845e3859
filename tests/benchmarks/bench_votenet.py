"""How long VoteNet and TR3D take on this machine: `python tests/benchmarks/bench_votenet.py [--threads 2] [--profile]`.

The rooms are a floor, walls and boxes, sampled on their surfaces. Times are the minimum of several runs.
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
import torch

from pcfdsl.models.detector import DetectorModel, build_detector, detector_loss
from pcfdsl.models.losses import BoxTargets
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.votenet import VoteNetConfig
from pcfdsl.rng import stream

LAPTOP = VoteNetConfig(
    num_classes=13,
    num_heading_bins=1,
    num_proposals=64,
    backbone=PointNet2Config(num_centers=(512, 256, 128, 64), num_neighbors=(16, 16, 16, 16)),
)
PAPER = VoteNetConfig(num_classes=18, num_heading_bins=1)
LAPTOP_TR3D = TR3DConfig(
    num_classes=13,
    oriented=False,
    voxel_size=0.04,
    stem_channels=16,
    stem_pool=False,
    planes=(32, 64, 64),
    layers=(1, 1, 1),
    upsampling="encoder",
    neck_channels=64,
)
PAPER_TR3D = TR3DConfig(num_classes=18, oriented=False)


def rooms(num_rooms: int, num_points: int, num_boxes: int = 10) -> tuple[torch.Tensor, BoxTargets]:
    """Points with height, and their truth."""
    random = stream(0, "benchmark rooms")
    points, boxes, offsets, masks = [], [], [], []
    for _ in range(num_rooms):
        sizes = random.uniform(0.4, 1.2, (num_boxes, 3))
        centers = np.c_[random.uniform(-2.5, 2.5, (num_boxes, 2)), sizes[:, 2] / 2]
        owner = random.integers(-5, num_boxes, num_points)  # below 0: floor and walls
        surface = random.uniform(-0.5, 0.5, (num_points, 3))
        axis = random.integers(0, 3, num_points)
        surface[np.arange(num_points), axis] = np.sign(surface[np.arange(num_points), axis]) / 2
        xyz = np.where(
            owner[:, None] < 0, surface * [6, 6, 2.5] + [0, 0, 1.25], surface * sizes[owner] + centers[owner]
        )
        xyz += random.normal(0, 0.005, xyz.shape)
        points.append(np.c_[xyz, xyz[:, 2]])
        boxes.append(np.c_[centers, sizes, np.zeros(num_boxes)])
        offsets.append(np.repeat((centers[owner] - xyz)[:, None], 3, axis=1))
        masks.append(owner >= 0)

    def stacked(arrays, dtype=np.float32):
        return torch.from_numpy(np.stack(arrays).astype(dtype))

    shape = (num_rooms, num_boxes)
    targets = BoxTargets(
        boxes=stacked(boxes),
        classes=torch.from_numpy(random.integers(0, 13, shape)),
        mask=torch.ones(shape, dtype=torch.bool),
        vote_offsets=stacked(offsets),
        vote_mask=stacked(masks, np.bool_),
    )
    return stacked(points), targets


def seconds(run, repeats: int = 7) -> float:
    """Minimum over several runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def training_step(config: DetectorModel, *, batch_size: int, num_points: int, autocast: bool = False):
    """Function that trains one step, on the same batch each time."""
    torch.manual_seed(0)
    network = build_detector(config)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    points, targets = rooms(batch_size, num_points)
    points = _of(config, points)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss, _ = detector_loss(network(points), targets, config)
        loss.backward()
        optimizer.step()

    return step


def _of(config: DetectorModel, points: torch.Tensor) -> torch.Tensor:
    """What a network takes of points with height."""
    return points[..., :3].contiguous() if isinstance(config, TR3DConfig) else points


def peak_memory() -> float:
    """Most memory that this process has held so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="operators of the laptop training step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    step = training_step(LAPTOP, batch_size=8, num_points=8192)
    if arguments.profile:
        step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=45))
        return
    half = training_step(LAPTOP, batch_size=8, num_points=8192, autocast=True)
    generated = replace(LAPTOP_TR3D, upsampling="generated")
    steps = {
        "VoteNet": step,
        "VoteNet with bfloat16 products": half,
        "TR3D": training_step(LAPTOP_TR3D, batch_size=8, num_points=8192),
        "TR3D, upsampling=generated": training_step(generated, batch_size=8, num_points=8192),
    }
    print("training step, laptop network, 8 x 8,192 points")
    for name, run in steps.items():
        print(f"    {name:35} {seconds(run, 3):7.3f} s, {peak_memory():.1f} GB at most so far")
    room, _ = rooms(1, 20000)
    print("one room, forward pass, 20,000 points")
    for name, config in {
        "VoteNet, laptop": LAPTOP,
        "TR3D, laptop": LAPTOP_TR3D,
        "VoteNet, published": PAPER,
        "TR3D, published, voxels of 1 cm": PAPER_TR3D,
    }.items():
        network, points = build_detector(config).eval(), _of(config, room)
        with torch.inference_mode():
            taken = seconds(lambda network=network, points=points: network(points), 3)
        print(f"    {name:35} {taken:7.3f} s, {peak_memory():.1f} GB at most so far")


if __name__ == "__main__":
    main()
