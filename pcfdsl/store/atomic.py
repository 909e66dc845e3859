"""Files that are either whole or not there, whatever kills the writer, and however many write at once."""

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
_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")  # have no folders, and a bucket is not made by the way


def write_file(
    path: str | Path,
    content: bytes | Callable[[BinaryIO], object],
    *,
    exclusive: bool = False,
    durable: bool = True,
) -> bool:
    """Write a file under a temporary name, flush it to the disk, and only then give it its name.

    A remote file is sent whole from memory; object stores show it once all of it has arrived.

    Args:
        path: The file, or a URL; its folder is made where it is not there.
        content: All of it, or what writes it to an open file.
        exclusive: Keep a file that is there already instead of replacing it.
        durable: Wait until the disk has it, some ten milliseconds. Without, it is whole whatever kills the writer, but
            may be lost or empty after a power failure: for files whose checksums are kept elsewhere.

    Returns:
        Whether the file was written; False only with `exclusive`.

    Raises:
        OSError: In one sentence that names the file, when it cannot be written. An earlier file is then untouched.
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
            except OSError:  # a file system without links; two that begin at the same instant could both win here
                if path.exists():
                    return False
                os.replace(temporary, path)
        else:
            os.replace(temporary, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}; what is finished is kept, "
            "so once that is mended the same command goes on from here"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def make_folder(path: str | Path) -> Path:
    """The folder, made with its parents where it is not there.

    Raises:
        OSError: In one sentence, when something else has this name or it cannot be made.
    """
    path = as_path(path)
    try:
        with remote_errors(path):
            if is_remote(path) and path.protocol in _BUCKETS:  # type: ignore[attr-defined]
                path.exists()  # complains where there is no connection
            else:
                path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path} is a file; expected a folder, or a name that is free for one") from None
    except NotADirectoryError:
        file = next(parent for parent in path.parents if parent.is_file())
        raise NotADirectoryError(f"{file} is a file; expected a folder, or a name that is free for one") from None
    except OSError as error:
        raise OSError(f"cannot make the folder {path}: {error.strerror or error}; choose another one") from error
    return path


def remove_stale(folder: str | Path) -> list[Path]:
    """Remove temporary files whose writer, a process of this machine, has died; those of others are left alone."""
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
    if exclusive and path.exists():  # two that begin at the same instant could both go on here
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
            f"cannot write {path}: {error}; what is finished is kept, "
            "so once that is mended the same command goes on from here"
        ) from error
    return True


def _host() -> str:
    return socket.gethostname().replace(".", "-") or "localhost"


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere there is no signal that only asks
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
