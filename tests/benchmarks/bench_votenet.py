"""How long VoteNet takes on this machine: `python tests/benchmarks/bench_votenet.py [--threads 2] [--profile]`.

The rooms are a floor, walls and boxes, sampled on their surfaces. Times are the minimum of several runs.
"""

import argparse
import time

import numpy as np
import torch

from pcfdsl.models.losses import BoxTargets, votenet_loss
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.rng import stream

LAPTOP = VoteNetConfig(
    num_classes=13,
    num_heading_bins=1,
    num_proposals=64,
    backbone=PointNet2Config(num_centers=(512, 256, 128, 64), num_neighbors=(16, 16, 16, 16)),
)
PAPER = VoteNetConfig(num_classes=18, num_heading_bins=1)


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


def training_step(config: VoteNetConfig, *, batch_size: int, num_points: int, autocast: bool = False):
    """Function that trains one step, on the same batch each time."""
    torch.manual_seed(0)
    network = VoteNet(config)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    points, targets = rooms(batch_size, num_points)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = votenet_loss(network(points), targets, config)
        loss.total.backward()
        optimizer.step()

    return step


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
    paper = VoteNet(PAPER).eval()
    two_rooms, _ = rooms(2, 20000)
    with torch.inference_mode():
        print(f"forward, paper network, 2 x 20,000 points    {seconds(lambda: paper(two_rooms), 3):6.3f} s")
    print(f"training step, laptop network, 8 x 8,192    {seconds(step):6.3f} s")
    half = training_step(LAPTOP, batch_size=8, num_points=8192, autocast=True)
    print(f"the same with bfloat16 products             {seconds(half):6.3f} s")


if __name__ == "__main__":
    main()
