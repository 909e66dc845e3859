"""The start of training from given weights: what is copied into a network, with an account of every tensor."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pcfdsl.checkpoints.run_folder import note_unfinished
from pcfdsl.checkpoints.weights import not_finite, read_weights
from pcfdsl.config import option, validate

__all__ = ["InitConfig", "TransferReport", "start_from", "take_over", "transfer"]

_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """The weights that training starts from."""

    checkpoint: str | None = option(
        None, "a run's folder, or a weights file of ours or of another project; null: random weights"
    )
    parts: tuple[str, ...] = option(("backbone_net", "vgen"), "parts of the network to copy")

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class TransferReport:
    """What happened to each tensor of a transfer.

    Attributes:
        loaded: Names of copied tensors.
        skipped: Source tensors outside the prefixes.
        mismatched: (name, source shape, target shape) of tensors that differ in shape and were not copied.
        unused: Source tensors within the prefixes that the network does not have.
        missing: Tensors of the network within the prefixes that the source does not have; they keep their values.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded, {len(self.skipped)} of the source are outside the chosen parts"]
        differing = [f"{name} is {source}, needs {target}" for name, source, target in self.mismatched]
        for what, names in (
            ("shape differs", differing),
            ("unused", self.unused),
            ("not in the source, keeps its value", self.missing),
        ):
            lines += [f"{what}: {_listed(names)}"] if names else []
        return "\n".join(lines)


def start_from(config: InitConfig, model: nn.Module) -> None:
    """Copy weights into a detector, or a network around its backbone; print to stderr what was copied.

    Raises:
        OSError, ValueError: If there is no such checkpoint, or its weights do not fit.
    """
    if config.checkpoint is not None:
        weights = read_weights(config.checkpoint)
        state = {**weights.unmatched, **weights.state}
        take_over(config.checkpoint, model, state, prefixes=config.parts, notes=weights.notes)


def take_over(
    checkpoint: str, model: nn.Module, state: Mapping[str, Tensor], *, prefixes: Iterable[str], notes: Iterable[str]
) -> TransferReport:
    """Transfer weights that were read from a checkpoint; print to stderr what was copied, and if its run is unfinished.

    Raises:
        ValueError: See `transfer`; the message names the checkpoint.
    """
    try:
        report = transfer(model, state, prefixes=prefixes)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from None
    note_unfinished(checkpoint)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"from {checkpoint}: {report}", file=sys.stderr)
    return report


def transfer(
    module: nn.Module, state: Mapping[str, Tensor], *, prefixes: Iterable[str] = ("backbone_net", "vgen")
) -> TransferReport:
    """Copy the chosen parts of another network's weights into a network where names and shapes agree.

    Args:
        module: The network, which is changed in place.
        state: The other network's state dict.
        prefixes: Dotted names of the parts, or of single tensors, to copy.

    Returns:
        What happened to each tensor.

    Raises:
        ValueError: If less than half of the chosen parts fits, counted in either network, or a tensor that fits is not
            finite; nothing is copied.
    """
    prefixes = tuple(prefixes)
    own = module.state_dict()

    def chosen(name: str) -> bool:
        return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)

    found = [name for name in state if chosen(name) and name in own]
    loaded = [name for name in found if state[name].shape == own[name].shape]
    report = TransferReport(
        loaded=tuple(loaded),
        skipped=tuple(name for name in state if not chosen(name)),
        mismatched=tuple(
            (name, tuple(state[name].shape), tuple(own[name].shape))
            for name in found
            if state[name].shape != own[name].shape
        ),
        unused=tuple(name for name in state if chosen(name) and name not in own),
        missing=tuple(name for name in own if chosen(name) and name not in state),
    )
    if not loaded:
        parts = tuple(dict.fromkeys(name.partition(".")[0] for name in state))
        raise ValueError(
            f"nothing to transfer to {type(module).__name__}: no tensor under {', '.join(prefixes)} has the same name "
            f"and shape in both; the source consists of {_listed(parts) or 'nothing'}.\n"
            f"{report}\nnames in the source: {_listed(tuple(state)) or 'none'}\n"
            f"names that were expected: {_listed([name for name in own if chosen(name)] or tuple(own))}"
        )
    # Either may have more than the other, as a detector has compared with a classifier.
    if len(loaded) < len(report.mismatched) + min(len(report.unused), len(report.missing)):
        raise ValueError(f"the weights are of another network: most of them do not fit.\n{report}")
    if bad := not_finite({name: state[name] for name in loaded}):
        raise ValueError(
            f"the weights hold NaN or infinity, as after training that diverged: {_listed(bad)}; take an earlier "
            "checkpoint, or leave out the parts that these are in"
        )
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return report


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
