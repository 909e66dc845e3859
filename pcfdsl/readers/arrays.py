"""NumPy's files as others send them: what a header promises is compared with the file before memory is asked for."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

__all__ = ["read_array", "read_arrays"]

_MAX_TIMES = 64  # the size of the file; clouds, pictures and rooms unpack to one to four times theirs
_MAX_SMALL = 1 << 28


def read_array(path: str | Path) -> np.ndarray:
    """The array of a .npy file, which must hold as many bytes as its header promises.

    Raises:
        OSError: If it cannot be read.
        ValueError: Naming the file, if it is damaged, cut off, or holds Python objects.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return _array(file, size)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a .npz file, by name.

    Each must have the size that its header promises, and all together at most 64 times that of the file, or 256 MB.

    Args:
        path: The file.
        names: Which, all of which must be there; None: whatever there is.

    Raises:
        OSError: If it cannot be read.
        ValueError: Naming the file, if it is damaged, cut off, unpacks to more, holds Python objects, or lacks one.
    """
    with open(path, "rb") as file:
        limit = max(_MAX_TIMES * file.seek(0, 2), _MAX_SMALL)
        try:
            with zipfile.ZipFile(file) as archive:
                return _members(archive, names, limit)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        except Exception as error:  # zipfile and zlib fail on damaged files in every way there is
            raise ValueError(f"{path} is no whole .npz file ({type(error).__name__}: {error})") from None


def _members(archive: zipfile.ZipFile, names: Collection[str] | None, limit: int) -> dict[str, np.ndarray]:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if missing := [name for name in names or () if name not in members]:
        raise ValueError(f"has no array {', '.join(missing)}; it has {', '.join(members) or 'none'}")
    members = {name: member for name, member in members.items() if names is None or name in names}
    size = sum(member.file_size for member in members.values())
    if size > limit:
        raise ValueError(f"unpacks to {size} bytes; of a file of this size at most {limit} are read")
    arrays = {}
    for name, member in members.items():
        with archive.open(member) as content:
            arrays[name] = _array(content, member.file_size)
    return arrays


def _array(file: IO[bytes], size: int) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 is as 2, with names of columns that nothing here has.
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        promised = math.prod(shape) * dtype.itemsize
    except Exception as error:  # NumPy fails on damaged headers in many ways
        raise ValueError(f"is no whole array ({type(error).__name__}: {error})") from None
    held = size - file.tell()
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read")
    if promised != held or min(shape, default=0) < 0:
        raise ValueError(f"promises {promised} bytes of {dtype} {shape}, and holds {held}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
