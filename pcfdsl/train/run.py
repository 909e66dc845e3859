"""A training run: what stays the same from step to step, how far it has come, and how both are stored."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pcfdsl.checkpoints.run_folder import save_checkpoint, save_resume
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.batch_norm import synchronize_batch_norm
from pcfdsl.models.layers import freeze
from pcfdsl.models.precision import Precision, autocast
from pcfdsl.train.average import MovingAverage
from pcfdsl.train.optim import build_optimizer
from pcfdsl.train.task import Task, TrainConfig

__all__ = [
    "LENGTH",
    "Progress",
    "Run",
    "check_length",
    "keep",
    "naming_the_batch",
    "num_steps_of",
    "prepare",
    "restore",
    "save",
]

LENGTH = ("train.num_steps", "train.epochs")


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """Everything that stays the same from step to step; the network and the optimiser change inside.

    Attributes:
        network: What the loss calls: the model, compiled, shared between processes, in the precision of the settings.
        no_sync: Context in which a backward pass, and the forward pass before it, keep gradients to the process.
    """

    task: Task
    config: TrainConfig
    out: Path
    device: torch.device
    group: Processes
    settings: dict[str, Any]
    num_samples: int
    num_steps: int
    model: nn.Module
    network: Callable
    no_sync: Callable[[], AbstractContextManager]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None

    @property
    def weights(self) -> nn.Module:
        """The model to evaluate and keep: the moving average where there is one."""
        return self.model if self.average is None else self.average.model

    def epoch(self, step: int) -> float:
        """Passes over the training set before a step."""
        return step * self.config.batch_size / self.num_samples

    def training_mode(self) -> None:
        """Switch the model to training, except for what is frozen."""
        _training_mode(self.task, self.config)


@dataclass
class Progress:
    """How far a run has come, and its last and best evaluations."""

    step: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)
    best: float | None = None
    best_step: int | None = None


def num_steps_of(task: Task, config: TrainConfig, group: Processes) -> int:
    """Length of a run in steps.

    Raises:
        ValueError: If there are no samples, or a batch cannot be shared evenly.
    """
    num_samples = len(task.dataset)
    if num_samples == 0:
        raise ValueError("the training set is empty")
    if config.batch_size % (group.count * config.accumulate):
        raise ValueError(
            f"batch_size {config.batch_size} cannot be shared evenly by {group.count} processes in "
            f"{config.accumulate} part(s) each; choose a multiple of {group.count * config.accumulate}"
        )
    return _steps(config.num_steps, config.epochs, num_samples, config.batch_size)


def check_length(
    resume: dict[str, Any], config: TrainConfig, num_steps: int, *, num_samples: int, folder: Path, say: bool
) -> None:
    """Check that a run can be continued to `num_steps`; prints to stderr that it is prolonged if `say`.

    Raises:
        ValueError: If it is to be shorter than before, or its schedule depends on the length.
    """
    written = resume["settings"]["train"]
    before = _steps(written["num_steps"], written.get("epochs", config.epochs), num_samples, config.batch_size)
    if num_steps == before:
        return
    change = f"{folder} holds a run of {before} steps, which the settings make {num_steps}"
    instead = "use another --out, or start from scratch with --overwrite"
    if num_steps < before:
        raise ValueError(f"{change}; a run can be prolonged but not shortened: {instead}")
    if config.schedule.depends_on_length:
        raise ValueError(
            f"{change}; with train.schedule.kind={config.schedule.kind} it cannot be prolonged, because its learning "
            f"rate depended on its length from the start: {instead}"
        )
    if say:
        print(f"note: {folder} is prolonged from {before} to {num_steps} steps", file=sys.stderr)


def _steps(num_steps: int | None, epochs: float, num_samples: int, batch_size: int) -> int:
    return num_steps or max(1, round(epochs * num_samples / batch_size))


@contextmanager
def naming_the_batch(run: Run) -> Iterator[None]:
    """Give torch's error on batch norm of one value the names of the settings that lead to it."""
    try:
        yield
    except ValueError as error:
        part = run.config.batch_size // (run.config.accumulate * run.group.count)
        if part > 1 or "more than 1 value per channel" not in str(error):
            raise
        shared = f" / {run.group.count} processes" if run.group.count > 1 else ""
        raise ValueError(
            "batch norm cannot be trained on one sample at a time, but that is what train.batch_size "
            f"{run.config.batch_size} / train.accumulate {run.config.accumulate}{shared} comes to; raise "
            f"train.batch_size or lower train.accumulate, so that each part has two or more ({error})"
        ) from error


def prepare(
    task: Task,
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device,
    group: Processes,
    num_steps: int,
    settings: dict[str, Any],
) -> Run:
    """Freeze, wrap and put together."""
    model = task.model
    if config.sync_batch_norm:
        synchronize_batch_norm(model)
    _training_mode(task, config)
    build = task.optimizer or (lambda model: build_optimizer(model.parameters(), config.optimizer))
    optimizer = build(model)
    average = None if config.average is None else MovingAverage(model, config.average)
    network: Any = torch.compile(model) if config.compile else model
    no_sync = nullcontext
    if group.count > 1:
        network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
        no_sync = network.no_sync
    return Run(
        task=task,
        config=config,
        out=out,
        device=device,
        group=group,
        settings=settings,
        num_samples=len(task.dataset),
        num_steps=num_steps,
        model=model,
        network=_in_precision(network, device, config.precision),
        no_sync=no_sync,
        optimizer=optimizer,
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "float16"),
        average=average,
    )


def _training_mode(task: Task, config: TrainConfig) -> None:
    task.model.train()
    freeze(task.model, (*config.freeze, *task.freeze))


def _in_precision(network: Callable, device: torch.device, precision: Precision) -> Callable:
    if precision == "float32":
        return network

    def in_precision(*args, **kwargs):
        with autocast(device, precision):
            return network(*args, **kwargs)

    return in_precision


def restore(run: Run, content: dict[str, Any]) -> Progress:
    """Continue from what `save` stored."""
    run.model.load_state_dict(content["model"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.scaler.load_state_dict(content["scaler"])
    if run.average is not None:
        run.average.load_state_dict(content["average"])
    return Progress(**content["progress"])


def keep(run: Run, progress: Progress, name: str) -> None:
    """Write the weights to use, under a name such as best."""
    about = {"step": progress.step, "num_steps": run.num_steps, "metrics": progress.metrics}
    save_checkpoint(run.out, name, model=run.task.kept(run.weights), settings=run.settings, **about)


def save(run: Run, progress: Progress, *, evaluation_due: bool = False) -> None:
    """Write the last weights, and everything that a killed run needs to resume; in the main process only.

    `evaluation_due` says that the evaluation of this step is still to be made.
    """
    if not run.group.is_main:
        return
    keep(run, progress, "last")
    content = {
        "settings": run.settings,
        "step": progress.step,
        "progress": asdict(progress),
        "evaluation_due": evaluation_due,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
    }
    save_resume(run.out, content)
