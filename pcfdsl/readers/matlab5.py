"""The MATLAB 5 file format (versions 5 to 7), as far as metadata need it: numbers, text, cells and structs.

SciPy's reader crashes the interpreter on damaged files and reads every field; this one checks each size against the
bytes that are there before it believes it, and skips what is not asked for. The format is MathWorks' "MAT-File Format":
elements of a tag (type, size) and data, padded to eight bytes; matrices are elements made of elements.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_matlab5"]

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MAX_BYTES = 1 << 31  # of one variable, unpacked
_MAX_DEPTH = 32


def read_matlab5(path: Path, name: str, *, fields: Collection[str] | None = None) -> Any:
    """A variable as plain values; see `pcfdsl.readers.matlab.read_variable`.

    Raises:
        KeyError: Naming the variables, if it is none of them.
        ValueError: If the file is cut off, damaged or of another format.
    """
    content = memoryview(path.read_bytes())
    mark = bytes(content[126:128])
    if mark not in (b"IM", b"MI"):
        raise ValueError("it is no MATLAB file of version 5 to 7")
    order = "<" if mark == b"IM" else ">"
    found = []
    for kind, data in _elements(content[128:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_unpacked(data), order), (0, data))
        if kind != _MATRIX:
            continue
        parts = _elements(data, order)
        flags, shape, its_name = _header(parts, order)
        if its_name == name:
            return _value(flags, shape, parts, order, fields, depth=0)
        found.append(its_name)
    raise KeyError(f"it has no variable {name!r}; it has {', '.join(found) or 'none'}")


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, data) of the elements that lie one after the other."""
    start = 0
    while start + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, start)
        if kind >> 16:  # up to four bytes of data stand in the tag itself
            kind, size, begin, step = kind & 0xFFFF, kind >> 16, start + 4, 8
        else:
            begin, step = start + 8, 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
        if begin + size > len(content) or (step == 8 and size > 4 and begin == start + 4):
            raise ValueError("it is cut off or damaged")
        yield kind, content[begin : begin + size]
        start += step


def _unpacked(data: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"a compressed part is damaged ({error})") from None
    if not unpacker.eof:
        raise ValueError(f"a compressed part is cut off, or unpacks to more than {_MAX_BYTES >> 30} GB")
    return memoryview(content)


def _header(parts: Iterator[tuple[int, memoryview]], order: str) -> tuple[int, tuple[int, ...], str]:
    """Flags (the class in the lowest byte), shape and name of a matrix."""
    flags, sizes = (_numbers(*_next(parts), order) for _ in range(2))
    if not len(flags) or len(sizes) < 2 or "f" in (flags.dtype.kind, sizes.dtype.kind) or sizes.min() < 0:
        raise ValueError("an array without a class or a size")
    return int(flags[0]), tuple(sizes.tolist()), bytes(_next(parts)[1]).decode("latin-1")


def _value(
    flags: int,
    shape: tuple[int, ...],
    parts: Iterator[tuple[int, memoryview]],
    order: str,
    fields: Collection[str] | None,
    *,
    depth: int,
) -> Any:
    """What follows the header, as plain values; None for what is neither number, text, cell nor struct."""
    kind, count = flags & 0xFF, math.prod(shape)
    if kind in _CLASSES:
        values = _numbers(*_next(parts), order) if count else np.zeros(0)
        if len(values) != count:
            raise ValueError(f"an array of {shape} holds {len(values)} numbers")
        if flags & 0x0800:
            values = values + 1j * _numbers(*_next(parts), order)
            return values.reshape(shape, order="F")
        with np.errstate(invalid="ignore"):  # damaged numbers may fit no integer
            return values.astype(_CLASSES[kind]).reshape(shape, order="F")
    if kind == _CHAR:
        return _text(*next(parts, (1, memoryview(b""))), order) if count else ""
    if kind == _CELL:
        return [_nested(part, order, fields, depth=depth) for part in _exactly(parts, count)]
    if kind == _STRUCT:
        lengths, names = _numbers(*_next(parts), order), bytes(_next(parts)[1])
        length = int(lengths[0]) if len(lengths) and lengths.dtype.kind in "iu" else 0
        if length < 1 or not names or len(names) % length:
            raise ValueError("a struct without names of fields")
        keys = [names[i : i + length].split(b"\0")[0].decode("latin-1") for i in range(0, len(names), length)]
        members = _exactly(parts, count * len(keys))
        return [
            {
                key: _nested(part, order, fields, depth=depth)
                for key, part in zip(keys, members[i : i + len(keys)], strict=True)
                if fields is None or key in fields
            }
            for i in range(0, len(members), len(keys))
        ]
    return None


def _nested(part: tuple[int, memoryview], order: str, fields: Collection[str] | None, *, depth: int) -> Any:
    kind, data = part
    if kind != _MATRIX or depth >= _MAX_DEPTH:
        raise ValueError("a cell or struct holds something that is no array, or is nested too deeply")
    if not len(data):  # MATLAB writes [] in a cell so
        return np.zeros((0, 0))
    parts = _elements(data, order)
    flags, shape, _ = _header(parts, order)
    return _value(flags, shape, parts, order, fields, depth=depth + 1)


def _next(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    part = next(parts, None)
    if part is None:
        raise ValueError("an array is cut off")
    return part


def _exactly(parts: Iterator[tuple[int, memoryview]], count: int) -> list[tuple[int, memoryview]]:
    """All that is left, which must be so many; a damaged count never becomes a loop of its own."""
    members = list(parts)
    if len(members) != count:
        raise ValueError(f"a cell or struct array of {count} parts holds {len(members)}")
    return members


def _numbers(kind: int, data: memoryview, order: str) -> np.ndarray:
    dtype = _TYPES.get(kind)
    if dtype is None or len(data) % int(dtype[1]):
        raise ValueError(f"{len(data)} bytes of type {kind} are no numbers")
    return np.frombuffer(data, order + dtype)


def _text(kind: int, data: memoryview, order: str) -> str:
    encoding = _TEXTS.get(kind)
    if encoding is None:
        raise ValueError(f"{len(data)} bytes of type {kind} are no text")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    return bytes(data).decode(encoding, "replace")
