"""Where a run's log goes besides log.jsonl: TensorBoard, Weights & Biases, Rerun. Each is loaded only when named."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pcfdsl.config import ConfigError
from pcfdsl.store.atomic import write_file

__all__ = ["Sink", "SinkName", "open_sinks", "require_sinks"]

SinkName = Literal["tensorboard", "wandb", "rerun"]
_BINS = 64


class Sink(Protocol):
    """What takes records; names are slash-separated, such as train/loss."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step."""
        ...

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """[H, W, 3] uint8."""
        ...

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Finite values, at least one, of which the distribution is shown."""
        ...

    def close(self) -> None:
        """Nothing comes after this."""
        ...


def require_sinks(names: Sequence[SinkName]) -> None:
    """Import the packages of sinks.

    Raises:
        ConfigError: If one is not installed.
    """
    for name in names:
        if name != "tensorboard":  # which comes with this package
            _load(name)


def open_sinks(names: Sequence[SinkName], folder: str | Path, *, start: int = 0) -> list[Sink]:
    """Open the named sinks for a run.

    Args:
        names: Which.
        folder: The run's folder, which they may write to.
        start: Steps made before; after a kill, what is known of later ones is made anew.

    Raises:
        ConfigError: If the package of one is not installed.
    """
    kinds: dict[SinkName, Callable[[Path, int], Sink]] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "rerun": _Rerun}
    return [kinds[name](Path(folder), start) for name in names]


class _TensorBoard:
    def __init__(self, folder: Path, start: int):
        writer = import_module("torch.utils.tensorboard").SummaryWriter  # slow to import
        self._board = writer(str(folder / "tensorboard"), purge_step=start + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._board.add_image(name, picture, step, dataformats="HWC")

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        self._board.add_histogram(name, values, step, bins=_BINS)

    def close(self) -> None:
        self._board.close()


class _Wandb:
    """A run in the project that WANDB_PROJECT names; WANDB_MODE=offline keeps it in the folder. Resumed runs go on."""

    def __init__(self, folder: Path, start: int):
        self._wandb = _load("wandb")
        known = folder / "wandb_run.txt"
        number = known.read_text().strip() if start and known.is_file() else None
        self._run = self._wandb.init(dir=str(folder), name=folder.name, id=number, resume="allow")
        write_file(known, f"{self._run.id}\n".encode())

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._run.log({name: self._wandb.Image(picture)}, step=step)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        binned = np.histogram(values, bins=_BINS)
        self._run.log({name: self._wandb.Histogram(np_histogram=binned)}, step=step)

    def close(self) -> None:
        self._run.finish()


class _Rerun:
    """rerun_0.rrd in the run's folder, and one more file for each time that it was resumed; open them together."""

    def __init__(self, folder: Path, start: int):
        self._rerun = _load("rerun")
        self._stream = self._rerun.RecordingStream("pcfdsl", recording_id=str(folder.resolve()))
        self._stream.save(str(folder / f"rerun_{start}.rrd"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._log(step, name, self._rerun.Scalars(value))

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._log(step, name, self._rerun.Image(picture))

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        counts, edges = np.histogram(values, bins=_BINS)
        self._log(step, name, self._rerun.BarChart(counts, abscissa=(edges[1:] + edges[:-1]) / 2))

    def _log(self, step: int, name: str, content: Any) -> None:
        self._stream.set_time("step", sequence=step)
        self._stream.log(name, content)

    def close(self) -> None:
        self._stream.disconnect()


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            [("train.sinks", f"{name} needs {error.name}: pip install 'pcfdsl[{name}]', or leave it out")]
        ) from None
