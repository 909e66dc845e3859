"""Evaluation and its kernels against their plain twins, in one run: python tests/benchmarks/bench_evaluate.py

The twin of the evaluation makes the published loops, but clips polygons without the published code's convex hulls, so
the published code is slower than the twin.
"""

import statistics
import time

import torch

from pcfdsl.evaluate.detection import average_precision, average_precision_plain
from pcfdsl.ops.boxes3d import (
    axis_aligned_hull,
    iou_3d_pairs,
    iou_3d_pairs_plain,
    iou_3d_pairs_torch,
    points_in_boxes,
    points_in_boxes_plain,
)
from pcfdsl.ops.detections import Detections, GroundTruth
from pcfdsl.ops.nms import nms_3d, nms_plain


def random_boxes(num_boxes: int, spread: float, generator: torch.Generator) -> torch.Tensor:
    unit = torch.rand(num_boxes, 7, generator=generator)
    low = torch.tensor([-spread, -spread, 0, 0.4, 0.4, 0.4, -3])
    return low + unit * (torch.tensor([spread, spread, 1, 1.6, 1.6, 1.6, 3]) - low)


def compare(name: str, fast, plain, repeats: int = 5) -> None:
    """Print the medians of both and their ratio."""
    medians = []
    for function, times in ((fast, repeats), (plain, min(repeats, 3))):
        function()
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds))
    print(f"{name:42} {1e3 * medians[0]:10.2f} ms {1e3 * medians[1]:10.2f} ms {medians[1] / medians[0]:8.1f} x")


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    num_scenes, num_classes = 20, 10
    boxes = random_boxes(12 * num_scenes, 3, generator)
    truth = GroundTruth(
        scene=torch.arange(num_scenes).repeat_interleave(12),
        boxes=boxes,
        classes=torch.randint(num_classes, (len(boxes),), generator=generator),
    )
    # Five detections near each box, each for every class, as per-class proposals are.
    near = boxes.repeat_interleave(5 * num_classes, 0)
    near[:, :6] += 0.1 * torch.randn(len(near), 6, generator=generator)
    near[:, 3:6] = near[:, 3:6].abs()
    predictions = Detections(
        scene=truth.scene.repeat_interleave(5 * num_classes),
        boxes=near,
        scores=torch.rand(len(near), generator=generator),
        classes=torch.arange(num_classes).repeat(5 * len(boxes)),
    )
    print(f"{'':42} {'fast':>13} {'plain':>13} {'ratio':>10}")
    options = {"num_classes": num_classes}
    compare(
        f"average_precision, {len(predictions)} detections",
        lambda: average_precision(predictions, truth, **options),
        lambda: average_precision_plain(predictions, truth, **options),
    )
    a, b = random_boxes(2000, 1, generator), random_boxes(2000, 1, generator)
    compare("iou_3d_pairs, 2000", lambda: iou_3d_pairs(a, b), lambda: iou_3d_pairs_plain(a, b))
    compare("iou_3d_pairs_torch, 2000", lambda: iou_3d_pairs_torch(a, b), lambda: iou_3d_pairs_plain(a, b))
    hulls, scores = axis_aligned_hull(random_boxes(256, 3, generator)), torch.rand(256, generator=generator)
    compare(
        "nms_3d, 256", lambda: nms_3d(hulls, scores, threshold=0.25), lambda: nms_plain(hulls, scores, threshold=0.25)
    )
    points = torch.rand(20_000, 3, generator=generator) * 6 - 3
    proposals = random_boxes(256, 3, generator)
    compare(
        "points_in_boxes, 20000 in 256",
        lambda: points_in_boxes(points, proposals),
        lambda: points_in_boxes_plain(points, proposals),
    )


if __name__ == "__main__":
    main()
