"""Studies: several arms (methods) on the same cases (seeds, folds), with means and paired differences.

    out/ARM/CASE/            what the run itself writes
    out/ARM/CASE/result.json its metrics and what they depend on; marks the run as finished
    out/study.json, .md      the tables, updated after every run

Each case goes through all arms before the next one starts, so that an interrupted study is still paired.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.run_folder import OPERATIONAL
from pcfdsl.evaluate.statistics import Summary, paired_difference, summarize
from pcfdsl.store.atomic import write_file

__all__ = ["Arm", "Case", "StudyResult", "differences", "read_result", "read_study", "run_study"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case that every arm is run on.

    Attributes:
        name: A plain file name, such as fold0_seed1.
        unit: Cases of one unit are averaged first: they share test data (as seeds of a fold do), so they are not
            independent; "" makes the case a unit of its own.
        settings: Plain values for the arms to use, such as {"seed": 1, "fold": "0"}.
    """

    name: str
    unit: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the methods compared.

    Attributes:
        run: (case, folder) -> metrics, finite numbers by name. The folder belongs to this run; an interrupted run is
            called again with it.
        about: Case -> plain JSON values that the metrics depend on; a result with different values is an error.
            Settings that a stored result lacks are taken to be newer than it and not to affect it; those that decide
            only where and how fast a run computes do not count.
        finish: Called with the folder once the result is stored.
    """

    run: Callable[[Case, Path], Mapping[str, float]]
    about: Callable[[Case], Any] = lambda case: None
    finish: Callable[[Path], object] = lambda folder: None


@dataclass(frozen=True)
class StudyResult:
    """Metrics of the finished runs.

    Attributes:
        runs: Arm -> case -> metrics; cases in the study's order.
        units: Case -> its unit.
        baseline: The arm that the others are compared with.
    """

    runs: Mapping[str, Mapping[str, Mapping[str, float]]]
    units: Mapping[str, str]
    baseline: str

    def summary(self, arm: str, metric: str) -> Summary | None:
        """Mean over units with a 95 % interval; None without a finished run."""
        values = list(self._by_unit(arm, metric, self.runs[arm]).values())
        return summarize(values) if values else None

    def difference(self, arm: str, metric: str) -> Summary | None:
        """Mean over units of the arm's gain over the baseline on the same cases; None without a common case."""
        shared = [case for case in self.runs[arm] if case in self.runs[self.baseline]]
        own = self._by_unit(arm, metric, shared)
        base = self._by_unit(self.baseline, metric, shared)
        return paired_difference(list(own.values()), list(base.values())) if shared else None

    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the first run."""
        return next((list(run) for runs in self.runs.values() for run in runs.values()), [])

    def to_dict(self) -> dict[str, Any]:
        """Plain values: summaries and gains by arm and metric, and every run."""
        arms = {
            arm: {
                metric: {"summary": _plain(self.summary(arm, metric)), "gain": _plain(self.difference(arm, metric))}
                for metric in self.metrics()
            }
            for arm in self.runs
        }
        return {"baseline": self.baseline, "arms": arms, "units": dict(self.units), "runs": self.runs}

    def table(self) -> str:
        """Markdown, in percent: one table per metric with one row per arm."""
        parts = []
        for metric in self.metrics():
            head = f"| {metric} | runs | units | mean | 95 % interval | gain on {self.baseline} | 95 % interval |"
            lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
            for arm, runs in self.runs.items():
                summary, gain = self.summary(arm, metric), self.difference(arm, metric)
                cells = [arm, str(len(runs)), str(summary.num_values if summary else 0)]
                cells += [*_cells(summary, ""), *(_cells(gain, "+") if arm != self.baseline else ("", ""))]
                lines.append("| " + " | ".join(cells) + " |")
            parts.append("\n".join(lines) + "\n")
        return "\n".join(parts)

    def _by_unit(self, arm: str, metric: str, cases: Any) -> dict[str, float]:
        values: dict[str, list[float]] = {}
        for case in cases:
            values.setdefault(self.units[case], []).append(self.runs[arm][case][metric])
        return {unit: sum(of_unit) / len(of_unit) for unit, of_unit in values.items()}


def run_study(
    arms: Mapping[str, Arm],
    cases: Sequence[Case],
    out: str | Path,
    *,
    baseline: str,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[str], object] = print,
) -> StudyResult:
    """Run what is not finished yet, and write the tables after every run.

    Args:
        arms: Arms by name; names are plain file names.
        cases: What each arm is run on.
        out: Folder of the study.
        baseline: The arm that the others are compared with.
        shard: (i, n): run only cases i, i + n, ...; several processes can share one folder this way.
        progress: Called with a line before and after each run.

    Raises:
        ValueError: If a name is a duplicate or no file name, the baseline is not among the arms, or the folder holds a
            result of different settings.
        Exception: Whatever a run raises; finished runs are kept, and the next call resumes.
    """
    out = Path(out)
    _check(arms, cases, baseline)
    read_study(arms, cases, out, baseline=baseline)  # fails before the first run, not after the last
    todo = [(case, name) for case in cases[shard[0] :: shard[1]] for name in arms]
    for number, (case, name) in enumerate(todo, 1):
        folder, arm = out / name / case.name, arms[name]
        if (folder / "result.json").is_file():
            continue
        progress(f"[{number}/{len(todo)}] {name} {case.name}")
        about = arm.about(case)
        metrics = {key: float(value) for key, value in arm.run(case, folder).items()}
        content = {"arm": name, "case": case.name, "about": about, "metrics": metrics}
        write_file(folder / "result.json", json.dumps(content, indent=1).encode())
        arm.finish(folder)
        progress(f"[{number}/{len(todo)}] {name} {case.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
        _write(read_study(arms, cases, out, baseline=baseline), out)
    result = read_study(arms, cases, out, baseline=baseline)
    _write(result, out)
    return result


def read_study(arms: Mapping[str, Arm], cases: Sequence[Case], out: str | Path, *, baseline: str) -> StudyResult:
    """The finished runs of a study.

    Raises:
        ValueError: If a result has different settings or cannot be read.
    """
    runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in arms}
    for name, arm in arms.items():
        for case in cases:
            path = Path(out) / name / case.name / "result.json"
            if not path.is_file():
                continue
            content = read_result(path)
            if changes := "\n  ".join(differences(content["about"], arm.about(case))):
                raise ValueError(f"{path} has different settings; choose another folder, or delete it:\n  {changes}")
            runs[name][case.name] = content["metrics"]
    return StudyResult(runs, {case.name: case.unit or case.name for case in cases}, baseline)


def _check(arms: Mapping[str, Arm], cases: Sequence[Case], baseline: str) -> None:
    names = [*arms, *(case.name for case in cases)]
    for name in names:
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(f"{name!r} cannot be the name of an arm or case; expected a plain file name")
    if twice := [name for name, count in Counter(case.name for case in cases).items() if count > 1]:
        raise ValueError(f"duplicate case {', '.join(sorted(twice))}; give each case once")
    if baseline not in arms:
        raise ValueError(f"the baseline {baseline!r} is not among the arms {', '.join(arms) or '(none)'}")
    if not cases:
        raise ValueError("there are no cases to run")


def read_result(path: Path) -> dict[str, Any]:
    """What a finished run left: its arm, case, metrics, and what they depend on.

    Raises:
        ValueError: If the file is damaged or not of a study.
    """
    try:
        content = json.loads(path.read_text())
        if missing := {"arm", "case", "about", "metrics"} - content.keys():
            raise KeyError(", ".join(sorted(missing)))
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not the result of a study ({error}); delete it to repeat the run") from None
    return content


def _write(result: StudyResult, out: Path) -> None:
    write_file(out / "study.json", json.dumps(result.to_dict(), indent=1).encode())
    write_file(out / "study.md", result.table().encode())


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    return None if summary is None else dict(vars(summary))


def _cells(summary: Summary | None, sign: str) -> tuple[str, str]:
    if summary is None:
        return "", ""
    return f"{100 * summary.mean:{sign}.1f}", summary.interval(100, sign=sign)


def differences(old: Any, new: Any) -> list[str]:
    """What a stored result depends on (`Arm.about`) against what it would depend on now, a line for each difference."""
    return list(_differences(_relevant(old), _relevant(json.loads(json.dumps(new))), ""))


def _relevant(about: Any) -> Any:
    """Settings as this version has them, without those that decide where and how fast a run computes."""
    if not isinstance(about, dict):
        return about
    about = current_settings(about) if "train" in about else about
    return {name: _relevant(value) for name, value in about.items() if name not in OPERATIONAL}


def _differences(old: Any, new: Any, key: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old:  # a setting added later does not invalidate earlier results
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new:
        yield f"{key}: was {old!r}, is {new!r}"
