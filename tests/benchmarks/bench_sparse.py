"""How long SR-UNet takes on this machine: `python tests/benchmarks/bench_sparse.py [--threads 2] [--profile]`.

The room is a floor, walls and boxes, sampled on their surfaces with 3 mm of noise. Times are minima over several runs;
on busy machines compare the processor's.
With MinkowskiEngine installed (third_party/minkowskiengine/build.sh) the same network is timed on it in the same run;
start that with one OpenBLAS thread, which is its fastest, and with more it may stall:

    OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_sparse.py --threads 2
"""

import argparse
import os
import subprocess
import sys
import threading
import time

import numpy as np
import torch

from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.ops.sparse import SparseConv3d, minkowski, quantize
from pcfdsl.ops.sparse.voxels import TorchVoxels
from pcfdsl.rng import stream


def room(num_points: int, voxel_size: float, num_boxes: int = 8) -> torch.Tensor:
    """Voxels [V, 4] of a room of 6 x 5 x 2.8 m."""
    random = stream(0, "benchmark room")
    sizes = np.r_[[[6, 5, 2.8]], random.uniform(0.4, 1.4, (num_boxes, 3))]
    centers = np.c_[random.uniform(-1, 1, (num_boxes + 1, 2)) * [2.2, 1.7], sizes[:, 2] / 2]
    centers[0, :2] = 0
    areas = (sizes[:, [1, 0, 0]] * sizes[:, [2, 2, 1]]).sum(1)
    owner = random.choice(num_boxes + 1, num_points, p=areas / areas.sum())
    surface = random.uniform(-0.5, 0.5, (num_points, 3))
    axis = np.where(owner == 0, random.choice(3, num_points, p=[0.25, 0.25, 0.5]), random.integers(0, 3, num_points))
    rows = np.arange(num_points)
    surface[rows, axis] = np.where((owner == 0) & (axis == 2), -0.5, np.sign(surface[rows, axis]) / 2)
    points = surface * sizes[owner] + centers[owner] + random.normal(0, 0.003, surface.shape)
    coordinates, _, _ = quantize(torch.from_numpy(points).float(), voxel_size)
    return torch.nn.functional.pad(coordinates, (1, 0))


def seconds(*runs, repeats: int) -> list[tuple[float, float]]:
    """Minimum of each function, on the wall and of the processor, over several rounds in which they take turns."""
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for run, taken in zip(runs, times, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken.append((time.perf_counter() - wall, time.process_time() - processor))
    return [(min(wall for wall, _ in taken[1:]), min(processor for _, processor in taken[1:])) for taken in times]


def step(network: SRUNet, coordinates: torch.Tensor, features: torch.Tensor, *, autocast: bool = False):
    """Function that runs forward and backward, kernel maps included."""

    def run() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = network(coordinates, features)
        out.float().square().mean().backward()

    return run


def peak_memory(run) -> float:
    """Megabytes that the process grows by at most while the function runs."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, highest, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return (highest - before) / 1e6


def peak_memory_apart(backend: str) -> float:
    """The same of a first step in a process of its own, since memory once taken is not given back."""
    command = [sys.executable, "-W", "ignore", *sys.argv, "--peak-of", backend]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def map_seconds(coordinates: torch.Tensor, first_kernel: int) -> tuple[float, float]:
    """All kernel maps of the network."""

    def run() -> None:
        voxels = TorchVoxels.of(coordinates)
        voxels.kernel_map(first_kernel, voxels)
        for _ in range(4):
            voxels.kernel_map(3, voxels, "hybrid")
            voxels.kernel_map(2, voxels.coarser(2))
            voxels = voxels.coarser(2)
        voxels.kernel_map(3, voxels, "hybrid")

    return seconds(run, repeats=5)[0]


def product_seconds(network: SRUNet, coordinates: torch.Tensor, features: torch.Tensor, dtype=torch.float32):
    """The matrix products of a step alone, on contiguous operands: what no implementation of this kind goes below."""
    shapes: list[tuple[int, int, int]] = []

    def record(layer: SparseConv3d, inputs, _) -> None:
        voxels, onto = inputs[0].voxels, inputs[-1] if len(inputs) > 1 else None
        channels = layer.kernel.shape[-2:]
        if layer.kernel.ndim == 2:
            shapes.append((len(inputs[0].features), *channels))
            return
        fine, coarse = (voxels, voxels.coarser(layer.stride)) if onto is None else (onto, voxels)
        kernel_map = fine.kernel_map(layer.kernel_size, coarse, layer.region)
        for k, (start, stop) in enumerate(kernel_map.groups):
            num_rows = kernel_map.num_in if k == kernel_map.identity else stop - start
            if num_rows:
                shapes.append((num_rows, *channels))

    handles = [module.register_forward_hook(record) for module in network.modules() if isinstance(module, SparseConv3d)]
    with torch.no_grad():
        network(coordinates, features)
    for handle in handles:
        handle.remove()
    operands = {
        shape: (
            torch.randn(shape[0], shape[1]).to(dtype),
            torch.randn(shape[1:]).to(dtype),
            torch.randn(shape[0], shape[2]).to(dtype),
        )
        for shape in set(shapes)
    }

    def run() -> None:
        for shape in shapes:
            rows, weight, grad = operands[shape]
            rows @ weight
            grad @ weight.T
            rows.T @ grad

    return seconds(run, repeats=3)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--points", type=int, default=20000)
    parser.add_argument("--voxel-size", type=float, default=0.05, help="metres")
    parser.add_argument("--first-kernel", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--peak-of", choices=["torch", "minkowski"], help="print only the megabytes of one step")
    parser.add_argument("--profile", action="store_true", help="operators of one step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    coordinates = room(arguments.points, arguments.voxel_size)
    features = torch.randn(len(coordinates), 3)
    # Minkowski's blocks would have to reorder hybrid kernels, which its own networks do not.
    config = SRUNetConfig(first_kernel=arguments.first_kernel, block_region="cube")
    network = SRUNet(config, backend=arguments.peak_of or "torch")
    run = step(network, coordinates, features)
    if arguments.peak_of:
        few = room(500, 0.3)
        step(network, few, torch.randn(len(few), 3))()  # libraries take what they need once
        network.zero_grad(set_to_none=True)
        print(peak_memory(run))
        return
    if arguments.profile:
        run()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            run()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=45))
        return
    print(
        f"{len(coordinates):,} voxels, {arguments.threads} threads, stem {arguments.first_kernel}^3, forward + backward"
    )
    runs = {"torch, float32": run, "torch, bfloat16 products": step(network, coordinates, features, autocast=True)}
    if minkowski.is_available():
        twin = SRUNet(config, backend="minkowski")
        twin.load_state_dict(network.state_dict())
        runs["MinkowskiEngine, float32"] = step(twin, coordinates, features)
    peaks = {"torch, float32": peak_memory_apart("torch")}
    if minkowski.is_available():
        peaks["MinkowskiEngine, float32"] = peak_memory_apart("minkowski")
    times = dict(zip(runs, seconds(*runs.values(), repeats=arguments.repeats), strict=True))
    times["matrix products alone, float32"] = product_seconds(network, coordinates, features)
    times["matrix products alone, bfloat16"] = product_seconds(network, coordinates, features, torch.bfloat16)
    times["kernel maps alone"] = map_seconds(coordinates, arguments.first_kernel)
    for name, (wall, processor) in times.items():
        memory = f"   peak {peaks[name]:5.0f} MB over what the process had before" if name in peaks else ""
        print(f"{name:32} {wall:7.3f} s   {processor:7.3f} s of processor{memory}")
    if minkowski.is_available():
        for name in ("torch, float32", "torch, bfloat16 products"):
            ratios = [a / b for a, b in zip(times["MinkowskiEngine, float32"], times[name], strict=True)]
            print(f"MinkowskiEngine / {name:26} {ratios[0]:5.2f}, of processor {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
