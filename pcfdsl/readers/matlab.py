"""Variables of MATLAB files, old (versions 4 to 7) and new (7.3, which is HDF5), as plain Python values."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.matlab5 import read_matlab5

__all__ = ["read_variable"]

_MAX_BYTES = 1 << 31  # of all arrays, unpacked


def read_variable(path: str | Path, name: str, *, fields: Collection[str] | None = None) -> Any:
    """Read a variable of a MATLAB file.

    Numbers become arrays as MATLAB shows them, text becomes `str`, cells become lists in column order, and struct
    arrays become lists of dictionaries, whatever their shape. Anything empty becomes an empty array.

    Args:
        path: The .mat file.
        name: The variable.
        fields: Fields of structs to read, at every level; None: all.

    Raises:
        OSError: If the file is missing.
        ValueError: If it is damaged, has no such variable, or is of version 7.3 and h5py is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with open(path, "rb") as file:
        is_hdf5 = file.read(128)[:19] == b"MATLAB 7.3 MAT-file" or _has_hdf5_signature(file)
    try:
        return _read_hdf5(path, name, fields) if is_hdf5 else read_matlab5(path, name, fields=fields)
    except ImportError:
        raise ValueError(
            f"{path} is a MATLAB file of version 7.3, which needs h5py: pip install h5py, "
            f"or in MATLAB: load('{path.name}'); save('{path.name}', '{name}', '-v7')"
        ) from None
    except KeyError as error:
        raise ValueError(f"{path} cannot be used: {error.args[0]}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}; download it again") from None


def _has_hdf5_signature(file: Any) -> bool:
    """MATLAB writes a 512-byte block of its own in front; other writers may not."""
    for start in (0, 512):
        file.seek(start)
        if file.read(8) == b"\x89HDF\r\n\x1a\n":
            return True
    return False


def _read_hdf5(path: Path, name: str, fields: Collection[str] | None) -> Any:
    import h5py

    try:
        opened = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"it is truncated or damaged ({error})") from None
    with opened:
        file: Any = opened
        if name not in file:
            found = [key for key in file if not key.startswith("#")]
            raise KeyError(f"it has no variable {name!r}; it has {', '.join(found) or 'none'}")
        try:
            return _Hdf5(file, fields, h5py).read(file[name])
        except Exception as error:  # h5py raises all kinds of exceptions on damaged parts
            raise ValueError(f"{type(error).__name__}: {error}") from None


class _Hdf5:
    """HDF5 objects -> plain values. Arrays are transposed in the file, and references stand for nested values.

    Each object is read once, however many references point to it; all together may hold 2 GB.
    """

    def __init__(self, file: Any, fields: Collection[str] | None, h5py: Any):
        self.file, self.fields, self.h5py = file, fields, h5py
        self.done: dict[int, Any] = {}
        self.bytes_left = _MAX_BYTES

    def read(self, item: Any) -> Any:
        if item.file.id != self.file.id or (isinstance(item, self.h5py.Dataset) and item.external):
            raise ValueError("a part of it is in another file, which is not opened; MATLAB writes none")
        address = self.h5py.h5o.get_info(item.id).addr
        if address not in self.done:
            self.done[address] = self.struct(item) if isinstance(item, self.h5py.Group) else self.value(item)
        return self.done[address]

    def struct(self, group: Any) -> list[dict[str, Any]]:
        wanted = {field: group[field] for field in group if self.fields is None or field in self.fields}
        arrays = {field: data for field, data in wanted.items() if _holds_references(data, self.h5py)}
        if not arrays:  # a single struct holds its values directly
            return [{field: self.read(data) for field, data in wanted.items()}]
        columns = {field: self.content(data).ravel() for field, data in arrays.items()}
        length = len(next(iter(columns.values())))
        return [{field: self.read(self.file[column[i]]) for field, column in columns.items()} for i in range(length)]

    def value(self, item: Any) -> Any:
        matlab_class = item.attrs.get("MATLAB_class", "")
        matlab_class = matlab_class.decode("ascii", "replace") if isinstance(matlab_class, bytes) else str(matlab_class)
        if item.attrs.get("MATLAB_empty"):
            return "" if matlab_class == "char" else np.zeros((0, 0))
        values = self.content(item)
        if matlab_class == "cell":
            return [self.read(self.file[reference]) for reference in values.ravel()]
        if matlab_class == "char":
            return "".join(map(chr, values.ravel().tolist()))
        return np.asarray(values).T

    def content(self, data: Any) -> Any:
        size = (data.size or 0) * data.dtype.itemsize
        if data.dtype.hasobject and self.h5py.check_ref_dtype(data.dtype) is None:
            raise ValueError("values of variable length are not read; MATLAB writes none")
        self.bytes_left -= size
        if self.bytes_left < 0:  # HDF5 fills in what the file does not hold, however much that is
            raise ValueError(f"with an array of {data.shape} it exceeds {_MAX_BYTES >> 30} GB, the most that is read")
        return data[()]


def _holds_references(data: Any, h5py: Any) -> bool:
    """Whether a field belongs to a struct array: it holds references and, unlike a cell, has no class of its own."""
    return (
        isinstance(data, h5py.Dataset)
        and h5py.check_ref_dtype(data.dtype) is not None
        and "MATLAB_class" not in data.attrs
    )
