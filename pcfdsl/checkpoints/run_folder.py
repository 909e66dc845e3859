"""The checkpoints in a run's folder, and resuming from them.

    last.safetensors, last.json    weights to use (the moving average if there is one), settings, step, metrics
    best.safetensors, best.json    the same for the best evaluation
    resume.pt                      everything a killed run needs to resume exactly

Each file is self-contained and is replaced atomically: a kill at any moment leaves the previous one.
"""

import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcfdsl.checkpoints.files import is_safetensors, load_weights, save_weights
from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.torch_file import load_torch_file
from pcfdsl.config import ConfigError, check_argument, from_dict, to_dict
from pcfdsl.readers.folders import has_ending
from pcfdsl.store.atomic import write_file

__all__ = [
    "Checkpoint",
    "find_weights",
    "load_checkpoint",
    "load_resume",
    "note_unfinished",
    "remove_run",
    "remove_weights",
    "save_checkpoint",
    "save_resume",
    "settings_digest",
    "shipped_weights",
]

_OF_OTHERS = (
    "weights of other projects are where training starts from (--init-from), and pcfdsl convert-checkpoint makes a "
    "published detector into a checkpoint"
)

_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")

# Settings that decide where and how fast a run computes, not what: a run can resume with other values.
OPERATIONAL = frozenset({"device", "num_workers", "num_threads", "log_every", "checkpoint_every", "sinks", "compile"})


# What a run writes, by pattern; resume.pt first, so that a kill leaves no run that seems to be finished.
_RUN_FILES = (
    *("resume.pt", "last.*", "best.*", "log.jsonl", "classes.md", "bad_batch_step*_rank*.pt"),
    *("tensorboard/events.out.tfevents.*", "rerun_*.rrd", "wandb_run.txt"),
)

# Settings on which it depends what other settings a group has.
_KINDS = ("kind", "detector", "formula", "method")


@dataclass(frozen=True)
class Checkpoint:
    """Weights and their origin.

    Attributes:
        state: The network's state dict, on the CPU.
        settings: The resolved settings as a plain dictionary.
        step: Steps trained.
        metrics: Results of the evaluation at that step; empty if there was none.
        path: The file.
    """

    state: dict[str, Tensor]
    settings: dict[str, Any]
    step: int
    metrics: dict[str, float | None]
    path: Path


def save_checkpoint(
    folder: str | Path,
    name: str,
    *,
    model: nn.Module,
    settings: Mapping[str, Any],
    step: int,
    metrics: Mapping,
    num_steps: int | None = None,
) -> Path:
    """Write `name`.safetensors for `load_checkpoint`, and `name`.json for people.

    `num_steps` is the length of the complete run.
    """
    folder = Path(folder)
    about = {"settings": dict(settings), "digest": settings_digest(settings), "step": step, "metrics": dict(metrics)}
    about |= {} if num_steps is None else {"num_steps": num_steps}
    path = save_weights(folder / f"{name}.safetensors", model, metadata=about)
    write_file(folder / f"{name}.json", json.dumps(about, indent=2).encode())
    return path


def find_weights(path: str | Path) -> Path:
    """Resolve a path to a weights file: the file, the best (or else the last) of a run's folder, or shipped weights.

    Args:
        path: A path, or the name of weights that come with the package (`shipped_weights`).

    Raises:
        FileNotFoundError: If there is no such file.
    """
    check_argument("path", path, str | Path)
    path = Path(path)
    candidates = [path / "best.safetensors", path / "last.safetensors"] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shipped = shipped_weights()
    if str(path) in shipped and not path.is_dir():
        return shipped[str(path)]
    what = "does not exist"
    if path.is_dir():
        what = "holds neither best.safetensors nor last.safetensors"
        files = sorted(file.name for file in path.iterdir() if has_ending(file, _ENDINGS) and file.is_file())
        what += f"; there are {', '.join(files[:6])}" if files else ""
    raise FileNotFoundError(
        f"checkpoint {path} {what}; give a run's folder, a weights file, or one of {', '.join(shipped)}"
    )


def shipped_weights() -> dict[str, Path]:
    """Weights that come with the package, by name; docs/weights.md has a card of each."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "shipped").glob("*.safetensors"))}


def note_unfinished(path: str | Path) -> None:
    """Print a note to stderr if the path is the folder of an unfinished run."""
    last = Path(path) / "last.json"
    if not last.is_file():
        return
    try:
        about = json.loads(last.read_text(encoding="utf-8"))
        step, num_steps = about["step"], about["num_steps"]
    except (ValueError, TypeError, KeyError):  # written by another version, or edited; only the weights matter
        return
    if step < num_steps:
        print(f"note: {path} is unfinished, at step {step} of {num_steps}", file=sys.stderr)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weights file, or the weights of a run's folder; see `find_weights`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or was not written by a training run.
    """
    path = find_weights(path)
    if not is_safetensors(path):
        raise ValueError(f"{path} was not written by a training run of pcfdsl; {_OF_OTHERS}")
    state, about = load_weights(path)
    if not {"settings", "step", "metrics"} <= about.keys():
        raise ValueError(f"{path} holds weights without settings, not a checkpoint of a training run; {_OF_OTHERS}")
    return Checkpoint(state=state, settings=about["settings"], step=about["step"], metrics=about["metrics"], path=path)


def save_resume(folder: str | Path, content: Mapping[str, Any]) -> Path:
    """Write what a run needs to resume: tensors and plain Python values only, `settings` among them."""
    path = Path(folder) / "resume.pt"
    write_file(path, lambda file: torch.save(dict(content), file))
    return path


def load_resume(
    folder: str | Path, *, settings: Mapping[str, Any], config_class: type, but_for: Collection[str] = ()
) -> dict[str, Any] | None:
    """Read what `save_resume` wrote; None if nothing was written yet.

    Args:
        folder: The run's folder.
        settings: The resolved settings of the run to resume.
        config_class: Their class. Settings that came after the run was written count as if it had their defaults.
        but_for: Key paths of settings that may differ, because the caller judges them.

    Raises:
        ValueError: If the file is damaged, or from a run with other settings.
    """
    path = Path(folder) / "resume.pt"
    if not path.exists():
        return None
    try:
        content = load_torch_file(path)
        written = content["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); restore it, or start from scratch with --overwrite"
        ) from error
    before = current_settings(_completed(current_settings(written), config_class))
    other = dict(_differences(before, current_settings(settings)))
    if other.keys() - set(but_for):
        raise ValueError(
            f"{folder} holds a run with other settings:\n  "
            + "\n  ".join(f"{key}: {change}" for key, change in other.items())
            + "\nuse another --out, resume with the same settings, or start from scratch with --overwrite"
        )
    return content


def remove_run(folder: str | Path) -> None:
    """Remove the files of an earlier run, so that none can be mistaken for the new run's."""
    for pattern in _RUN_FILES:
        for path in Path(folder).glob(pattern):
            path.unlink()


def remove_weights(folder: str | Path) -> None:
    """Remove the weights of a finished run, which are most of its size; log, settings and metrics are kept."""
    for name in ("resume.pt", "last.safetensors", "best.safetensors"):  # what says that the run is finished goes first
        (Path(folder) / name).unlink(missing_ok=True)


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of resolved settings; it stands in every checkpoint."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _completed(settings: Mapping[str, Any], config_class: type) -> Mapping[str, Any]:
    own = {name: value for name, value in settings.items() if name != "classes"}
    try:
        return {**settings, **to_dict(from_dict(config_class, own))}
    except ConfigError:  # settings that this version refuses are not those of the run to resume: the caller lists them
        return settings


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if kinds := [name for name in _KINDS if name in old and name in new and old[name] != new[name]]:
            old, new = ({name: group[name] for name in kinds} for group in (old, new))  # all else differs with it
        for name in [*old, *(name for name in new if name not in old)]:
            if name not in OPERATIONAL:
                yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield key, f"was {old!r}, is {new!r}"
