"""NumPy's files as others send them: what a header promises is compared with the file before memory is asked for."""

import math
import zipfile
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
        ValueError: If it is damaged, cut off, or holds Python objects; the message does not name the file.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _array(file, size)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file, by name.

    Each must have the size that its header promises, and all together at most 64 times that of the file, or 256 MB.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, cut off, unpacks to more, or holds Python objects; the message does not name the
            file.
    """
    with open(path, "rb") as file:
        limit = max(_MAX_TIMES * file.seek(0, 2), _MAX_SMALL)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                size = sum(member.file_size for member in members)
                if size > limit:
                    raise ValueError(f"unpacks to {size} bytes; of a file of this size at most {limit} are read")
                arrays = {}
                for member in members:
                    with archive.open(member) as content:
                        arrays[member.filename.removesuffix(".npy")] = _array(content, member.file_size)
                return arrays
        except ValueError:
            raise
        except Exception as error:  # zipfile and zlib fail on damaged files in every way there is
            raise ValueError(f"is no whole .npz file ({type(error).__name__}: {error})") from None


def _array(file: IO[bytes], size: int) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        if version[0] == 3:  # as 2, with names of columns that nothing here has
            raise ValueError("has columns with names")
        shape, _, dtype = read_header[version[0]](file)
        promised = math.prod(shape) * dtype.itemsize
        held = size - file.tell()
        if dtype.hasobject:
            raise ValueError("holds Python objects, which are not read")
        if promised != held or min(shape, default=0) < 0:
            raise ValueError(f"promises {promised} bytes of {dtype} {shape}, and holds {held}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError:
        raise
    except Exception as error:  # NumPy fails on damaged headers in many ways
        raise ValueError(f"is no whole array ({type(error).__name__}: {error})") from None
