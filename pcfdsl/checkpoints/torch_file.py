"""Torch files of others, read without running anything in them and without believing what they promise.

A torch file is a pickle, a program that names the tensors, and their numbers. Torch believes its names and sizes, and
objects of other packages (PointContrast's and CSC's settings are OmegaConf's) would have to be imported and run. Here
the pickle is first gone over with `Inert` in every place, so that a file which promises more than it holds is refused
before memory is asked for; then torch reads it, and `Inert` stands for what is no tensor and no plain value.
"""

import io
import math
import mmap
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._utils

__all__ = ["Inert", "load_torch_file"]

_TENSORS = {("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2")}
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    **{key: getattr(torch._utils, key[1]) for key in _TENSORS},
}
_OLD_PICKLES = 5  # of the format before torch 1.6: magic number, version, system, content, names of storages


def load_torch_file(path: str | Path, *, leave_out_objects: bool = False) -> Any:
    """The content of a file that `torch.save` wrote, its tensors on the CPU.

    Args:
        path: The file, of any version of torch.
        leave_out_objects: Put `Inert` in the place of objects of other packages, instead of refusing the file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, no torch file, or holds other objects; the message names it.
    """
    try:
        _require_sound(Path(path))
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            if not leave_out_objects:
                raise
            return _load_tensors(path)
    except OSError:
        raise
    except Exception as error:  # torch fails on damaged files in every way there is
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged, or not a torch checkpoint ({reason})") from error


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


def _load_tensors(path: str | Path) -> Any:
    module = SimpleNamespace(
        __name__="pcfdsl.checkpoints.torch_file",
        Unpickler=_Unpickler,
        load=lambda file, **settings: _Unpickler(file, **settings).load(),
    )
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)


def _require_sound(path: Path) -> None:
    """Refuse a file with other content than was written, where that can be told, and one that promises too much."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # what torch goes by
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for _ in range(_OLD_PICKLES):
                    _survey(content, content.size())
            return
        try:
            with zipfile.ZipFile(file) as archive:
                names = [member.filename.lower() for member in archive.infolist()]
                if any(name.endswith("/constants.pkl") for name in names):
                    raise ValueError("it is a program of TorchScript")
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("a part of it is compressed")  # as torch never writes it
                if damaged := archive.testzip():
                    raise ValueError(f"its part {damaged} is not what was written")
                for name, member in zip(names, archive.infolist(), strict=True):
                    if name.endswith("/data.pkl"):
                        _survey(io.BytesIO(archive.read(member)), file.seek(0, io.SEEK_END))
        except OSError as error:  # a damaged directory points outside the file, even before its beginning
            raise ValueError(f"its directory is damaged ({error})") from error


def _survey(content: io.BytesIO | mmap.mmap, size: int) -> None:
    """Go over the next pickle of a file of this size."""
    start = content.tell()
    for opcode, argument, _ in pickletools.genops(content):  # type: ignore[arg-type]  # a map reads like a file
        if "PUT" in opcode.name and isinstance(argument, int) and argument > size:
            raise ValueError(f"it numbers an object {argument} in {size} bytes")  # Python makes room for as many
    content.seek(start)
    _Surveyor(content, size).load()


class _Surveyor(pickle.Unpickler):
    """Makes nothing of a pickle; sees that storages fit into the file, and tensors into their storages."""

    def __init__(self, content: Any, size: int):
        super().__init__(content)
        self.size = size
        self.numbers_of: dict[Any, int] = {}
        self.promised = 0

    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name == "bytearray":  # torch would make one of any size
            raise ValueError("it asks for a bytearray")
        return self.tensor if (module, name) in _TENSORS else type("Inert", (Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        """A storage -> its number of elements."""
        kind, _, key, _, numbers, *view = pid
        if kind != "storage":
            return Inert()
        if key not in self.numbers_of:
            self.numbers_of[key] = numbers
            self.promised += numbers
        if self.numbers_of[key] != numbers:
            raise ValueError(f"it gives two sizes to its storage {key!r}")
        if numbers < 0 or self.promised > self.size:
            raise ValueError(f"it promises a tensor of {numbers} numbers in {self.size} bytes")
        return numbers if not view or view[0] is None else view[0][2]

    def tensor(self, numbers: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Inert:
        """See that a tensor lies within its storage, and is no longer than the file by strides of 0."""
        last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        if min((offset, *shape, *stride)) < 0 or (math.prod(shape) and last >= numbers):
            raise ValueError(f"it promises a tensor {tuple(shape)} beyond the {numbers} numbers that it is made of")
        if math.prod(shape) > self.size:
            raise ValueError(f"it promises a tensor {tuple(shape)} larger than the file of {self.size} bytes")
        return Inert()
