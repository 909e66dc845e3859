"""Kernels for the CPU, which numba compiles at first use and keeps on disk.

numba compiles a kernel anew when its own file has changed, but not when a file has that it takes other kernels or
constants from: after an upgrade it would run the old ones. So kernels are kept apart by the text of their file and of
all that it imports from this package, directly or not.
"""

import hashlib
import os
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba

__all__ = ["kernel", "sources"]

_NUMBA: Any = numba.config
_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(r"^(?:from|import) pcfdsl\.([\w.]+)", re.MULTILINE)


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate a function that numba compiles: it runs without the GIL, and division by zero gives infinity or NaN.

    Args:
        function: The function, in a file of this package; None where the decorator has options.
        **options: What `numba.njit` takes besides.
    """
    if function is None:
        return partial(kernel, **options)
    chosen = _NUMBA.CACHE_DIR
    _NUMBA.CACHE_DIR = str(Path(chosen or _default_folder()) / _digest(Path(function.__code__.co_filename)))
    try:
        return numba.njit(function, cache=True, nogil=True, error_model="numpy", **options)
    finally:
        _NUMBA.CACHE_DIR = chosen


@cache
def sources(path: Path) -> frozenset[Path]:
    """A file of this package and all files of it that it imports, directly or not."""
    found, new = set(), {path}
    while new:
        found |= new
        new = {imported for file in new for imported in _imports(file)} - found
    return frozenset(found)


@cache
def _imports(path: Path) -> frozenset[Path]:
    parts = [_PACKAGE.joinpath(*name.split(".")) for name in _IMPORT.findall(path.read_text(encoding="utf-8"))]
    return frozenset(file for part in parts for file in ([*part.glob("*.py")] or [part.with_suffix(".py")]))


@cache
def _digest(path: Path) -> str:
    texts = hashlib.sha256()
    for file in sorted(sources(path)):
        texts.update(file.read_bytes() + b"\0")
    return texts.hexdigest()[:16]


@cache
def _default_folder() -> Path:
    beside = _PACKAGE / "__pycache__"
    if os.access(beside if beside.is_dir() else _PACKAGE, os.W_OK):
        return beside / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcfdsl"
