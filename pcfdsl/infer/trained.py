"""A trained network of any kind, loaded with what is needed to use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from pcfdsl.checkpoints.run import load_checkpoint, settings_of
from pcfdsl.train.distributed import choose_device

__all__ = ["Trained", "load_trained"]

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
        OSError, ValueError: If there is none, it is damaged, or it is of another kind of network.
    """
    checkpoint = load_checkpoint(path)
    config, classes = settings_of(checkpoint, config_class, network=network)
    model = build(config, classes)
    model.load_state_dict(checkpoint.state)
    model = model.eval().to(choose_device(device))
    return Trained(model=model, config=config, classes=classes, step=checkpoint.step, path=checkpoint.path)
