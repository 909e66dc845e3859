"""ModelNet40 and ScanObjectNN are read from files laid out as theirs."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh

from pcfdsl.config import load
from pcfdsl.datasets.cloud_hdf5 import SCANOBJECTNN_CLASSES, hdf5_parts
from pcfdsl.datasets.clouds import read_cloud_folder, read_cloud_hdf5
from pcfdsl.datasets.folds import SplitConfig, split_clouds
from pcfdsl.rng import stream
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier


def write(path: Path, labels, *, column: bool = False) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    points = stream(len(path.name), path.name).normal(size=(len(labels), 64, 3)).astype(np.float32)
    label = np.array(labels, np.uint8)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = points, label[:, None] if column else label
        file["mask"] = np.zeros((len(labels), 64))
    return points


@pytest.fixture
def modelnet(tmp_path) -> Path:
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    for name, labels in (("train0", [0, 1, 2]), ("train1", [2, 1]), ("test0", [0, 2])):
        write(folder / f"ply_data_{name}.h5", labels, column=True)
    (folder / "shape_names.txt").write_text("airplane\nbathtub\nbed\n")
    return folder


def test_modelnets_parts_are_joined_named_and_turned_upright(modelnet):
    clouds = read_cloud_hdf5(modelnet)
    assert clouds.classes == ("airplane", "bathtub", "bed")
    assert clouds.labels.tolist() == [0, 1, 2, 2, 1, 0, 2]
    split = split_clouds(clouds, SplitConfig(by="split", held_out="test"))
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2, 3, 4], [5, 6])
    with h5py.File(modelnet / "ply_data_test0.h5") as file:
        stored = np.asarray(file["data"])[0]  # type: ignore[index]
    drawn = clouds.source.draw(5, stream(0), 64)
    assert set(map(tuple, drawn)) == {(x, -z, y) for x, y, z in stored}


def test_a_version_of_scanobjectnn_is_chosen_by_one_of_its_files(tmp_path):
    for version in ("", "_augmentedrot_scale75"):
        write(tmp_path / f"training_objectdataset{version}.h5", [0, 14, 3])
        write(tmp_path / f"test_objectdataset{version}.h5", [14])
    with pytest.raises(ValueError, match=r"several versions of a set; name the one to use: training_objectdataset\.h5"):
        read_cloud_hdf5(tmp_path)
    for part in ("training", "test"):
        chosen = hdf5_parts(tmp_path / f"{part}_objectdataset_augmentedrot_scale75.h5")
        assert [file.name for files in chosen.values() for file in files] == [
            "training_objectdataset_augmentedrot_scale75.h5",
            "test_objectdataset_augmentedrot_scale75.h5",
        ]
    clouds = read_cloud_hdf5(tmp_path / "test_objectdataset.h5")
    assert clouds.classes == SCANOBJECTNN_CLASSES
    assert len(clouds.classes) == 15
    assert clouds.tags["split"].tolist() == ["train", "train", "train", "test"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "ply_data_test0.h5").unlink(), "expected .h5 files with train and test"),
        (lambda folder: (folder / "ply_data_test0.h5").write_bytes(b"\x89HDF\r\n\x1a\n..."), "test0.h5 cannot be read"),
        (lambda folder: (folder / "shape_names.txt").write_text("airplane"), "has 1 names, but labels go to 2"),
        (lambda folder: write(folder / "ply_data_test0.h5", []), "expected .S, P, 3. and .S."),
    ],
)
def test_what_cannot_be_read_is_named(modelnet, spoil, message):
    spoil(modelnet)
    with pytest.raises(ValueError, match=message):
        read_cloud_hdf5(modelnet)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere"):
        read_cloud_hdf5(tmp_path / "nowhere")


def test_a_classifier_trains_on_the_official_split(modelnet, tmp_path):
    settings = (f"data={{kind: hdf5, path: {json.dumps(str(modelnet))}}}", "split={by: split, held_out: test}")
    quick = ("train.num_steps=2", "train.batch_size=2", "train.sinks=[]", "points.num_points=64")
    config = load(ClassificationConfig, "classifier/smoke", (*settings, *quick))
    result = train_classifier(config, tmp_path / "run").runs[0]
    assert result.metrics["accuracy"] in (0, 0.5, 1)


def test_modelnets_meshes_carry_their_split(tmp_path):
    mesh = trimesh.creation.box((1.0, 2.0, 3.0)).export(file_type="off")
    assert isinstance(mesh, str)
    for name in ("bed/train/bed_0001", "bed/test/bed_0002", "desk/train/desk_0001"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.off").write_text(mesh.replace("OFF\n", "OFF", 1))  # as hundreds of ModelNet40's files are
    clouds = read_cloud_folder(tmp_path)
    assert not clouds.skipped
    assert dict(zip(clouds.names, clouds.tags["split"].tolist(), strict=True)) == {
        "bed/test/bed_0002.off": "test",
        "bed/train/bed_0001.off": "train",
        "desk/train/desk_0001.off": "train",
    }
