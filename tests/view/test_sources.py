import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.commands import view
from pcfdsl.config import ConfigError, load
from pcfdsl.datasets.detection_set import write_info, write_scene, write_split
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.pcfractal import generate_pcfractal
from pcfdsl.generate.two_stage import diversity_of
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import FractalScenesConfig
from pcfdsl.scene.synthesize import FractalScenes
from pcfdsl.view.sources import load_items, render_items

QUIET = RunOptions(progress=False)


def rows(num_points=40, num_columns=3, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (num_points, num_columns)).astype(np.float32)


def only(path, **options):
    (item,) = load_items(path, **options)
    return item


def test_arrays_come_back_as_they_were_stored(tmp_path):
    cloud = rows(num_columns=6)
    np.save(tmp_path / "a.npy", cloud)
    cloud.tofile(tmp_path / "a.bin")
    np.savez(tmp_path / "a.npz", points=cloud[:, :3], colors=cloud[:, 3:], boxes=np.ones((2, 7)))
    for name in ("a.npy", "a.bin", "a.npz"):
        item = only(tmp_path / name)
        np.testing.assert_array_equal(item.points, cloud[:, :3])
        assert item.colors is not None
        np.testing.assert_array_equal(item.colors, np.round(cloud[:, 3:] * 255).astype(np.uint8))
        assert item.caption == name
        assert len(item.boxes) == (2 if name == "a.npz" else 0)


def test_colours_may_be_bytes_or_shares(tmp_path):
    cloud = rows(num_columns=6)
    np.save(tmp_path / "shares.npy", cloud)
    np.save(tmp_path / "bytes.npy", np.concatenate([cloud[:, :3], np.round(cloud[:, 3:] * 255)], axis=1))
    np.testing.assert_array_equal(only(tmp_path / "shares.npy").colors, only(tmp_path / "bytes.npy").colors)


def test_a_stack_of_clouds_is_as_many_items(tmp_path):
    clouds = np.stack([rows(seed=k) for k in range(9)])
    np.save(tmp_path / "stack.npy", clouds)
    items = load_items(tmp_path / "stack.npy", num_items=3)
    assert [item.caption for item in items] == ["stack 0", "stack 3", "stack 6"]
    np.testing.assert_array_equal(items[1].points, clouds[3])
    assert len(load_items(tmp_path / "stack.npy")) == 9


def test_a_folder_gives_its_files_by_name(tmp_path):
    for name in ("b/2.npy", "a/1.npy", "a/0.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, rows())
    (tmp_path / "notes.txt").write_text("no cloud")
    assert [item.caption for item in load_items(tmp_path)] == ["a/0.npy", "a/1.npy", "b/2.npy"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60))
def test_what_is_chosen_is_spread_evenly(tmp_path_factory, num_clouds, num_items):
    path = tmp_path_factory.mktemp("stack") / "s.npy"
    np.save(path, np.arange(num_clouds)[:, None, None] * np.ones((1, 2, 3)))
    chosen = [int(item.points[0, 0]) for item in load_items(path, num_items=num_items)]
    assert len(chosen) == min(num_items, num_clouds)
    steps = np.diff(chosen)
    assert (steps >= 1).all()
    assert steps.max(initial=1) - steps.min(initial=num_clouds) <= 1
    assert chosen[0] == 0


def test_ply_of_points_keeps_points_and_colours(tmp_path):
    cloud, colors = rows(), np.random.default_rng(1).integers(0, 256, (40, 3), dtype=np.uint8)
    trimesh.PointCloud(cloud, colors=colors).export(tmp_path / "c.ply")
    item = only(tmp_path / "c.ply")
    np.testing.assert_allclose(item.points, cloud, atol=1e-6)
    np.testing.assert_array_equal(item.colors, colors)


@pytest.mark.parametrize("kind", ["ply", "obj", "off", "stl", "glb"])
def test_meshes_become_points_on_their_surface(tmp_path, kind):
    trimesh.creation.box(extents=(2.0, 1.0, 0.5)).export(tmp_path / f"m.{kind}")
    points = only(tmp_path / f"m.{kind}").points
    assert points.shape == (20_000, 3)
    half = np.array((1.0, 0.5, 0.25))
    assert (np.abs(points) <= half + 1e-5).all()
    on_face = np.abs(np.abs(points) - half) < 1e-5
    assert on_face.any(axis=1).all()
    shares = on_face.mean(axis=0) / 2  # the two faces across x, y, z have areas 0.5, 1, 2 each
    np.testing.assert_allclose(2 * shares, np.array([0.5, 1, 2]) / 3.5, atol=0.015)
    np.testing.assert_array_equal(points, only(tmp_path / f"m.{kind}").points)


def test_points_that_are_not_finite_are_left_out_and_counted(tmp_path):
    cloud = rows(num_columns=6)
    cloud[[3, 5], [0, 2]] = np.nan, np.inf
    np.save(tmp_path / "a.npy", cloud)
    item = only(tmp_path / "a.npy")
    np.testing.assert_array_equal(item.points, np.delete(cloud, [3, 5], axis=0)[:, :3])
    assert item.caption == "a.npy (2 points not finite)"


def test_large_clouds_are_thinned_without_replacement(tmp_path):
    cloud = rows(1000, 6)
    np.save(tmp_path / "a.npy", cloud)
    item, again = only(tmp_path / "a.npy", max_points=100), only(tmp_path / "a.npy", max_points=100)
    assert (len(item.points), item.num_points) == (100, 1000)
    np.testing.assert_array_equal(item.points, again.points)
    rows_found = [np.flatnonzero((cloud[:, :3] == point).all(axis=1)) for point in item.points]
    assert len({int(found[0]) for found in rows_found}) == 100
    assert item.colors is not None
    expected = np.round(cloud[[int(found[0]) for found in rows_found], 3:] * 255).astype(np.uint8)
    np.testing.assert_array_equal(item.colors, expected)


def test_items_make_a_sheet(tmp_path):
    np.save(tmp_path / "s.npy", np.stack([rows(500, seed=k) for k in range(4)]))
    sheet = render_items(load_items(tmp_path / "s.npy"), size=(100, 80), columns=2)
    assert sheet.shape[1] == 2 * (100 + 12) + 12
    assert ((sheet < 200).any(axis=2).sum()) > 4 * 200


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", b"1 2 3", "unknown ending .doc"),
        ("a.bin", b"\0" * 50, "not a multiple of a row of 6 float32"),
        ("a.bin", b"", "has no points"),
        ("a.npy", b"", "a.npy is not a valid array"),
        ("a.npy", b"\x93NUMPY broken", "a.npy is not a valid array"),
        ("a.npz", b"PK broken", "a.npz is not a valid .npz"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n", "no whole PLY header"),
        ("a.ply", b"", "a.ply"),
        ("a.obj", b"", "a.obj"),
        ("a.glb", b"glTF", "a.glb cannot be read"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_items(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"cloud": np.zeros((3, 3)), "other": np.zeros((3, 3))}, "holds cloud, other; expected an array `points`"),
        ({"points": np.zeros((3, 2))}, r"float64 \(3, 2\)"),
        ({"points": np.zeros(3)}, r"float64 \(3,\)"),
        ({"points": np.array([["a", "b", "c"]])}, "expected numbers"),
        ({"points": np.full((3, 3), np.nan)}, "no finite points"),
        ({"points": np.zeros((3, 3)), "colors": np.zeros((2, 3))}, r"colors of shape \(2, 3\)"),
        ({"points": np.zeros((3, 3)), "boxes": np.zeros((2, 6))}, r"\[K, 7\]"),
    ],
)
def test_arrays_of_another_shape_are_errors(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_items(tmp_path / "a.npz")


def test_a_recipe_of_fractals_shows_the_clouds_it_generates(tmp_path):
    path = tmp_path / "fractals.yaml"
    path.write_text("num_categories: 4\nnum_instances: 3\nnum_points: 500\nsearch: {variance_threshold: 0.03}\n")
    items = load_items(path, num_items=4)
    clouds = PCFractalDB(load(PCFractalConfig, path))
    for item, i in zip(items, (0, 3, 6, 9), strict=True):
        np.testing.assert_array_equal(item.points, clouds[i].points)
        assert item.caption == f"category {i // 3}, instance 0"


def test_a_recipe_of_scenes_shows_them_with_their_boxes(tmp_path):
    path = tmp_path / "scenes.yaml"
    path.write_text(
        "scenes: {num_scenes: 4, num_points: 3000}\nfractals: {num_categories: 3, search: {variance_threshold: 0.03}}\n"
    )
    items = load_items(path, num_items=2)
    scenes = FractalScenes(load(FractalScenesConfig, path))
    for item, i in zip(items, (0, 2), strict=True):
        np.testing.assert_array_equal(item.points, scenes[i].points)
        np.testing.assert_array_equal(item.boxes, scenes[i].boxes)
        assert list(item.box_labels) == [str(k) for k in scenes[i].categories]
        assert item.colors is not None
        assert len(np.unique(item.colors, axis=0)) == len(np.unique(scenes[i].instance_ids))
    assert render_items(items, size=(90, 70)).shape[2] == 3


def test_a_generated_set_shows_what_its_recipe_shows(tmp_path):
    recipe = tmp_path / "scenes.yaml"
    recipe.write_text(
        "scenes: {num_scenes: 3, num_points: 2000}\nfractals: {num_categories: 3, search: {variance_threshold: 0.03}}\n"
    )
    generate(FractalScenes(load(FractalScenesConfig, recipe)), tmp_path / "set", options=QUIET)
    for stored, made in zip(load_items(tmp_path / "set"), load_items(recipe), strict=True):
        np.testing.assert_array_equal(stored.points, made.points)
        np.testing.assert_array_equal(stored.boxes, made.boxes)
        np.testing.assert_array_equal(stored.colors, made.colors)
        assert (stored.caption, list(stored.box_labels)) == (made.caption, list(made.box_labels))


def test_generated_clouds_are_shown_and_their_categories_are_not(tmp_path):
    config = PCFractalConfig(
        num_categories=3, num_instances=2, num_points=300, search=SearchConfig(variance_threshold=0.03)
    )
    generate_pcfractal(config, tmp_path / "set", options=QUIET)
    items, clouds = load_items(tmp_path / "set"), PCFractalDB(config)
    assert [item.caption for item in items] == [f"category {i // 2}, instance {i % 2}" for i in range(6)]
    for item, cloud in zip(items, clouds, strict=True):
        np.testing.assert_array_equal(item.points, cloud.points)
    with pytest.raises(ValueError, match="no points to show"):
        load_items(tmp_path / "set" / "categories")


def test_the_page_of_a_set_shows_the_variety_of_its_categories(tmp_path, monkeypatch):
    config = load(PCFractalConfig, None, ["num_categories=3", "num_instances=1", "search.sampler=filtered"])
    generate_pcfractal(config, tmp_path / "set", options=QUIET)
    monkeypatch.setattr("sys.argv", ["view", str(tmp_path / "set"), "--html", str(tmp_path / "page.html")])
    view.main()
    page = (tmp_path / "page.html").read_text()
    figures = diversity_of(tmp_path / "set")
    assert figures is not None
    assert figures.box_dimension is not None
    for text in ("Variety of 3 categories", "box dimension", str(figures.box_dimension.median), '"viewer"'):
        assert text in page
    assert "without cloud" not in page


def test_a_detection_set_shows_the_scenes_of_every_split_with_class_names(tmp_path):
    write_info(tmp_path, ["bed", "chair"])
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        for name in names:
            box = np.array([(0, 0, 0.5, 1, 1, 1, 0.3)])
            ids = np.where(np.arange(40) < 10, 0, -1)
            write_scene(tmp_path, name, Scene(points=rows(), boxes=box, categories=np.array([1]), instance_ids=ids))
        write_split(tmp_path, split, names)
    items = load_items(tmp_path)
    assert [item.caption.split(":")[0] for item in items] == ["train a", "train b", "val c"]
    assert [list(item.box_labels) for item in items] == [["chair"]] * 3
    np.testing.assert_array_equal(items[0].points, rows())


def test_a_recipe_with_problems_names_them(tmp_path):
    (tmp_path / "a.yaml").write_text("num_categoriez: 4\nnum_points: 0\n")
    with pytest.raises(ConfigError, match=r"num_categoriez(.|\n)*num_points"):
        load_items(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scenes: {num_scenez: 1}\n", "scenes.num_scenez"),
        ("dataset: rcdb\nrcdb: {num_categoriez: 1}\n", "rcdb.num_categoriez"),
        ("search: {num_draws: 1}\n", "search.num_draws"),
        ("scenes: [\n", "not valid YAML"),
    ],
)
def test_problems_are_those_of_the_kind_of_recipe_that_was_meant(tmp_path, text, problem):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_items(tmp_path / "a.yaml")


def test_a_recipe_of_a_training_is_called_so():
    with pytest.raises(ValueError, match=r"smoke\.yaml is the recipe of a training; expected one of clouds, scenes or"):
        load_items("warm_up/smoke")


def test_paths_without_clouds(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no"):
        load_items(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no clouds"):
        load_items(tmp_path)
