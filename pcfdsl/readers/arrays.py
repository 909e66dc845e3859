"""NumPy files of unknown origin: sizes in their headers are checked against the file before memory is allocated."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

__all__ = ["array_names", "read_array", "read_arrays"]

_MAX_RATIO = 64  # unpacked over packed size; clouds, pictures and rooms have ratios of one to four
_MAX_SMALL = 1 << 28


def read_array(path: str | Path) -> np.ndarray:
    """Read a .npy file, which must hold exactly as many bytes as its header declares.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, truncated, or holds Python objects. The message names the file.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return _array(file, size)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of a .npz file, by name.

    Each must have the size that its header declares; together they may unpack to 64 times the file's size or 256 MB,
    whichever is more.

    Args:
        path: The file.
        names: The arrays to read, all of which must exist; None: all.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged or truncated, unpacks to more, holds Python objects, or lacks an array. The message
            names the file.
    """
    with open(path, "rb") as file:
        limit = max(_MAX_RATIO * file.seek(0, 2), _MAX_SMALL)
        try:
            with zipfile.ZipFile(file) as archive:
                return _members(archive, names, limit)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        except Exception as error:  # zipfile and zlib raise all kinds of exceptions on damaged files
            raise ValueError(f"{path} is not a valid .npz file ({type(error).__name__}: {error})") from None


def array_names(path: str | Path) -> tuple[str, ...]:
    """Names of the arrays of a .npz file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a valid .npz file ({error})") from None


def _members(archive: zipfile.ZipFile, names: Collection[str] | None, limit: int) -> dict[str, np.ndarray]:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if missing := [name for name in names or () if name not in members]:
        raise ValueError(f"has no array {', '.join(missing)}; it has {', '.join(members) or 'none'}")
    members = {name: member for name, member in members.items() if names is None or name in names}
    size = sum(member.file_size for member in members.values())
    if size > limit:
        raise ValueError(f"unpacks to {size} bytes; at most {limit} are read from a file of this size")
    arrays = {}
    for name, member in members.items():
        with archive.open(member) as content:
            arrays[name] = _array(content, member.file_size)
    return arrays


def _array(file: IO[bytes], size: int) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 only in the encoding of column names, which no array here has.
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        declared = math.prod(shape) * dtype.itemsize
    except Exception as error:  # NumPy raises all kinds of exceptions on damaged headers
        raise ValueError(f"is not a valid array ({type(error).__name__}: {error})") from None
    held = size - file.tell()
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read")
    if declared != held or min(shape, default=0) < 0:
        raise ValueError(f"declares {declared} bytes of {dtype} {shape}, but holds {held}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
