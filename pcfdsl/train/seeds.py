"""The same training with several seeds, and their results together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pcfdsl.evaluate.report import runs_dict
from pcfdsl.train.loop import train
from pcfdsl.train.task import Task, TrainResult

__all__ = ["SeedResults", "train_seeds"]


@dataclass(frozen=True)
class SeedResults:
    """Results of the runs with different seeds, by seed."""

    runs: Mapping[int, TrainResult]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: every run, and over several the mean, deviation and interval of the last evaluations."""
        runs = {
            str(seed): {"folder": str(run.folder), "step": run.step, "metrics": run.metrics, "best": run.best}
            for seed, run in self.runs.items()
        }
        metrics = [run.metrics for run in self.runs.values() if run.metrics]
        return {"runs": runs, **(runs_dict({"over_seeds": metrics}) if len(metrics) > 1 else {})}


def train_seeds(
    make_task: Callable[[Any], Task],
    config: Any,
    out: str | Path,
    *,
    seeds: Sequence[int] = (),
    overwrite: bool = False,
) -> SeedResults:
    """Train once for each seed; an interrupted training resumes.

    Args:
        make_task: Configuration -> what is trained; called with each seed in `train.seed`.
        config: A configuration with `train: TrainConfig`.
        out: Folder of the run; with several seeds each has its own in it, `seed0`, `seed1`, ...
        seeds: Values for `config.train.seed`; none means that one.
        overwrite: Start anew.

    Raises:
        ConfigError, OSError, ValueError: If settings, data or an earlier run in the folder do not fit.
        KeyboardInterrupt: When stopped, after a checkpoint was written.
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {', '.join(map(str, seeds))} repeat; give each seed once")
    runs = {}
    for seed in seeds or (config.train.seed,):
        own = replace(config, train=replace(config.train, seed=seed))
        folder = Path(out) / f"seed{seed}" if len(seeds) > 1 else Path(out)
        runs[seed] = train(make_task(own), own.train, folder, overwrite=overwrite)
    return SeedResults(runs)
