"""The processes that train or evaluate together, under torchrun or alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
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

    def in_batches(
        self, evaluate: Callable[[range], tuple[np.ndarray, ...]], count: int, batch_size: int
    ) -> tuple[np.ndarray, ...]:
        """What a function gives for each of `count` things, in their order, on each of the processes that share them.

        Args:
            evaluate: Some of the things by number -> arrays with a row for each.
            count: How many there are, at least 1.
            batch_size: How many the function is given at a time.
        """
        share = self.share(count)
        batches = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
        parts = self.gather([(rows, evaluate(rows)) for rows in batches])
        done = [batch for part in parts for batch in part]
        order = np.argsort([number for rows, _ in done for number in rows])
        return tuple(np.concatenate(column)[order] for column in zip(*(values for _, values in done), strict=True))

    def equalize(self, model: nn.Module) -> None:
        """Give the model's buffers, which every process keeps from its own batches, the values of the main process."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
