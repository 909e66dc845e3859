"""Weights of any origin, ours or other projects', read whatever their container, wrappers and names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pcfdsl.checkpoints.containers import find_network, state_dicts
from pcfdsl.checkpoints.files import is_safetensors, read_safetensors
from pcfdsl.checkpoints.layouts import Layout, detect_layout, in_layouts, to_ours
from pcfdsl.checkpoints.run_folder import find_weights
from pcfdsl.checkpoints.torch_file import Inert, load_torch_file
from pcfdsl.datasets.spec import SPECS, DatasetSpec

__all__ = ["Headings", "Weights", "benchmark_of", "not_finite", "read_state", "read_weights"]

Headings = Literal["auto", "clockwise", "counterclockwise"]

_NAMED = 6


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
    state, meta, notes = read_state(path, known=in_layouts)
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


def read_state(
    path: str | Path, *, known: Callable[[str], object] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]:
    """Read a network under the names in the file, without those of wrappers, containers and other prefixes.

    Args:
        path: A run's folder, or a safetensors or torch file (.pth, .pt, .tar, .ckpt, .bin, ...) of any project.
        known: Name -> whether the network has it that the weights are for; decides which part of the file is read and
            what its names begin with. None: the first state dict, and only wrappers are removed.

    Returns:
        The state dict, the plain values under the file's `meta`, and remarks for the user. Where nothing is known,
        the state dict is the largest.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is damaged or holds no state dict.
    """
    path = find_weights(path)
    content = read_safetensors(path)[0] if is_safetensors(path) else load_torch_file(path, leave_out_objects=True)
    groups = state_dicts(content)
    if not groups:
        raise ValueError(f"{path} holds no state dict: {_holds(content)}")
    largest = max(groups.values(), key=len)
    found = find_network(groups, known or (lambda name: True))
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return (largest, meta, ()) if found is None else (found.state, meta, found.notes)


def not_finite(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The tensors that hold NaN or infinity, each with how many."""
    found = []
    for name, tensor in state.items():
        if tensor.is_floating_point():
            bad = int((~torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor)).sum())
            found += [f"{name} ({bad} of {tensor.numel()} values)"] if bad else []
    return tuple(found)


def benchmark_of(state: Mapping[str, Tensor]) -> DatasetSpec | None:
    """The benchmark for which a head has as many channels.

    VoteNet's has 2 + 3 + 2 bins + 4 sizes + classes; TR3D's two have 6, or 8 for boxes that turn, and the classes.
    """
    if "bbox_head.conv_cls.kernel" in state and "bbox_head.conv_reg.kernel" in state:
        channels = tuple(state[f"bbox_head.conv_{part}.kernel"].shape[-1] for part in ("reg", "cls"))
        published = [spec for spec in SPECS if spec.class_levels]
        return next((s for s in published if channels == (6 if s.num_heading_bins == 1 else 8, len(s.classes))), None)
    if "pnet.conv3.bias" not in state:
        return None
    channels = state["pnet.conv3.bias"].numel()
    published = [spec for spec in SPECS if spec.mean_sizes]
    return next((spec for spec in published if channels == 5 + 2 * spec.num_heading_bins + 5 * len(spec.classes)), None)


def _holds(content: Any) -> str:
    """What a file holds that should hold tensors by name."""
    objects = {"": content} | (content if isinstance(content, dict) else {})
    whole = [(key, type(value)) for key, value in objects.items() if isinstance(value, Inert)]
    if whole:
        key, kind = whole[0]
        where = f" under {key}" if key else ""
        return (
            f"it is an object of {kind.__module__}.{kind.__name__}{where}; where that package is installed, save its "
            "state_dict() instead"
        )
    keys = ", ".join(map(str, list(content)[:_NAMED])) if isinstance(content, dict) else ""
    return f"no key has tensors by name; the keys of the file are {keys or 'none'}"
