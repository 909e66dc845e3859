import io
import json
import tarfile

import numpy as np
import trimesh

from pcfdsl.store.export import encode_ply, write_webdataset


def test_ply_keeps_every_bit():
    points = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    data = encode_ply(points)
    assert data.startswith(b"ply\nformat binary_little_endian 1.0\n")
    read = np.asarray(trimesh.load(io.BytesIO(data), file_type="ply").vertices)
    assert read.astype(np.float32).tobytes() == points.tobytes()


def test_tars_keep_every_bit_and_nothing_of_the_writer(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        {"points": rng.random((n, 3), dtype=np.float32), "category": np.array(n), "is_odd": np.array(n % 2 == 1)}
        for n in range(7)
    ]
    files = write_webdataset(samples, tmp_path / "tars", samples_per_tar=3)
    assert [path.name for path in files] == ["00000.tar", "00001.tar", "00002.tar"]
    again = write_webdataset(samples, tmp_path / "again", samples_per_tar=3)
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
