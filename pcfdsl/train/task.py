"""What is trained and how: the two arguments of the training loop, and what it gives back."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.config import option, to_dict, validate
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.precision import Precision
from pcfdsl.train.optim import OptimizerConfig, ScheduleConfig
from pcfdsl.train.sinks import SinkName

__all__ = ["Task", "TrainConfig", "TrainResult"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained, whatever it is."""

    seed: int = option(0, "initial weights, order and augmentation of the data depend on it")
    num_steps: int | None = option(
        None, "length of the run in steps; null: as many as the epochs have", minimum=1, maximum=1_000_000_000
    )
    epochs: float = option(
        1.0,
        "length of the run in passes over the training set, if num_steps is null; key=value makes it so",
        minimum=0,
        instead_of="num_steps",
        maximum=1_000_000_000.0,
    )
    batch_size: int = option(8, "samples of a step over all processes", minimum=1, maximum=65_536)
    accumulate: int = option(1, "parts a process makes its share of the batch in, to save memory", minimum=1)
    optimizer: OptimizerConfig = option(OptimizerConfig(), "optimiser")
    schedule: ScheduleConfig = option(ScheduleConfig(), "learning rate and batch-norm momentum over the run")
    freeze: tuple[str, ...] = option((), "parts of the network that are not trained, such as backbone_net.sa1")
    average: float | None = option(
        None, "decay of a moving average of the weights, which is then evaluated and kept", minimum=0.0, maximum=1.0
    )
    evaluations: int = option(
        1, "evaluations, evenly over the run, the last at its end; 0 for none", minimum=0, maximum=1_000_000
    )
    precision: Precision = option(
        "float32", "type of the matrix products; on a device without bfloat16 arithmetic float32 takes its place"
    )
    tf32: bool = option(
        False, "on a GPU, products of float32 matrices with 10 bits of mantissa (TensorFloat-32): faster, less exact"
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    num_workers: int = option(0, "processes that load data, for each that trains", minimum=0, maximum=256)
    num_threads: int | None = option(
        None,
        "threads of each process that trains; null for torch's choice, which suffers where other work runs",
        minimum=1,
        maximum=1_024,
    )
    sync_batch_norm: bool = option(False, "batch norm over the samples of all processes, not each process's own")
    compile: bool = option(False, "compile the network with torch.compile")
    log_every: int = option(10, "steps between log records", minimum=1)
    checkpoint_every: int = option(500, "steps between checkpoints; evaluations and the end make one too", minimum=1)
    sinks: tuple[SinkName, ...] = option(
        ("tensorboard",), "where curves, rooms with detections and histograms of weights go, besides log.jsonl"
    )

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.batch_size % self.accumulate:
            yield "accumulate", f"{self.accumulate} does not divide batch_size {self.batch_size}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained.

    Attributes:
        model: The network, its weights as training starts.
        dataset: Training set with a length; `dataset[epoch, index]` gives a sample that depends on these alone.
        collate: Samples -> batch. Batches have `.to(device, non_blocking=...)`.
        loss: (network, batch, rng) -> the loss and named scalars for the log. The network is to be called as the
            model is; it may be a wrapper that runs in other precision or in several processes.
        evaluate: (model in evaluation mode, group) -> named results, None for one that there cannot be, the same in
            every process of the group, which share the work; None if nothing can be evaluated.
        pictures: Model in evaluation mode -> named pictures [H, W, 3] uint8 of what it does, made by the main process
            after an evaluation where a sink shows them.
        monitor: The result whose greatest value makes a checkpoint the best.
        config: The resolved settings, a dataclass; they go into every checkpoint.
        classes: Names of the classes, which go there too.
        optimizer: Model with its frozen parts -> optimiser, where `train.optimizer` does not say enough. The schedule
            sets every group's learning rate, times the group's own `lr_scale` where it has one.
        freeze: Parts that are not trained besides those of `train.freeze`.
        start_epoch: (model in evaluation mode, epoch, group) -> nothing: called before the first step that is made in
            an epoch, and again where a run resumes within one. It may change the model, and what the data set gives
            from then on, by (model, epoch) alone; what it has to remember goes into the model's buffers. The samples of
            a batch in which an epoch ends are those of the ending one.
        kept: Model -> the part of it whose weights a run leaves; all of it goes into what a run resumes from.
    """

    model: nn.Module
    dataset: Any
    collate: Callable[[list], Any]
    loss: Callable[[Callable, Any, np.random.Generator], tuple[Tensor, Mapping[str, Tensor]]]
    config: Any
    classes: tuple[str, ...] = ()
    evaluate: Callable[[nn.Module, Processes], Mapping[str, float | None]] | None = None
    pictures: Callable[[nn.Module], Mapping[str, np.ndarray]] | None = None
    monitor: str | None = None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    freeze: tuple[str, ...] = ()
    start_epoch: Callable[[nn.Module, int, Processes], None] | None = None
    kept: Callable[[nn.Module], nn.Module] = lambda model: model

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a plain dictionary, with the names of the classes if there are any."""
        return to_dict(self.config) | ({"classes": list(self.classes)} if self.classes else {})


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run came to.

    Attributes:
        folder: Where its files are.
        step: Steps trained.
        metrics: The last evaluation.
        best: The best value of the monitored result; None without evaluation.
        best_step: When that was.
        skipped: Whether the run had been finished before, so that nothing was trained now.
    """

    folder: Path
    step: int
    metrics: dict[str, float | None]
    best: float | None
    best_step: int | None
    skipped: bool = False
