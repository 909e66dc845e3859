import importlib.util
import io
import json
import pickle
import runpy
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pcfdsl.datasets.detection_set import DetectionSet, assign_instances
from pcfdsl.datasets.spec import SUNRGBD, SUNRGBD37
from pcfdsl.datasets.sunrgbd import find_sunrgbd, prepare_sunrgbd
from pcfdsl.models.box_coding import encode_size, encode_yaw
from pcfdsl.readers.sunrgbd_images import ImageFiles, read_color, read_depth, unproject
from pcfdsl.readers.sunrgbd_meta import frame_key, read_frames, read_splits
from pcfdsl.samples.detection import DetectionDataset
from pcfdsl.samples.released import released_draws
from pcfdsl.scene.boxes import Scene, overlap_votes, points_in_boxes

ROOT = Path(__file__).resolve().parents[2]


def _load_writer():
    spec = importlib.util.spec_from_file_location("synthetic_sunrgbd", Path(__file__).with_name("synthetic_sunrgbd.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


sun = _load_writer()


@pytest.fixture(scope="module")
def views():
    return sun.views(4, num_boxes=4)


@pytest.fixture
def download(views, tmp_path):
    sun.write_download(tmp_path / "official", views)
    return tmp_path / "official"


def labelled(one) -> list[int]:
    return [row for row, name in enumerate(one.names) if name in SUNRGBD.classes]


@pytest.mark.parametrize("prefix", ["16", "24", "own"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("labels", ["v1", "v2"])
def test_points_and_boxes_are_read_exactly(views, tmp_path, prefix, zipped, labels):
    sun.write_download(tmp_path / "official", views, prefix=prefix, zipped=zipped)
    report = prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set", labels=labels)
    assert (report.failed, report.problems, report.missing, report.exit_code) == ((), (), (), 0)
    assert report.written == {"train": 2, "val": 2}
    assert report.expected == {"train": 5285, "val": 5050}
    assert not report.complete
    stored = [*DetectionSet(tmp_path / "set", "train"), *DetectionSet(tmp_path / "set", "val")]
    for one, scene in zip(views, stored, strict=True):
        expected, hit = one.points()
        np.testing.assert_allclose(scene.points, expected[:, :3], atol=1e-6)
        np.testing.assert_allclose(scene.colors, expected[:, 3:], atol=1e-7)
        rows = labelled(one)
        boxes = one.boxes[rows] + np.array([0.01 if labels == "v1" else 0, 0, 0, 0, 0, 0, 0])
        np.testing.assert_allclose(scene.boxes[:, :6], boxes[:, :6], atol=1e-6)
        np.testing.assert_allclose(np.cos(scene.boxes[:, 6] - boxes[:, 6]), 1, atol=1e-12)
        assert [SUNRGBD.classes[k] for k in scene.categories] == [one.names[row] for row in rows]
        if labels == "v2":  # exactly the points seen on a box are in it; depth is rounded to millimetres
            seen = np.array([hit == row for row in rows])
            grown, shrunk = (points_in_boxes(scene.points, scene.boxes, margin=m) for m in (0.003, -0.003))
            assert (grown >= seen).all()
            assert not (shrunk & (hit < 0)).any()
            assert seen.sum(axis=1).min() > 10


def test_boxes_of_37_classes(tmp_path):
    names = ("wall", "floor_mat", "fridge", "garbage_bin", "chair", "fridge")
    one = sun.views(1, num_boxes=6)[0]
    one.names = list(names)
    sun.write_download(tmp_path / "official", [one], num_train=1)
    report = prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set", spec=SUNRGBD37, labels="v2")
    found = {name: count for name, count in report.boxes.items() if count}
    assert found == {"wall": 1, "floor_mat": 1, "fridge": 2, "chair": 1}
    stored = DetectionSet(tmp_path / "set", "train")
    assert stored.classes == SUNRGBD37.classes
    assert [stored.classes[k] for k in stored[0].categories] == [name for name in names if name != "garbage_bin"]
    np.testing.assert_allclose(stored[0].boxes[:, :6], np.delete(one.boxes, 3, axis=0)[:, :6], atol=1e-6)


def test_the_rotation_of_depth_values_is_undone():
    millimetres = np.array([[0, 1, 7, 8, 1000, 8000, 8001, 65535]], np.uint16)
    depth = read_depth(sun.depth_png(millimetres))
    np.testing.assert_array_equal(depth, np.minimum(millimetres / np.float32(1000), np.float32(8)))
    assert depth.dtype == np.float32


def test_the_camera_looks_along_y_and_pixels_count_from_one():
    depth = np.zeros((3, 4), np.float32)
    depth[1, 2] = 2.0  # row 2, column 3 of MATLAB
    camera = np.array([[10.0, 0, 3], [0, 10, 2], [0, 0, 1]])
    points, pixels = unproject(depth, intrinsics=camera, tilt=np.eye(3))
    np.testing.assert_allclose(points, [[0, 2, 0]])
    assert pixels == [1 * 4 + 2]
    depth[0, 3] = 1.0
    points, _ = unproject(depth, intrinsics=camera, tilt=np.eye(3))
    np.testing.assert_allclose(points, [[0, 2, 0], [0.1, 1, 0.1]], atol=1e-7)  # to its right and above it


def test_measured_labels(golden, tmp_path):
    """Boxes of VoteNet's preparation from the same labels; there, with half extents and clockwise headings."""
    measured = golden("votenet_sunrgbd_labels.npz")
    classes = [*SUNRGBD.classes, "garbage_bin"]
    one = sun.views(1)[0]
    objects = [
        {
            "coeffs": row[None, 7:10],
            "centroid": row[None, 4:7],
            "classname": classes[k],
            "orientation": row[None, 10:12],
        }
        for row, k in zip(measured["in_label_numeric"], measured["in_label_class_index_or_minus1"], strict=True)
    ]
    one.entry = {"groundtruth3DBB": objects}
    sun.write_download(tmp_path / "official", [one], num_train=1)
    prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set", labels="v2")
    scene = DetectionSet(tmp_path / "set", "train")[0]
    theirs = measured["out_bbox"]
    np.testing.assert_allclose(scene.boxes[:, :3], theirs[:, :3], atol=1e-6)
    np.testing.assert_allclose(scene.boxes[:, 3:6], 2 * theirs[:, 3:6], atol=1e-6)
    np.testing.assert_allclose(scene.boxes[:, 6], -theirs[:, 6], atol=1e-6)
    np.testing.assert_array_equal(scene.categories, theirs[:, 7])
    points = measured["in_points"][measured["choices"], :3]
    np.testing.assert_allclose(points, measured["out_pc"][:, :3], atol=1e-12)
    offsets, mask = overlap_votes(points, scene.boxes)
    np.testing.assert_array_equal(mask, measured["out_point_votes"][:, 0])
    np.testing.assert_allclose(offsets.reshape(-1, 9), measured["out_point_votes"][:, 1:], atol=1e-5)


@pytest.mark.parametrize(("item", "seed"), [("noaug_seed1", 1), ("aug_seed2", 2), ("aug_seed3", 3)])
def test_measured_items(golden, item, seed):
    """Samples of VoteNet's loader, from its generator to its box coding, made from a scene in our convention."""
    measured, coded = golden("votenet_sunrgbd_labels.npz"), {}
    for key in ("point_clouds", "center_label", "heading_class_label", "heading_residual_label", "size_class_label"):
        coded[key] = measured[f"item/{item}/{key}"]
    points, theirs = measured["out_pc"], measured["out_bbox"]
    boxes = np.concatenate([theirs[:, :3], 2 * theirs[:, 3:6], -theirs[:, 6:7]], axis=1)
    scene = Scene(
        points=points[:, :3],
        boxes=boxes,
        categories=theirs[:, 7],
        instance_ids=assign_instances(points[:, :3], boxes),
        colors=points[:, 3:],
    )
    augment = SUNRGBD.augment if item.startswith("aug") else None
    dataset = DetectionDataset([scene], num_points=2000, votes=SUNRGBD.votes, augment=augment, draws="sunrgbd")
    draws = released_draws("sunrgbd", np.random.RandomState(seed), len(points), 2000, config=augment)
    sample = dataset.sample(scene, draws, scene_idx=0)
    count = len(boxes)
    np.testing.assert_allclose(sample.points, coded["point_clouds"], atol=1e-5)
    np.testing.assert_allclose(sample.boxes[:, :3], coded["center_label"][:count], atol=1e-5)
    bins, residuals = encode_yaw(torch.from_numpy(sample.boxes[:, 6]), SUNRGBD.num_heading_bins)
    np.testing.assert_array_equal(bins, coded["heading_class_label"][:count])
    np.testing.assert_allclose(residuals, coded["heading_residual_label"][:count], atol=1e-5)
    np.testing.assert_array_equal(sample.classes, coded["size_class_label"][:count])
    means = torch.tensor(SUNRGBD.mean_sizes)
    sizes = encode_size(torch.from_numpy(sample.boxes[:, 3:6]), torch.from_numpy(sample.classes), means)
    np.testing.assert_allclose(sizes, measured[f"item/{item}/size_residual_label"][:count], atol=1e-5)
    np.testing.assert_array_equal(sample.vote_mask, measured[f"item/{item}/vote_label_mask"])
    np.testing.assert_allclose(
        sample.vote_offsets.reshape(-1, 9), measured[f"item/{item}/vote_label"], atol=1e-5, rtol=1e-5
    )


def test_kept_points_are_a_seeded_choice(download, tmp_path):
    files = find_sunrgbd(download)
    prepare_sunrgbd(files, tmp_path / "all")
    first = prepare_sunrgbd(files, tmp_path / "a", max_points=500)
    again = prepare_sunrgbd(files, tmp_path / "b", max_points=500, workers=2)
    other = prepare_sunrgbd(files, tmp_path / "c", max_points=500, seed=1)
    assert first.digest == again.digest != other.digest
    assert first.settings == {"labels": "v1", "max_points": 500, "seed": 0}
    manifests = [json.loads((tmp_path / name / "preparation.json").read_text()) for name in "ab"]
    assert manifests[0] == manifests[1]
    whole = DetectionSet(tmp_path / "all", "val")[0].points
    part = DetectionSet(tmp_path / "a", "val")[0].points
    assert len(part) == 500 < len(whole)
    assert {row.tobytes() for row in part} <= {row.tobytes() for row in whole}


def test_a_second_run_resumes_and_other_settings_are_refused(download, tmp_path):
    files = find_sunrgbd(download)
    before = prepare_sunrgbd(files, tmp_path / "set")
    scenes = tmp_path / "set" / "scenes"
    untouched = (scenes / "000001" / "points.npy").stat().st_mtime_ns
    (scenes / "000002" / "points.npy").write_bytes(b"cut off")
    (scenes / "000003" / "record.json").write_text('{"settings"')
    (scenes / "000004" / "boxes.csv").unlink()
    after = prepare_sunrgbd(files, tmp_path / "set")
    assert (after.digest, before.reused, after.reused) == (before.digest, 0, 1)
    assert (scenes / "000001" / "points.npy").stat().st_mtime_ns == untouched
    with pytest.raises(ValueError, match=r"holds a set prepared with other settings: settings differ"):
        prepare_sunrgbd(files, tmp_path / "set", labels="v2")
    assert prepare_sunrgbd(files, tmp_path / "set", labels="v2", overwrite=True).digest != before.digest


def rewritten(archive: Path, change: dict[str, bytes | None]) -> None:
    """Replace or remove members of a zip."""
    with zipfile.ZipFile(archive) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content.update({f"SUNRGBD/{name}": value for name, value in change.items() if value is not None})
    for name, value in change.items():
        if value is None:
            del content[f"SUNRGBD/{name}"]
    with zipfile.ZipFile(archive, "w") as new:
        for name, value in content.items():
            new.writestr(name, value)


def test_each_error_is_reported_and_the_rest_is_written(tmp_path):
    views = sun.views(9)
    views[1].entry = {"K": np.zeros((3, 3))}
    views[2].entry = {"depthpath": "/somewhere/else.png"}
    nan, flat, short = (dict(entry) for entry in sun.metadata([views[3]])[0]["groundtruth3DBB"])
    nan["centroid"], flat["coeffs"], short["orientation"] = np.array([[0, np.nan, 0]]), np.array([[0.2, 0, 0.3]]), 1.0
    lamp = {**nan, "classname": "lamp"}
    views[3].entry = {"groundtruth3DBB": [nan, flat, short, lamp, *sun.metadata([views[0]])[0]["groundtruth3DBB"]]}
    sun.write_download(tmp_path / "official", views, num_train=5)
    small = sun.depth_png(np.ones((4, 5)))
    rewritten(
        tmp_path / "official" / "SUNRGBD.zip",
        {
            views[4].depth_key: small,
            views[5].depth_key: sun.encoded(Image.new("L", (48, 36)), "PNG"),
            views[6].color_key: b"\xff\xd8 not a picture",
            views[7].depth_key: None,
            views[8].depth_key: None,
            views[8].color_key: None,
        },
    )
    report = prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set", labels="v2")
    assert report.written == {"train": 2, "val": 0}
    assert report.missing == ("000009",)
    assert report.exit_code == 1
    reasons = dict(report.failed)
    assert reasons.keys() == {f"00000{i}" for i in (2, 3, 5, 6, 7, 8)}
    assert "K is [[0.0, 0.0, 0.0]" in reasons["000002"]
    assert "path '/somewhere/else.png' has no sensor's folder" in reasons["000003"]
    assert f"{views[4].depth_key} has 5 x 4 pixels, but {views[4].color_key} 48 x 36" in reasons["000005"]
    assert f"{views[5].depth_key}: has mode L; expected a 16-bit grey PNG" in reasons["000006"]
    assert f"{views[6].color_key}: is not a valid image" in reasons["000007"]
    assert f"{views[7].depth_key} is missing from" in reasons["000008"]
    assert [scene for scene, _ in report.problems] == ["000004"] * 3
    texts = [text for _, text in report.problems]
    assert "box 1 (chair)" in texts[0]
    assert "not finite" in texts[0]
    assert "has no extent" in texts[1]
    assert "box 3 (night_stand)" in texts[2]
    scenes = DetectionSet(tmp_path / "set", "train")
    assert scenes.names == ("000001", "000004")
    assert len(scenes[1].boxes) == 3  # of the other view; the lamp is not a label
    assert not (tmp_path / "set" / "splits" / "val.txt").exists()
    for line in [*reasons.values(), *texts]:
        assert line in str(report)


def test_metadata_that_disagree_are_reported(views, tmp_path):
    sun.write_download(tmp_path / "official", views)
    toolbox = tmp_path / "official" / "SUNRGBDtoolbox"
    sun.write_mat(toolbox / "Metadata" / "SUNRGBDMeta.mat", "SUNRGBDMeta", sun.metadata([views[1], views[0], views[2]]))
    report = prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set")
    reasons = dict(report.failed)
    assert reasons.keys() == {"000001", "000002", "000004"}
    assert f"has {views[1].folder} here, not {views[0].folder}" in reasons["000001"]
    assert "has only 3 images" in reasons["000004"]
    sun.write_split(toolbox / "traintestSUNRGBD" / "allsplit.mat", [views[0].folder], ["/x/kv2/unheard-of"])
    report = prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set2", labels="v2")
    assert report.written == {"train": 1, "val": 0}
    reasons = dict(report.failed)
    assert "is in neither split" in reasons["000003"]
    expected = "lists 1 images that SUNRGBDMeta3DBB_v2.mat does not describe; the first is kv2/unheard-of"
    assert reasons["allsplit.mat"] == expected
    first = sun.metadata(views)
    first[0] |= {"K": np.zeros((2, 2)), "Rtilt": "none"}  # the cameras are those of the other file
    sun.write_mat(toolbox / "Metadata" / "SUNRGBDMeta.mat", "SUNRGBDMeta", first)
    assert prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set4").written["train"] == 1
    (toolbox / "Metadata" / "SUNRGBDMeta.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"SUNRGBDMeta.mat, which holds the first version of the labels"):
        prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set3")
    (tmp_path / "official" / "SUNRGBD.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no .*SUNRGBD.zip; the data set's page"):
        find_sunrgbd(tmp_path / "official")


def test_an_unreadable_split_is_refused(views, tmp_path):
    path = tmp_path / "allsplit.mat"
    sun.write_split(path, [views[0].folder], [views[0].folder])
    with pytest.raises(ValueError, match=r"is in both splits"):
        read_splits(path)
    sun.write_mat(path, "alltrain", sun.metadata(views[:1]))
    with pytest.raises(ValueError, match=r"alltrain is not a list of folders"):
        read_splits(path)
    sun.write_mat(path, "SUNRGBDMeta", [{k: v for k, v in sun.metadata(views)[0].items() if k != "Rtilt"}])
    with pytest.raises(ValueError, match=r"SUNRGBDMeta has no field Rtilt"):
        read_frames(path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "kv1/../../secret", "SUNRGBD\\kv1\\..\\..\\x", "kv1/a\0b"]
)
def test_paths_cannot_escape(name, tmp_path):
    (tmp_path / "SUNRGBD" / "kv1").mkdir(parents=True)
    (tmp_path / "secret").write_text("no")
    images = ImageFiles(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)):
        images.read(name)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("SUNRGBD/kv1/fine.png", b"fine")
        archive.writestr(zipfile.ZipInfo(name), b"no")
    packed = ImageFiles(tmp_path / "images.zip")
    assert packed.read("kv1/fine.png") == b"fine"
    with pytest.raises((ValueError, FileNotFoundError)):
        packed.read(name)
    assert pickle.loads(pickle.dumps(packed)).read("kv1/fine.png") == b"fine"


@given(st.text(max_size=40), st.text(alphabet="ab./\\", max_size=20))
def test_keys_stay_below_the_sensors_folder(before, after):
    try:
        key = frame_key(f"{before}/kv2/{after}")
    except ValueError:
        return
    parts = key.split("/")
    assert parts[0] in ("kv1", "kv2", "realsense", "xtion")
    assert ".." not in parts
    assert "" not in parts
    assert frame_key(key) == key


VALUES = st.one_of(
    st.text(max_size=8),
    st.floats(allow_nan=True, allow_infinity=True),
    st.lists(st.floats(width=32), max_size=10).map(lambda numbers: np.array([numbers])),
    st.just(np.zeros((0, 0))),
    st.just(np.eye(3)),
)
FIELDS = ("depthpath", "rgbpath", "K", "Rtilt", "groundtruth3DBB", "classname", "centroid", "coeffs", "orientation")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_any_metadata_are_read_or_named(changes, views, tmp_path):
    """Whatever the fields of an image hold, it becomes a frame or reports its problem."""
    entries = sun.metadata(views[:2])
    for name in sorted(changes, key=FIELDS.index, reverse=True):  # fields of a box before the boxes as a whole
        (entries[1] if name in entries[1] else entries[1]["groundtruth3DBB"][0])[name] = changes[name]
    sun.write_mat(tmp_path / "meta.mat", "SUNRGBDMeta", entries)
    untouched, changed = read_frames(tmp_path / "meta.mat")
    assert not untouched.problem
    assert changed.problem.startswith("metadata: ") or changed.boxes.shape == (len(changed.names), 7)
    if not changes:
        assert not changed.problem


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_images_are_refused_with_a_message(data):
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    depth = sun.depth_png(random.integers(0, 9000, (12, 16)))
    color = sun.encoded(Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)), "JPEG")
    for content, read, shape in ((depth, read_depth, (12, 16)), (color, read_color, (12, 16, 3))):
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        damaged = bytes(damaged[: data.draw(st.integers(0, len(content)))])
        with suppress(ValueError):
            values = read(damaged)
            assert values.ndim == len(shape)
            assert np.isfinite(values).all()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_zips_are_refused_with_a_message(data, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"SUNRGBD/kv1/{i}.png", bytes(200))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.zip"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    message = "damaged.zip"
    try:
        images = ImageFiles(path)
        for i in range(3):
            images.read(f"kv1/{i}.png")
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert "damaged.zip" in message


def test_a_member_without_a_name_is_ignored(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("\0"), b"")
        archive.writestr("SUNRGBD/kv1/0.png", b"x")
    assert ImageFiles(tmp_path / "a.zip").read("kv1/0.png") == b"x"


def test_the_tool_prints_a_report_and_exits_with_1_if_an_image_failed(views, tmp_path, monkeypatch, capsys):
    sun.write_download(tmp_path / "official", views)
    monkeypatch.chdir(tmp_path)

    def tool(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prepare_sunrgbd.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / "prepare_sunrgbd.py"), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    code, out, errors = tool("official", "--out", "set", "--max-points", "300")
    report = json.loads(out)
    assert (code, report["written"], report["complete"]) == (0, {"train": 2, "val": 2}, False)
    assert report == json.loads(Path("set/report.json").read_text())
    assert f"train 2 of 5285, val 2 of 5050 scenes, 12 boxes, digest {report['digest']}" in errors
    rewritten(tmp_path / "official" / "SUNRGBD.zip", {views[0].color_key: None})
    code, out, _ = tool("official", "--out", "set2")
    assert code == 1
    assert json.loads(out)["failed"] == [["000001", f"{views[0].color_key} is missing from official/SUNRGBD.zip"]]
    code, _, errors = tool("nowhere", "--out", "set3")
    assert code == 1
    assert errors.startswith("error: nowhere has no nowhere/SUNRGBD.zip, nowhere/SUNRGBDMeta3DBB_v2.mat")


@pytest.mark.realdata
def test_a_real_image_comes_back_from_its_depth(shared_dir, tmp_path):
    """Image 17 converted back into the official files, pixel by pixel: its points, colours and boxes are restored."""
    folder = shared_dir / "data/sunrgbd/mmdet3d_demo"
    theirs = np.fromfile(folder / "000017.bin", np.float32).reshape(-1, 6)
    with open(folder / "sunrgbd_000017_infos.pkl", "rb") as file:
        info = pickle.load(file)["data_list"][0]
    project = np.array(info["images"]["CAM0"]["depth2img"])  # K, then the camera's axes, then the inverse tilt
    upper, rotation = rq(project)
    axes = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    boxes = np.array([instance["bbox_3d"] for instance in info["instances"]])
    seen = theirs[:, :3].astype(float) @ project.T
    column, row = (np.round(seen[:, i] / seen[:, 2]).astype(int) - 1 for i in (0, 1))
    depth = np.zeros((530, 730))
    depth[row, column] = np.round(seen[:, 2] * 1000)
    names = [SUNRGBD.classes[instance["bbox_label_3d"]] for instance in info["instances"]]
    jpg = (folder / "000017.jpg").read_bytes()
    one = sun.View(sun.FOLDERS[0], names, boxes, (axes.T @ rotation).T, upper, depth.astype(np.uint16), depth, jpg)
    sun.write_download(tmp_path / "official", [one], num_train=1)
    prepare_sunrgbd(find_sunrgbd(tmp_path / "official"), tmp_path / "set", labels="v2")
    scene = DetectionSet(tmp_path / "set", "train")[0]
    order = np.argsort(column * 530 + row, kind="stable")
    np.testing.assert_allclose(scene.points, theirs[order, :3], atol=1e-4)
    np.testing.assert_allclose(scene.colors, theirs[order, 3:], atol=1e-6)
    np.testing.assert_allclose(scene.boxes, boxes, atol=1e-6)
    assert points_in_boxes(theirs[:, :3], scene.boxes).sum(axis=1).tolist()[names.index("bed")] == 18117
    assert points_in_boxes(scene.points, scene.boxes).sum(axis=1)[names.index("bed")] == pytest.approx(18117, abs=5)


def rq(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RQ decomposition: an upper triangle with a positive diagonal, and a rotation."""
    q, r = np.linalg.qr(np.flipud(matrix).T)
    upper, rotation = np.flipud(np.fliplr(r.T)), np.flipud(q.T)
    signs = np.diag(np.sign(np.diag(upper)))
    return upper @ signs, signs @ rotation
