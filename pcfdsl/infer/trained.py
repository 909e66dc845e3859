"""A trained network of any kind, loaded with what is needed to use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from pcfdsl.checkpoints.run_folder import Checkpoint, load_checkpoint, settings_of
from pcfdsl.checkpoints.weights import not_finite
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
    config, classes = settings_of(checkpoint, config_class, network=network)
    model = build(config, classes)
    model.load_state_dict(checkpoint.state)
    model = model.eval().to(choose_device(device))
    return Trained(model=model, config=config, classes=classes, step=checkpoint.step, path=checkpoint.path)


def check_finite(checkpoint: Checkpoint) -> None:
    """Raise ValueError if weights are NaN or infinite: what such a network says means nothing."""
    if bad := not_finite(checkpoint.state):
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ValueError(
            f"{checkpoint.path} holds NaN or infinity in {', '.join(bad[:3])}{more}; its training diverged"
        )
