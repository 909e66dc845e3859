"""The demo's report: settings, results with intervals over seeds, curves and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.datasets.sources import FractalSource, open_scenes
from pcfdsl.evaluate.pictures import SHOWN, detection_items
from pcfdsl.evaluate.report import runs_table
from pcfdsl.evaluate.statistics import Summary, paired_difference, summarize
from pcfdsl.infer.detector import load_detector
from pcfdsl.models.detector import DetectorModel
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.samples.detection import scene_samples
from pcfdsl.store.atomic import write_file
from pcfdsl.train.log import read_curves
from pcfdsl.train.task import TrainConfig
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.view.charts import bar_chart, line_chart
from pcfdsl.view.page import Picture, Section, Table, Viewer, write_report
from pcfdsl.view.scenes import scene_items
from pcfdsl.view.sources import render_items

__all__ = ["verdict", "write_demo_report"]

NUM_SHOWN = 3


def write_demo_report(
    out: Path,
    *,
    generated: Mapping[str, Any],
    verified: Mapping[str, Any],
    pretrain: DetectorConfig,
    weights: str | None,
    finetune: DetectorConfig,
    seeds: Sequence[int],
    metrics: Mapping[str, Sequence[Mapping[str, float]]],
    seconds: Mapping[str, float],
) -> Path:
    """Write report.html (self-contained) and report.md (text and figures).

    Args:
        out: The demo's folder, with its runs.
        generated, verified: Summaries of the stored PC-FractalDB.
        pretrain: Settings of the pre-training.
        weights: What was started from instead of pre-training; None if it was run.
        finetune: Settings of the fine-tuning.
        seeds: Seeds of the runs of each arm.
        metrics: Arm -> metrics of each seed's last evaluation.
        seconds: Stage -> how long it took.

    Returns:
        Path of report.html.
    """
    names = [name for name in next(iter(metrics.values()))[0] if name.startswith("mAP")]
    table = Table(
        header=["metric", *metrics, "difference", "95 % interval"],
        rows=[_row(name, metrics) for name in names],
        caption="Percent; mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))}; differences are paired by seed.",
    )
    values = [[run[names[0]] for run in runs] for runs in metrics.values()]
    judged = verdict(names[0], paired_difference(values[1], values[0]))
    what, fractals = _what_was_done(pretrain, weights, finetune), _what_was_generated(generated, verified)
    sections = [
        Section("Result", [judged, table, Picture(_bars(names, metrics)), what]),
        Section("The fractals", [fractals, Picture((out / "pcfractal.png").read_bytes())]),
        Section("Curves", [Picture(chart) for chart in _curves(out, weights, list(metrics), seeds, names[0])]),
        Section("Scenes of the pre-training", _pretraining_pictures(pretrain)),
        Section("Detections", _predictions(out, finetune, list(metrics), seeds[0])),
        Section("Time", [Table(["stage", "seconds"], [[stage, f"{taken:.0f}"] for stage, taken in seconds.items()])]),
    ]
    times = "".join(f"- {stage}: {taken:.0f} s\n" for stage, taken in seconds.items())
    figures = f"{table.markdown()}\n{table.caption}\n\n{what}\n\n{fractals}\n\n{runs_table(metrics)}"
    text = f"# Demo\n\n{judged}\n\n{figures}\n{times}"
    write_file(out / "report.md", text.encode())
    return write_report(out / "report.html", sections, title="Pre-training on fractals, fine-tuning on furniture")


def _what_was_generated(generated: Mapping[str, Any], verified: Mapping[str, Any]) -> str:
    categories, clouds = generated["categories"], generated["clouds"]
    return (
        f"{categories['num_samples']} categories, accepted out of {categories['counters']['num_draws']:,} random "
        f"systems, and {clouds['num_samples']} clouds of them ({clouds['num_bytes'] / 1e6:.0f} MB). All "
        f"{verified['clouds']['num_compared']} were regenerated from the recipe and are identical bit for bit; "
        f"SHA-256 of the set {clouds['sha256'][:16]}..."
    )


def verdict(name: str, difference: Summary) -> str:
    """What the paired difference shows, in one sentence."""
    assert difference.low is not None
    assert difference.high is not None
    if difference.low > 0:
        said = "pre-training helped"
    elif difference.high < 0:
        said = "pre-training did harm"
    else:
        said = "the interval contains zero, so this does not tell whether pre-training helps"
    return (
        f"{name}: pre-trained minus scratch is {100 * difference.mean:+.1f} points "
        f"(95 % interval {difference.interval(100)}, {difference.num_values} paired seeds): {said}."
    )


def _row(name: str, metrics: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    arms = [[run[name] for run in runs] for runs in metrics.values()]
    difference = paired_difference(arms[1], arms[0])
    means = [summarize(values).format(100) for values in arms]
    return [name, *means, f"{100 * difference.mean:+.1f}", difference.interval(100)]


def _what_was_done(pretrain: DetectorConfig, weights: str | None, finetune: DetectorConfig) -> str:
    assert isinstance(pretrain.data, FractalSource)
    fractals, first, second = pretrain.data.fractals, pretrain.train, finetune.train
    target = {"meshes": "rooms of furniture models", "furniture": "rooms of primitive furniture"}.get(
        finetune.data.kind, "labelled scenes"
    )
    origin = (
        f"Pre-trained for {_length(first)} of {first.batch_size} fractal scenes ({fractals.num_categories} "
        f"categories, variance threshold {fractals.search.variance_threshold:g})"
        if weights is None
        else f"Started from the weights {weights}"
    )
    return (
        f"{_network(finetune.model)} on {finetune.points.num_points} points. "
        f"{origin}; transferred: {', '.join(finetune.init.parts)}. Both arms were "
        f"then trained for {_length(second)} of {second.batch_size} on {target} "
        f"({finetune.train_fraction:.0%} of the training set) at a learning rate of "
        f"{second.optimizer.learning_rate:g}, and evaluated with their last weights, not their best."
    )


def _length(train: TrainConfig) -> str:
    """Such as `500 steps`."""
    return f"{train.epochs:g} epochs in steps" if train.num_steps is None else f"{train.num_steps} steps"


def _network(model: DetectorModel) -> str:
    if isinstance(model, TR3DConfig):
        return f"TR3D on voxels of {100 * model.voxel_size:g} cm with {model.neck_channels} channels"
    return f"VoteNet with {model.backbone.num_centers[0]} centres and {model.num_proposals} proposals"


def _bars(names: Sequence[str], metrics: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    series = {arm: {name: [100 * run[name] for run in runs] for name in names} for arm, runs in metrics.items()}
    return bar_chart(series, y_label="percent", title="After fine-tuning; dots are seeds")


def _curves(out: Path, weights: str | None, arms: Sequence[str], seeds: Sequence[int], metric: str) -> list[bytes]:
    charts = []
    if weights is None:
        steps, (loss,) = read_curves([out / "pretrain"], "loss", kind="train")
        charts.append(line_chart({"loss": loss}, x=steps, x_label="step", y_label="loss", title="Pre-training"))
    folders = [out / arm / f"seed{seed}" for arm in arms for seed in seeds]
    for kind, name, title in (("train", "loss", "Fine-tuning"), ("evaluation", metric, "Validation")):
        steps, values = read_curves(folders, name, kind=kind)
        series = dict(zip(arms, values.reshape(len(arms), len(seeds), -1), strict=True))
        charts.append(line_chart(series, x=steps, x_label="step", y_label=name, title=title))
    return charts


def _pretraining_pictures(config: DetectorConfig) -> list[Picture]:
    scenes = open_scenes(config.data)
    rooms = scene_items([scenes.scenes[i] for i in range(NUM_SHOWN)], classes=scenes.classes)
    return [
        Picture(render_items(rooms, columns=NUM_SHOWN), "The first scenes, coloured by object."),
    ]


def _predictions(
    out: Path, config: DetectorConfig, arms: Sequence[str], seed: int
) -> list[str | Table | Picture | Viewer]:
    validation = open_scenes(config.validation)
    indices = np.linspace(0, len(validation.scenes) - 1, min(NUM_SHOWN, len(validation.scenes))).astype(int).tolist()
    scenes = [validation.scenes[i] for i in indices]
    rows = [scene_items(scenes, classes=validation.classes, captions=[f"ground truth, room {i}" for i in indices])]
    for arm in arms:
        detector = load_detector(out / arm / f"seed{seed}" / "last.safetensors")
        samples = scene_samples(scenes, detector.config.points, seed=0)
        how = {"classes": detector.classes, "config": detector.config.evaluation}
        captions = [f"{arm}, room {i}" for i in indices]
        rows.append(detection_items(detector.model, detector.config.model, samples, **how, captions=captions))
    items = [item for row in rows for item in row]
    pictures = Picture(
        render_items(items, columns=len(scenes)),
        f"Ground truth, then each arm's detections in red over the truth in green (seed {seed}, scores above "
        f"{SHOWN:.0%}).",
    )
    return [pictures, Viewer([item for row in rows[1:] for item in row])]
