"""A trained network of any kind, loaded with what is needed to use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.run_folder import Checkpoint, load_checkpoint
from pcfdsl.checkpoints.weights import not_finite
from pcfdsl.config import ConfigError, from_dict
from pcfdsl.train.distributed import choose_device

__all__ = ["Trained", "check_finite", "load_trained"]

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config")


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained(Generic[Network, Config]):
    """A trained network.

    Attributes:
        model: The network, in evaluation mode.
        config: The settings of its training; those of the model are resolved.
        classes: Class names.
        step: Number of steps it was trained for.
        path: Its file.
    """

    model: Network
    config: Config
    classes: tuple[str, ...]
    step: int
    path: Path


def load_trained(
    path: str | Path,
    config_class: type[Config],
    build: Callable[[Config, tuple[str, ...]], Network],
    *,
    network: str,
    device: str,
) -> Trained[Network, Config]:
    """Load a run's best checkpoint (else its last), or one of its .safetensors files.

    Args:
        path: The run's folder, or the file.
        config_class: Settings of the training.
        build: Settings and class names -> the network, with any weights.
        network: What it should be, such as "a detector", for messages.
        device: See `choose_device`.

    Raises:
        OSError, ValueError: If there is none, it is damaged, it is of another kind of network, or its weights
            are not finite.
    """
    checkpoint = load_checkpoint(path)
    check_finite(checkpoint)
    settings = current_settings(checkpoint.settings)
    classes = tuple(settings.pop("classes", ()))
    try:
        config = from_dict(config_class, settings)
    except ConfigError as error:
        task = _task_of(settings)
        what = f"is of --task {task}" if task else "has {}: {}".format(*error.problems[0]).partition(";")[0]
        raise ValueError(f"{checkpoint.path} is not {network}'s checkpoint: it {what}") from None
    model = build(config, classes)
    model.load_state_dict(checkpoint.state)
    model = model.eval().to(choose_device(device))
    return Trained(model=model, config=config, classes=classes, step=checkpoint.step, path=checkpoint.path)


def _task_of(settings: dict[str, Any]) -> str | None:
    """The task whose settings these are; None if it is none of those that are installed."""
    from pcfdsl.train.tasks.table import TASKS  # which imports every task, for a message alone

    for name, task in TASKS.items():
        try:
            from_dict(task()[0], settings)
        except (ConfigError, ImportError):  # the latter where a task's extra is missing
            continue
        return name
    return None


def check_finite(checkpoint: Checkpoint) -> None:
    """Raise ValueError if weights are NaN or infinite: what such a network says means nothing."""
    if bad := not_finite(checkpoint.state):
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ValueError(
            f"{checkpoint.path} holds NaN or infinity in {', '.join(bad[:3])}{more}; its training diverged"
        )
