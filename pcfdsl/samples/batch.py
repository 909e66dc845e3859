"""What all batches share, and how they are loaded."""

import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset

__all__ = ["TensorBatch", "load_batches"]


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


def load_batches(
    dataset: Any,
    keys: Iterable[list],
    *,
    collate: Callable[[list], Any],
    num_workers: int = 0,
    pin_memory: bool = False,
    seed: int = 0,
) -> Iterator[Any]:
    """The batch of each list of keys, in order; workers, if there are any, make some in advance.

    Args:
        dataset: Gives a sample for a key.
        keys: The keys of each batch.
        collate: Samples -> batch.
        num_workers: Processes that load, which leave Ctrl-C to this one.
        pin_memory: Whether batches are copied to page-locked memory.
        seed: Of what torch draws in workers; its global generator is left alone.

    Raises:
        OSError, ValueError: What a sample raises, from workers as well; torch would put their traceback before it.
    """
    loader = DataLoader(
        _Answering(dataset) if num_workers else dataset,
        batch_sampler=keys,  # type: ignore[arg-type]
        collate_fn=_CollateOrRefuse(collate) if num_workers else collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator().manual_seed(seed),
    )
    return map(_delivered, loader)


@dataclass(frozen=True)
class _Refused:
    """Stands for a sample, or a batch, that there cannot be."""

    error: OSError | ValueError


class _Answering(Dataset):
    """A data set that gives errors of samples as their answers, so that they leave a worker as they are."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except (OSError, ValueError) as error:
            try:
                pickle.loads(pickle.dumps(error))
            except Exception:  # of a class that does not take what it gave: torch describes it
                raise error from None
            return _Refused(error)


@dataclass(frozen=True)
class _CollateOrRefuse:
    collate: Callable[[list], Any]

    def __call__(self, samples: list) -> Any:
        return next((sample for sample in samples if isinstance(sample, _Refused)), None) or self.collate(samples)


def _delivered(batch: Any) -> Any:
    if isinstance(batch, _Refused):
        raise batch.error
    return batch


def _ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C to the main process: a terminal interrupts workers too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
