"""CIFAR-10 and CIFAR-100 in the forms in which they are published: Python's pickles, or binary records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.readers.pickles import load_plain

__all__ = ["CifarFiles", "find_cifar", "read_cifar"]

_PIXELS = 3 * 32 * 32
_MOST_BYTES = 1 << 30
_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
_SUBFOLDERS = ("", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")


@dataclass(frozen=True, kw_only=True)
class CifarFiles:
    """Where the pictures of a split are.

    Attributes:
        batches: The files.
        names: The file of class names; None if there is none.
        hundred: Whether it is CIFAR-100, whose fine labels are read.
        binary: Whether files are binary records, not pickles.
    """

    batches: tuple[Path, ...]
    names: Path | None
    hundred: bool
    binary: bool


def find_cifar(folder: str | Path, split: str) -> CifarFiles | None:
    """The files of a split ("train"; "val" or "test") in a folder, or in the sub-folder that the archive makes there.

    Returns:
        None if there are none.

    Raises:
        ValueError: If some of the five training batches are missing.
    """
    train = split == "train"
    for name in _SUBFOLDERS:
        here = Path(folder) / name
        for hundred, batches in (
            (False, _BATCHES if train else ("test_batch",)),
            (True, ("train" if train else "test",)),
        ):
            for ending, names in (
                ("", "meta" if hundred else "batches.meta"),
                (".bin", "fine_label_names.txt" if hundred else "batches.meta.txt"),
            ):
                files = [here / f"{batch}{ending}" for batch in batches]
                missing = [file.name for file in files if not file.is_file()]
                if len(missing) == len(files) or (hundred and not ending and not (here / names).is_file()):
                    continue  # a file that is only called train or test may be anything
                if missing:
                    raise ValueError(f"{here} lacks {', '.join(missing)}; unpack the archive again")
                words = here / names
                return CifarFiles(
                    batches=tuple(files),
                    names=words if words.is_file() else None,
                    hundred=hundred,
                    binary=bool(ending),
                )
    return None


def read_cifar(files: CifarFiles) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read the files.

    Returns:
        Pictures, uint8 [N, 32, 32, 3]; labels, int64 [N]; names of the classes, numbers without a file of them.

    Raises:
        OSError: If one cannot be read.
        ValueError: If one is damaged or holds something else. The message names the file.
    """
    num_classes = 100 if files.hundred else 10
    read = _read_binary if files.binary else _read_pickle
    pictures, labels = zip(*(read(path, files.hundred) for path in files.batches), strict=True)
    for path, found in zip(files.batches, labels, strict=True):
        if len(found) and not 0 <= found.min() <= found.max() < num_classes:
            raise ValueError(f"{path} has labels from {found.min()} to {found.max()}; expected 0 to {num_classes - 1}")
    planes = np.concatenate(pictures).reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(labels), _names(files, num_classes)


def _read_pickle(path: Path, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    content = load_plain(path)
    key = "fine_labels" if hundred else "labels"
    if not isinstance(content, dict) or not {"data", key} <= content.keys():
        raise ValueError(f"{path} has no data and {key}, as a batch of CIFAR has")
    pixels = content["data"]
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"{path} has data that are no array, but a {type(pixels).__name__}")
    labels = _labels(content[key], path)
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS):
        raise ValueError(f"{path} has data {pixels.dtype} {pixels.shape}; expected uint8 ({len(labels)}, {_PIXELS})")
    return pixels, labels


def _labels(given: Any, path: Path) -> np.ndarray:
    if not isinstance(given, list) or not all(type(label) is int and 0 <= label < 256 for label in given):
        raise ValueError(f"{path} has labels that are not a list of small whole numbers")
    return np.array(given, np.int64)


def _read_binary(path: Path, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    record = _PIXELS + 1 + hundred
    if (size := path.stat().st_size) % record or not 0 < size <= _MOST_BYTES:
        raise ValueError(f"{path} has {size} bytes; expected records of {record} bytes")
    rows = np.fromfile(path, np.uint8).reshape(-1, record)
    return rows[:, -_PIXELS:], rows[:, int(hundred)].astype(np.int64)


def _names(files: CifarFiles, num_classes: int) -> tuple[str, ...]:
    if files.names is None:
        return tuple(map(str, range(num_classes)))
    if files.binary:
        names: Any = files.names.read_text().split()
    else:
        content = load_plain(files.names)
        names = content.get("fine_label_names" if files.hundred else "label_names") if isinstance(content, dict) else 0
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{files.names} does not name {num_classes} classes; delete it, and they are called by numbers"
        )
    return tuple(names)
