"""Detection reports as Markdown tables and as dictionaries for JSON. Tables are in percent, dictionaries in 0..1."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pcfdsl.evaluate.detection import DetectionReport
from pcfdsl.evaluate.statistics import Summary, summarize

__all__ = ["NOTHING_TO_FIND", "class_table", "group_table", "report_dict", "runs_dict", "runs_table"]

NOTHING_TO_FIND = "no box is labelled in the scenes that are evaluated on: nothing to find, so there is no precision"
_Runs = Mapping[str, Sequence[Mapping[str, float | None]]]
_MAX_ABSENT = 20


def class_table(report: DetectionReport, class_names: Sequence[str]) -> str:
    """Markdown: one row per class of the ground truth, then the mean; some classes only predicted are named below.

    Raises:
        ValueError: If there is not one name per class.
    """
    _check_names(report, class_names)
    header = ["class", *_header(report)]
    rows = [
        [class_names[c], str(report.num_truth[c]), str(report.num_predictions[c])]
        + [
            f"{100 * values[t, c]:.1f}"
            for t in range(len(report.iou_thresholds))
            for values in (report.ap, report.recall)
        ]
        for c in report.present_classes
    ]
    rows.append(["**mean**", *_means(report)])
    table = _markdown(header, rows)
    if not report.present_classes:
        table += f"\n{NOTHING_TO_FIND[0].upper()}{NOTHING_TO_FIND[1:]}.\n"
    if report.absent_classes:
        names = ", ".join(class_names[c] for c in report.absent_classes[:_MAX_ABSENT])
        names += f" and {more} more" if (more := len(report.absent_classes) - _MAX_ABSENT) > 0 else ""
        table += f"\nPredicted, but not in the ground truth, and in no mean: {names}.\n"
    return table


def group_table(report: DetectionReport, class_names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """Markdown: the means over groups of classes, one row each; classes nowhere in the ground truth count in none.

    Raises:
        ValueError: If there is not one name per class.
    """
    rows = []
    for group, part in _of_groups(report, class_names, groups).items():
        num_classes = f"{len(part.present_classes)} of {len(groups[group])}"
        rows.append([group, num_classes, *_means(part)])
    return _markdown(["group", "classes", *_header(report)], rows)


def report_dict(
    report: DetectionReport, class_names: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The report without its curves, of plain types; with the means over `groups` of classes, if any.

    Raises:
        ValueError: If there is not one name per class.
    """
    _check_names(report, class_names)
    parts = _of_groups(report, class_names, groups or {})
    return {
        "method": report.method,
        "iou_thresholds": [float(threshold) for threshold in report.iou_thresholds],
        "metrics": report.metrics(),
        "classes": [
            {
                "id": c,
                "name": class_names[c],
                "num_truth": int(report.num_truth[c]),
                "num_predictions": int(report.num_predictions[c]),
                "ap": report.ap[:, c].tolist(),
                "recall": report.recall[:, c].tolist(),
            }
            for c in report.present_classes
        ],
        "absent_classes": [class_names[c] for c in report.absent_classes],
        **({"groups": {group: part.metrics() for group, part in parts.items()}} if parts else {}),
    }


def runs_dict(runs: _Runs) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Per arm and metric: mean, deviation, 95 % interval and number of runs that have it; None where none has.

    Args:
        runs: Per arm (a way to train, say) the `metrics()` of its runs.

    Raises:
        ValueError: If an arm has no runs, or runs differ in their metrics.
    """
    return {
        arm: {name: _plain(_summary(arm_runs, name)) for name in names}
        for names in [_metric_names(runs)]
        for arm, arm_runs in runs.items()
    }


def runs_table(runs: _Runs) -> str:
    """Markdown: one row per arm, one column per metric, mean ± standard deviation in percent, – where no run has it.

    Raises:
        ValueError: As `runs_dict`.
    """
    names = _metric_names(runs)
    rows = [
        [arm, str(len(arm_runs))]
        + [summary.format(100) if (summary := _summary(arm_runs, name)) else "–" for name in names]
        for arm, arm_runs in runs.items()
    ]
    return _markdown(["arm", "runs", *names], rows)


def _summary(arm_runs: Sequence[Mapping[str, float | None]], name: str) -> Summary | None:
    values = [value for metrics in arm_runs if (value := metrics[name]) is not None]
    return summarize(values) if values else None


def _plain(summary: Summary | None) -> dict[str, float | int | None]:
    if summary is None:
        return dict.fromkeys((field.name for field in fields(Summary)), None) | {"num_values": 0}
    return vars(summary)


def _metric_names(runs: _Runs) -> list[str]:
    everything = [metrics for arm_runs in runs.values() for metrics in arm_runs]
    empty = [arm for arm, arm_runs in runs.items() if not arm_runs]
    if empty or not everything:
        raise ValueError(f"no runs of {', '.join(empty) or 'anything'}; expected the metrics of at least one run each")
    names = list(everything[0])
    if any(set(metrics) != set(names) for metrics in everything):
        raise ValueError(f"runs differ in their metrics; expected {', '.join(names)} of each: evaluate them alike")
    return names


def _of_groups(
    report: DetectionReport, class_names: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, DetectionReport]:
    _check_names(report, class_names)
    row_of = {name: row for row, name in enumerate(class_names)}
    return {group: report.only([row_of[name] for name in members]) for group, members in groups.items()}


def _header(report: DetectionReport) -> list[str]:
    pairs = [f"{name}@{threshold:g}" for threshold in report.iou_thresholds for name in ("AP", "recall")]
    return ["boxes", "detections", *pairs]


def _means(report: DetectionReport) -> list[str]:
    """The cells of `_header`: all boxes, all detections, and the means over the classes of the ground truth."""
    means = (report.mean_ap, report.mean_recall)
    cells = [
        f"{100 * values[t]:.1f}" if report.present_classes else "–"
        for t in range(len(report.iou_thresholds))
        for values in means
    ]
    return [str(report.num_truth.sum()), str(report.num_predictions.sum()), *cells]


def _check_names(report: DetectionReport, class_names: Sequence[str]) -> None:
    if len(class_names) != len(report.num_truth):
        raise ValueError(f"{len(class_names)} class names for {len(report.num_truth)} classes; expected one per class")


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, rule, *rows]]
    return "".join("| " + " | ".join(row) + " |\n" for row in escaped)
