"""Pickled files of plain data, read without unpickling: a small interpreter that cannot call anything.

A pickle is a program, and Python's own reader runs whatever it names. This one knows only the steps that containers,
numbers, text, bytes and NumPy's arrays and scalars are made with. Every other file is refused with a sentence, also
one that is damaged or promises more than it holds.
"""

import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_plain", "read_plain"]

_MAX_BYTES = 1 << 30
_MAX_NESTED = 100

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_ADMITTED = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy._core.numeric _frombuffer": "buffer",
    "numpy.core.numeric _frombuffer": "buffer",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
    "builtins bytes": "bytes",
    "collections OrderedDict": "dict",
}


def load_plain(path: str | Path) -> Any:
    """The content of a pickled file of plain data.

    Raises:
        OSError: If it cannot be read.
        ValueError: Naming the file, if it is damaged or holds anything else.
    """
    path = Path(path)
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
    try:
        return read_plain(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_plain(content: bytes) -> Any:
    """What pickled plain data are: dictionaries (by text or numbers), lists, tuples, numbers, text, bytes and arrays.

    Memory and time stay within a small multiple of the length of the content.

    Raises:
        ValueError: If it is damaged or holds anything else.

    >>> import pickle
    >>> read_plain(pickle.dumps({"size": [1, 2.5]}))
    {'size': [1, 2.5]}
    """
    try:
        value = _Machine().run(content)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"is no pickled file of plain data ({error})") from None
    _check_nesting(value)
    return _finished(value)


@dataclass(frozen=True)
class _Name:
    """A global of the file: what is done when it is called."""

    what: str


class _DType:
    """A dtype under construction: pickles give its byte order afterwards."""

    def __init__(self, code: Any):
        known = isinstance(code, str) and code[:1] in "biufUS" and code[1:].isdecimal() and len(code) < 8
        if not known:
            raise ValueError(f"arrays of {code!r} are not admitted")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise ValueError("arrays of records are not admitted")
        self.dtype = self.dtype.newbyteorder("<" if order == "|" else order)


class _Array:
    """An array under construction: pickles give shape and content afterwards."""

    def __init__(self):
        self.value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran is True else "C")


class _Machine:
    """Pickle's stack machine, as far as plain data need it."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                (value,) = self.stack
                return value
            self.step(opcode.name, argument)
        raise ValueError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _PUT:
            self.memo[argument] = stack[-1]
        elif name in _GET:
            stack.append(self.memo[argument])
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in _TUPLES:
            items = tuple(stack[-_TUPLES[name] :])
            del stack[-_TUPLES[name] :]
            stack.append(items)
        elif name in ("TUPLE", "LIST"):
            items = self.since_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self.since_mark()
            _list(stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self.since_mark()
            _fill(stack[-1], items)
        elif name == "DICT":
            items = self.since_mark()
            stack.append({})
            _fill(stack[-1], items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            named = argument if name == "GLOBAL" else " ".join((stack.pop(-2), stack.pop()))
            if named not in _ADMITTED:
                raise ValueError(f"it asks for {named!r}, which is not admitted")
            stack.append(_Name(_ADMITTED[named]))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_made(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], (_DType, _Array)):
                raise ValueError("it sets attributes, which is not admitted")
            stack[-1].build(state)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"its step {name} is not admitted")

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _made(name: Any, arguments: Any) -> Any:
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise ValueError("it calls something, which is not admitted")
    what = name.what
    if what == "dtype":
        return _DType(arguments[0])
    if what == "array":
        return _Array()
    if what == "scalar":
        dtype, content = arguments
        return _array(content, dtype, (), "C")[()]
    if what == "buffer":
        content, dtype, shape, order = arguments
        array = _Array()
        array.value = _array(content, dtype, shape, order)
        return array
    if what == "encode" and arguments[1:] == ("latin1",):
        return arguments[0].encode("latin1")
    if what in ("bytes", "dict") and arguments == ():
        return b"" if what == "bytes" else {}
    raise ValueError(f"it makes {what} of arguments that are not admitted")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _DType) or not isinstance(content, (bytes, bytearray)) or order not in ("C", "F"):
        raise ValueError("an array is not understood; objects in arrays are not admitted")
    kind = dtype.dtype
    count = _count(shape)
    if kind.itemsize == 0 or len(content) != count * kind.itemsize:
        raise ValueError(f"an array of {count} x {kind} has {len(content)} bytes")
    if kind.kind == "U" and len(content):
        letters = np.frombuffer(content, np.dtype("u4").newbyteorder(kind.byteorder))
        if letters.max() > 0x10FFFF:
            raise ValueError("an array of text holds what is no letter")
    if kind.kind == "b" and len(content) and np.frombuffer(content, np.uint8).max() > 1:
        raise ValueError("an array of truth values holds other numbers")
    array = np.frombuffer(content, kind, count=count).reshape(shape, order=order)
    return array.astype(kind.newbyteorder("="), copy=False)


def _count(shape: Any) -> int:
    sizes_fit = isinstance(shape, tuple) and len(shape) <= 8 and all(type(size) is int and size >= 0 for size in shape)
    if not sizes_fit:
        raise ValueError("the shape of an array is not understood")
    return math.prod(shape)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it appends to what is no list")
    return value


def _fill(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("it sets items of what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int, float, bytes, type(None))):  # tuples' hashes recurse without a limit
            raise ValueError(f"a key is a {type(key).__name__}; expected text or a number")
        target[key] = value


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _check_nesting(value: Any) -> None:
    """See that containers are not deep and not within themselves: everything after this may recurse."""
    depth_of: dict[int, int] = {}
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > _MAX_NESTED:
            raise ValueError(f"its containers are more than {_MAX_NESTED} deep, or hold themselves")
        children = _children(item)
        if children and depth_of.get(id(item), 0) < depth:  # what is shared is looked at again only when deeper
            depth_of[id(item)] = depth
            pending += [(child, depth + 1) for child in children]


def _finished(value: Any, done: dict[int, Any] | None = None) -> Any:
    """The value with arrays for what they were made of; what is shared stays shared."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, (_Name, _DType)) or (isinstance(value, _Array) and value.value is None):
        raise ValueError("is no pickled file of plain data (something in it is unfinished)")
    if isinstance(value, _Array):
        result: Any = value.value
    elif isinstance(value, dict):
        result = {key: _finished(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = type(value)(_finished(item, done) for item in value)
    else:
        return value
    done[id(value)] = result
    return result
