"""Which pre-training helps: one downstream training from several starting points, on the same folds and seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pcfdsl.checkpoints.run_folder import find_weights, remove_weights
from pcfdsl.config import ConfigError, to_dict, within
from pcfdsl.datasets.clouds import open_clouds
from pcfdsl.datasets.folds import held_out_values, split_clouds
from pcfdsl.studies.starts import own_path, weights_digest
from pcfdsl.studies.study import Arm, Case, StudyResult, run_study
from pcfdsl.train.loop import train
from pcfdsl.train.task import Task
from pcfdsl.train.tasks.classification import ClassificationConfig, classification_task
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, open_training

__all__ = ["compare_pretraining"]

Downstream = DetectorConfig | ClassificationConfig


def compare_pretraining(
    config: Downstream,
    starts: Mapping[str, str | None],
    out: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    hold_out: str | None = None,
    shard: tuple[int, int] = (0, 1),
    keep_weights: bool = False,
    progress: Callable[[str], object] = print,
) -> StudyResult:
    """Train a detector or classifier from each starting point, for each seed and held-out part; skip finished runs.

    The seed determines initial weights that are not transferred, data order, augmentation and, for a classifier, a
    random split and the shots. The units of the intervals are the held-out parts (folds), within which seeds are
    averaged, or else the seeds.

    Args:
        config: The downstream training. Its `init.parts` say what is transferred; its checkpoint is ignored.
        starts: Name -> a run's folder or weights file, None for scratch; the first is the baseline.
            `{seed}` in a path stands for the seed, to pair pre-training seeds with downstream ones.
        out: Folder of the study, see `pcfdsl.studies.study`.
        seeds: Values for `train.seed`.
        hold_out: A tag of the clouds such as fold or library; each of its values is held out in turn.
        shard: As `run_study`.
        keep_weights: Keep the weights of finished runs, not only their logs and results.
        progress: As `run_study`.

    Raises:
        ConfigError, OSError, ValueError: If settings, data, checkpoints or earlier runs in the folder do not fit.
    """
    if not starts:
        raise ValueError("there are no starting points; give at least one, such as scratch")
    for path in filter(None, starts.values()):
        for seed in seeds:
            find_weights(own_path(path, seed))
    if config.train.evaluations == 0:
        raise ConfigError([("train.evaluations", "is 0, but a comparison needs an evaluation at the end")])
    downstream = (
        _classifier(config, hold_out) if isinstance(config, ClassificationConfig) else _detector(config, hold_out)
    )
    cases = [
        Case(
            name=f"seed{seed}" if part is None else f"{hold_out}_{_file_name(part)}_seed{seed}",
            unit="" if part is None else part,
            settings={"seed": seed, "part": part},
        )
        for seed in seeds
        for part in downstream.parts
    ]
    for path in filter(None, starts.values()):
        for case in cases[:1]:  # so that a misfit is found now, not after hours of training
            downstream.make_task(_own_config(config, path, downstream, case))
    arms = {name: _arm(config, path, downstream, keep_weights) for name, path in starts.items()}
    return run_study(arms, cases, out, baseline=next(iter(arms)), shard=shard, progress=progress)


@dataclass(frozen=True)
class _Downstream:
    """A downstream training with its data open: how to configure a case, and how to make its task."""

    own_config: Callable[[Any, Case], Any]
    make_task: Callable[[Any], Task]
    parts: Sequence[str | None] = (None,)


def _classifier(config: ClassificationConfig, hold_out: str | None) -> _Downstream:
    if hold_out is None and config.split.by == "none":
        raise ConfigError(
            [("split.by", "is none, but a comparison needs a test set; choose a split, or hold out a tag")]
        )
    with within("data"):
        clouds = open_clouds(config.data)

    def own_config(config: ClassificationConfig, case: Case) -> ClassificationConfig:
        split = replace(config.split, seed=case.settings["seed"])
        if hold_out is not None:
            split = replace(split, by=hold_out, held_out=case.settings["part"])
        return replace(config, split=split)

    def make_task(config: ClassificationConfig) -> Task:
        return classification_task(config, clouds, split_clouds(clouds, config.split))

    return _Downstream(own_config, make_task, (None,) if hold_out is None else held_out_values(clouds, hold_out))


def _detector(config: DetectorConfig, hold_out: str | None) -> _Downstream:
    if hold_out is not None:
        raise ValueError("only a classifier can hold out a tag; a detector is compared over seeds")
    scenes, validation = open_training(config)
    if validation is None:
        raise ConfigError(
            [("validation.kind", "is none, but a comparison needs scenes to evaluate on; choose another")]
        )
    if not any(len(scene.boxes) for scene in validation.scenes):
        raise ValueError(
            f"detectors cannot be compared on validation scenes ({config.validation.kind}) without any box"
        )
    return _Downstream(lambda config, case: config, lambda config: detection_task(config, scenes, validation))


def _own_config(config: Downstream, checkpoint: str | None, downstream: _Downstream, case: Case) -> Any:
    """The settings of one run."""
    seed = case.settings["seed"]
    own = downstream.own_config(config, case)
    path = None if checkpoint is None else own_path(checkpoint, seed)
    return replace(own, init=replace(own.init, checkpoint=path), train=replace(own.train, seed=seed))


def _arm(config: Downstream, checkpoint: str | None, downstream: _Downstream, keep_weights: bool) -> Arm:
    digest_of = cache(weights_digest)  # of files that do not change during a study

    def run(case: Case, folder: Path) -> dict[str, float]:
        own = _own_config(config, checkpoint, downstream, case)
        task = downstream.make_task(own)
        result = train(task, own.train, folder)
        assert result.best is not None
        metrics = {name: value for name, value in result.metrics.items() if value is not None}
        return {**metrics, f"best {task.monitor}": result.best}

    def about(case: Case) -> dict[str, Any]:
        own = _own_config(config, checkpoint, downstream, case)
        path = own.init.checkpoint
        return {"settings": to_dict(own), "checkpoint": None if path is None else digest_of(find_weights(path))}

    return Arm(run=run, about=about, **({} if keep_weights else {"finish": remove_weights}))


def _file_name(part: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in part)
