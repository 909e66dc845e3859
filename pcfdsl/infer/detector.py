"""Trained detectors in use: loaded, judged on a set, or asked what is in a file."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pcfdsl.datasets.detection_set import read_points
from pcfdsl.datasets.sources import SceneSource, open_scenes
from pcfdsl.evaluate.detection import DetectionReport
from pcfdsl.evaluate.detector import EvaluationConfig, detect_scenes, evaluate_scenes
from pcfdsl.infer.trained import Trained, load_trained
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.votenet import VoteNet
from pcfdsl.samples.detection import scene_samples
from pcfdsl.scene.boxes import Scene
from pcfdsl.train.tasks.detection import DetectorConfig

__all__ = ["PREDICTION", "Detector", "FileDetections", "detect_in_file", "evaluate_detector", "load_detector"]


Detector = Trained[VoteNet, DetectorConfig]


def load_detector(path: str | Path, *, device: str = "auto") -> Detector:
    """Load a trained detector; arguments and errors as for `load_trained`."""
    return load_trained(
        path, DetectorConfig, lambda config, _: VoteNet(config.model), network="a detector", device=device
    )


def evaluate_detector(
    detector: Detector, *, source: SceneSource | None = None, config: EvaluationConfig | None = None
) -> tuple[DetectionReport, ...]:
    """Judge a detector on a set, by default on the validation scenes and in the way of its training.

    Raises:
        ValueError: If there is no set, or it has other classes than the detector.
    """
    source = source or detector.config.validation
    if source.kind == "none":
        raise ValueError(f"{detector.path} was trained without validation scenes; name a detection set with --data DIR")
    scenes = open_scenes(source)
    if not detector.config.points.class_agnostic and scenes.classes != detector.classes:
        raise ValueError(
            f"the set has the classes {', '.join(scenes.classes)}, but {detector.path} detects "
            f"{', '.join(detector.classes)}; evaluate on a set with the same classes in the same order"
        )
    config = config or detector.config.evaluation
    samples = scene_samples(scenes.scenes, detector.config.points, seed=config.seed)
    return evaluate_scenes(detector.model, detector.config.model, samples, config=config)


@dataclass(frozen=True, eq=False)
class FileDetections:
    """What was found in one cloud.

    Attributes:
        points: [N, 3] float32, the whole cloud.
        boxes: [K, 7] float32, most certain first.
        scores: [K] probabilities.
        names: Class name of each.
    """

    points: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names with scores, to be written beside the boxes."""
        return tuple(f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True))

    def to_json(self) -> str:
        """A list of boxes, in the form that stored sets take too, with scores."""
        entries = [
            {"class": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6]}
            for name, score, box in zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        ]
        return json.dumps(entries, indent=1)


PREDICTION = DecodeOptions(confidence=0.5, nms="3d", per_class_proposal=False, remove_empty=True)


def detect_in_file(
    detector: Detector, path: str | Path, *, options: DecodeOptions = PREDICTION, bin_columns: int = 6, seed: int = 0
) -> FileDetections:
    """Find objects in a .ply, .npy or .bin cloud in metres, z up.

    Args:
        detector: A trained detector.
        path: The cloud.
        options: Which proposals to keep.
        bin_columns: Numbers in a row of a .bin file.
        seed: Decides which of the points the network sees.

    Raises:
        OSError, ValueError: If the file cannot be used, or has no colours where the detector needs them.
    """
    points, colors = read_points(Path(path), bin_columns=bin_columns)
    empty = {"boxes": np.zeros((0, 7)), "categories": np.zeros(0), "instance_ids": np.full(len(points), -1)}
    samples = scene_samples([Scene(points=points, colors=colors, **empty)], detector.config.points, seed=seed)
    config = replace(detector.config.evaluation, decode=options, num_workers=0)
    found, _ = detect_scenes(detector.model, detector.config.model, samples, config=config)
    order = found.scores.argsort(descending=True, stable=True)
    return FileDetections(
        points=points,
        boxes=found.boxes[order].numpy(),
        scores=found.scores[order].numpy(),
        names=tuple(detector.classes[k] for k in found.classes[order].tolist()),
    )
