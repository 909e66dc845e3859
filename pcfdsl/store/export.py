"""Stored samples for other programs: PLY files and WebDataset tars."""

import io
import json
import tarfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from pcfdsl.store.atomic import make_folder, write_file

__all__ = ["encode_ply", "require_no_other_files", "write_webdataset"]


def encode_ply(points: np.ndarray) -> bytes:
    """A cloud [N, 3] as binary little-endian PLY; float32, so that float32 points come back bit for bit."""
    import trimesh  # takes a second, which every worker of every tool would pay

    data = trimesh.PointCloud(points).export(file_type="ply")
    assert isinstance(data, bytes)
    return data


def require_no_other_files(folder: str | Path, names: Collection[str], *, parts: Iterable[str] = ("",)) -> None:
    """See that an export will not stand among the files of another one.

    Args:
        folder: Where it goes; need not be there.
        names: The files it writes, relative to the folder, with forward slashes.
        parts: Which sub-folders to look at; by default the whole folder.

    Raises:
        ValueError: If there are others.
    """
    folder = Path(folder)
    found = (path.relative_to(folder).as_posix() for part in parts for path in (folder / part).rglob("*"))
    others = sorted(name for name in found if name not in names and (folder / name).is_file())
    if others:
        raise ValueError(
            f"{folder} holds {len(others)} files that are not of this export, the first is {others[0]}; "
            "remove them or give an empty folder"
        )


def write_webdataset(
    samples: Iterable[dict[str, np.ndarray]], folder: str | Path, *, samples_per_tar: int = 1000
) -> list[Path]:
    """Write tars that WebDataset readers take: per sample one `<number>.<key>.npy` for each array, and one
    `<number>.json` with its scalars. The bytes follow from the samples alone: no times, no owners.

    Args:
        samples: The samples, as a `StoredSet` or a recipe gives them.
        folder: Takes `00000.tar` and so on; files of these names are replaced, each as a whole.
        samples_per_tar: A tar is held in memory while it is written.

    Returns:
        The files written.

    Raises:
        OSError: If they cannot be written.
    """
    folder = make_folder(folder)
    files: list[Path] = []
    pending: list[dict[str, np.ndarray]] = []
    for sample in samples:
        pending.append(sample)
        if len(pending) == samples_per_tar:
            files.append(_write_tar(folder, len(files), pending, samples_per_tar))
            pending = []
    if pending:
        files.append(_write_tar(folder, len(files), pending, samples_per_tar))
    return files


def _write_tar(folder: Path, number: int, samples: Sequence[dict[str, np.ndarray]], samples_per_tar: int) -> Path:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for i, sample in enumerate(samples, start=number * samples_per_tar):
            scalars = {key: array.item() for key, array in sorted(sample.items()) if np.ndim(array) == 0}
            for key, array in sorted(sample.items()):
                if key not in scalars:
                    _add(tar, f"{i:09d}.{key}.npy", _npy(array))
            _add(tar, f"{i:09d}.json", json.dumps(scalars).encode())
    path = folder / f"{number:05d}.tar"
    write_file(path, content.getvalue())
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, owner and group are zero and empty unless set
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
