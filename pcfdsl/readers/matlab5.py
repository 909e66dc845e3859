"""MATLAB files of versions 4 to 7, read by SciPy in a separate process, since damaged files can crash or hang it."""

import os
import pickle
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_matlab5"]

_TIMEOUT = 1800  # seconds
_MAX_BYTES = 1 << 33  # of memory, where the system can limit it


def read_matlab5(path: Path, name: str, *, fields: Collection[str] | None = None) -> Any:
    """Read a variable as plain values; see `pcfdsl.readers.matlab.read_variable`.

    Raises:
        KeyError: If there is no such variable. The message names those that there are.
        ValueError: If the file is truncated, damaged or in another format.
    """
    command = [sys.executable, "-m", __name__, str(path), name, *([] if fields is None else ["--fields", *fields])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folder or "." for folder in sys.path)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"SciPy did not finish within {_TIMEOUT // 60} minutes; it is damaged") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise ValueError(f"it is truncated or damaged, or not a MATLAB file (SciPy: {reason})")
    found = pickle.loads(done.stdout)  # written by `_main`, not by the author of the file
    if isinstance(found, tuple):
        raise KeyError(f"it has no variable {name!r}; it has {', '.join(found) or 'none'}")
    return found["value"]


def _main(path: str, name: str, *fields: str) -> None:
    """Pickle {"value": the variable} to standard output, or a tuple of all names if it does not exist."""
    from scipy.io import loadmat, whosmat

    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_BYTES, _MAX_BYTES))
    with open(path, "rb") as file:
        text = "utf-16-be" if file.read(128)[126:] == b"MI" else "utf-16-le"
    content = loadmat(path, variable_names=[name], mat_dtype=True, uint16_codec=text, appendmat=False)
    if name in content:
        result: Any = {"value": _plain(content[name], set(fields[1:]) if fields else None)}
    else:
        result = tuple(entry[0] for entry in whosmat(path, appendmat=False))
    pickle.dump(result, sys.stdout.buffer)


def _plain(value: Any, fields: set[str] | None) -> Any:
    """SciPy's arrays as lists of dictionaries, lists, text and numbers; None for anything else."""
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.names is not None:
        names = [name for name in value.dtype.names if fields is None or name in fields]
        return [{name: _plain(row[name], fields) for name in names} for row in value.ravel("F")]
    if value.dtype.hasobject:
        return [_plain(item, fields) for item in value.ravel("F")]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    return value.astype(value.dtype.newbyteorder("="))


if __name__ == "__main__":
    _main(*sys.argv[1:])
