"""Reading variables of MATLAB files, old (version 5 to 7) and new (7.3, which is HDF5), as plain Python values."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.data.matlab5 import read_matlab5

__all__ = ["read_variable"]

_MAX_BYTES = 1 << 31  # of one array, unpacked


def read_variable(path: str | Path, name: str, *, fields: Collection[str] | None = None) -> Any:
    """A variable of a MATLAB file.

    Numbers become arrays as MATLAB shows them, text becomes `str`, cells become lists in column order, and struct
    arrays become lists of dictionaries, whatever their shape. An empty array is one, whatever it would have held.

    Args:
        path: The .mat file.
        name: The variable.
        fields: Fields of structs to read, on every level; None: all.

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
    """MATLAB puts a block of 512 bytes of its own in front; other writers may not."""
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
        raise ValueError(f"it is cut off or damaged ({error})") from None
    with opened:
        file: Any = opened
        if name not in file:
            found = [key for key in file if not key.startswith("#")]
            raise KeyError(f"it has no variable {name!r}; it has {', '.join(found) or 'none'}")
        try:
            return _from_hdf5(file, file[name], fields, h5py)
        except Exception as error:  # h5py fails on damaged parts in every way there is
            raise ValueError(f"{type(error).__name__}: {error}") from None


def _from_hdf5(file: Any, item: Any, fields: Collection[str] | None, h5py: Any) -> Any:
    """One HDF5 object -> plain values. Arrays lie transposed in the file, and references stand for nested values."""
    if isinstance(item, h5py.Group):
        wanted = {field: item[field] for field in item if fields is None or field in fields}
        arrays = {field: data for field, data in wanted.items() if _holds_references(data, h5py)}
        if not arrays:  # a single struct keeps the values themselves
            return [{field: _from_hdf5(file, data, fields, h5py) for field, data in wanted.items()}]
        columns = {field: _content(data).ravel() for field, data in arrays.items()}
        length = len(next(iter(columns.values())))
        return [
            {field: _from_hdf5(file, file[column[i]], fields, h5py) for field, column in columns.items()}
            for i in range(length)
        ]
    matlab_class = item.attrs.get("MATLAB_class", "")
    matlab_class = matlab_class.decode("ascii", "replace") if isinstance(matlab_class, bytes) else str(matlab_class)
    if item.attrs.get("MATLAB_empty"):
        return "" if matlab_class == "char" else np.zeros((0, 0))
    values = _content(item)
    if matlab_class == "cell":
        return [_from_hdf5(file, file[reference], fields, h5py) for reference in values.ravel()]
    if matlab_class == "char":
        return "".join(map(chr, values.ravel().tolist()))
    return np.asarray(values).T


def _content(data: Any) -> Any:
    size = (data.size or 0) * data.dtype.itemsize
    if size > _MAX_BYTES:  # HDF5 fills what it does not hold, however much that is
        raise ValueError(f"an array of {data.shape} has {size} bytes; at most {_MAX_BYTES >> 30} GB are read")
    return data[()]


def _holds_references(data: Any, h5py: Any) -> bool:
    """Whether a field is that of a struct array: references without a class of their own (a cell has one)."""
    return (
        isinstance(data, h5py.Dataset)
        and h5py.check_ref_dtype(data.dtype) is not None
        and "MATLAB_class" not in data.attrs
    )
