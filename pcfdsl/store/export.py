"""Stored samples for other programs: PLY files, WebDataset tars, Parquet tables."""

import io
import json
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.store.pictures import add_member, encode_png

if TYPE_CHECKING:
    import pyarrow

__all__ = ["encode_ply", "require_no_other_files", "write_parquet", "write_webdataset"]

_ROW_GROUP = 100


def encode_ply(points: np.ndarray) -> bytes:
    """A cloud [N, 3] as binary little-endian PLY; coordinates are float32, so float32 points are lossless."""
    import trimesh  # takes a second to import, in every worker of every tool

    data = trimesh.PointCloud(points).export(file_type="ply")
    assert isinstance(data, bytes)
    return data


def require_no_other_files(folder: str | Path, names: Collection[str], *, parts: Iterable[str] = ("",)) -> None:
    """Ensure that a folder holds no files besides those an export will replace.

    Args:
        folder: The destination; need not exist.
        names: The files the export writes, relative to the folder, with forward slashes.
        parts: The sub-folders to check; by default the whole folder.

    Raises:
        ValueError: If there are other files.
    """
    folder = Path(folder)
    found = (path.relative_to(folder).as_posix() for part in parts for path in (folder / part).rglob("*"))
    others = sorted(name for name in found if name not in names and (folder / name).is_file())
    if others:
        raise ValueError(
            f"{folder} holds {len(others)} files that do not belong to this export, the first is {others[0]}; "
            "remove them or choose an empty folder"
        )


def write_webdataset(
    samples: Iterable[dict[str, np.ndarray]], folder: str | Path, *, samples_per_file: int = 1000
) -> list[Path]:
    """Write WebDataset tars: per sample one `<number>.<key>.npy` for each array and one `<number>.json` of its scalars.

    The bytes depend on the samples alone: no times, no owners.

    Args:
        samples: The samples of a `StoredSet` or a recipe.
        folder: Receives `00000.tar` and so on; existing files of these names are replaced atomically.
        samples_per_file: Samples per tar; each tar is built in memory.

    Returns:
        The files written.

    Raises:
        ValueError: If there are more numbered tars in the folder, after writing; readers would take them too.
        OSError: If they cannot be written.
    """
    folder = make_folder(folder)
    files = [
        _write_tar(folder, number, part, samples_per_file)
        for number, part in enumerate(_parts(samples, samples_per_file))
    ]
    _refuse_surplus(folder, "tar", len(files))
    return files


def write_parquet(
    samples: Iterable[dict[str, np.ndarray]],
    folder: str | Path,
    *,
    samples_per_file: int = 1000,
    metadata: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write Parquet tables with one row per sample and one column per array.

    Scalars become numbers; uint8 pictures become PNG files in the layout of Hugging Face's `datasets`; other arrays
    become nested lists, one level per axis, of fixed length except along the first axis. All values are lossless.

    Args:
        samples: The samples; all have the same arrays, whose shapes differ in the first axis only.
        folder: Receives `00000.parquet` and so on; existing files of these names are replaced atomically.
        samples_per_file: Samples per file; each file is built in memory, with 100 samples per row group.
        metadata: Added to the schema of each file.

    Returns:
        The files written.

    Raises:
        ImportError: If pyarrow is not installed.
        ValueError: If a sample's arrays, dtypes or trailing sizes differ from those of its file's first sample; after
            writing, if there are more numbered tables in the folder.
        OSError: If files cannot be written.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'pcfdsl[parquet]'") from error
    folder = make_folder(folder)
    files: list[Path] = []
    for number, part in enumerate(_parts(samples, samples_per_file)):
        first = number * samples_per_file
        keys = sorted(part[0])
        if odd := [i for i, sample in enumerate(part, start=first) if sorted(sample) != keys]:
            raise ValueError(
                f"the arrays of sample {odd[0]} differ from those of sample {first}; expected {', '.join(keys)}"
            )
        table = pyarrow.table({key: _column([sample[key] for sample in part], key, first) for key in keys})
        pictures = {key: {"_type": "Image"} for key in keys if _is_picture(part[0][key])}
        about = {**(metadata or {}), "huggingface": json.dumps({"info": {"features": pictures}})}
        content = io.BytesIO()
        pyarrow.parquet.write_table(table.replace_schema_metadata(about), content, row_group_size=_ROW_GROUP)
        files.append(folder / f"{number:05d}.parquet")
        write_file(files[-1], content.getvalue())
    _refuse_surplus(folder, "parquet", len(files))
    return files


def _refuse_surplus(folder: Path, ending: str, count: int) -> None:
    """Say so if numbered files are beside those of this export: readers take all that are there."""
    numbered = folder.glob(f"[0-9][0-9][0-9][0-9][0-9].{ending}")
    surplus = sorted(path.name for path in numbered if int(path.stem) >= count)
    if surplus:
        names = ", ".join(surplus[:3]) + (" and more" if surplus[3:] else "")
        raise ValueError(
            f"{folder} holds {names} besides the {count} file(s) of this export, which are written; remove what is not "
            "of it, for readers take all that are there"
        )


def _parts(samples: Iterable[dict[str, np.ndarray]], size: int) -> Iterator[list[dict[str, np.ndarray]]]:
    rest = iter(samples)
    while part := list(islice(rest, size)):
        yield part


def _is_picture(array: np.ndarray) -> bool:
    return np.ndim(array) > 1 and array.dtype == np.uint8


def _column(arrays: Sequence[np.ndarray], key: str, first: int) -> "pyarrow.Array":
    import pyarrow

    arrays = [np.asarray(array) for array in arrays]
    inner = arrays[0].shape[1:]
    if odd := [i for i, array in enumerate(arrays) if array.shape[1:] != inner or array.dtype != arrays[0].dtype]:
        raise ValueError(
            f"sample {first + odd[0]}: {key} is {arrays[odd[0]].dtype} {arrays[odd[0]].shape}, but that of sample "
            f"{first} is {arrays[0].dtype} {arrays[0].shape}"
        )
    if arrays[0].ndim == 0:
        return pyarrow.array(np.stack(arrays))
    if _is_picture(arrays[0]):
        files = [{"bytes": encode_png(array), "path": f"{i:09d}.png"} for i, array in enumerate(arrays, start=first)]
        return pyarrow.array(files, pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}))
    values = pyarrow.array(np.concatenate([array.ravel() for array in arrays]))
    for length in reversed(inner):
        values = pyarrow.FixedSizeListArray.from_arrays(values, length)
    starts = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int32)
    return pyarrow.ListArray.from_arrays(starts, values)


def _write_tar(folder: Path, number: int, samples: Sequence[dict[str, np.ndarray]], samples_per_file: int) -> Path:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for i, sample in enumerate(samples, start=number * samples_per_file):
            scalars = {key: array.item() for key, array in sorted(sample.items()) if np.ndim(array) == 0}
            for key, array in sorted(sample.items()):
                if key not in scalars:
                    add_member(tar, f"{i:09d}.{key}.npy", _npy(array))
            add_member(tar, f"{i:09d}.json", json.dumps(scalars).encode())
    path = folder / f"{number:05d}.tar"
    write_file(path, content.getvalue())
    return path


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
