"""Pictures in the idx files of MNIST and Fashion-MNIST, packed as downloaded or not.

A file is big-endian: two zeros, 8 for bytes, the number of axes, their lengths in 32 bits each, then the bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

__all__ = ["find_idx", "read_idx"]

_MOST_BYTES = 1 << 30
_PARTS = {"train": "train", "val": "t10k", "test": "t10k"}


def read_idx(path: str | Path) -> np.ndarray:
    """Read a file of unsigned bytes, ending in .gz or not; it must hold exactly as many as its header says.

    Returns:
        uint8: [N] labels or [N, H, W] pictures.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, truncated or no idx file of bytes. The message names the file.
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise ValueError("is no idx file of bytes; its first three are not 0, 0 and 8")
            lengths = file.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise ValueError("ends within its header")
            shape = struct.unpack(f">{head[3]}I", lengths)
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise ValueError(f"declares {size} bytes; at most {_MOST_BYTES} are read")
            content = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if len(content) != size:
        more = "more" if len(content) > size else f"{len(content)}"
        raise ValueError(f"{path} declares {size} bytes and holds {more}; download it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def find_idx(folder: str | Path, split: str) -> tuple[Path, Path] | None:
    """The files of pictures and labels of a split, "train" or "test", under their published names; else None."""
    found = []
    for what in ("images-idx3", "labels-idx1"):
        names = [f"{_PARTS.get(split, split)}-{what}-ubyte{end}" for end in (".gz", "")]
        found += [path for name in names if (path := Path(folder) / name).is_file()][:1]
    return (found[0], found[1]) if len(found) == 2 else None
