import collections
import datetime
import io
import os
import pickle
import pickletools
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
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        b = b.astype(b.dtype.newbyteorder("="))  # NumPy keeps the order of some and swaps that of others
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(PLAIN, st.integers(1, 5))
def test_plain_data_come_back_as_python_reads_them(value, protocol):
    content = pickle.dumps(value, protocol)
    assert same(read_plain(content), pickle.loads(content))


def test_shared_and_ordered_things():
    shared = [1, np.arange(3)]
    value = collections.OrderedDict(a=shared, b=(shared, shared))
    for protocol in range(2, 6):
        found = read_plain(pickle.dumps(value, protocol))
        assert found["a"] is found["b"][0] is found["b"][1]
        np.testing.assert_array_equal(found["a"][1], [0, 1, 2])
    # doubled 200 times: no larger than its file
    doubled = [1]
    for _ in range(60):
        doubled = [doubled, doubled]
    found = read_plain(pickle.dumps(doubled))
    assert found[0] is found[1]


class Evil:
    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_ever_called(tmp_path, protocol):
    flag = tmp_path / "called"
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
        {1, 2},
        frozenset([1]),
        complex(1, 2),
        np.array([1, "a", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.random.RandomState(0),
        bytes,
        np.ndarray,
        np.dtype("f4"),
    ]
    for attack in attacks:
        for wrapped in (attack, {"metainfo": {}, "data_list": [attack]}):
            content = pickle.dumps(wrapped, protocol)
            with pytest.raises(ValueError, match="plain data"):
                read_plain(content)
    assert not flag.exists()


def program(*steps: bytes) -> bytes:
    return b"\x80\x04" + b"".join(steps) + b"."


HOSTILE = {
    "attribute of a function": program(b"c_codecs\nencode\n", b"}", b"\x8c\x01a", b"K\x01", b"s", b"b"),
    "call of the called": program(b"cnumpy\ndtype\n", b"\x8c\x02f4", b"\x85R", b")R"),
    "an array of terabytes": program(
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b")R",
        b"(K\x01",
        b"\x8a\x06" + b"\xff" * 5 + b"\x00\x85",
        b"cnumpy\ndtype\n\x8c\x02f8\x85R",
        b"\x89",
        b"C\x08" + bytes(8),
        b"tb",
    ),
    "an array that was never filled": program(b"cnumpy.core.multiarray\n_reconstruct\n", b")R"),
    "a text of exabytes": program(b"\x8d" + struct.pack("<Q", 2**62) + b"abc"),
    "bytes of exabytes": program(b"\x8e" + struct.pack("<Q", 2**62) + b"abc"),
    "a frame of exabytes": program(b"\x95" + struct.pack("<Q", 2**62)),
    "a memo far away, got": program(b"]", b"r\xff\xff\xff\x7f", b"0", b"j\xfe\xff\xff\x7f"),
    "a list in itself": program(b"]\x94", b"h\x00", b"a"),
    "nested too deep": program(b"]" * 100_000 + b"a" * 99_999),
    "a key of nested tuples": program(b"}", b")" + b"\x85" * 200_000, b"K\x01", b"s"),
    "letters that are none": program(
        b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n\x8c\x02U1\x85R", b"C\x04\xff\xff\xff\x7f", b"\x86R"
    ),
    "persistent id": program(b"Pmodule\n"),
    "extension": program(b"\x82\x01"),
    "instance": program(b"(iposix\nsystem\n"),
    "object": program(b"(cposix\nsystem\no"),
    "new object": program(b"cnumpy\nndarray\n", b"(", b"\x8a\x05" + b"\xff" * 4 + b"\x00", b"t", b"\x81"),
    "stack too short": program(b"a"),
    "no mark": program(b"t"),
    "a mark too late": program(b"](", b"K\x01", b"K\x01"),
    "nothing": b"",
    "no end": b"\x80\x04]",
    "text": b"hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    with pytest.raises(ValueError, match=r"plain data|deep"):
        read_plain(HOSTILE[name])


@given(st.binary(max_size=200))
def test_any_bytes_give_plain_data_or_a_value_error(content):
    with suppress(ValueError):
        read_plain(content)


@given(PLAIN, st.integers(0, 5), st.data())
def test_any_damage_gives_plain_data_or_a_value_error(value, protocol, data):
    content = bytearray(pickle.dumps(value, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read_plain(content)
    except ValueError:
        return
    pickle.dumps(found)  # whatever it is, it is whole


OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
PIECES = OPCODES | st.sampled_from(
    [b"K\x01", b"C\x04abcd", b"\x8c\x02f4", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"U\x01a"]
)


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_any_program_gives_plain_data_or_a_value_error(steps):
    with suppress(ValueError):
        pickle.dump(read_plain(steps + b"."), io.BytesIO())


def test_files_are_named(tmp_path):
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps([np.arange(4)]))
    np.testing.assert_array_equal(load_plain(path)[0], [0, 1, 2, 3])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"infos\.pkl: is no pickled file of plain data"):
        load_plain(path)
    with pytest.raises(OSError, match=r"absent\.pkl"):
        load_plain(tmp_path / "absent.pkl")
