"""Our weights files: safetensors with JSON metadata and a checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pcfdsl.readers.folders import has_ending
from pcfdsl.store.atomic import write_file

__all__ = ["is_safetensors", "load_weights", "read_safetensors", "save_weights", "write_weights"]

_CHECKSUM = "sha256"


def save_weights(path: str | Path, module: nn.Module, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write all parameters and buffers of a network; see `write_weights`."""
    return write_weights(path, module.state_dict(), metadata=metadata)


def write_weights(path: str | Path, state: Mapping[str, Tensor], *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a state dict as safetensors. An existing file is replaced atomically.

    Args:
        path: A file name that ends in .safetensors.
        state: Tensors by name.
        metadata: JSON values to store with the weights, such as the settings.

    Returns:
        The path.

    Raises:
        ValueError: If the file name has another suffix.
    """
    path = _checked(path)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    about = {**(metadata or {}), _CHECKSUM: _checksum(state)}
    write_file(path, _ordered(save(state, metadata={key: json.dumps(value) for key, value in about.items()})))
    return path


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the state dict and metadata of a .safetensors file; metadata of other programs is ignored.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file name has another suffix, or the file is damaged.
    """
    return read_safetensors(_checked(path))


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is in the safetensors format by its content, whatever its name; others' endings vary.

    An empty or damaged file goes by its name.
    """
    with open(path, "rb") as file:
        start = file.read(9)  # length of the header, and its opening brace
    return start[8:] == b"{" or (start[:2] not in (b"PK", b"\x80\x02") and has_ending(path, (".safetensors",)))


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`load_weights` for a file of any name."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ours = _CHECKSUM in texts or "settings" in texts
        metadata = {key: json.loads(text) for key, text in texts.items()} if ours else {}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); write or copy it again") from error
    if metadata.pop(_CHECKSUM, None) not in (None, _checksum(state)):
        raise ValueError(f"{path} is damaged (its checksum is wrong); write or copy it again")
    return state, metadata


def _ordered(file: bytes) -> bytes:
    """The same file with its metadata in alphabetical order, so that equal runs write equal files.

    safetensors writes them in an order that changes from one process to the next.
    """
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(file)[end:]))


def _checksum(state: Mapping[str, Tensor]) -> str:
    content = hashlib.sha256()
    for name in sorted(state):
        content.update(f"{name} {state[name].dtype} {tuple(state[name].shape)} ".encode())
        content.update(state[name].reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if not has_ending(path, (".safetensors",)):
        raise ValueError(f"weights file {path} must end in .safetensors")
    return path
