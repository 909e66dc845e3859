"""Paths of stored sets: local folders, or URLs that fsspec supports, such as s3://bucket/set."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["StoredPath", "as_path", "is_remote", "local_copy", "remote_errors"]

# A UPath where the path is remote: it has the methods of Path that are used here, but is no subclass.
StoredPath: "TypeAlias" = Path


def as_path(path: str | os.PathLike[str]) -> StoredPath:
    """The path as an object with the methods of pathlib, for any file system.

    Raises:
        ImportError: If it is a URL and the `remote` extra is not installed.
        ValueError: If no file system supports the URL's protocol.
    """
    if not isinstance(path, str):
        return path  # type: ignore[return-value]
    path = path.removeprefix("file://")
    if "://" not in path:
        return Path(path)
    try:
        from upath import UPath
    except ImportError as error:
        raise ImportError(f"{path} is not a local path and needs: pip install 'pcfdsl[remote]'") from error
    try:
        return UPath(path)  # type: ignore[return-value]
    except (ValueError, ImportError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from None


def is_remote(path: StoredPath) -> bool:
    """Whether a path is not on the local file system."""
    return not isinstance(path, Path)


@contextmanager
def remote_errors(path: StoredPath) -> Iterator[None]:
    """Turn the exceptions of remote file systems, which differ between services, into OSError."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        if not is_remote(path):
            raise
        raise OSError(f"{path} cannot be reached: {error}") from error


def local_copy(path: StoredPath) -> Path:
    """Download a remote file to this process's temporary folder; a local path is returned unchanged."""
    if not is_remote(path):
        return path
    import fsspec

    options = {path.protocol: path.storage_options}  # type: ignore[attr-defined]
    return Path(fsspec.open_local(f"simplecache::{path}", **options))  # type: ignore[arg-type]
