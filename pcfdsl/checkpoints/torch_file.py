"""Torch files, resume.pt and other projects', read without executing anything in them.

A torch file is a pickle, which is a program, and the bytes of its tensors. `torch.load(weights_only=True)` allows only
the functions that rebuild tensors and plain Python values. Checkpoints of other projects also hold objects of packages
that are not installed here (PointContrast's and CSC's settings are OmegaConf's); `Inert` replaces those.

Torch guarantees that no other name in the pickle is imported or called. It ignores the archive's checksums, which are
therefore verified here, and it trusts the sizes that a file claims. A forged file can claim more memory than there is;
open untrusted files with limited memory (`ulimit -v`).
"""

import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._utils

__all__ = ["Inert", "load_torch_file"]

_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
}


def load_torch_file(path: str | Path, *, leave_out_objects: bool = False) -> Any:
    """Read a file written by `torch.save`, with its tensors on the CPU.

    Args:
        path: The file, of any version of torch.
        leave_out_objects: Replace objects of other packages by `Inert` instead of refusing the file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is truncated, damaged, not a torch file, or holds other objects. The message names it.
    """
    try:
        _check_archive(path)
        with open(path, "rb") as file:  # given a name, torch would go by its ending
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:
                if not leave_out_objects:
                    raise
                file.seek(0)
                return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_TOLERANT)
    except OSError:
        raise
    except Exception as error:  # torch raises all kinds of exceptions on damaged files
        with open(path, "rb") as file:
            start = file.read(24)
        is_pickle = start[:1] == b"\x80" or start[:2] == b"PK"
        reason = (str(error).splitlines() or [type(error).__name__])[0] if is_pickle else f"it begins with {start!r}"
        raise ValueError(f"{path} is damaged, or not a torch checkpoint ({reason})") from error


class Inert:
    """Stands in for an object that was not built; accepts whatever a pickle does to it and keeps nothing."""

    def __new__(cls, *_args: Any, **_settings: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_settings: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Do nothing."""

    def extend(self, items: Any) -> None:
        """Do nothing."""


class _Unpickler(pickle._Unpickler):  # the one in C allocates memory for any object number in the file
    def find_class(self, module: str, name: str) -> Any:
        # Torch resolves its storages before it asks here. A pickle can set attributes on the functions and classes that
        # it finds, so it gets copies.
        found = _ADMITTED.get((module, name))
        if found is None:
            return type(name, (Inert,), {"__module__": module})  # the name is for messages
        return found if isinstance(found, type) else partial(found)


_TOLERANT = SimpleNamespace(
    __name__=__name__, Unpickler=_Unpickler, load=lambda file, **settings: _Unpickler(file, **settings).load()
)


def _check_archive(path: str | Path) -> None:
    """Verify the checksums of a file in torch's archive format; older files have none."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # torch's own criterion
            return
        try:
            with zipfile.ZipFile(file) as archive:
                if any(name.lower().endswith("/constants.pkl") for name in archive.namelist()):
                    raise ValueError("it is a TorchScript program")
                if damaged := archive.testzip():
                    raise ValueError(f"the checksum of its part {damaged} is wrong")
        except OSError as error:  # a damaged directory points outside the file
            raise ValueError(f"its directory is damaged ({error})") from error
