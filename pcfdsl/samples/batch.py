"""What all batches and their loaders share."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch

__all__ = ["TensorBatch", "ignore_interrupts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TensorBatch:
    """A dataclass whose fields are all tensors."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Copy the batch to another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Copy the batch to page-locked memory; data loaders call this."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        return type(self)(**{field.name: function(getattr(self, field.name)) for field in fields(self)})


def ignore_interrupts(_: int = 0) -> None:
    """Leave Ctrl-C to the main process: a `worker_init_fn`, since a terminal interrupts loader workers too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
