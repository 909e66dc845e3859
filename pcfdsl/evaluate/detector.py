"""A detector at work on labelled scenes: what it finds, and how good that is."""

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.config import option, validate
from pcfdsl.datasets.spec import spec_of
from pcfdsl.evaluate.detection import DetectionReport, average_precision
from pcfdsl.evaluate.processes import Processes
from pcfdsl.evaluate.report import NOTHING_TO_FIND, class_table, group_table, report_dict, runs_dict, runs_table
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.detector import Decoder, DetectorModel, judged_decoder
from pcfdsl.models.precision import Precision, autocast
from pcfdsl.ops.detections import Detections, GroundTruth
from pcfdsl.rng import stream
from pcfdsl.samples.batch import load_batches
from pcfdsl.samples.detection import DetectionDataset, collate
from pcfdsl.store.atomic import write_file

__all__ = ["EvaluationConfig", "detect", "detect_scenes", "evaluate_scenes", "mean_metrics", "write_reports"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How detections are made and judged."""

    batch_size: int = option(8, "scenes at a time", minimum=1, maximum=65_536)
    num_workers: int = option(0, "processes that load data", minimum=0, maximum=256)
    repeats: int = option(
        1, "evaluations, each with other points drawn from the scenes; their mean counts", minimum=1, maximum=1_000_000
    )
    seed: int = option(0, "decides which points those are")
    iou_thresholds: tuple[float, ...] = option((0.25, 0.5), "IoU a detection must exceed", minimum=0.0, maximum=1.0)
    monitor: str = option("mAP@0.25", "the result whose greatest value makes a checkpoint the best")
    decode: DecodeOptions = option(
        DecodeOptions(), "which of VoteNet's proposals become detections; TR3D's settings of this are its model's"
    )

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        known = [f"mAP@{threshold:g}" for threshold in self.iou_thresholds]
        if self.monitor not in known:
            yield "monitor", f"is {self.monitor!r}; these thresholds give {', '.join(known)}"


def evaluate_scenes(
    network: nn.Module,
    model: DetectorModel,
    samples: DetectionDataset,
    *,
    config: EvaluationConfig,
    precision: Precision = "float32",
    group: Processes | None = None,
) -> tuple[DetectionReport, ...]:
    """Judge a detector, once for each repeat; repeat r sees the points that `samples` draws in its epoch r.

    Where the scenes have no boxes there is no result, which is said on stderr.

    Args:
        network: In evaluation mode, on any device.
        model: Its configuration.
        samples: Labelled scenes, not augmented.
        config: How.
        precision: Type of the network's matrix products.
        group: Processes that share the scenes; each gets the whole report.

    Raises:
        ValueError: If there are no scenes.
    """
    group = group or Processes()
    if not len(samples):
        raise ValueError("the set to evaluate on has no scenes")
    reports = []
    for repeat in range(config.repeats):
        decode = judged_decoder(model, config.decode)
        part = detect_scenes(
            network,
            decode,
            samples,
            scenes=group.share(len(samples)),
            config=config,
            epoch=repeat,
            precision=precision,
        )
        parts = group.gather(part)
        found = Detections.concatenate([found for found, _ in parts]).by_scene()
        truth = GroundTruth.concatenate([truth for _, truth in parts]).by_scene()
        reports.append(
            average_precision(found, truth, num_classes=model.num_classes, iou_thresholds=config.iou_thresholds)
        )
    if not reports[0].present_classes:
        print(f"note: {NOTHING_TO_FIND} ({len(samples)} scenes)", file=sys.stderr)
    return tuple(reports)


@torch.no_grad()
def detect(
    network: nn.Module,
    decode: Decoder,
    points: Tensor,
    *,
    generators: Sequence[np.random.Generator],
    precision: Precision = "float32",
) -> Detections:
    """What a detector finds in a batch: forward pass, decoding and suppression on the network's device.

    What is found in a scene does not depend on the others in the batch, but for the rounding of matrix products, whose
    order of summation may change with the number of rows.

    Args:
        network: In evaluation mode, on any device.
        decode: What becomes of its answers.
        points: [B, N, 3 + C], on any device.
        generators: Randomness of each scene.
        precision: Type of the network's matrix products.

    Returns:
        Detections on the CPU; scene i is batch item i.
    """
    device = next(network.parameters()).device
    points = points.to(device, non_blocking=True)
    with autocast(device, precision):
        output = network(points, generator=generators)
    return decode(output, points).cpu()


def detect_scenes(
    network: nn.Module,
    decode: Decoder,
    samples: DetectionDataset,
    *,
    config: EvaluationConfig,
    scenes: Sequence[int] | None = None,
    epoch: int = 0,
    precision: Precision = "float32",
) -> tuple[Detections, GroundTruth]:
    """What a detector finds in scenes (None: all), and what is there; scene i is sample i. Tensors are on the CPU.

    Beside what is found, memory holds `config.batch_size` scenes, and as many for each that `num_workers` prepare.
    """
    keys = [(epoch, i) for i in (range(len(samples)) if scenes is None else scenes)]
    batches = load_batches(
        samples,
        [keys[start : start + config.batch_size] for start in range(0, len(keys), config.batch_size)],
        collate=collate,
        num_workers=config.num_workers,
        pin_memory=next(network.parameters()).device.type == "cuda",
        seed=config.seed,
    )
    found = [Detections.from_scenes([])]  # a process may have no scene
    truth = [GroundTruth.from_scenes([])]
    for batch in batches:
        generators = [stream(config.seed, "clusters", epoch, i) for i in batch.scene_idx.tolist()]
        detections = detect(network, decode, batch.points, generators=generators, precision=precision)
        found.append(replace(detections, scene=batch.scene_idx[detections.scene]))
        scene, row = batch.box_mask.nonzero(as_tuple=True)
        boxes, classes = batch.boxes[scene, row], batch.classes[scene, row]
        truth.append(GroundTruth(scene=batch.scene_idx[scene], boxes=boxes, classes=classes))
    return Detections.concatenate(found), GroundTruth.concatenate(truth)


def mean_metrics(reports: Sequence[DetectionReport]) -> dict[str, float | None]:
    """`{"mAP@0.25": ..., "AR@0.25": ..., ...}`: the mean over repeats, 0 to 1; None where there was nothing to find."""
    each = [report.metrics() for report in reports]
    values = {name: [value for metrics in each if (value := metrics[name]) is not None] for name in each[0]}
    return {name: statistics.fmean(known) if known else None for name, known in values.items()}


def write_reports(reports: Sequence[DetectionReport], classes: Sequence[str], name: str | Path) -> dict[str, Any]:
    """Write repeats of an evaluation as NAME.json and as tables, NAME.md: classes (their means), then the whole.

    Of a benchmark with groups of classes, such as ScanNet200, a table of these comes first.

    Returns:
        What stands in the JSON file.
    """
    metrics = [report.metrics() for report in reports]
    mean = replace(
        reports[0],
        ap=np.mean([report.ap for report in reports], axis=0),
        recall=np.mean([report.recall for report in reports], axis=0),
        num_predictions=np.mean([report.num_predictions for report in reports], axis=0).round().astype(np.int64),
        curves=(),
    )
    spec = spec_of(tuple(classes))
    groups = spec.groups if spec else {}
    each = [report_dict(report, classes, groups) for report in reports]
    content = {"repeats": each, **runs_dict({"over_repeats": metrics})}
    table = (
        (group_table(mean, classes, groups) + "\n" if groups else "")
        + class_table(mean, classes)
        + "\n"
        + runs_table({"evaluation": metrics})
    )
    write_file(Path(f"{name}.json"), json.dumps(content, indent=1).encode())
    write_file(Path(f"{name}.md"), table.encode())
    return content
