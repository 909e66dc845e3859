"""Reading variables of MATLAB files, old (version 5 to 7) and new (7.3, which is HDF5), as plain Python values."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_variable"]


def read_variable(path: str | Path, name: str, *, fields: Collection[str] | None = None) -> Any:
    """A variable of a MATLAB file.

    Numbers become arrays as MATLAB shows them, text becomes `str`, cells become lists in column order, and struct arrays
    become lists of dictionaries, whatever their shape. An empty array is an empty array, whatever it would have held.

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
        value = _read_hdf5(path, name, fields) if is_hdf5 else _read_version_5(path, name, fields)
    except _MissingError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # the readers fail on damaged files in every way there is
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); download it again") from error
    return value


class _MissingError(Exception):
    """Something that the message explains is not there."""


def _has_hdf5_signature(file: Any) -> bool:
    """MATLAB puts a block of 512 bytes of its own in front; other writers may not."""
    for start in (0, 512):
        file.seek(start)
        if file.read(8) == b"\x89HDF\r\n\x1a\n":
            return True
    return False


def _read_version_5(path: Path, name: str, fields: Collection[str] | None) -> Any:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        found = [entry[0] for entry in whosmat(path)]
        if name not in found:
            raise _MissingError(f"{path} has no variable {name!r}; it has {', '.join(found) or 'none'}")
        return _plain(loadmat(path, variable_names=[name])[name], fields)
    except MatReadError as error:
        raise ValueError(f"it is cut off or no MATLAB file: {error}") from error


def _plain(value: Any, fields: Collection[str] | None) -> Any:
    """scipy's arrays of arrays -> plain values."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names is not None:
        wanted = [field for field in value.dtype.names if fields is None or field in fields]
        rows = value.ravel(order="F")
        return [{field: _plain(row[field], fields) for field in wanted} for row in rows]
    if value.dtype == object:
        return [_plain(item, fields) for item in value.ravel(order="F")]
    if value.dtype.kind in "US":
        return "".join(value.ravel().tolist())
    return value


def _read_hdf5(path: Path, name: str, fields: Collection[str] | None) -> Any:
    try:
        import h5py
    except ImportError:
        raise _MissingError(
            f"{path} is a MATLAB file of version 7.3, which needs h5py: pip install h5py, "
            f"or in MATLAB: load('{path.name}'); save('{path.name}', '{name}', '-v7')"
        ) from None
    with h5py.File(path, "r") as file:
        if name not in file:
            found = [key for key in file if not key.startswith("#")]
            raise _MissingError(f"{path} has no variable {name!r}; it has {', '.join(found) or 'none'}")
        return _from_hdf5(file, file[name], fields, h5py)


def _from_hdf5(file: Any, item: Any, fields: Collection[str] | None, h5py: Any) -> Any:
    """One HDF5 object -> plain values. Arrays lie transposed in the file, and references stand for nested values."""
    if isinstance(item, h5py.Group):
        wanted = {field: item[field] for field in item if fields is None or field in fields}
        arrays = {field: data for field, data in wanted.items() if _holds_references(data, h5py)}
        if not arrays:  # a single struct keeps the values themselves
            return [{field: _from_hdf5(file, data, fields, h5py) for field, data in wanted.items()}]
        columns = {field: data[()].ravel() for field, data in arrays.items()}
        length = len(next(iter(columns.values())))
        return [
            {field: _from_hdf5(file, file[column[i]], fields, h5py) for field, column in columns.items()}
            for i in range(length)
        ]
    matlab_class = bytes(item.attrs.get("MATLAB_class", b"")).decode("ascii", "replace")
    if "MATLAB_empty" in item.attrs and item.attrs["MATLAB_empty"]:
        return "" if matlab_class == "char" else np.zeros((0, 0))
    values = item[()]
    if matlab_class == "cell":
        return [_from_hdf5(file, file[reference], fields, h5py) for reference in values.ravel()]
    if matlab_class == "char":
        return "".join(map(chr, values.ravel().tolist()))
    return np.asarray(values).T


def _holds_references(data: Any, h5py: Any) -> bool:
    """Whether a field is that of a struct array: references without a class of their own (a cell has one)."""
    return (
        isinstance(data, h5py.Dataset)
        and h5py.check_ref_dtype(data.dtype) is not None
        and "MATLAB_class" not in data.attrs
    )
