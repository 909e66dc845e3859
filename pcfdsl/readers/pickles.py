"""Pickle files of plain data, unpickled without executing anything in them.

A pickle is a program, and Python's unpickler calls whatever it names. Here each name that plain data and NumPy arrays
need is mapped to a small function of this module, and every other name is rejected. NumPy's own functions are never
called: the state that a file gives a `dtype` can make NumPy follow forged pointers.

Not guarded against: a forged file can nest so deeply that the interpreter runs out of stack.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_plain", "read_plain"]

_MAX_BYTES = 1 << 30
_MODULES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "__builtin__": "builtins",
}


def load_plain(path: str | Path) -> Any:
    """Read a pickle file of plain data.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is larger than 1 GB, damaged, or holds anything else. The message names the file.
    """
    path = Path(path)
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes; at most {_MAX_BYTES} are read")
    try:
        return read_plain(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def read_plain(content: bytes) -> Any:
    """Unpickle containers, numbers, text, bytes, and NumPy arrays and scalars of numbers and text.

    Arrays are of a private subclass of `np.ndarray`; `np.asarray` gives plain ones.

    Raises:
        ValueError: If it is damaged or holds anything else.

    >>> import pickle
    >>> read_plain(pickle.dumps({"size": [1, 2.5]}))
    {'size': [1, 2.5]}
    """
    try:
        for opcode, place, _ in pickletools.genops(content):
            if opcode.name in ("PUT", "LONG_BINPUT") and (place or 0) > len(content):  # the memo would be that long
                raise ValueError(f"memo entry {place}")
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()  # Python 2's text and bytes, as text
    except Exception as error:  # damaged pickles raise all kinds of exceptions
        raise ValueError(f"is not a pickle of plain data ({type(error).__name__}: {error})") from None


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # New functions for each name: a pickle can set attributes on whatever it is given here.
        admitted = {
            "numpy ndarray": None,  # only ever an argument of `_reconstruct`
            "numpy dtype": lambda code, *_: _DType(code),
            "numpy.core.multiarray _reconstruct": lambda *_: _Array((0,), "u1"),
            "numpy.core.multiarray scalar": lambda dtype, content: np.frombuffer(content, dtype.dtype)[0],
            "numpy.core.numeric _frombuffer": lambda *arguments: _array(*arguments).view(_Array),
            "_codecs encode": lambda text, _: text.encode("latin1"),  # bytes, in protocols 0 to 2
            "builtins bytes": lambda: b"",
            "collections OrderedDict": dict,
        }
        key = f"{_MODULES.get(module, module)} {name}"
        if key not in admitted:
            raise ValueError(f"it names {module}.{name}, which is not allowed")
        return admitted[key]


class _DType:
    """A dtype of numbers or text. Of its pickled state only the byte order is used."""

    def __init__(self, code: str):
        if code[0] not in "biufcUS":
            raise ValueError(f"arrays of {code!r} are not allowed")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array, empty until a pickle sets its state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else content  # of Python 2
        array = _array(content, dtype, shape, "F" if fortran else "C")
        state = (1, array.shape, array.dtype, bool(fortran), content)
        super().__setstate__(state)  # type: ignore[arg-type]  # the stub expects NumPy's bool

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)  # pickled as a plain array


def _array(content: bytes, dtype: _DType, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)
