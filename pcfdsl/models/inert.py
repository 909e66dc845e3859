"""Torch files that hold objects of other packages beside their tensors, read without importing or calling any of it.

PointContrast's and CSC's checkpoints carry their settings as objects of a package (OmegaConf) that a reader would have
to import and run. Here everything that is not needed to make a tensor becomes an `Inert`, which does nothing.
"""

import pickle
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._utils

__all__ = ["Inert", "load_tensors"]

_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
}


class Inert:
    """Stands for an object that was not made; takes whatever a pickle does to it and keeps nothing."""

    def __new__(cls, *_args: Any, **_settings: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_settings: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Nothing."""

    def extend(self, items: Any) -> None:
        """Nothing."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Storages are torch's own, found before it asks here. A pickle can set attributes of the functions and classes
        # that it finds: it gets some of its own.
        found = _ADMITTED.get((module, name))
        if found is None:
            return type("Inert", (Inert,), {})
        return found if isinstance(found, type) else partial(found)


def load_tensors(path: str | Path) -> Any:
    """The content of a torch file, with `Inert` wherever it holds more than tensors and plain values.

    Raises:
        Exception: Of any kind, if the file is no torch file or is damaged.
    """
    module = SimpleNamespace(
        __name__="pcfdsl.models.inert",
        Unpickler=_Unpickler,
        load=lambda file, **settings: _Unpickler(file, **settings).load(),
    )
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
