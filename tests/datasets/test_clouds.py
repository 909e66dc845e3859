import pickle
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pcfdsl.datasets.clouds import fractal_clouds, read_cloud_folder, read_cloud_npz
from pcfdsl.formula.search import SearchConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.rng import stream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every readable format in two classes, and unusable files."""
    for name in ("chair/deep", "table", "broken"):
        (tmp_path / name).mkdir(parents=True)
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    for kind in ("obj", "ply", "off", "stl", "glb"):
        box.export(tmp_path / "chair" / "deep" / f"box.{kind}")
    cloud = stream(0).normal(size=(50, 6)).astype(np.float32)
    np.save(tmp_path / "table" / "cloud.npy", cloud)
    cloud.tofile(tmp_path / "table" / "cloud.bin")
    trimesh.PointCloud(cloud[:, :3]).export(tmp_path / "table" / "cloud.ply")
    np.save(tmp_path / "at_the_top.npy", cloud)
    (tmp_path / "table" / "notes.txt").write_text("not a shape")
    (tmp_path / "table" / "cut.bin").write_bytes(cloud.tobytes()[:-3])
    (tmp_path / "broken" / "noise.glb").write_bytes(b"\x00\x01\x02" * 30)
    return tmp_path


def test_a_folder_is_read_by_class_and_unusable_files_are_named(folder):
    clouds = read_cloud_folder(folder)
    assert clouds.classes == ("chair", "table")
    assert np.bincount(clouds.labels).tolist() == [5, 3]
    assert [name for name, _ in clouds.skipped] == ["at_the_top.npy", "broken/noise.glb", "table/cut.bin"]
    assert "not a multiple of a row" in clouds.report()
    for index in range(len(clouds)):
        points = clouds.source.draw(index, stream(1), 200)
        assert points.shape == (200, 3)
        assert points.dtype == np.float32
        if clouds.labels[index] == 0:  # every mesh is the box, and all points are on its surface
            np.testing.assert_allclose((np.abs(points) / [0.5, 1.0, 1.5]).max(1), 1, rtol=1e-5)


def test_small_clouds_give_every_point_before_any_repeats(folder):
    clouds = read_cloud_folder(folder)
    given = np.load(folder / "table" / "cloud.npy")[:, :3]
    index = clouds.names.index("table/cloud.npy")
    assert set(map(tuple, clouds.source.draw(index, stream(0), 50))) == set(map(tuple, given))


def test_a_folder_without_shapes_is_refused(tmp_path):
    np.save(tmp_path / "cloud.npy", np.ones((5, 3)))
    with pytest.raises(ValueError, match="is not in a class's sub-folder"):
        read_cloud_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="sub-folders by class"):
        read_cloud_folder(tmp_path / "nothing")


def arrays(**changes) -> dict:
    content = {
        "points": (stream(0).normal(size=(6, 40, 3)) * 1000).astype(np.int16),
        "label": np.array([0, 1, -1, 2, 1, 0]),
        "scale": np.full(6, 0.001, np.float32),
        "fold": np.array([0, 0, 1, 1, 2, 2]),
        "class_names": np.array(["a", "b", "c"]),
    }
    return {name: array for name, array in (content | changes).items() if array is not None}


def test_a_file_of_shapes_is_read_with_its_tags(tmp_path):
    np.savez(tmp_path / "set.npz", **arrays())
    clouds = read_cloud_npz(tmp_path / "set.npz")
    assert clouds.classes == ("a", "b", "c")
    assert clouds.labels.tolist() == [0, 1, 2, 1, 0]  # without the shape that has no class
    assert clouds.tags["fold"].tolist() == [0, 0, 1, 2, 2]
    drawn = clouds.source.draw(2, stream(0), 40)
    given = arrays()["points"][3] * np.float32(0.001)
    assert set(map(tuple, drawn)) == set(map(tuple, given))
    assert len(clouds.source.draw(2, stream(0), 100)) == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "has no array label"),
        ({"points": np.zeros((6, 40))}, r"expected \[S, P, 3\]"),
        ({"label": np.full(6, -1)}, "no shape with a class"),
        ({"label": np.full(6, 3)}, "only 3 class_names"),
        ({"points": np.zeros((6, 40, 3), np.int16)}, "5 shapes are not finite or have no extent; the first is 0"),
    ],
)
def test_an_inconsistent_file_is_refused_by_name(tmp_path, changes, message):
    np.savez(tmp_path / "set.npz", **arrays(**changes))
    with pytest.raises(ValueError, match=message):
        read_cloud_npz(tmp_path / "set.npz")


def test_a_truncated_file_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "set.npz", **arrays())
    torn = (tmp_path / "set.npz").read_bytes()[:-200]
    (tmp_path / "set.npz").write_bytes(torn)
    with pytest.raises(ValueError, match=r"set.npz is not a valid .npz"):
        read_cloud_npz(tmp_path / "set.npz")


def test_fractals_are_the_clouds_of_the_database_in_another_order():
    config = PCFractalConfig(num_categories=3, num_instances=4, search=SearchConfig(variance_threshold=0.05))
    database = PCFractalDB(config)
    clouds = pickle.loads(pickle.dumps(fractal_clouds(database)))
    assert clouds.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    drawn, made = clouds.source.draw(6, stream(0), 100), database.cloud(1, 2, num_points=100).points
    assert set(map(tuple, drawn)) == set(map(tuple, made))
    assert clouds.source.draw(6, stream(0), 4).shape == (4, 3)


def test_furniture_is_read(shared_dir):
    path = shared_dir / "data" / "downstream" / "furniture.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    clouds = read_cloud_npz(path)
    assert (len(clouds), len(clouds.classes)) == (422, 23)
    counts = dict(zip(clouds.classes, np.bincount(clouds.labels).tolist(), strict=True))
    assert (counts["chair"], counts["animal"]) == (39, 8)
    sizes = np.ptp(clouds.source.draw(0, stream(0), 4096), axis=0)
    np.testing.assert_allclose(sizes, clouds_size(path), rtol=0.02)


def clouds_size(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return file["size"][file["label"] >= 0][0]
