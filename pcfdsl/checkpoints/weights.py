"""Weights in files, and from one network into another. Nothing is dropped without being named."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pcfdsl.checkpoints.torch_file import load_torch_file
from pcfdsl.store.atomic import write_file

__all__ = [
    "TransferReport",
    "load_weights",
    "read_published_checkpoint",
    "read_torch_file",
    "save_weights",
    "transfer",
    "write_weights",
]


_CHECKSUM = "sha256"
_NAMED = 6


@dataclass(frozen=True)
class TransferReport:
    """Where each tensor of a transfer went.

    Attributes:
        loaded: Names copied.
        skipped: Source tensors outside the prefixes.
        mismatched: (name, source shape, target shape) of tensors that differ in shape and were not copied.
        unused: Source tensors within the prefixes that the network has no place for.
        missing: Tensors of the network within the prefixes that the source does not have; they keep their values.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded, {len(self.skipped)} of the source outside the chosen parts"]
        differing = [f"{name} is {source}, needs {target}" for name, source, target in self.mismatched]
        for what, names in (
            ("shape differs", differing),
            ("unused", self.unused),
            ("not in the source, keeps its value", self.missing),
        ):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines += [f"{what}: {', '.join(names[:_NAMED])}{more}"] if names else []
        return "\n".join(lines)


def save_weights(path: str | Path, module: nn.Module, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write all parameters and buffers as safetensors. A file of that name is replaced whole or not at all.

    Args:
        path: Ends in .safetensors.
        module: The network.
        metadata: JSON values to keep with the weights, such as the configuration.

    Returns:
        The path.

    Raises:
        ValueError: If the name ends otherwise.
    """
    return write_weights(path, module.state_dict(), metadata=metadata)


def write_weights(path: str | Path, state: Mapping[str, Tensor], *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a state dict as `save_weights` writes a module's."""
    path = _checked(path)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    about = {**(metadata or {}), _CHECKSUM: _checksum(state)}
    write_file(path, save(state, metadata={key: json.dumps(value) for key, value in about.items()}))
    return path


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and metadata of a file that `save_weights` wrote.

    Raises:
        ValueError: If the name ends otherwise, or the file is damaged.
        FileNotFoundError: If there is none.
    """
    path = _checked(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole weights file ({error}); write it again") from error
    if metadata.pop(_CHECKSUM, None) not in (None, _checksum(state)):  # files of others have none
        raise ValueError(f"{path} is not a whole weights file (its weights are not those written); write it again")
    return state, metadata


def read_published_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """State dict of a published VoteNet `checkpoint.tar`, or one of PointContrast, DepthContrast or MMDetection3D.

    Read with `weights_only`, so that nothing in the file is executed. A `module.` that data-parallel training put
    before every name is removed.

    Raises:
        OSError: If there is no such file.
        ValueError: If the file is damaged or holds no state dict.
    """
    state, _ = read_torch_file(path)
    return {name.removeprefix("module."): value for name, value in state.items()}


def read_torch_file(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict of a torch file as it is, and the plain values that its `meta` holds, if any.

    Nothing in the file is executed: objects of other packages, such as the settings in PointContrast's and CSC's
    files, are left out.

    Raises:
        OSError: If there is no such file.
        ValueError: If the file is damaged or holds no state dict.
    """
    try:
        content = load_torch_file(path, leave_out_objects=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint {path}") from None
    keys = ("model_state_dict", "state_dict", "model")
    nested = isinstance(content, dict) and any(isinstance(content.get(key), dict) for key in keys)
    state = next(content[key] for key in keys if isinstance(content.get(key), dict)) if nested else content
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict; expected one under {', '.join(keys)}")
    meta = content.get("meta") if nested else None
    return {str(name): value for name, value in state.items()}, meta if isinstance(meta, dict) else {}


def transfer(
    module: nn.Module, state: Mapping[str, Tensor], *, prefixes: Iterable[str] = ("backbone_net", "vgen")
) -> TransferReport:
    """Copy the chosen parts of another network's weights into a network, wherever name and shape are equal.

    Args:
        module: The network; changed in place.
        state: The other network's state dict.
        prefixes: Dotted names of the parts, or of single tensors, to copy.

    Returns:
        What happened to each tensor.

    Raises:
        ValueError: If nothing fits, or less than half of the chosen parts on either side; nothing is copied.
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
        raise ValueError(
            f"nothing to transfer: no tensor under {', '.join(prefixes)} has the same name and shape in both.\n{report}"
        )
    # Either may have more than the other, as a detector has beside a classifier.
    if len(loaded) < len(report.mismatched) + min(len(report.unused), len(report.missing)):
        raise ValueError(f"the weights are those of another network: most of them do not fit.\n{report}")
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return report


def _checksum(state: Mapping[str, Tensor]) -> str:
    content = hashlib.sha256()
    for name in sorted(state):
        content.update(f"{name} {state[name].dtype} {tuple(state[name].shape)} ".encode())
        content.update(state[name].reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights file {path} must end in .safetensors")
    return path
