"""The processes that train or evaluate together, under torchrun or alone."""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Processes"]

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among all that train together; collective calls do nothing where it is alone."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, on each of them."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.count

    def any(self, *flags: bool, device: torch.device) -> list[bool]:
        """For each flag, whether it is set in any process."""
        if self.count == 1:
            return list(flags)
        return (self.mean(torch.tensor(flags, dtype=torch.float32, device=device)) > 0).tolist()

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()

    def share(self, count: int) -> range:
        """Which of `count` things this process does: every n-th, so that long and short ones mix."""
        return range(self.rank, count, self.count)

    def gather(self, part: T) -> list[T]:
        """The parts of all processes, on each of them; they are pickled, so tensors should be on the CPU."""
        if self.count == 1:
            return [part]
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, part)
        return parts

    def equalize(self, model: nn.Module) -> None:
        """Give the model's buffers, which every process keeps from its own batches, the values of the main process."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
