"""Several processes under torchrun, and the order of the data, which does not depend on how many there are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from pcfdsl.evaluate.processes import Processes
from pcfdsl.rng import stream

__all__ = ["batch_keys", "choose_device", "processes", "sample_keys"]


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (gloo on CPU, nccl on GPU), or be alone where it did not.

    A group that the caller has set up is used and left standing.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if dist.is_initialized() or alone:
        yield Processes(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Processes()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is a GPU where there is one (under torchrun the one of this process), else the CPU.

    Raises:
        ValueError: If the machine has no such device.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is not known; expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device is cuda, but torch finds no GPU; use device=cpu or device=auto")
        device = torch.device("cuda", local if device.index is None else device.index)
        if device.index >= (count := torch.cuda.device_count()):
            raise ValueError(f"device is {device}, but torch finds {count} GPU(s), counted from cuda:0")
        torch.cuda.set_device(device)
    return device


def sample_keys(num_samples: int, *, seed: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """The endless order of training samples, from position `start` on: (epoch, index), epoch after epoch shuffled.

    Where an epoch ends within a batch, the next one fills it up: all batches are full.
    """
    epoch, position = divmod(start, num_samples)
    while True:
        order = stream(seed, "order", epoch).permutation(num_samples)
        for index in order[position:]:
            yield epoch, int(index)
        epoch, position = epoch + 1, 0


def batch_keys(
    num_samples: int,
    *,
    seed: int,
    batch_size: int,
    steps: range,
    accumulate: int = 1,
    rank: int = 0,
    num_processes: int = 1,
) -> Iterator[list[tuple[int, int]]]:
    """What one process loads: for each step its slice of the batch, in `accumulate` parts.

    The batch of a step depends on the seed alone; process r takes the r-th of equal consecutive slices.

    Args:
        num_samples: Size of the training set.
        seed: Decides the order.
        batch_size: Samples of a step over all processes; a multiple of `accumulate * num_processes`.
        steps: The steps that are still to be made.
        accumulate: Parts of a slice whose gradients are summed.
        rank: Which process this is.
        num_processes: How many there are.
    """
    keys = sample_keys(num_samples, seed=seed, start=steps.start * batch_size)
    part = batch_size // (accumulate * num_processes)
    for _ in steps:
        batch = [next(keys) for _ in range(batch_size)]
        own = batch[rank * part * accumulate : (rank + 1) * part * accumulate]
        yield from (own[i : i + part] for i in range(0, len(own), part))
