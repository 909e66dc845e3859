"""Listing folders of any origin, without the system files that operating systems, file servers and archives leave."""

import os
from collections.abc import Collection
from pathlib import Path

__all__ = ["files_below", "files_in", "folders_in", "has_ending", "is_debris"]

_DEBRIS = {
    "@eadir",  # Synology
    "#recycle",
    "@recycle",  # QNAP
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "lost+found",
}


def is_debris(name: str) -> bool:
    """Whether a file or folder is not data: hidden, or made by a system for its own use.

    >>> [is_debris(name) for name in ("._scan.ply", ".DS_Store", "@eaDir", "Thumbs.db", "~$boxes.csv", "scan.ply")]
    [True, True, True, True, True, False]
    """
    return name.startswith((".", "~$")) or name.casefold() in _DEBRIS


def has_ending(path: str | Path, endings: Collection[str]) -> bool:
    """Whether a file name has one of the suffixes, regardless of case; `endings` are in lower case, with the dot.

    >>> has_ending("ROOM1.PLY", (".ply", ".npy"))
    True
    """
    return Path(path).suffix.lower() in endings


def files_below(folder: str | Path, endings: Collection[str] | None = None) -> list[Path]:
    """List files at any depth, sorted by path; linked folders are entered once.

    Args:
        folder: The folder.
        endings: Suffixes of the files to list; see `has_ending`. None: all files.
    """
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not is_debris(name)]
        if real not in seen:
            found += [Path(place, name) for name in names if not is_debris(name)]
        seen.add(real)
    return sorted(path for path in found if (endings is None or has_ending(path, endings)) and path.is_file())


def files_in(folder: str | Path, endings: Collection[str] | None = None) -> list[Path]:
    """List files directly in a folder, sorted by path; arguments as for `files_below`."""
    entries = (path for path in Path(folder).iterdir() if not is_debris(path.name))
    return sorted(path for path in entries if (endings is None or has_ending(path, endings)) and path.is_file())


def folders_in(folder: str | Path) -> list[Path]:
    """List folders directly in a folder, sorted by path."""
    return sorted(path for path in Path(folder).iterdir() if not is_debris(path.name) and path.is_dir())
