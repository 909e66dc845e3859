"""Point operators against their plain twins and other packages: `python tests/benchmarks/bench_point_ops.py`.

The cloud is a room: a floor, four walls and eight boxes, sampled on their surfaces with 3 mm of noise. All rivals of an
operator take turns in one process; the table gives minima and how many times our minimum that is. Packages that are not
installed are left out. `same` says whether the answer is ours to the last index ("-": other rule or other form).
"""

import argparse
import functools
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import scipy.spatial
import torch
from torch import Tensor

from pcfdsl.ops import reference
from pcfdsl.ops.backends import pytorch3d
from pcfdsl.ops.backends.choice import describe
from pcfdsl.ops.grouping import ball_query, gather
from pcfdsl.ops.interpolate import inverse_distance_weights, nearest, three_interpolate, three_nearest
from pcfdsl.ops.sampling import farthest_point_sample
from pcfdsl.rng import stream

SIZE = np.array([6.0, 5.0, 2.8])
NUM_SAMPLES, RADIUS, NUM_NEIGHBORS = 2048, 0.2, 64
Rivals = dict[str, Callable]


def room(num_points: int, *, seed: int = 0, num_boxes: int = 8) -> Tensor:
    """[1, N, 3] float32; points in random order, every surface in proportion to its area."""
    random = stream(seed, "benchmark room")
    sizes = random.uniform(0.4, 1.6, (num_boxes, 3))
    centers = np.c_[random.uniform(-0.35, 0.35, (num_boxes, 2)) * SIZE[:2], sizes[:, 2] / 2]
    sizes, centers = np.r_[SIZE[None], sizes], np.r_[[[0, 0, SIZE[2] / 2]], centers]
    areas = np.repeat(sizes.prod(1, keepdims=True) / sizes, 2, axis=1)  # of the faces -x +x -y +y -z +z
    areas[0, 5] = 0  # no ceiling
    face = random.choice(areas.size, num_points, p=areas.ravel() / areas.sum())
    owner, axis, side = face // 6, face % 6 // 2, face % 2
    surface = random.uniform(-0.5, 0.5, (num_points, 3))
    surface[np.arange(num_points), axis] = side - 0.5
    points = surface * sizes[owner] + centers[owner] + random.normal(0, 0.003, (num_points, 3))
    return torch.from_numpy(points.astype(np.float32))[None]


def rivals_of_sampling(points: Tensor) -> Rivals:
    xyz = points[0].numpy()
    rivals: Rivals = {
        "pcfdsl": lambda: farthest_point_sample(points, NUM_SAMPLES),
        "plain torch twin": lambda: reference.farthest_point_sample(points, NUM_SAMPLES),
    }
    if importlib.util.find_spec("fpsample"):
        import fpsample

        rivals["fpsample fps"] = lambda: fpsample.fps_sampling(xyz, NUM_SAMPLES, start_idx=0).astype(np.int64)[None]
        rivals["fpsample bucket h=7"] = lambda: fpsample.bucket_fps_kdline_sampling(
            xyz, NUM_SAMPLES, h=7, start_idx=0
        ).astype(np.int64)[None]
    if importlib.util.find_spec("open3d"):
        import open3d

        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz.astype(np.float64)))
        rivals["open3d (other form)"] = lambda: cloud.farthest_point_down_sample(NUM_SAMPLES)
    return rivals


def rivals_of_ball_query(points: Tensor, centers: Tensor) -> Rivals:
    xyz, queries = points[0].numpy(), centers[0].numpy()

    def torch_topk():
        near = torch.cdist(centers, points) < RADIUS
        numbers = torch.where(near, torch.arange(xyz.shape[0]), xyz.shape[0]).int()
        return numbers.topk(NUM_NEIGHBORS, largest=False).values

    def scipy_lists():
        found = scipy.spatial.cKDTree(xyz).query_ball_point(queries, RADIUS, return_sorted=True)
        return [hits[:NUM_NEIGHBORS] for hits in found]

    rivals: Rivals = {
        "pcfdsl": lambda: ball_query(points, centers, RADIUS, NUM_NEIGHBORS).indices,
        "plain torch twin": lambda: reference.ball_query(points, centers, RADIUS, NUM_NEIGHBORS)[0],
        "torch cdist + topk (other form)": torch_topk,
        "scipy cKDTree lists (other form)": scipy_lists,
    }
    if importlib.util.find_spec("open3d"):
        import open3d

        def hybrid():
            search = open3d.core.nns.NearestNeighborSearch(open3d.core.Tensor(xyz))
            search.hybrid_index(RADIUS)
            return search.hybrid_search(open3d.core.Tensor(queries), RADIUS, NUM_NEIGHBORS)

        rivals["open3d hybrid (nearest K)"] = hybrid
    return rivals


def rivals_of_three_nearest(queries: Tensor, points: Tensor) -> Rivals:
    asked, xyz = queries[0].numpy(), points[0].numpy()
    rivals: Rivals = {
        "pcfdsl": lambda: three_nearest(queries, points)[1],
        "plain torch twin": lambda: reference.three_nearest(queries, points)[1],
        "torch cdist + topk": lambda: torch.cdist(queries, points).topk(3, largest=False).indices,
        "scipy cKDTree": lambda: scipy.spatial.cKDTree(xyz).query(asked, 3, workers=torch.get_num_threads())[1][None],
    }
    if importlib.util.find_spec("open3d"):
        import open3d

        def search():
            tree = open3d.core.nns.NearestNeighborSearch(open3d.core.Tensor(xyz))
            tree.knn_index()
            return tree.knn_search(open3d.core.Tensor(asked), 3)[0].numpy()[None]

        rivals["open3d"] = search
    return rivals


def rivals_of_gradients(points: Tensor, centers: Tensor) -> dict[str, Rivals]:
    """Forward and backward of what training differentiates, on a network's 128 channels."""
    neighbors = ball_query(points, centers, RADIUS, NUM_NEIGHBORS).indices
    distances, nearest_idx = three_nearest(points, centers)
    weights = inverse_distance_weights(distances)

    def gradient(function: Callable, num_rows: int, *arguments: Tensor) -> Callable:
        values = torch.ones(1, num_rows, 128, requires_grad=True)
        return lambda: torch.autograd.grad(function(values, *arguments).sum(), values)[0]

    num_points, num_centers = points.shape[1], centers.shape[1]
    return {
        "gather, 2,048 x 64 of 20,000, with gradient": {
            "pcfdsl": gradient(gather, num_points, neighbors),
            "plain torch twin": gradient(reference.gather, num_points, neighbors),
        },
        "three_interpolate, 20,000 of 2,048, with gradient": {
            "pcfdsl": gradient(three_interpolate, num_centers, nearest_idx, weights),
            "plain torch twin": gradient(reference.three_interpolate, num_centers, nearest_idx, weights),
        },
    }


def cases_on(
    device: str, *, num_clouds: int = 8, num_points: int = 20_000
) -> list[tuple[str, Callable[[], Tensor], Rivals]]:
    """(what it is, the operator as the toolkit runs it, what to compare it with) in VoteNet's sizes, on any device.

    The callables only start work on a GPU; whoever times them waits for it.
    """
    points = torch.cat([room(num_points, seed=seed) for seed in range(num_clouds)]).to(device)
    num_centers = min(NUM_SAMPLES, num_points)
    samples = farthest_point_sample(points, num_centers)
    centers = gather(points, samples)
    seeds, coarse = centers[:, : num_centers // 2].contiguous(), centers[:, : num_centers // 4].contiguous()
    with_pytorch3d = pytorch3d.why_unusable(torch.device(device).type) is None
    searches: dict[str, tuple[Callable[..., Tensor], Callable[[], Tensor]]] = {
        f"farthest point sampling, {num_clouds} x {num_points:,} -> {num_centers:,}": (
            lambda **options: farthest_point_sample(points, num_centers, trusted=True, **options),
            lambda: reference.farthest_point_sample(points, num_centers),
        ),
        f"ball query, {num_clouds} x {num_centers:,} centres, r {RADIUS}, K {NUM_NEIGHBORS} of {num_points:,}": (
            lambda **options: ball_query(points, centers, RADIUS, NUM_NEIGHBORS, trusted=True, **options).indices,
            lambda: reference.ball_query(points, centers, RADIUS, NUM_NEIGHBORS)[0],
        ),
        f"three nearest, {num_clouds} x {seeds.shape[1]:,} of {coarse.shape[1]:,}": (
            lambda **options: three_nearest(seeds, coarse, trusted=True, **options)[1],
            lambda: reference.three_nearest(seeds, coarse)[1],
        ),
        f"nearest, {num_clouds} x {num_centers:,} of {num_points:,}": (
            lambda **options: nearest(centers, points, trusted=True, **options)[1],
            lambda: reference.nearest(centers, points, 1)[1].squeeze(2),
        ),
    }
    cases: list[tuple[str, Callable[[], Tensor], Rivals]] = []
    for name, (search, twin) in searches.items():
        rivals: Rivals = {"plain torch twin": twin}
        if with_pytorch3d:
            rivals["PyTorch3D"] = functools.partial(search, backend="pytorch3d")
        cases.append((name, search, rivals))

    neighbors = ball_query(points, centers, RADIUS, NUM_NEIGHBORS).indices
    values = torch.ones(num_clouds, num_points, 64, device=device, requires_grad=True)

    def gradient(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(function(values, neighbors).sum(), values)[0]

    name = f"gather, {num_clouds} x {num_centers:,} x {NUM_NEIGHBORS} of {num_points:,}, 64 channels, with gradient"
    cases.append((name, gradient(gather), {"plain torch twin": gradient(reference.gather)}))
    return cases


def minima(rivals: Rivals, repeats: int) -> dict[str, float]:
    """Seconds; the rivals take turns, so that all of them see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, run in rivals.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(measured) for name, measured in times.items()}


def report(title: str, rivals: Rivals, repeats: int) -> None:
    answers = {name: run() for name, run in rivals.items()}  # also compiles and warms up
    print(f"\n{title}\n{'':34}{'ms':>9}{'ratio':>8}  same")
    measured = minima(rivals, repeats)
    for name, seconds in measured.items():
        ours, theirs = np.asarray(answers["pcfdsl"]), answers[name]
        comparable = isinstance(theirs, Tensor | np.ndarray) and "(" not in name
        same = f"{(ours == np.asarray(theirs)).mean():.2%}" if comparable else "-"
        print(f"{name:34}{seconds * 1e3:9.2f}{seconds / measured['pcfdsl']:8.1f}  {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--points", type=int, default=20000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe())
    points = room(arguments.points)
    centers = gather(points, farthest_point_sample(points, NUM_SAMPLES))
    count = f"{arguments.points:,}"
    report(f"farthest point sampling, {count} -> {NUM_SAMPLES:,}", rivals_of_sampling(points), arguments.repeats)
    title = f"ball query, {NUM_SAMPLES:,} centres, r {RADIUS}, K {NUM_NEIGHBORS} of {count}"
    report(title, rivals_of_ball_query(points, centers), arguments.repeats)
    title = f"three nearest, {count} of {NUM_SAMPLES:,}"
    report(title, rivals_of_three_nearest(points, centers), arguments.repeats)
    for title, rivals in rivals_of_gradients(points, centers).items():
        report(title, rivals, arguments.repeats)


if __name__ == "__main__":
    main()
