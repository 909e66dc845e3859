"""Average precision of 3D detection, by the rules of the published VoteNet evaluation (PASCAL VOC's)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from pcfdsl.ops.boxes3d import iou_3d_pairs, iou_3d_pairs_plain
from pcfdsl.ops.detections import Detections, GroundTruth

__all__ = ["Curve", "DetectionReport", "Method", "average_precision", "average_precision_plain"]

Method = Literal["area", "voc07"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision over recall of one class, one entry per detection, the surest first.

    Attributes:
        scores: [P] float64, falling.
        recall: [P] float64, rising.
        precision: [P] float64.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionReport:
    """How good detections are.

    Attributes:
        method: How the area under a curve was taken.
        iou_thresholds: [T] what the IoU of a hit exceeds.
        ap: [T, C] float64, average precision; 0 for a class without ground truth, which counts in no mean.
        recall: [T, C] float64, share of the ground truth that was found; likewise.
        num_truth: [C] int64, boxes of the ground truth per class.
        num_predictions: [C] int64, detections per class.
        curves: Per threshold, the curve of every class that is in the ground truth.
    """

    method: str
    iou_thresholds: tuple[float, ...]
    ap: np.ndarray
    recall: np.ndarray
    num_truth: np.ndarray
    num_predictions: np.ndarray
    curves: tuple[dict[int, Curve], ...]

    @property
    def present_classes(self) -> list[int]:
        """Classes of the ground truth: those a mean is taken over."""
        return np.flatnonzero(self.num_truth).tolist()

    @property
    def absent_classes(self) -> list[int]:
        """Classes that were predicted but are nowhere in the ground truth; the published evaluation gives them NaN."""
        return np.flatnonzero((self.num_truth == 0) & (self.num_predictions > 0)).tolist()

    @property
    def mean_ap(self) -> np.ndarray:
        """[T] mean of `ap` over the classes of the ground truth; NaN if it is empty."""
        return self._mean(self.ap)

    @property
    def mean_recall(self) -> np.ndarray:
        """[T] mean of `recall` over the classes of the ground truth; NaN if it is empty."""
        return self._mean(self.recall)

    def metrics(self) -> dict[str, float | None]:
        """The means by name: mAP@0.25, AR@0.25 and so on; None where there was nothing to find."""
        means = {"mAP": self.mean_ap, "AR": self.mean_recall}
        return {
            f"{name}@{threshold:g}": float(value) if self.present_classes else None
            for name, values in means.items()
            for threshold, value in zip(self.iou_thresholds, values, strict=True)
        }

    def only(self, classes: Sequence[int]) -> "DetectionReport":
        """The report on these classes alone, which become 0, 1 and so on in the order given; without curves."""
        return replace(
            self,
            ap=self.ap[:, classes],
            recall=self.recall[:, classes],
            num_truth=self.num_truth[classes],
            num_predictions=self.num_predictions[classes],
            curves=(),
        )

    def _mean(self, values: np.ndarray) -> np.ndarray:
        present = self.present_classes
        return values[:, present].mean(1) if present else np.full(len(values), np.nan)


def average_precision(
    predictions: Detections,
    truth: GroundTruth,
    *,
    num_classes: int,
    iou_thresholds: tuple[float, ...] = (0.25, 0.5),
    method: Method = "area",
    num_scenes: int | None = None,
) -> DetectionReport:
    """Average precision per class and IoU threshold.

    All detections of a class are taken by falling score over all scenes, equal scores in the order given. Each claims
    the box of its class and scene that it overlaps most (the first of equals). It is a hit if that IoU exceeds the
    threshold and nothing surer claimed the same box; otherwise it is a false alarm, even where another box would fit.

    Either input may be empty. A class that is nowhere in the ground truth counts in no mean (`absent_classes`).

    Args:
        predictions: What was found.
        truth: What there is.
        num_classes: C; classes are 0 to C - 1.
        iou_thresholds: Each in 0..1.
        method: "area" under the precision made monotone (VOC 2010), or "voc07": mean of its maxima at 11 recalls.
        num_scenes: If given, scenes are 0 to num_scenes - 1, and another scene is an error.

    Raises:
        ValueError: If a class, scene, threshold or method is not one of those above.
    """
    predictions, truth = predictions.cpu(), truth.cpu()
    _check(predictions, truth, num_classes, iou_thresholds, method, num_scenes)
    # Sorting by class keeps the falling scores within each: one cut per class then gives its detections.
    scores, classes = predictions.scores.double().numpy(), predictions.classes.numpy()
    order = np.argsort(-scores, kind="stable")
    order = order[np.argsort(classes[order], kind="stable")]
    iou, claimed = _best_matches(predictions, truth, order)
    num_truth = np.bincount(truth.classes.numpy(), minlength=num_classes)
    num_predictions = np.bincount(classes, minlength=num_classes)
    stops = np.cumsum(num_predictions)
    ap, recall = np.zeros((2, len(iou_thresholds), num_classes))
    curves = []
    for t, threshold in enumerate(iou_thresholds):
        over = np.flatnonzero(iou > threshold)
        hit = np.zeros(len(order), dtype=bool)
        hit[over[np.unique(claimed[over], return_index=True)[1]]] = True
        curves.append({})
        for c in np.flatnonzero(num_truth).tolist():
            own = slice(stops[c] - num_predictions[c], stops[c])
            curve = _curve(scores[order[own]], hit[own], num_truth[c])
            curves[t][c] = curve
            ap[t, c] = _area(curve, method)
            recall[t, c] = curve.recall[-1] if len(curve.recall) else 0.0
    return DetectionReport(
        method=method,
        iou_thresholds=tuple(iou_thresholds),
        ap=ap,
        recall=recall,
        num_truth=num_truth,
        num_predictions=num_predictions,
        curves=tuple(curves),
    )


def average_precision_plain(
    predictions: Detections,
    truth: GroundTruth,
    *,
    num_classes: int,
    iou_thresholds: tuple[float, ...] = (0.25, 0.5),
    method: Method = "area",
) -> np.ndarray:
    """`ap` of `average_precision` by the published loops: box by box, anew for each threshold. [T, C]"""
    ap = np.zeros((len(iou_thresholds), num_classes))
    for t, threshold in enumerate(iou_thresholds):
        for c in range(num_classes):
            found = [p for p in range(len(predictions)) if predictions.classes[p] == c]
            wanted: dict[int, list[int]] = {}
            for g in range(len(truth)):
                if truth.classes[g] == c:
                    wanted.setdefault(int(truth.scene[g]), []).append(g)
            taken = set()
            hits = []
            for p in sorted(found, key=lambda p: -float(predictions.scores[p])):
                best, claimed = -np.inf, -1
                for g in wanted.get(int(predictions.scene[p]), []):
                    pair = predictions.boxes[p : p + 1].double(), truth.boxes[g : g + 1].double()
                    iou = float(iou_3d_pairs_plain(*pair))
                    if iou > best:
                        best, claimed = iou, g
                hits.append(best > threshold and claimed not in taken)
                if hits[-1]:
                    taken.add(claimed)
            if wanted:
                curve = _curve(np.zeros(len(hits)), np.array(hits, dtype=bool), sum(map(len, wanted.values())))
                ap[t, c] = _area(curve, method)
    return ap


def _best_matches(predictions: Detections, truth: GroundTruth, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU [P] with, and index [P] of, the box each detection claims, in `order`; -inf and -1 where there is none."""
    ids = torch.stack([torch.cat([predictions.scene, truth.scene]), torch.cat([predictions.classes, truth.classes])], 1)
    keys = np.unique(ids.numpy(), axis=0, return_inverse=True)[1].reshape(-1)
    wanted, available = keys[: len(order)][order], keys[len(order) :]
    by_key = np.argsort(available, kind="stable")
    first, last = (np.searchsorted(available[by_key], wanted, side) for side in ("left", "right"))
    counts = last - first
    starts = np.cumsum(counts) - counts
    detection = np.repeat(np.arange(len(order)), counts)
    box = by_key[np.arange(len(detection)) - starts[detection] + first[detection]]
    boxes = predictions.boxes[torch.from_numpy(order[detection])].double()
    iou = iou_3d_pairs(boxes, truth.boxes[torch.from_numpy(box)].double()).numpy()
    best, claimed = np.full(len(order), -np.inf), np.full(len(order), -1)
    some = np.flatnonzero(counts)
    if len(some):
        best[some] = np.maximum.reduceat(iou, starts[some])
        candidates = np.where(iou == best[detection], np.arange(len(iou)), len(iou))
        claimed[some] = box[np.minimum.reduceat(candidates, starts[some])]
    return best, claimed


def _curve(scores: np.ndarray, hit: np.ndarray, num_truth: int) -> Curve:
    hits = np.cumsum(hit)
    return Curve(scores, hits / num_truth, hits / np.arange(1, len(hit) + 1))


def _area(curve: Curve, method: str) -> float:
    if method == "voc07":
        reached = (curve.precision[curve.recall >= recall] for recall in np.arange(0.0, 1.1, 0.1))
        return sum(precision.max(initial=0.0) for precision in reached) / 11
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0.0) * envelope).sum())


def _check(
    predictions: Detections,
    truth: GroundTruth,
    num_classes: int,
    iou_thresholds: tuple[float, ...],
    method: str,
    num_scenes: int | None,
) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; expected at least 1")
    if method not in ("area", "voc07"):
        raise ValueError(f"method is {method!r}; expected 'area' or 'voc07'")
    if not iou_thresholds or not all(0 <= threshold <= 1 for threshold in iou_thresholds):
        raise ValueError(f"iou_thresholds are {iou_thresholds}; expected one or more numbers in 0..1")
    for name, labelled in (("predictions", predictions), ("truth", truth)):
        for field, ids, limit in (
            ("classes", labelled.classes, num_classes),
            ("scene", labelled.scene, num_scenes),
        ):
            if limit is not None and (ids >= limit).any():
                raise ValueError(
                    f"{name}.{field} holds {int(ids.max())}; expected 0 to {limit - 1}: are both inputs of the same "
                    "scenes and classes?"
                )
