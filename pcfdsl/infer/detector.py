"""Trained detectors in use: loaded, judged on a set, or asked what is in a file."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from torch import nn

from pcfdsl.datasets.sources import SceneSource, formula_differences, known_classes, open_scenes
from pcfdsl.evaluate.detection import DetectionReport
from pcfdsl.evaluate.detector import EvaluationConfig, detect, evaluate_scenes
from pcfdsl.evaluate.pictures import detection_items
from pcfdsl.infer.trained import Trained, load_trained
from pcfdsl.models.detector import build_detector, shown_decoder
from pcfdsl.models.precision import Precision
from pcfdsl.readers.clouds import Cloud, read_cloud
from pcfdsl.readers.hints import scan_hints
from pcfdsl.rng import stream
from pcfdsl.samples.detection import DetectionSample, collate, scene_samples
from pcfdsl.scene.boxes import Scene
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.train.tasks.validation import first_differences
from pcfdsl.view.page import PageItem
from pcfdsl.view.sources import spread

__all__ = [
    "Detector",
    "Evaluation",
    "FileDetections",
    "Unread",
    "detect_in_file",
    "detect_in_files",
    "evaluate_detector",
    "load_detector",
    "look_at_detections",
]


Detector = Trained[nn.Module, DetectorConfig]


def load_detector(path: str | Path, *, device: str = "auto") -> Detector:
    """Load a trained detector; arguments and errors as for `load_trained`."""
    return load_trained(
        path, DetectorConfig, lambda config, _: build_detector(config.model), network="a detector", device=device
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a detector was, and how fast.

    Attributes:
        reports: One a repeat.
        num_scenes: Scenes that were looked at, in all repeats.
        seconds: What that took, loading and judging included.
    """

    reports: tuple[DetectionReport, ...]
    num_scenes: int
    seconds: float

    @property
    def speed(self) -> dict[str, float]:
        """What a tool prints of it."""
        return {"scenes": self.num_scenes, "scenes_per_second": round(self.num_scenes / self.seconds, 2)}


def evaluate_detector(
    detector: Detector,
    *,
    source: SceneSource | None = None,
    config: EvaluationConfig | None = None,
    precision: Precision = "float32",
) -> Evaluation:
    """Judge a detector on a set, by default on the validation scenes and in the way of its training.

    Args:
        detector: A trained detector.
        source: The set.
        config: How.
        precision: Type of the network's matrix products.

    Raises:
        ValueError: If there is no set, or it has other classes than the detector.
    """
    scenes = _labelled(detector, source)
    config = config or detector.config.evaluation
    samples = scene_samples(scenes, detector.config.points, seed=config.seed)
    started = time.perf_counter()
    reports = evaluate_scenes(detector.model, detector.config.model, samples, config=config, precision=precision)
    return Evaluation(reports, len(samples) * config.repeats, time.perf_counter() - started)


def look_at_detections(
    detector: Detector,
    *,
    source: SceneSource | None = None,
    config: EvaluationConfig | None = None,
    num_scenes: int = 24,
) -> list[PageItem]:
    """What a detector finds in scenes of a set, spread evenly over it, beside the truth; arguments and errors as for
    `evaluate_detector`."""
    scenes = _labelled(detector, source)
    config = config or detector.config.evaluation
    samples = scene_samples(scenes, detector.config.points, seed=config.seed)
    how = {"classes": detector.classes, "config": config, "indices": spread(len(scenes), num_scenes)}
    return detection_items(detector.model, detector.config.model, samples, **how)


def _labelled(detector: Detector, source: SceneSource | None) -> Sequence[Scene]:
    """The scenes of a set, by default of the validation; its classes are the detector's."""
    source = source or detector.config.validation
    if source.kind == "none":
        raise ValueError(f"{detector.path} was trained without validation scenes; name a set of scenes with --data DIR")
    known = known_classes(source)
    if known is not None:  # said before a search that may take minutes
        _check_classes(detector, known)
    differ = formula_differences(detector.config.data, source)
    if differ and not detector.config.points.class_agnostic:
        raise ValueError(
            f"the objects are of other formulas than those that {detector.path} learned ({differ}); "
            "evaluate on rooms of the same formulas"
        )
    scenes = open_scenes(source)
    _check_classes(detector, scenes.classes)
    return scenes.scenes


def _check_classes(detector: Detector, classes: tuple[str, ...]) -> None:
    differ = first_differences(classes, detector.classes)
    if differ and not detector.config.points.class_agnostic:
        raise ValueError(
            f"the set has {len(classes)} classes, but {detector.path} detects {len(detector.classes)} ({differ}); "
            "evaluate on a set with the same classes in the same order"
        )


@dataclass(frozen=True, eq=False)
class FileDetections:
    """What was found in one cloud.

    Attributes:
        points: [N, 3] float32, the whole cloud, less `offset`.
        boxes: [K, 7] float32, most certain first, in the frame of `points`.
        scores: [K] probabilities.
        names: Class name of each.
        offset: [3] float64, what was subtracted from coordinates far from the origin.
        notes: Sentences on what looks wrong with the cloud or had to be changed.
    """

    points: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    offset: np.ndarray
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names with scores, to be written beside the boxes."""
        return tuple(f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True))

    def to_json(self) -> str:
        """A list of boxes in the frame of the file, in the form that stored sets take too, with scores."""
        boxes = self.boxes.astype(np.float64)
        boxes[:, :3] += self.offset
        entries = [
            {"class": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6]}
            for name, score, box in zip(self.names, self.scores.tolist(), boxes.tolist(), strict=True)
        ]
        return json.dumps(entries, indent=1)


@dataclass(frozen=True)
class Unread:
    """A cloud that could not be used, and why."""

    path: Path
    error: OSError | ValueError


def detect_in_files(
    detector: Detector,
    paths: Sequence[str | Path],
    *,
    confidence: float = 0.5,
    batch_size: int = 8,
    precision: Precision = "float32",
    bin_columns: int = 6,
    seed: int = 0,
) -> Iterator[FileDetections | Unread]:
    """Find objects in files that `read_cloud` reads, metres, z up; yields what is in each, in the order of the paths.

    Clouds may differ in size: of each the network sees as many points as in its training, drawn without repetition, or
    all of them and repeats. Memory holds one batch of clouds. What is found in a cloud depends on the others by
    rounding alone (see `detect`).

    Args:
        detector: A trained detector.
        paths: The clouds; one that cannot be used, or has no colours where the detector needs them, costs itself alone.
        confidence: Least probability of a detection, exclusive.
        batch_size: Clouds at a time.
        precision: Type of the network's matrix products.
        bin_columns: Numbers in a row of a .bin file.
        seed: Decides which of the points the network sees.
    """
    for start in range(0, len(paths), batch_size):
        batch = [_sample(detector, Path(path), bin_columns, seed) for path in paths[start : start + batch_size]]
        yield from _detect_in_batch(detector, batch, confidence, precision, seed)


def _detect_in_batch(
    detector: Detector,
    batch: list[tuple[Cloud, DetectionSample] | Unread],
    confidence: float,
    precision: Precision,
    seed: int,
) -> Iterator[FileDetections | Unread]:
    samples = [item[1] for item in batch if not isinstance(item, Unread)]
    if not samples:
        yield from (item for item in batch if isinstance(item, Unread))
        return
    found = detect(
        detector.model,
        shown_decoder(detector.config.model, confidence=confidence),
        collate(samples).points,
        generators=[stream(seed, "clusters") for _ in samples],
        precision=precision,
    )
    order = found.scores.argsort(descending=True, stable=True)
    numbers = count()
    for item in batch:
        if isinstance(item, Unread):
            yield item
            continue
        cloud, own = item[0], order[found.scene[order] == next(numbers)]
        yield FileDetections(
            points=cloud.points,
            boxes=found.boxes[own].numpy(),
            scores=found.scores[own].numpy(),
            names=tuple(detector.classes[k] for k in found.classes[own].tolist()),
            offset=cloud.offset,
            notes=(*cloud.notes, *scan_hints(cloud.points, num_points=detector.config.points.num_points)),
        )


def _sample(detector: Detector, path: Path, bin_columns: int, seed: int) -> tuple[Cloud, DetectionSample] | Unread:
    """A cloud, and what the network sees of it: sample 0 of a set of its own, as if it were the only cloud."""
    try:
        cloud = read_cloud(path, bin_columns=bin_columns)
        scenes = [Scene.unlabelled(cloud.points, cloud.colors)]
        return cloud, scene_samples(scenes, detector.config.points, seed=seed)[0]
    except (OSError, ValueError) as error:
        return Unread(path, error)


def detect_in_file(
    detector: Detector,
    path: str | Path,
    *,
    confidence: float = 0.5,
    precision: Precision = "float32",
    bin_columns: int = 6,
    seed: int = 0,
) -> FileDetections:
    """`detect_in_files` for one cloud.

    Raises:
        OSError, ValueError: If the file cannot be used, or has no colours where the detector needs them.
    """
    settings = {"precision": precision, "bin_columns": bin_columns, "seed": seed}
    found = next(detect_in_files(detector, [path], confidence=confidence, **settings))
    if isinstance(found, Unread):
        raise found.error
    return found
