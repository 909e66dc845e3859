"""One training in a folder at a time."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

__all__ = ["alone_in"]

_FILE = "run.lock"


@contextmanager
def alone_in(folder: Path, *, main: bool = True) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it when the process ends, however it ends.

    The lock is one of POSIX records: it works between machines where the file system passes it on, as NFS does, and
    does not pass to forked loader workers, so a run whose process was killed can go on at once. Where there are no
    such locks, or the folder cannot be written, there is none.

    Args:
        folder: The folder, which must exist.
        main: Whether this process is the one that writes; the others of a training hold nothing.

    Raises:
        BlockingIOError: If another process holds it, in one sentence that says which.
    """
    if fcntl is None or not main:
        yield
        return
    file = _locked(folder / _FILE)
    try:
        yield
    finally:
        if file is not None:
            (folder / _FILE).unlink(missing_ok=True)
            file.close()


def _locked(path: Path) -> IO[str] | None:
    """The lock's file, open as long as the lock shall last."""
    assert fcntl is not None
    while True:
        try:
            file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115
        except OSError:  # what must be written into such a folder will say so
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            file.close()
            raise BlockingIOError(
                f"{path.parent} is being trained in by {holder}; wait until it ends and run this again, "
                "or give another --out"
            ) from None
        except OSError:
            file.close()
            return None
        if _is_at(path, file):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            return file
        file.close()  # whoever held it has just removed it


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the file still has its name. Asked without opening it: closing any handle of it would end the lock."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
