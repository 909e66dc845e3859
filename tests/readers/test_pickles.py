import collections
import datetime
import os
import pickle
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.readers.pickles import load_plain, read_plain

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | hnp.arrays(
        st.sampled_from(["f4", ">f8", "i8", "u1", "?", "U5", "S3", "<i2"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
        elements=None,
    )
    | st.floats(width=32, allow_nan=False).map(np.float32)
    | st.integers(-9, 9).map(np.int64)
)
PLAIN = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        a, b = (array.astype(array.dtype.newbyteorder("=")) for array in (a, b))  # NumPy swaps some and keeps others
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(PLAIN, st.integers(1, 5))
def test_plain_data_are_read_as_python_reads_them(value, protocol):
    content = pickle.dumps(value, protocol)
    assert same(read_plain(content), pickle.loads(content))


def test_shared_references_and_ordered_dictionaries():
    shared = [1, np.arange(3)]
    value = collections.OrderedDict(a=shared, b=(shared, shared))
    for protocol in range(2, 6):
        found = read_plain(pickle.dumps(value, protocol))
        assert found["a"] is found["b"][0] is found["b"][1]
        np.testing.assert_array_equal(found["a"][1], [0, 1, 2])
        again = pickle.loads(pickle.dumps(found))["a"][1]  # as loader workers receive it
        assert type(again) is np.ndarray
        np.testing.assert_array_equal(again, [0, 1, 2])


class Evil:
    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_file_is_executed(tmp_path, protocol):
    flag = tmp_path / "run"
    attacks = [
        Evil(os.system, f"touch {flag}"),
        Evil(subprocess.check_output, ["touch", str(flag)]),
        Evil(eval, f"open({str(flag)!r}, 'w')"),
        Evil(exec, f"open({str(flag)!r}, 'w')"),
        Evil(open, str(flag), "w"),
        Evil(getattr, "text", "format"),
        Evil(np.fromfile, str(flag)),
        Evil(np.load, str(flag)),
        Path("x"),
        datetime.datetime(2020, 1, 1),
        np.array([1, "a", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.random.RandomState(0),
    ]
    for attack in attacks:
        for wrapped in (attack, {"metainfo": {}, "data_list": [attack]}):
            content = pickle.dumps(wrapped, protocol)
            with pytest.raises(ValueError, match="plain data"):
                read_plain(content)
    assert not flag.exists()


def program(*steps: bytes) -> bytes:
    return b"\x80\x04" + b"".join(steps) + b"."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"
HOSTILE = {
    "array of terabytes": program(
        ARRAY,
        b"(K\x01",
        b"\x8a\x06" + b"\xff" * 5 + b"\x00\x85",
        b"cnumpy\ndtype\n\x8c\x02f8\x85R",
        b"\x89C\x08" + bytes(8),
        b"tb",
    ),
    "array of pointers": program(ARRAY, b"(K\x01K\x01\x85cnumpy\ndtype\n\x8c\x01O\x85R", b"\x89C\x08abcdefghtb"),
    "text of exabytes": program(b"\x8d" + struct.pack("<Q", 2**62) + b"abc"),
    "bytes of exabytes": program(b"\x8e" + struct.pack("<Q", 2**62) + b"abc"),
    "frame of exabytes": program(b"\x95" + struct.pack("<Q", 2**62)),
    "memo of gigabytes": program(b"]", b"r\xff\xff\xff\x7f"),
    "persistent id": program(b"Pmodule\n"),
    "extension": program(b"\x82\x01"),
    "instance": program(b"(iposix\nsystem\n"),
    "object": program(b"(cposix\nsystem\no"),
    "new array": program(b"cnumpy\nndarray\n", b"(", b"\x8a\x05" + b"\xff" * 4 + b"\x00", b"t", b"\x81"),
    "new bytes": program(b"cbuiltins\nbytes\n", b"\x8a\x05" + b"\xff" * 4 + b"\x00", b"\x85R"),
    "stack too short": program(b"a"),
    "no end": b"\x80\x04]",
    "empty": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    with pytest.raises(ValueError, match="plain data"):
        read_plain(HOSTILE[name])


def test_a_file_leaves_no_trace_in_the_reader():
    """A pickle can set attributes on the functions it names."""
    attributes = b"}\x8c\x0c__defaults__", b"K\x01\x85s"
    read_plain(program(b"cbuiltins\nbytes\n", b"}", *attributes, b"\x86b"))
    assert read_plain(pickle.dumps(b"", protocol=2)) == b""


@given(PLAIN, st.integers(0, 5), st.data())
def test_a_damaged_file_gives_plain_data_or_a_value_error(value, protocol, data):
    content = bytearray(pickle.dumps(value, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        read_plain(bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps([np.arange(4)]))
    np.testing.assert_array_equal(load_plain(path)[0], [0, 1, 2, 3])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"infos\.pkl is not a pickle of plain data"):
        load_plain(path)
    with pytest.raises(OSError, match=r"absent\.pkl"):
        load_plain(tmp_path / "absent.pkl")
