"""Atomic file writes: a file is complete or absent, even if the writer is killed or several write at once."""

import io
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pcfdsl.store.paths import as_path, is_remote, remote_errors

__all__ = ["make_folder", "remove_stale", "write_file"]

_SUFFIX = ".tmp"
_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")  # no folders; buckets are never created implicitly


def write_file(
    path: str | Path,
    content: bytes | Callable[[BinaryIO], object],
    *,
    exclusive: bool = False,
    durable: bool = True,
) -> bool:
    """Write a file under a temporary name, flush it to disk, then rename it.

    A remote file is uploaded in one piece from memory; object stores show it once the upload is complete.

    Args:
        path: The file, or a URL; missing parent folders are created.
        content: The bytes, or a function that writes them to an open file.
        exclusive: Keep an existing file instead of replacing it.
        durable: Sync to disk, which takes about ten milliseconds. Otherwise the file is still complete if the writer is
            killed, but may be lost or empty after a power failure: use this for files whose checksums are kept
            elsewhere.

    Returns:
        Whether the file was written; False only with `exclusive`.

    Raises:
        OSError: If the file cannot be written; the message names it. An existing file is left untouched.
    """
    path = as_path(path)
    if is_remote(path):
        return _send(path, content, exclusive=exclusive)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            content(file) if callable(content) else file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if exclusive:
            try:
                os.link(temporary, path)  # unlike a rename, a link never replaces
            except FileExistsError:
                return False
            except OSError:  # no hard links on this file system; two simultaneous writers could both succeed
                if path.exists():
                    return False
                os.replace(temporary, path)
        else:
            os.replace(temporary, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}; finished files are kept; "
            "fix the cause and run the same command again to resume"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents if necessary, and return it.

    Raises:
        OSError: If the path exists and is not a folder, or the folder cannot be created.
    """
    path = as_path(path)
    try:
        with remote_errors(path):
            if is_remote(path) and path.protocol in _BUCKETS:  # type: ignore[attr-defined]
                path.exists()  # fails early when there is no connection
            else:
                path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path} is a file; expected a folder or an unused path") from None
    except NotADirectoryError:
        file = next(parent for parent in path.parents if parent.is_file())
        raise NotADirectoryError(f"{file} is a file; expected a folder or an unused path") from None
    except OSError as error:
        raise OSError(f"cannot create the folder {path}: {error.strerror or error}; choose another one") from error
    return path


def remove_stale(folder: str | Path) -> list[Path]:
    """Remove the temporary files of dead processes of this machine; those of other machines are left alone."""
    folder, removed = as_path(folder), []
    if is_remote(folder):
        return removed
    for path in folder.glob(f".*{_SUFFIX}"):
        _, host, pid, _, _ = path.name.rsplit(".", 4) if path.name.count(".") > 4 else ("", "", "", "", "")
        if host == _host() and pid.isdecimal() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _send(path: Path, content: bytes | Callable[[BinaryIO], object], *, exclusive: bool) -> bool:
    if exclusive and path.exists():  # two simultaneous writers could both pass this check
        return False
    if callable(content):
        buffer = io.BytesIO()
        content(buffer)
        content = buffer.getvalue()
    try:
        with remote_errors(path):
            make_folder(path.parent)
            path.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error}; finished files are kept; "
            "fix the cause and run the same command again to resume"
        ) from error
    return True


def _host() -> str:
    return socket.gethostname().replace(".", "-") or "localhost"


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # no signal 0 elsewhere
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
