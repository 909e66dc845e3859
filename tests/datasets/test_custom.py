import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.datasets.custom import prepare_folder
from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.readers.boxes import Convention
from pcfdsl.scene.boxes import points_in_boxes
from pcfdsl.scene.synthesize import Scenes

ROOT = Path(__file__).resolve().parents[2]


def export(rooms, folder: Path, convention: Convention) -> None:
    """Write rooms in another convention."""
    folder.mkdir()
    for i, scene in enumerate(rooms[:4]):
        np.save(folder / f"r{i}.npy", scene.points)
        lines = ["class,cx,cy,cz,dx,dy,dz,yaw"]
        for category, (cx, cy, cz, *size, yaw) in zip(scene.categories, scene.boxes.tolist(), strict=True):
            cz -= size[2] / 2 if convention.z == "bottom" else 0
            size = [extent / 2 if convention.sizes == "half" else extent for extent in size]
            yaw = -yaw if convention.yaw == "cw" else yaw
            lines.append(",".join(map(str, [rooms.source.classes[category], cx, cy, cz, *size, yaw])))
        (folder / f"r{i}.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("yaw", ["ccw", "cw"])
@pytest.mark.parametrize("sizes", ["full", "half"])
@pytest.mark.parametrize("z", ["center", "bottom"])
def test_every_convention_gives_the_same_boxes(rooms, tmp_path, yaw, sizes, z):
    convention = Convention(yaw=yaw, sizes=sizes, z=z)
    export(rooms, tmp_path / "scans", convention)
    report = prepare_folder(tmp_path / "scans", tmp_path / "set", convention=convention, classes=rooms.source.classes)
    assert report.written == ("r0", "r1", "r2", "r3")
    assert (report.failed, report.hint, report.num_empty_boxes) == ((), "", 0)
    for scene, stored in zip(rooms[:4], report.open(), strict=True):
        np.testing.assert_allclose(stored.boxes, scene.boxes, atol=1e-6)
        np.testing.assert_array_equal(stored.categories, scene.categories)
        np.testing.assert_array_equal(stored.points, scene.points)


def test_a_wrong_convention_is_noticed(rooms, tmp_path):
    export(rooms, tmp_path / "scans", Convention(z="bottom"))
    report = prepare_folder(tmp_path / "scans", tmp_path / "set")
    assert "cz as the bottom of the box; check the convention" in report.hint
    assert report.classes == tuple(sorted(report.classes))


def test_broken_files_are_reported_and_the_rest_is_written(rooms, tmp_path):
    scans = tmp_path / "scans"
    export(rooms, scans, Convention())
    (scans / "r0.csv").write_text("class,x,y\n")
    (scans / "r1.npy").write_bytes((scans / "r1.npy").read_bytes()[:1000])
    np.save(scans / "alone.npy", np.zeros((5, 3)))
    (scans / "lost.csv").write_text("class,cx,cy,cz,dx,dy,dz\n")
    np.zeros((5, 6), np.float32).tofile(scans / "r2.bin")
    report = prepare_folder(scans, tmp_path / "set")
    assert len(report.written) == 2
    reasons = {Path(name).name: reason for name, reason in report.failed}
    assert reasons.keys() == {"r0", "r1", "alone.npy", "lost.csv", "r2.npy"}
    assert "no column cz" in reasons["r0"]
    assert "has the same name as r2.bin" in reasons["r2.npy"]
    assert DetectionSet(tmp_path / "set", "train").names == report.written


def test_a_second_split_keeps_the_classes(rooms, tmp_path):
    export(rooms, tmp_path / "scans", Convention())
    classes = [*rooms.source.classes, "throne"]
    prepare_folder(tmp_path / "scans", tmp_path / "set", classes=classes)
    report = prepare_folder(tmp_path / "scans", tmp_path / "set", split="val")
    assert report.classes == tuple(classes)
    with pytest.raises(ValueError, match=r"no usable scene: 4 failed\n  r0: .*unknown class"):
        prepare_folder(tmp_path / "scans", tmp_path / "other", classes=["throne"])
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        prepare_folder(tmp_path / "absent", tmp_path / "other")
    with pytest.raises(ValueError, match="yaw='left' is not known; expected ccw or cw"):
        Convention(yaw="left")


def test_a_scan_whose_boxes_are_of_another_unit_is_named(rooms, tmp_path):
    export(rooms, tmp_path / "scans", Convention())
    (tmp_path / "scans" / "r1.csv").write_text("class,cx,cy,cz,dx,dy,dz\nbed,1000,1000,500,2000,1800,900\n")
    (tmp_path / "scans" / "r2.csv").write_text("class,cx,cy,cz,dx,dy,dz\nbed,1e30,0,0.5,2,1.8,0.9\n")
    report = prepare_folder(tmp_path / "scans", tmp_path / "set", classes=rooms.source.classes)
    assert report.notes == ("r1 has boxes, but none of them holds a point",)
    assert "has numbers above 1e+09, which are no coordinates" in dict(report.failed)["r2"]


def test_a_split_of_scans_with_the_same_names_leaves_the_others_as_they_are(rooms, tmp_path):
    rooms_of = {"train": rooms, "val": Scenes(replace(rooms.settings, seed=1), rooms.source)}
    for split, own in rooms_of.items():
        export(own, tmp_path / split, Convention())
        report = prepare_folder(tmp_path / split, tmp_path / "set", split=split, classes=rooms.source.classes)
    assert report.written == ("val_r0", "val_r1", "val_r2", "val_r3")
    assert "stored as val_NAME, as another split has scenes of these names: 4" in report.notes
    again = prepare_folder(tmp_path / "val", tmp_path / "set", split="val")
    assert again.written == report.written
    for split, own in rooms_of.items():
        stored = DetectionSet(tmp_path / "set", split)
        assert all(np.array_equal(stored[i].points, own[i].points) for i in range(4)), split
    export(rooms, tmp_path / "more", Convention())
    (tmp_path / "more" / "r1.npy").rename(tmp_path / "more" / "test_r0.npy")
    (tmp_path / "more" / "r1.csv").rename(tmp_path / "more" / "test_r0.csv")
    with pytest.raises(ValueError, match="has other scenes of the names test_r0; rename these scans"):
        prepare_folder(tmp_path / "more", tmp_path / "set", split="test")


def test_the_tool_prints_a_report_and_exits_with_1_if_a_file_failed(rooms, tmp_path):
    export(rooms, tmp_path / "scans", Convention())

    def tool(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "tools" / "prepare_custom.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})

    done = tool("set", "--scans", "scans", "--check-png", "check.png")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scenes"] == 4
    assert (tmp_path / "check.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "scans" / "r0.csv").write_text("")
    done = tool("set2", "--scans", "scans", "--check-html", "check.html")
    assert done.returncode == 1
    assert "an empty file" in json.loads(done.stdout)["failed"]["r0"]
    assert (tmp_path / "check.html").stat().st_size > 10_000
    done = tool("set3", "--scans", "nowhere")
    assert (done.returncode, done.stderr) == (
        1,
        "error: nowhere is not a folder; expected one with clouds NAME.ply and boxes NAME.csv\n",
    )


@pytest.mark.realdata
def test_a_real_scan_shows_which_convention_holds(shared_dir, tmp_path):
    """SUN RGB-D image 17: the bed holds 18117 points as stored, and about half with the other yaw or z."""
    with open(shared_dir / "data/sunrgbd/mmdet3d_demo/sunrgbd_000017_infos.pkl", "rb") as file:
        info = pickle.load(file)
    boxes = [instance["bbox_3d"] for instance in info["data_list"][0]["instances"]]
    entries = [
        {"class": "bed", "center": box[:3], "size": box[3:6], "yaw": box[6]}
        for box in np.asarray(boxes, float).reshape(-1, 7).tolist()
    ]
    (tmp_path / "000017.json").write_text(json.dumps(entries))
    scan = (shared_dir / "data/sunrgbd/mmdet3d_demo/000017.bin").read_bytes()
    (tmp_path / "000017.bin").write_bytes(scan)
    report = prepare_folder(tmp_path, tmp_path / "set")
    assert report.hint == ""
    scene = report.open()[0]
    assert points_in_boxes(scene.points, scene.boxes).sum(axis=1).max() == 18117
    assert scene.colors is not None
    assert "other direction of yaw" in prepare_folder(tmp_path, tmp_path / "cw", convention=Convention(yaw="cw")).hint


HEAD = "class,cx,cy,cz,dx,dy,dz,yaw\n"


def one_scan(folder: Path, boxes: str, *, points=None, name="a", kind=".csv"):
    """The report on a folder with a cloud in a cube of side 3."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", 3 * np.random.default_rng(0).random((500, 3)) if points is None else points)
    (folder / f"{name}{kind}").write_text(boxes)
    return prepare_folder(folder, folder.parent / "set")


def test_byte_order_marks_and_hidden_files_are_ignored(tmp_path):
    (tmp_path / "scans").mkdir()
    for hidden in ("._a.npy", "._a.csv"):  # macOS writes one beside every copied file
        (tmp_path / "scans" / hidden).write_bytes(b"\0\5\x16\7")
    report = one_scan(tmp_path / "scans", f"\ufeff{HEAD}chair,1,1,1,1,1,1,0\n")
    assert (report.written, report.failed) == (("a",), ())


@pytest.mark.parametrize(
    ("boxes", "kind", "message"),
    [
        (f"{HEAD}chair,1,1,1,1,1,1,90\n", ".csv", "yaw reaches 90; expected radians"),
        (
            '[{"class": "cha\\nir", "center": [1, 1, 1], "size": [1, 1, 1]}]',
            ".json",
            "the class name .* is empty or not of one line",
        ),
    ],
)
def test_boxes_that_would_be_misread_are_refused(tmp_path, boxes, kind, message):
    with pytest.raises(ValueError, match=message):
        one_scan(tmp_path / "scans", boxes, kind=kind)


@pytest.mark.parametrize("name", ["new\nline", " lead"])
def test_a_name_that_cannot_be_listed_is_reported(tmp_path, name):
    scans = tmp_path / "scans"
    with pytest.raises(ValueError, match="no usable scene: 1 failed"):
        one_scan(scans, f"{HEAD}chair,1,1,1,1,1,1,0\n", name=name)
    report = one_scan(scans, f"{HEAD}chair,1,1,1,1,1,1,0\n")
    assert report.written == ("a",)
    [(failed, reason)] = report.failed
    assert failed == name
    assert "cannot be a scene's name" in reason


@pytest.mark.parametrize(
    ("boxes", "factor", "hint"),
    [
        ("chair,1,1,1,1,1,1,0\n", 1000, "high: are these metres? Divide millimetres by 1000"),
        ("chair,9,9,9,1,1,1,0\n", 1, "no box holds a point"),
        ("", 1, "there are no boxes"),
    ],
)
def test_boxes_that_do_not_fit_the_points_give_a_hint(tmp_path, boxes, factor, hint):
    points = 3 * factor * np.random.default_rng(0).random((500, 3))
    report = one_scan(tmp_path / "scans", HEAD + boxes, points=points)
    assert any(hint in said for said in (report.hint, *report.notes))


def test_scans_far_from_the_origin_keep_their_place(tmp_path):
    """Coordinates of a national grid: float32 would round them by a quarter of a metre."""
    place = np.array([512_345.25, 5_412_345.75, 310.0])
    near = 3 * np.random.default_rng(0).random((500, 3))
    x, y, z = place + 1
    report = one_scan(tmp_path / "scans", f"{HEAD}chair,{x},{y},{z},0.5,0.5,0.5,0\n", points=near + place)
    assert "far from the origin" in report.notes[0]
    stored = report.open()
    scene, offset = stored[0], stored.offset(0)
    np.testing.assert_allclose(scene.points.astype(np.float64) + offset, near + place, atol=1e-4)
    np.testing.assert_allclose(scene.boxes[0, :3].astype(np.float64) + offset, place + 1, atol=1e-4)
    inside = (np.abs(near - 1) <= 0.25).all(axis=1)
    np.testing.assert_array_equal(scene.instance_ids == 0, inside)
    assert inside.any()
    # The same files put into a set by hand.
    folder = stored.folder / "scenes" / "a"
    (folder / "points.npy").write_bytes((tmp_path / "scans" / "a.npy").read_bytes())
    (folder / "boxes.csv").write_bytes((tmp_path / "scans" / "a.csv").read_bytes())
    (folder / "instances.npy").unlink()
    np.testing.assert_array_equal(stored[0].instance_ids, scene.instance_ids)


def test_one_bad_table_costs_its_scan_alone_and_points_that_are_not_finite_themselves(tmp_path):
    points = 3 * np.random.default_rng(0).random((1500, 3))
    points[7] = np.nan
    one_scan(tmp_path / "scans", f"{HEAD}chair,1,1,1,1,1,1,0\n", points=points, name="b")
    np.save(tmp_path / "scans" / "a.npy", points)
    (tmp_path / "scans" / "a.csv").write_text(f"{HEAD} ,1,1,1,1,1,1,0\n")
    (tmp_path / "scans" / "c.csv").write_text(HEAD)
    (tmp_path / "scans" / "c.rcp").write_bytes(b"")
    report = prepare_folder(tmp_path / "scans", tmp_path / "set")
    assert report.written == ("b",)
    reasons = dict(report.failed)
    assert "a.csv, line 2: the class name '' is empty" in reasons["a"]
    assert "c.rcp is of no kind that is read" in reasons[str(tmp_path / "scans" / "c.csv")]
    assert (report.num_dropped_points, report.num_boxes) == (1, 1)
    assert report.notes == ("b 1 of 1500 points are not finite and were dropped",)


def test_classes_that_differ_by_case_or_blanks_give_a_note(tmp_path):
    rows = "".join(f"{name},1,1,1,1,1,1,0\n" for name in ("Night stand", "night_stand", "bed"))
    report = one_scan(tmp_path / "scans", HEAD + rows)
    assert report.classes == ("Night stand", "bed", "night_stand")
    assert "the classes 'Night stand' and 'night_stand' differ by case or blanks alone" in report.notes[0]


def test_labels_and_calibrations_may_lie_in_folders_of_their_own(tmp_path):
    for kind in ("velodyne", "label_2", "calib"):
        (tmp_path / kind).mkdir()
    points = np.random.default_rng(0).uniform(-1, 1, (500, 4)).astype(np.float32) * [3, 3, 1, 1]
    points.astype(np.float32).tofile(tmp_path / "velodyne" / "000001.bin")
    (tmp_path / "label_2" / "000001.txt").write_text("Car 0 0 0 0 0 9 9 1 1 2 0 0.5 1 -1.5707963\n")
    (tmp_path / "label_2" / "_classes.json").write_text("{}")
    (tmp_path / "calib" / "000001.txt").write_text(
        "R0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    folders = {"labels": tmp_path / "label_2", "bin_columns": 4}
    report = prepare_folder(tmp_path / "velodyne", tmp_path / "set", calibration=tmp_path / "calib", **folders)
    assert (report.failed, report.written, report.classes) == ((), ("000001",), ("Car",))
    np.testing.assert_allclose(report.open()[0].boxes, [[1, 0, 0, 2, 1, 1, 0]], atol=1e-6)
    report = prepare_folder(tmp_path / "velodyne", tmp_path / "untransformed", calibration="none", **folders)
    np.testing.assert_allclose(report.open()[0].boxes, [[0, 0.5, 1, 2, 1, 1, -np.pi / 2]], atol=1e-6)
    with pytest.raises(ValueError, match="give the folder of calibrations"):
        prepare_folder(tmp_path / "velodyne", tmp_path / "refused", **folders)
    with pytest.raises(NotADirectoryError, match="missing is not a folder"):
        prepare_folder(tmp_path / "velodyne", tmp_path / "refused", labels=tmp_path / "missing")
