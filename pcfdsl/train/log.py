"""What a run says while it runs: JSON lines always, other sinks if wanted, a progress bar or lines on stderr."""

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pcfdsl.store.atomic import write_file
from pcfdsl.train.sinks import Sink, SinkName, open_sinks

__all__ = ["RunLog", "read_curves", "read_log"]

_DUE = "evaluation"
BRIEFLY = ("loss", "learning_rate", "wait_share", "seconds_per_step")


class RunLog:
    """The log of one run; on other processes than the main one it stays silent.

    Lines of a killed run beyond the step it goes on from are removed, so that each step stands once.

    Args:
        folder: The run's folder; gets `log.jsonl` and what the sinks write.
        num_steps: Length of the run.
        start: Steps made before.
        due: Whether the last of them is still to be evaluated: by a record of that a kill came before its checkpoint.
        sinks: Where records go besides; these get pictures and histograms too.
        silent: Write nothing at all.

    Raises:
        ConfigError: If the package of a sink is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_steps: int,
        start: int = 0,
        due: bool = False,
        sinks: Sequence[SinkName] = (),
        silent: bool = False,
    ):
        self._file, self._sinks = None, list[Sink]()
        self._num_steps, self._start, self._began = num_steps, start, time.monotonic()
        # A bar on a terminal, lines in a file
        self._bar = tqdm(total=num_steps, initial=start, disable=True if silent else None, leave=False)
        self._lines = not silent and self._bar.disable
        if silent:
            return
        path = Path(folder) / "log.jsonl"
        if path.exists():
            records = read_log(folder) if start else []
            kept = [r for r in records if r["step"] <= start and not (due and (r["step"], r["kind"]) == (start, _DUE))]
            write_file(path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        self._sinks = open_sinks(sinks, folder, start=start)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    @property
    def takes_pictures(self) -> bool:
        """Whether a sink shows pictures and histograms, so that it is worth making them."""
        return bool(self._sinks)

    def advance(self) -> None:
        """One step further on the bar, which shows the time that remains."""
        self._bar.update()

    def describe(self, text: str) -> None:
        """What stands beside the bar."""
        self._bar.set_postfix_str(text, refresh=False)

    def write(self, step: int, values: Mapping[str, float | None], *, kind: str = "train") -> None:
        """One record: `{"step": ..., "kind": ..., name: number, ...}`.

        None, for no result, is written as null, and so is what is not finite, for which JSON has no number.
        """
        if self._file is None:
            return
        plain = {name: value if value is None or math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "kind": kind, **plain}, allow_nan=False) + "\n")
        self._file.flush()
        known = {f"{kind}/{name}": value for name, value in values.items() if value is not None}
        for sink in self._sinks:
            sink.scalars(step, known)
        if self._lines:
            pace = (time.monotonic() - self._began) / max(1, step - self._start)
            said = [name for name in values if kind != "train" or name in BRIEFLY]
            numbers = ", ".join(f"{name} {'none' if (v := values[name]) is None else f'{v:.4g}'}" for name in said)
            rest = f"{pace * (self._num_steps - step):.0f} s to go"
            print(f"{kind} step {step}/{self._num_steps} ({rest}): {numbers}", file=sys.stderr)

    def show(
        self, step: int, *, pictures: Mapping[str, np.ndarray] | None = None, histograms: Mapping[str, np.ndarray]
    ) -> None:
        """Pictures [H, W, 3] uint8 and values to make histograms of, for the sinks; what is not finite is left out."""
        for sink in self._sinks:
            for name, picture in (pictures or {}).items():
                sink.picture(step, name, picture)
            for name, values in histograms.items():
                finite = values[np.isfinite(values)]
                if finite.size:
                    sink.histogram(step, name, finite)

    def close(self) -> None:
        """Close the files, the sinks and the bar."""
        self._bar.close()
        for output in (self._file, *self._sinks):
            if output is not None:
                output.close()


def read_log(folder: str | Path, *, kind: str | None = None) -> list[dict]:
    """The records of a run, in order; of one kind ("train", "evaluation") if named.

    A last line that a kill cut short is left out.

    Raises:
        ValueError: If another line is damaged.
    """
    path = Path(folder) / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not {"step", "kind"} <= record.keys():
                raise ValueError("it has no step and kind")
            records.append(record)
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ValueError(f"{path} line {number} is no record: {error}; remove the line") from error
    return [record for record in records if kind is None or record["kind"] == kind]


def read_curves(folders: Sequence[str | Path], name: str, *, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A result over the steps that the logs of several runs have in common: steps [S], and values [runs, S].

    A run that was interrupted has records of steps that others lack. What is null, for no result, is NaN.

    Raises:
        OSError, ValueError: As `read_log`.
    """
    curves = [{record["step"]: record[name] for record in read_log(folder, kind=kind)} for folder in folders]
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    return np.array(steps), np.array([[curve[step] for step in steps] for curve in curves], np.float64)
