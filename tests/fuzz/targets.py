"""Every parser of files that others send, with a small file that it reads: for the tests here and for fuzz_parsers.py.

A parser may give something, or raise ValueError or OSError. Everything else is found by fuzzing.
"""

import io
import json
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from safetensors.torch import save

from pcfdsl.checkpoints.files import load_weights
from pcfdsl.checkpoints.run_folder import load_checkpoint, load_resume
from pcfdsl.checkpoints.weights import read_state
from pcfdsl.config import load, to_dict
from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.formula.csv_io import read_ifs
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.readers.boxes import read_boxes
from pcfdsl.readers.clouds import read_cloud
from pcfdsl.readers.matlab import read_variable
from pcfdsl.readers.pickles import load_plain
from pcfdsl.readers.pictures import read_picture
from pcfdsl.readers.s3dis import read_object
from pcfdsl.readers.scannet import read_alignment, read_groups, read_label_table, read_segments, read_vertices
from pcfdsl.store.manifest import Manifest, read_manifest, read_record
from pcfdsl.store.pictures import decode_png, encode_image_tar, encode_png, read_tar
from pcfdsl.store.shards import Shard, encode
from pcfdsl.train.log import read_log
from pcfdsl.train.task import TrainConfig
from pcfdsl.view.sources import load_items

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.5]], np.float32)
PICTURE = np.arange(64, dtype=np.uint8).reshape(8, 8)


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        file: Name that its file gets in a folder of its own.
        sample: A file that it reads.
        read: Reads the file of this path.
    """

    file: str
    sample: bytes
    read: Callable[[Path], Any]

    def attempt(self, folder: Path, content: bytes) -> str | None:
        """Put the content where it belongs and read it; the message where it is refused."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        try:
            self.read(path)
        except (ValueError, OSError) as error:
            return str(error)
        return None


def _saved(save_to: Callable[[io.BytesIO], Any]) -> bytes:
    content = io.BytesIO()
    save_to(content)
    return content.getvalue()


def _ply(kind: str, rows: bytes) -> bytes:
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    properties += "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
    faces = "element face 1\nproperty list uchar int vertex_indices\n"
    return f"ply\nformat {kind} 1.0\nelement vertex 3\n{properties}{faces}end_header\n".encode() + rows


def _matlab(value: Any) -> bytes:
    from scipy.io import savemat

    return _saved(lambda file: savemat(file, {"x": value}, do_compression=True))


def _shard(path: Path) -> None:
    shard = Shard(path, path.stat().st_size, "d")
    for i in range(3):
        shard.sample(i)


def _split(path: Path) -> None:
    folder = path.parent.parent
    (folder / "scenes" / "one").mkdir(parents=True, exist_ok=True)
    (folder / "set.json").write_text('{"format": "pcfdsl-detection-1", "classes": ["bed"]}')
    for name in DetectionSet(folder, path.stem).names:
        inside = (folder / "scenes" / name).resolve()
        assert inside.parent == (folder / "scenes").resolve(), f"{name} leads out of the set"


def _set_info(path: Path) -> None:
    (path.parent / "splits").mkdir(exist_ok=True)
    (path.parent / "scenes" / "one").mkdir(parents=True, exist_ok=True)
    (path.parent / "splits" / "all.txt").write_text("one\n")
    (path.parent / "scenes" / "one" / "points.npy").write_bytes(_saved(lambda file: np.save(file, TRIANGLE)))
    (path.parent / "scenes" / "one" / "boxes.csv").write_text("class,cx,cy,cz,dx,dy,dz\nbed,0,0,0,1,1,1\n")
    DetectionSet(path.parent, "all")[0]


_BINARY = TRIANGLE.tobytes()
_ROWS = b"".join(_BINARY[12 * i : 12 * i + 12] + bytes([9, 9, 9]) for i in range(3))
_FACE = b"\x03" + np.arange(3, dtype="<i4").tobytes()
_ONE = [{"points": TRIANGLE, "boxes": np.zeros((n, 7))} for n in range(3)]
_MANIFEST = Manifest(recipe="r", config={"seed": 0}, num_samples=3, samples_per_shard=2)
_RECORD = {
    "shard": 0,
    "first_sample": 0,
    "num_samples": 2,
    "num_bytes": 9,
    "sha256": "0" * 64,
    "counters": {"num_draws": 3},
    "versions": {"numpy": "2"},
}
_RUN = to_dict(TrainConfig())
_STATE = {"a.weight": torch.zeros(2, 3), "a.bias": torch.ones(2)}
_ABOUT = {"settings": json.dumps({"seed": 0}), "step": "3", "metrics": "{}"}
_SEGMENTS = {"segIndices": [0, 0, 1, 2]}
_GROUPS = {"segGroups": [{"objectId": 0, "label": "chair", "segments": [0, 1]}]}
_META = {"a": np.arange(6.0).reshape(2, 3), "b": "text", "c": np.array([1, "x"], object)}

_AXES = {"x": 0, "y": 0, "z": 1}
_LABELCLOUD = {
    "objects": [
        {"name": "a", "centroid": _AXES, "dimensions": {"length": 1, "width": 1, "height": 1}, "rotations": _AXES},
        {"name": "b", "vertices": [[x, y, z] for z in (0, 1) for x in (0, 1) for y in (0, 1)]},
    ]
}
_SUSTECH = [{"obj_type": "a", "psr": {"position": _AXES, "rotation": _AXES, "scale": {"x": 1, "y": 1, "z": 1}}}]
_KITTI = b"Car 0 0 0 0 0 9 9 1.5 1.6 4 1 2 20 0.3\nDontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10\n"

_PCD = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\n"

TARGETS = {
    "ifs_csv": Target("a.csv", b"".join(b"0.5,0,0,0,0.5,0,0,0,0.5,0,0,%d,0.5\n" % i for i in range(2)), read_ifs),
    "boxes_csv": Target("b.csv", b"class,cx,cy,cz,dx,dy,dz,yaw\nbed,0,0,0,1,1,1,0.3\n", read_boxes),
    "boxes_labelcloud": Target("b.json", json.dumps(_LABELCLOUD).encode(), read_boxes),
    "boxes_sustech": Target("b.json", json.dumps(_SUSTECH).encode(), read_boxes),
    "boxes_kitti": Target("b.txt", _KITTI, lambda path: read_boxes(path, camera_frame=False)),
    "boxes_json": Target("b.json", b'[{"class": "bed", "center": [0, 0, 0], "size": [1, 1, 1], "yaw": 0}]', read_boxes),
    "points_npy": Target("p.npy", _saved(lambda file: np.save(file, TRIANGLE)), read_cloud),
    "points_bin": Target("p.bin", bytes(48), read_cloud),
    "points_ply": Target("p.ply", _ply("binary_little_endian", _ROWS + _FACE), read_cloud),
    "points_ply_text": Target("p.ply", _ply("ascii", b"0 0 0 9 9 9\n" * 3 + b"3 0 1 2\n"), read_cloud),
    "points_pcd": Target("p.pcd", _PCD + b"DATA ascii\n0 0 0\n1 2 3\n", read_cloud),
    "points_pcd_binary": Target("p.pcd", _PCD + b"DATA binary\n" + bytes(24), read_cloud),
    "points_pcd_packed": Target(
        "p.pcd", _PCD + b"DATA binary_compressed\n\x19\0\0\0\x18\0\0\0\x17" + bytes(24), read_cloud
    ),
    "points_text": Target("p.txt", b"x,y,z\n0,0,0\n1.5,2,3\n", read_cloud),
    "view_obj": Target("m.obj", b"o thing\nv 0 0 0\nv 1 0 0\nv 0 1 0.5\nvn 0 0 1\nf 1//1 2//1 3//1\n", load_items),
    "view_off": Target("m.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", load_items),
    "view_stl": Target("m.stl", trimesh.creation.box().export(file_type="stl"), load_items),
    "view_glb": Target("m.glb", trimesh.creation.box().export(file_type="glb"), load_items),
    "view_npz": Target("c.npz", _saved(lambda file: np.savez(file, points=TRIANGLE)), load_items),
    "yaml": Target(
        "c.yaml", b"num_points: 100\nsearch: {variance_threshold: 0.05}\n", lambda p: load(PCFractalConfig, p)
    ),
    "set_json": Target(
        "set.json", b'{"format": "pcfdsl-detection-1", "classes": ["bed"], "bin_columns": 6}', _set_info
    ),
    "split": Target("splits/all.txt", b"one\none\n", _split),
    "manifest": Target(
        "manifest.json",
        json.dumps({**_MANIFEST.identity(), "versions": {}, "digest": _MANIFEST.digest}).encode(),
        lambda path: read_manifest(path.parent),
    ),
    "record": Target("00000.json", json.dumps(_RECORD).encode(), lambda p: read_record(p.with_suffix(".safetensors"))),
    "shard": Target("s", encode(_ONE, first_sample=0, digest="d"), _shard),
    "weights": Target("w.safetensors", save(_STATE, metadata=_ABOUT), load_weights),
    "checkpoint": Target("w.safetensors", save(_STATE, metadata=_ABOUT), load_checkpoint),
    "torch_file": Target("w.pt", _saved(lambda file: torch.save({"state_dict": _STATE}, file)), read_state),
    "torch_file_old": Target(
        "w.pt",
        _saved(lambda file: torch.save({"model": _STATE}, file, _use_new_zipfile_serialization=False)),
        read_state,
    ),
    "resume": Target(
        "resume.pt",
        _saved(lambda file: torch.save({"settings": _RUN, "step": 1, "model": _STATE}, file)),
        lambda path: load_resume(path.parent, settings=_RUN, config_class=TrainConfig),
    ),
    "log": Target("log.jsonl", b'{"step": 1, "kind": "train"}\n' * 2, lambda path: read_log(path.parent)),
    "png": Target("p.png", encode_png(PICTURE), read_picture),
    "own_png": Target("p.png", encode_png(PICTURE), lambda path: decode_png(path.read_bytes())),
    "tar": Target("0.tar", encode_image_tar([(0, {"image": PICTURE, "category": np.array(1)})]), read_tar),
    "matlab": Target("m.mat", _matlab(_META), lambda path: read_variable(path, "x")),
    "pickle": Target("p.pkl", pickle.dumps([{"a": TRIANGLE, "n": 3, "s": "x"}]), load_plain),
    "s3dis": Target("chair_1.txt", b"1.5 -2 0.25 10 20 30\n1.5 -2 0.5 10\x0020 3\x10\n", read_object),
    "scannet_mesh": Target("m.ply", _ply("binary_little_endian", _ROWS + _FACE), read_vertices),
    "scannet_segments": Target("s.json", json.dumps(_SEGMENTS).encode(), read_segments),
    "scannet_groups": Target("g.json", json.dumps(_GROUPS).encode(), read_groups),
    "scannet_alignment": Target("a.txt", b"axisAlignment = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n", read_alignment),
    "scannet_labels": Target("l.tsv", b"raw_category\tnyu40id\nwall\t1\n", read_label_table),
}


def bomb(name: str) -> bytes:
    """Files of few bytes that promise many."""
    if name == "npz":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            header = _saved(
                lambda file: np.lib.format.write_array_header_1_0(
                    file,
                    {  # type: ignore[arg-type]
                        "descr": "<f4",
                        "fortran_order": False,
                        "shape": (2**28, 3),
                    },
                )
            )
            archive.writestr("points.npy", header + bytes(2**22))
        return content.getvalue()
    if name == "npy":
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 3)}
        return _saved(lambda file: np.lib.format.write_array_header_1_0(file, header))  # type: ignore[arg-type]
    if name == "ply":
        return TARGETS["points_ply"].sample.replace(b"vertex 3\n", b"vertex 3000000000000\n")
    if name == "ply_text":
        return TARGETS["points_ply_text"].sample.replace(b"vertex 3\n", b"vertex 3000000000000\n")
    if name == "safetensors":
        return (2**62).to_bytes(8, "little") + b"{}"
    if name == "png":
        data = bytearray(encode_png(PICTURE))
        data[16:24] = (60_000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        return bytes(data)
    if name == "tar":
        content = io.BytesIO()
        member = tarfile.TarInfo("../../outside")
        member.size = 2**40
        content.write(member.tobuf())
        return content.getvalue()
    assert name == "yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines).encode()
