"""Weights of any origin, ours or other projects', read whatever their container, wrappers and names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pcfdsl.checkpoints.files import load_weights
from pcfdsl.checkpoints.layouts import Layout, detect_layout, to_ours
from pcfdsl.checkpoints.run import find_weights
from pcfdsl.checkpoints.torch_file import load_torch_file
from pcfdsl.datasets.spec import SPECS, DatasetSpec
from pcfdsl.readers.folders import has_ending

__all__ = ["Headings", "Weights", "benchmark_of", "read_state", "read_weights"]

Headings = Literal["auto", "clockwise", "counterclockwise"]

# Keys of the state dict in torch files, by precedence: timm's moving averages come first, as in its own loader.
_CONTAINERS = ("state_dict_ema", "model_ema", "model_state_dict", "state_dict", "model_state", "model")
_WRAPPERS = re.compile(r"^((module|_orig_mod|model)\.)+")  # of data-parallel training, torch.compile and Lightning


@dataclass(frozen=True)
class Weights:
    """The weights of a detector or of its backbone.

    Attributes:
        state: Tensors by our names.
        unmatched: Tensors that a detector does not have, by their names in the file.
        layout: Layout of the file.
        notes: Remarks for the user.
    """

    state: dict[str, Tensor]
    unmatched: dict[str, Tensor]
    layout: Layout
    notes: tuple[str, ...] = ()


def read_weights(path: str | Path, *, layout: Layout | None = None, headings: Headings = "auto") -> Weights:
    """Read weights of a run or of another project under our names.

    Args:
        path: See `read_state`.
        layout: Layout of the file; None: detected.
        headings: Direction of headings in a detector of MMDetection3D: clockwise before its version 1.0; "auto": by
            the version in the file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it cannot be read, or its layout is unknown; the message has the first names.
    """
    state, meta, notes = read_state(path)
    try:
        layout = layout or detect_layout(state)
        clockwise = headings == "clockwise"
        if layout == "mmdetection3d" and headings == "auto":
            version = str(meta.get("mmdet3d_version", ""))
            clockwise = version.startswith("0.")
            source = f"the file is from version {version}" if version else "the file has no version; 1.0 is assumed"
            notes = (*notes, f"headings taken as {'clockwise' if clockwise else 'counter-clockwise'}: {source}")
        conversion = to_ours(state, layout=layout, clockwise=clockwise)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Weights(conversion.state, {name: state[name] for name in conversion.unmatched}, layout, notes)


def read_state(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]:
    """Read a state dict under the names in the file, without the prefixes of wrappers.

    Args:
        path: A run's folder, a .safetensors file, or a torch file (.pth, .pt, .tar, .ckpt, ...) that holds a state dict
            by itself or under one of the usual keys.

    Returns:
        The state dict, the plain values under the file's `meta`, and remarks for the user.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is damaged or holds no state dict.
    """
    path = find_weights(path)
    if has_ending(path, (".safetensors",)):
        return _unwrapped(load_weights(path)[0]), {}, ()
    content = load_torch_file(path, leave_out_objects=True)
    content = content if isinstance(content, dict) else {}
    key = next((key for key in _CONTAINERS if isinstance(content.get(key), dict)), None)
    state = content if key is None else content[key]
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} holds no state dict; expected one by itself or under {', '.join(_CONTAINERS)}; the keys of the "
            f"file are {', '.join(map(str, list(content)[:6])) or 'none'}"
        )
    meta = content.get("meta") if key else None
    notes = ("the moving average of the weights is used",) if key and key.endswith("_ema") else ()
    state = _unwrapped({str(name): value for name, value in state.items()})
    return state, meta if isinstance(meta, dict) else {}, notes


def benchmark_of(state: Mapping[str, Tensor]) -> DatasetSpec | None:
    """The benchmark for which VoteNet's head has as many channels: 2 + 3 + 2 bins + 4 sizes + classes."""
    if "pnet.conv3.bias" not in state:
        return None
    channels = state["pnet.conv3.bias"].numel()
    return next((spec for spec in SPECS if channels == 5 + 2 * spec.num_heading_bins + 5 * len(spec.classes)), None)


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    return renamed if len(renamed) == len(state) else state
