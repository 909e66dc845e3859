"""CIFAR in its published forms: both layouts give the same pictures, and what does not fit is named."""

import pickle
import struct

import numpy as np
import pytest

from pcfdsl.readers.cifar import find_cifar, read_cifar

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (10, 32, 32, 3), np.uint8)
ROWS = np.ascontiguousarray(PICTURES.transpose(0, 3, 1, 2)).reshape(10, -1)
LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def python2(batch):
    """A pickle of protocol 2 as Python 2 wrote it: text and bytes are one type, with an opcode of their own."""

    def text(content):
        return b"T" + struct.pack("<I", len(content)) + content

    def number(value):
        return b"J" + struct.pack("<i", value)

    data = batch["data"]
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    shape = number(data.shape[0]) + number(data.shape[1]) + b"\x86"
    array += b"(" + number(1) + shape + dtype + b"\x89" + text(data.tobytes()) + b"tb"
    labels = b"](" + b"".join(map(number, batch["labels"])) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + labels + b"u."


def write_ten(folder, write=lambda batch: pickle.dumps(batch, protocol=2)):
    folder.mkdir()
    for k in range(5):
        part = slice(2 * k, 2 * k + 2)
        (folder / f"data_batch_{k + 1}").write_bytes(write({"data": ROWS[part], "labels": LABELS[part]}))


@pytest.mark.parametrize("write", [lambda batch: pickle.dumps(batch, protocol=2), python2], ids=["python3", "python2"])
def test_pickled_batches(write, tmp_path):
    write_ten(tmp_path / "cifar-10-batches-py", write)
    names = [f"thing{k}" for k in range(10)]
    (tmp_path / "cifar-10-batches-py" / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    pictures, labels, classes = read_cifar(find_cifar(tmp_path, "train"))
    np.testing.assert_array_equal(pictures, PICTURES)
    assert (labels.tolist(), classes) == (LABELS, tuple(names))
    assert find_cifar(tmp_path, "test") is None


@pytest.mark.parametrize("hundred", [False, True])
def test_binary_records(hundred, tmp_path):
    def records(part):
        coarse = [np.full((len(ROWS[part]), 1), 77, np.uint8)] if hundred else []
        return np.hstack([*coarse, np.array(LABELS[part], np.uint8)[:, None], ROWS[part]]).tobytes()

    if hundred:
        (tmp_path / "train.bin").write_bytes(records(slice(None)))
    else:
        for k in range(5):
            (tmp_path / f"data_batch_{k + 1}.bin").write_bytes(records(slice(2 * k, 2 * k + 2)))
    pictures, labels, classes = read_cifar(find_cifar(tmp_path, "train"))
    np.testing.assert_array_equal(pictures, PICTURES)
    assert labels.tolist() == LABELS
    assert classes == tuple(map(str, range(100 if hundred else 10)))


def test_cifar_100_has_fine_labels_and_is_told_by_its_meta_file(tmp_path):
    fine = [99, 0] * 5
    (tmp_path / "test").write_bytes(pickle.dumps({"data": ROWS, "fine_labels": fine, "coarse_labels": LABELS}))
    assert find_cifar(tmp_path, "test") is None  # a file of that name may be anything
    names = [f"c{k}" for k in range(100)]
    (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": names[:20]}))
    _, labels, classes = read_cifar(find_cifar(tmp_path, "test"))
    assert (labels.tolist(), classes[99]) == (fine, "c99")


def test_what_does_not_fit_is_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_ten(folder)
    bad = folder / "data_batch_3"
    for content, why in (
        ({"data": ROWS[:, 1:], "labels": LABELS}, r"data uint8 \(10, 3071\); expected uint8 \(10, 3072\)"),
        ({"data": ROWS, "labels": [10] * 10}, "labels from 10 to 10; expected 0 to 9"),
        ({"data": ROWS, "labels": "text"}, "not a list of small whole numbers"),
        ([1, 2], "has no data and labels"),
        ({"data": ROWS.tolist(), "labels": LABELS}, "data that are no array, but a list"),
    ):
        bad.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=f"data_batch_3 has .*{why}|data_batch_3 {why}"):
            read_cifar(find_cifar(tmp_path, "train"))
    bad.unlink()
    with pytest.raises(ValueError, match="lacks data_batch_3; unpack"):
        find_cifar(tmp_path, "train")
    (tmp_path / "test.bin").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"test\.bin has 100 bytes; expected records of 3074 bytes"):
        read_cifar(find_cifar(tmp_path, "test"))
