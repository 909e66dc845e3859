"""Everything that a GPU is asked, timed in one run: `python tests/benchmarks/bench_gpu.py --out runs/gpu.md`.

Operators against what else is installed, training steps in their parts with the memory they take, detection, and
whether the loader keeps up. Estimates made before anything had run on a GPU stand beside what they were made for.
`--rehearse` goes through all of it on the CPU, with small networks: its figures mean nothing.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent))
import bench_kernels  # type: ignore[import-not-found]
import bench_votenet  # type: ignore[import-not-found]

from pcfdsl.config import load
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.detector import DetectorModel, build_detector, detector_loss, judged_decoder
from pcfdsl.ops.backends import choice, pytorch3d, triton_runtime
from pcfdsl.ops.grouping import ball_query
from pcfdsl.ops.interpolate import nearest, three_nearest
from pcfdsl.ops.sampling import farthest_point_sample
from pcfdsl.recipes import find_recipe
from pcfdsl.samples.detection import collate, scene_samples
from pcfdsl.train.tasks.detection import DetectorConfig

# Milliseconds on an H100, by arithmetic, before anything had run on a GPU.
ESTIMATES = {"VoteNet, PointNet++, float32": "15-28", "VoteNet, SR-UNet, bfloat16": "30-45"}


def milliseconds(run: Callable[[], Any], device: str, repeats: int) -> list[float]:
    """Times of several runs after two that compile and warm up, until the device has finished."""
    times = []
    for _ in range(repeats + 2):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        times.append(1e3 * (time.perf_counter() - start))
    return times[2:]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def about(device: str) -> Iterator[str]:
    """The machine, in lines."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    yield f"- {name}, {os.cpu_count()} CPU cores; Python {platform.python_version()}, torch {torch.__version__}"
    yield f"- {choice.describe()}"
    for what, reason in (("Triton", triton_runtime.why_unusable()), ("PyTorch3D", pytorch3d.why_unusable(device))):
        yield f"- {what}: {reason or 'runs'}"


def point_operators(points: Tensor, device: str) -> Iterator[tuple[str, dict[str, Callable[[], Any]]]]:
    """(operator, how it can run here)."""
    num_centers = min(2048, points.shape[1])
    centers = points[:, :num_centers].contiguous()
    few, coarse = centers[:, : num_centers // 2].contiguous(), centers[:, : num_centers // 4].contiguous()
    operators = {
        f"farthest point sampling -> {num_centers:,}": partial(farthest_point_sample, points, num_centers),
        f"ball query, {num_centers:,} centres, 0.2 m, 64": partial(ball_query, points, centers, 0.2, 64),
        f"three nearest, {few.shape[1]:,} of {coarse.shape[1]:,}": partial(three_nearest, few, coarse),
        f"nearest, {num_centers:,} of {points.shape[1]:,}": partial(nearest, centers, points),
    }
    backends = [
        backend
        for backend, can in (
            ("triton", device == "cuda" and triton_runtime.why_unusable() is None),
            ("pytorch3d", pytorch3d.why_unusable(device) is None),
            ("numba", device == "cpu"),
            ("torch", True),
        )
        if can
    ]
    for name, operator in operators.items():
        ways = {backend: partial(operator, backend=backend) for backend in backends}
        if name.startswith("farthest") and importlib.util.find_spec("torch_cluster"):
            import torch_cluster  # type: ignore[import-not-found]

            flat, batch = (
                points.flatten(0, 1),
                torch.arange(len(points), device=device).repeat_interleave(points.shape[1]),
            )
            ratio = num_centers / points.shape[1]
            ways["torch_cluster"] = partial(torch_cluster.fps, flat, batch, ratio, random_start=False)
        yield name, ways


def step_parts(
    config: DetectorModel, points: Tensor, targets: Any, *, precision: str, device: str, repeats: int
) -> dict[str, float]:
    """Milliseconds of the parts of a training step, medians, and the memory it takes at most, GiB."""
    torch.manual_seed(0)
    network = build_detector(config).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    points = bench_votenet._of(config, points)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    parts: dict[str, list[float]] = {"forward": [], "loss": [], "backward": [], "optimiser": [], "step": []}
    for _ in range(repeats + 2):
        marks = []

        def mark(marks=marks):
            wait(device)
            marks.append(1e3 * time.perf_counter())

        mark()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            output = network(points)
        mark()
        loss, _ = detector_loss(output, targets, config)
        mark()
        loss.backward()
        mark()
        optimizer.step()
        optimizer.zero_grad()
        mark()
        for name, start, stop in zip(parts, marks, marks[1:], strict=False):
            parts[name].append(stop - start)

    def step():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            output = network(points)
        detector_loss(output, targets, config)[0].backward()
        optimizer.step()
        optimizer.zero_grad()

    parts["step"] = milliseconds(step, device, repeats)  # without waits between the parts
    medians = {name: statistics.median(times[2:] if name != "step" else times) for name, times in parts.items()}
    return medians | {"GiB": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")}


def detections_a_second(config: DetectorModel, points: Tensor, device: str, repeats: int) -> float:
    """Scenes a second, from points on the device to boxes on the CPU."""
    network = build_detector(config).to(device).eval()
    decode = judged_decoder(config, DecodeOptions())
    points = bench_votenet._of(config, points)

    @torch.no_grad()
    def run():
        decode(network(points), points).cpu()

    return 1e3 * len(points) / statistics.median(milliseconds(run, device, repeats))


def loader_samples_a_second(recipe: str, num_workers: int, num_batches: int) -> float:
    """Samples a second of a recipe's training set, after its workers have started."""
    config = load(DetectorConfig, find_recipe(recipe))
    samples = scene_samples(open_scenes(config.data).scenes, config.points, seed=0, augment=config.augment)
    keys = [[(0, step * 8 + i) for i in range(8)] for step in range(num_batches + num_workers + 1)]
    loader = DataLoader(samples, batch_sampler=keys, collate_fn=collate, num_workers=num_workers)  # type: ignore[arg-type]
    batches = iter(loader)
    for _ in range(num_workers + 1):
        next(batches)
    start = time.perf_counter()
    count = sum(len(batch.points) for batch in batches)
    return count / (time.perf_counter() - start)


def page(arguments: argparse.Namespace) -> Iterator[str]:
    """The lines of the page."""
    device, repeats, small = ("cpu", 1, True) if arguments.rehearse else ("cuda", arguments.repeats, False)
    yield "# Figures of one run on a GPU\n" if not small else "# A rehearsal on the CPU: these figures mean nothing\n"
    yield from about(device)
    batch, num_points = (2, 2048) if small else (8, 20_000)
    points, targets = bench_votenet.rooms(batch, num_points)
    points = points.to(device)
    targets = replace(targets, **{field.name: getattr(targets, field.name).to(device) for field in fields(targets)})
    yield f"\n## Point operators, {batch} x {num_points:,}\n\n| operator | ms, median of {repeats} |\n| --- | --- |"
    for name, ways in point_operators(points[..., :3].contiguous(), device):
        times = {way: statistics.median(milliseconds(run, device, repeats)) for way, run in ways.items()}
        yield f"| {name} | {', '.join(f'{way} {value:.3g}' for way, value in times.items())} |"
    if not small:
        yield "\n## Rows and sparse convolutions, forward and backward\n"
        yield "| operator | Triton, ms | plain torch, ms |\n| --- | --- | --- |"
        for name, run, other in bench_kernels.comparisons(device):
            fast, slow = (statistics.median(milliseconds(way, device, repeats)) for way in (run, other))
            yield f"| {name} | {fast:.3g} | {slow:.3g} |"
    votenet = bench_votenet.LAPTOP if small else bench_votenet.PAPER
    tr3d = bench_votenet.LAPTOP_TR3D if small else bench_votenet.PAPER_TR3D
    srunet = replace(votenet, backbone_type="srunet")
    yield f"\n## Training steps, {batch} x {num_points:,}; parts have waits between them, the step has none\n"
    yield "| network | step, ms | forward | loss | backward | optimiser | GiB | estimate, ms |\n" + "| --- " * 8 + "|"
    for name, config, precision, tf32 in (
        ("VoteNet, PointNet++, float32", votenet, "float32", False),
        ("VoteNet, SR-UNet, float32", srunet, "float32", False),
        ("VoteNet, SR-UNet, TF32", srunet, "float32", True),
        ("VoteNet, SR-UNet, bfloat16", srunet, "bfloat16", False),
        ("TR3D, float32", tr3d, "float32", False),
        ("TR3D, bfloat16", tr3d, "bfloat16", False),
    ):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        asked = points[..., :3].contiguous() if config is srunet else points
        parts = step_parts(config, asked, targets, precision=precision, device=device, repeats=repeats)
        shown = " | ".join(f"{parts[part]:.3g}" for part in ("step", "forward", "loss", "backward", "optimiser", "GiB"))
        yield f"| {name} | {shown} | {ESTIMATES.get(name, '')} |"
    torch.set_float32_matmul_precision("highest")
    yield "\n## Detection, scenes a second\n\n| network | one at a time | in batches |\n| --- | --- | --- |"
    for name, config in (("VoteNet, PointNet++", votenet), ("TR3D", tr3d)):
        one, many = (detections_a_second(config, some, device, repeats) for some in (points[:1], points))
        yield f"| {name} | {one:.3g} | {many:.3g} |"
    recipe = "votenet/smoke_pretrain" if small else "votenet/paper_pretrain"
    yield f"\n## Loader, samples of {recipe} a second\n\n| processes | samples/s |\n| --- | --- |"
    for num_workers in (0, 2) if small else (0, 4, 12, 16):
        yield f"| {num_workers} | {loader_samples_a_second(recipe, num_workers, 4 if small else 40):.3g} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the page here")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with small networks")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        raise SystemExit("no CUDA device; --rehearse goes through this on the CPU")
    lines = []
    for line in page(arguments):
        print(line, flush=True)
        lines.append(line)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
