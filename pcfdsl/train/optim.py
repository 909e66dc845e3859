"""Optimisers, and schedules as functions of the step: there is no scheduler state to save or to get out of step."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pcfdsl.config import option, validate

__all__ = ["OptimizerConfig", "ScheduleConfig", "bn_momentum", "build_optimizer", "learning_rate_factor"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become steps."""

    name: Literal["adam", "adamw", "sgd"] = option(
        "adam",
        "optimiser",
    )
    learning_rate: float = option(1e-3, "peak learning rate", minimum=0.0)
    weight_decay: float = option(0.0, "L2 penalty (adam, sgd) or decoupled decay (adamw)", minimum=0.0)
    momentum: float = option(0.9, "momentum of sgd", minimum=0.0, maximum=1.0)
    clip: float | None = option(None, "greatest norm of the whole gradient; null does not clip", minimum=0.0)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Learning rate and batch-norm momentum over the run."""

    kind: Literal["constant", "step", "exponential", "cosine"] = option(
        "constant",
        "learning rate over the run",
    )
    milestones: tuple[int, ...] = option((80, 120, 160), "epochs at which `step` multiplies the rate", minimum=0)
    factor: float = option(0.1, "what `step` multiplies by, and `exponential` after every epoch", minimum=0.0)
    final: float = option(0.0, "share of the peak rate at which `cosine` ends", minimum=0.0, maximum=1.0)
    warmup_steps: int = option(0, "steps over which the rate rises linearly to what the schedule says", minimum=0)
    warmup_epochs: float = option(
        0.0, "the same in epochs, if warmup_steps is 0; key=value makes it so", minimum=0.0, instead_of="warmup_steps"
    )
    warmup_start: float = option(0.0, "share of the peak rate from which it rises", minimum=0.0, maximum=1.0)
    bn_momentum: float | None = option(
        None, "batch-norm momentum at the start; null leaves it as the model has it", minimum=0.0, maximum=1.0
    )
    bn_factor: float = option(0.5, "what multiplies the batch-norm momentum", minimum=0.0, maximum=1.0)
    bn_epochs: int = option(20, "epochs between two such multiplications", minimum=1)
    bn_floor: float = option(0.001, "least batch-norm momentum", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def depends_on_length(self) -> bool:
        """Whether the rate at a step depends on how many there will be; milestones and warm-up are counted from 0."""
        return self.kind == "cosine"

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if list(self.milestones) != sorted(set(self.milestones)):
            yield "milestones", f"{self.milestones} must increase"


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser for the parameters that are not frozen.

    Raises:
        ValueError: If all are frozen.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("every parameter is frozen: nothing to train; freeze fewer parts")
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        return torch.optim.SGD(trained, momentum=config.momentum, **settings)
    fused = all(parameter.device.type == "cuda" for parameter in trained)  # one launch for all, where torch has it
    return (torch.optim.Adam if config.name == "adam" else torch.optim.AdamW)(trained, fused=fused, **settings)


def learning_rate_factor(
    config: ScheduleConfig, *, step: int, num_steps: int, epoch: int, steps_per_epoch: float = 1.0
) -> float:
    """Share of the peak learning rate at a step.

    Args:
        config: The schedule.
        step: Steps made so far; 0 is the first.
        num_steps: Length of the run.
        epoch: Epochs completed so far.
        steps_per_epoch: Length of an epoch, for `warmup_epochs`.

    >>> [learning_rate_factor(ScheduleConfig(kind="step"), step=0, num_steps=1, epoch=e) for e in (79, 80)]
    [1.0, 0.1]
    """
    factor, warmup = 1.0, config.warmup_steps or round(config.warmup_epochs * steps_per_epoch)
    if config.kind == "step":
        factor = config.factor ** sum(epoch >= milestone for milestone in config.milestones)
    elif config.kind == "exponential":
        factor = config.factor**epoch
    elif config.kind == "cosine":
        along = (step - warmup) / max(1, num_steps - warmup)
        cosine = (1 + math.cos(math.pi * min(1.0, max(0.0, along)))) / 2
        factor = config.final + (1 - config.final) * cosine
    if step < warmup:
        factor *= config.warmup_start + (1 - config.warmup_start) * (step + 1) / warmup
    return factor


def bn_momentum(config: ScheduleConfig, *, epoch: int) -> float | None:
    """Share of the new batch in batch norm's running statistics; None leaves it alone.

    VoteNet (released code): max(0.5 * 0.5^(epoch // 20), 0.001).
    """
    if config.bn_momentum is None:
        return None
    return max(config.bn_momentum * config.bn_factor ** (epoch // config.bn_epochs), config.bn_floor)
