import pickle
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pcfdsl.rng import stream
from pcfdsl.scene.config import SceneConfig, SizeConfig
from pcfdsl.scene.objects import MeshFolder, sample_surface
from pcfdsl.scene.synthesize import Scenes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every readable kind, in two classes and at the top, and five files that cannot be used."""
    for name in ("chair", "table", "table/deep"):
        (tmp_path / name).mkdir()
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    for kind in ("obj", "ply", "off", "stl"):
        box.export(tmp_path / "chair" / f"box.{kind}")
    trimesh.Scene([box, trimesh.creation.icosphere()]).export(tmp_path / "table" / "deep" / "two.glb")
    trimesh.PointCloud(stream(0).normal(size=(50, 3))).export(tmp_path / "table" / "cloud.ply")
    np.save(tmp_path / "cloud.npy", stream(1).normal(size=(40, 6)))
    (tmp_path / "table" / "readme.txt").write_text("not an object")
    (tmp_path / "chair" / "empty.obj").write_text("")
    (tmp_path / "chair" / "cut.stl").write_bytes((tmp_path / "chair" / "box.stl").read_bytes()[:100])
    (tmp_path / "table" / "noise.glb").write_bytes(b"\x00\x01\x02" * 30)
    np.save(tmp_path / "flat.npy", np.zeros((5, 3)))
    np.save(tmp_path / "nan.npy", np.array([[0, 0, 0], [np.nan, 1, 1]]))  # one point is left
    return tmp_path


def test_readable_files_are_read_and_broken_ones_reported(folder):
    objects = MeshFolder(folder)
    assert objects.classes == ("chair", "object", "table")
    assert sorted(name for name, _ in objects.skipped) == [
        "chair/cut.stl",
        "chair/empty.obj",
        "flat.npy",
        "nan.npy",
        "table/noise.glb",
    ]
    reasons = dict(objects.skipped)
    assert "has no extent" in reasons["nan.npy"]
    assert "has no extent" in reasons["flat.npy"]
    assert objects.report().startswith("7 objects in 3 classes, 5 files skipped\n  chair/cut.stl: ")


def test_samples_lie_on_the_surface_and_depend_on_the_generator_alone(folder):
    objects = MeshFolder(folder)
    for seed in range(20):
        points, category = objects.sample(stream(seed), 100)
        again, _ = pickle.loads(pickle.dumps(objects)).sample(stream(seed), 100)
        np.testing.assert_array_equal(points, again)
        assert points.shape == (100, 3)
        assert points.dtype == np.float32
        if category == 0:
            assert np.abs(np.abs(points) / (0.5, 1, 1.5) - 1).min(axis=1).max() < 1e-5
            assert (np.abs(points) <= np.array([0.5, 1, 1.5]) + 1e-6).all()


def test_the_second_axis_can_point_up(folder):
    (folder / "chair" / "box.obj").rename(folder.parent / "box.obj")
    for kind in ("ply", "off", "stl"):
        (folder / "chair" / f"box.{kind}").unlink()
    mesh = trimesh.creation.box(bounds=[[0, 0, 0], [1, 2, 3]])  # x right, y up, z towards the viewer
    mesh.export(folder / "chair" / "box.ply")
    objects = MeshFolder(folder, up="y")
    points = next(p for s in range(50) for p, c in [objects.sample(stream(s), 3000)] if c == 0)
    np.testing.assert_allclose(points.min(axis=0), [0, -3, 0], atol=0.05)
    np.testing.assert_allclose(points.max(axis=0), [1, 0, 2], atol=0.05)


def test_points_are_spread_by_area():
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 5], [3, 0, 5], [0, 3, 5]]], float)
    points = sample_surface(stream(0), corners.reshape(6, 3), np.arange(6).reshape(2, 3), num_points=10_000)
    assert np.mean(points[:, 2] == 5) == pytest.approx(0.9, abs=0.01)
    upper = points[points[:, 2] == 5, :2]
    assert (upper.sum(axis=1) <= 3 + 1e-5).all()
    np.testing.assert_allclose(upper.mean(axis=0), [1, 1], atol=0.03)
    with pytest.raises(ValueError, match="no area"):
        sample_surface(stream(0), np.zeros((3, 3)), np.array([[0, 1, 2]]), num_points=1)


def test_scenes_of_meshes(folder):
    settings = SceneConfig(num_points=2000, sizes=SizeConfig(shape="keep"))
    scene = Scenes(settings, MeshFolder(folder))[0]
    assert set(scene.categories) <= {0, 1, 2}
    assert len(scene.boxes) > 2


def test_one_object_in_five_of_each_class_is_held_out(tmp_path):
    for name, count in (("chair", 7), ("table", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            np.save(tmp_path / name / f"{i}.npy", np.array([[0, 0, 0], [1, 1, i + 1]]))
    seen = {}
    for split in ("train", "val", None):
        objects = MeshFolder(tmp_path, split=split)
        draws = [objects.sample(stream(seed), 20) for seed in range(200)]
        assert objects.classes == ("chair", "table")
        seen[split] = {(category, int(points[:, 2].max()) - 1) for points, category in draws}
    assert seen["val"] == {(0, 1), (0, 6), (1, 1)}
    assert seen["train"] == {(0, 0), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0)}
    assert seen[None] == seen["train"] | seen["val"]
    (tmp_path / "table" / "1.npy").unlink()
    with pytest.raises(ValueError, match="table has a single object"):
        MeshFolder(tmp_path, split="val")
    with pytest.raises(ValueError, match="unknown split 'test'"):
        MeshFolder(tmp_path, split="test")


def test_nothing_usable_is_an_error_with_reasons(tmp_path):
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        MeshFolder(tmp_path / "absent")
    with pytest.raises(ValueError, match="0 files with known endings, 0 broken"):
        MeshFolder(tmp_path)
    (tmp_path / "a.obj").write_text("v 1 2")
    with pytest.raises(ValueError, match=r"1 broken\n  a.obj: "):
        MeshFolder(tmp_path)
    with pytest.raises(ValueError, match="unknown up='x'"):
        MeshFolder(tmp_path, up="x")
