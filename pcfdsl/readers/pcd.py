"""PCD files of the Point Cloud Library: as text, binary, or binary compressed.

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pcfdsl.jit import kernel
from pcfdsl.readers.columns import RawCloud, color_columns
from pcfdsl.readers.text import number

__all__ = ["read_pcd"]

_KEYS = ("FIELDS", "SIZE", "TYPE", "COUNT", "POINTS", "WIDTH", "HEIGHT", "DATA")
_USED = ("x", "y", "z", "rgb", "rgba", "r", "g", "b", "red", "green", "blue")
_KINDS = {"F": "f", "I": "i", "U": "u"}
_LONGEST = 64  # characters of a number in text
_MAX_TIMES = 256  # an LZF reference of three bytes stands for at most 264


def read_pcd(path: Path) -> RawCloud:
    """Points and colours of a PCD file; its viewpoint is that of the sensor and moves no point.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged or has no x, y, z.
    """
    content = path.read_bytes()
    head = re.search(rb"(?:\A|[\r\n])DATA[ \t]+(\w+)[ \t]*\r?\n", content)
    if head is None:
        raise ValueError(f"has no whole PCD header, which ends with DATA; it begins with {content[:24]!r}")
    about = {}
    for line in content[: head.end()].decode("latin-1").splitlines():
        words = line.split()
        key = "FIELDS" if words[:1] == ["COLUMNS"] else words[0] if words else ""  # COLUMNS until version 0.5
        if key in _KEYS:
            about[key] = words[1:]
    if missing := {"FIELDS", "SIZE", "TYPE", "DATA"} - about.keys():
        raise ValueError(f"has no line {', '.join(sorted(missing))} in its header")
    about["DATA"] = [word.lower() for word in about["DATA"]]
    fields = _fields(about)
    body = content[head.end() :]
    columns = _text_columns(body, fields, about) if about["DATA"] == ["ascii"] else _binary_columns(body, fields, about)
    if not {"x", "y", "z"} <= columns.keys():
        raise ValueError(f"has no fields x y z; it has {' '.join(columns)}")
    return RawCloud(points=np.stack([columns[axis] for axis in "xyz"], axis=1), colors=_colors(columns))


def _fields(about: Mapping[str, list[str]]) -> list[tuple[str, np.dtype, int]]:
    """(name, type, how many numbers) of each field."""
    names = about["FIELDS"]
    counts = about.get("COUNT", ["1"] * len(names))
    if not len(names) == len(about["SIZE"]) == len(about["TYPE"]) == len(counts):
        raise ValueError("has FIELDS, SIZE, TYPE and COUNT of different lengths")
    fields = []
    for name, kind, size, count in zip(names, about["TYPE"], about["SIZE"], counts, strict=True):
        if kind not in _KINDS or size not in ("1", "2", "4", "8") or not 0 < int(count) <= 4096:
            raise ValueError(f"has a field {name} of type {kind}, size {size}, count {count}, which is not known")
        fields.append((name.lower(), np.dtype(f"<{_KINDS[kind]}{size}"), int(count)))
    return fields


def _num_points(about: Mapping[str, list[str]]) -> int:
    height = int(about.get("HEIGHT", ["1"])[0])
    return int(about["POINTS"][0]) if "POINTS" in about else int(about["WIDTH"][0]) * height


def _text_columns(body: bytes, fields: list[tuple[str, np.dtype, int]], about: Mapping) -> dict[str, np.ndarray]:
    width = sum(count for _, _, count in fields)
    numbers = body.split()
    if len(numbers) % width or len(numbers) < width * _num_points(about):
        declared = width * _num_points(about)
        raise ValueError(f"is truncated: its header declares {declared} numbers, there are {len(numbers)}")
    if max(map(len, numbers), default=0) > _LONGEST:  # an array of words is as wide as the longest
        raise ValueError(f"has a number of more than {_LONGEST} characters")
    rows = np.array(numbers).reshape(-1, width)
    starts = np.cumsum([0, *(count for _, _, count in fields)])
    columns = {}
    for (name, dtype, _), start in zip(fields, starts, strict=False):
        if name in _USED:
            exact = name not in "xyz" and dtype.kind != "f"  # a packed colour has more digits than a float32
            columns[name] = _numbers(rows[:, start], np.int64 if exact else np.float64)
    return columns


def _numbers(words: np.ndarray, dtype: type) -> np.ndarray:
    try:
        return words.astype(dtype)
    except ValueError:  # other spellings, which take longer
        return np.array([number(word.decode("latin-1")) for word in words.tolist()])


def _binary_columns(body: bytes, fields: list[tuple[str, np.dtype, int]], about: Mapping) -> dict[str, np.ndarray]:
    row = sum(dtype.itemsize * count for _, dtype, count in fields)
    num_points = _num_points(about)
    if about["DATA"] == ["binary"]:
        if not 0 <= num_points * row <= len(body):
            raise ValueError(f"is truncated: its header declares {num_points * row} bytes, there are {len(body)}")
        layout = np.dtype([(str(k), dtype, (count,)) for k, (_, dtype, count) in enumerate(fields)])
        table = np.frombuffer(body, layout, num_points)
        return {name: table[str(k)][:, 0] for k, (name, _, _) in enumerate(fields)}
    if about["DATA"] != ["binary_compressed"]:
        raise ValueError(f"has data of kind {' '.join(about['DATA'])}; expected ascii, binary or binary_compressed")
    packed, size = (int(number) for number in np.frombuffer(body[:8].ljust(8, b"\0"), "<u4"))
    if packed > len(body) - 8 or size != num_points * row or size > _MAX_TIMES * max(packed, 1):
        raise ValueError(f"is truncated: it declares {size} bytes for {num_points} points, packed into {packed}")
    unpacked = np.zeros(size, np.uint8)
    if not _decompress(np.frombuffer(body, np.uint8, packed, 8), unpacked):
        raise ValueError("has compressed data that are damaged")
    columns, start = {}, 0
    for name, dtype, count in fields:  # field by field, not point by point
        block = unpacked[start : start + num_points * dtype.itemsize * count]
        columns[name] = block.view(dtype).reshape(num_points, count)[:, 0]
        start += len(block)
    return columns


@kernel
def _decompress(packed: np.ndarray, unpacked: np.ndarray) -> bool:
    """Marc Lehmann's LZF: a byte below 32 begins literals, any other a copy of what was written before."""
    i, o = 0, 0
    while i < len(packed):
        control = np.int64(packed[i])
        i += 1
        if control < 32:
            length = control + 1
            if i + length > len(packed) or o + length > len(unpacked):
                return False
            unpacked[o : o + length] = packed[i : i + length]
            i += length
            o += length
            continue
        length = control >> 5
        if length == 7:
            if i >= len(packed):
                return False
            length += np.int64(packed[i])
            i += 1
        if i >= len(packed):
            return False
        back = o - ((control & 31) << 8) - np.int64(packed[i]) - 1
        i += 1
        length += 2
        if back < 0 or o + length > len(unpacked):
            return False
        for k in range(length):  # one by one: source and target may overlap
            unpacked[o + k] = unpacked[back + k]
        o += length
    return o == len(unpacked)


def _colors(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A packed colour is the bits 0xRRGGBB of an integer, or of a float of the same bits."""
    packed = columns.get("rgb", columns.get("rgba"))
    if packed is None:
        return color_columns(columns)
    bits = packed.astype(np.float32).view(np.uint32) if packed.dtype.kind == "f" else packed.astype(np.int64)
    if packed.dtype.kind == "f" and ((packed == 0) | (packed >= 1) & (packed < 1 << 32)).all():
        bits = packed.astype(np.int64)  # integers that are declared floats, as in PCL's own example
    return np.stack([(bits >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
