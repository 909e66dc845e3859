import io
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import trimesh

from pcfdsl.store.export import encode_ply, write_parquet, write_webdataset
from pcfdsl.store.pictures import decode_png


def test_ply_keeps_every_bit():
    points = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    data = encode_ply(points)
    assert data.startswith(b"ply\nformat binary_little_endian 1.0\n")
    read = np.asarray(trimesh.load(io.BytesIO(data), file_type="ply").vertices)
    assert read.astype(np.float32).tobytes() == points.tobytes()


def test_tars_keep_every_bit_and_no_trace_of_the_writer(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        {"points": rng.random((n, 3), dtype=np.float32), "category": np.array(n), "is_odd": np.array(n % 2 == 1)}
        for n in range(7)
    ]
    files = write_webdataset(samples, tmp_path / "tars", samples_per_file=3)
    assert [path.name for path in files] == ["00000.tar", "00001.tar", "00002.tar"]
    again = write_webdataset(samples, tmp_path / "again", samples_per_file=3)
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    number = 0
    for path in files:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in members)
            for array, scalars in zip(members[::2], members[1::2], strict=True):
                assert (array.name, scalars.name) == (f"{number:09d}.points.npy", f"{number:09d}.json")
                read = np.load(io.BytesIO(tar.extractfile(array).read()))
                assert read.tobytes() == samples[number]["points"].tobytes()
                assert json.load(tar.extractfile(scalars)) == {"category": number, "is_odd": number % 2 == 1}
                number += 1
    assert number == len(samples)


def rows(files):
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_parquet_is_lossless(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        {
            "points": rng.normal(size=(4 + i, 3)).astype(np.float32),
            "image": rng.integers(0, 256, (5, 6, 3), dtype=np.uint8),
            "maps": rng.normal(size=(2, 3, 3)),
            "label": np.array(i % 3),
            "share": np.array(i / 7),
        }
        for i in range(7)
    ]
    files = write_parquet(samples, tmp_path / "tables", samples_per_file=3, metadata={"pcfdsl.digest": "abc"})
    assert [file.name for file in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert pq.read_schema(files[0]).metadata[b"pcfdsl.digest"] == b"abc"
    about = json.loads(pq.read_schema(files[0]).metadata[b"huggingface"])
    assert about == {"info": {"features": {"image": {"_type": "Image"}}}}
    assert str(pq.read_schema(files[0]).field("points").type) == "list<element: fixed_size_list<element: float>[3]>"
    for i, (row, sample) in enumerate(zip(rows(files), samples, strict=True)):
        for key in ("points", "maps"):
            np.testing.assert_array_equal(np.array(row[key], sample[key].dtype), sample[key])
        assert row["image"]["path"] == f"{i:09d}.png"
        np.testing.assert_array_equal(decode_png(row["image"]["bytes"]), sample["image"])
        assert (row["label"], row["share"]) == (i % 3, i / 7)


def test_parquet_rejects_samples_that_differ(tmp_path):
    first = {"points": np.zeros((2, 3), np.float32)}
    for other, message in (
        (
            {"cloud": np.zeros((2, 3), np.float32)},
            "the arrays of sample 1 differ from those of sample 0; expected points",
        ),
        ({"points": np.zeros((2, 4), np.float32)}, r"sample 1: points is float32 \(2, 4\), but that of sample 0"),
    ):
        with pytest.raises(ValueError, match=message):
            write_parquet([first, other], tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []


@pytest.mark.parametrize("write", [write_webdataset, write_parquet])
def test_files_of_a_larger_export_are_named(write, tmp_path):
    samples = [{"points": np.full((2, 3), i, np.float32)} for i in range(6)]
    assert len(write(samples, tmp_path, samples_per_file=2)) == 3
    (tmp_path / "mine.tar").touch()
    with pytest.raises(ValueError, match=r"holds 00001\.\w+, 00002\.\w+ besides the 1 file"):
        write(samples, tmp_path, samples_per_file=6)
    assert len(list(tmp_path.iterdir())) == 4  # nothing was removed
