"""How often a classifier is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ClassificationReport", "classification_report", "confusion_table"]


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Counts of what was taken for what.

    Attributes:
        confusion: [K, K] int64, rows the true class, columns the predicted one.
    """

    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of samples classified rightly."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def class_accuracy(self) -> np.ndarray:
        """[K] share of each class classified rightly; NaN for classes without samples."""
        counts = self.confusion.sum(1)
        return np.where(counts > 0, np.diag(self.confusion) / np.maximum(counts, 1), np.nan)

    @property
    def mean_class_accuracy(self) -> float:
        """Mean over the classes that have samples."""
        return float(np.nanmean(self.class_accuracy))

    def metrics(self) -> dict[str, float]:
        """`accuracy` and `mean_class_accuracy`, 0 to 1."""
        return {"accuracy": self.accuracy, "mean_class_accuracy": self.mean_class_accuracy}


def classification_report(predicted: np.ndarray, labels: np.ndarray, *, num_classes: int) -> ClassificationReport:
    """Compare predicted classes with the true ones, both [N] integers.

    Raises:
        ValueError: If there is nothing to compare, the lengths differ, or a class is not in 0..num_classes - 1.

    >>> classification_report(np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1]), num_classes=2).metrics()
    {'accuracy': 0.5, 'mean_class_accuracy': 0.6666666666666666}
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"predicted is {predicted.shape}, labels {labels.shape}; expected one of each a sample, [N > 0]"
        )
    for name, values in (("predicted", predicted), ("labels", labels)):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"{name} has classes {values.min()} to {values.max()}; expected 0 to {num_classes - 1}")
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return ClassificationReport(confusion)


def confusion_table(report: ClassificationReport, classes: Sequence[str]) -> str:
    """Markdown: for each class with samples how many there are, the share classified rightly, and the rest taken for.

    Raises:
        ValueError: If there is not one name per class.
    """
    if len(classes) != len(report.confusion):
        raise ValueError(f"{len(classes)} class names for {len(report.confusion)} classes; expected one per class")
    lines = ["| class | clouds | right | taken for |", "| --- | ---: | ---: | --- |"]
    for k in np.flatnonzero(report.confusion.sum(1)).tolist():
        row = report.confusion[k]
        others = [j for j in np.argsort(-row, kind="stable").tolist() if j != k and row[j]]
        taken = ", ".join(f"{classes[j]} {row[j]}" for j in others)
        lines.append(f"| {classes[k]} | {row.sum()} | {100 * report.class_accuracy[k]:.1f} | {taken} |")
    total = f"| **all** | {report.confusion.sum()} | {100 * report.accuracy:.1f} | |"
    mean = f"| **mean over classes** | | {100 * report.mean_class_accuracy:.1f} | |"
    return "\n".join([*lines, total, mean]) + "\n"
