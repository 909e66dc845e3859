import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.datasets.mmdetection3d import open_mmdetection3d
from pcfdsl.datasets.s3dis import find_s3dis, prepare_s3dis, read_room
from pcfdsl.datasets.spec import S3DIS
from pcfdsl.readers.s3dis import read_object

ROOT = Path(__file__).resolve().parents[2]
ALIGNED = "Stanford3dDataset_v1.2_Aligned_Version"
OBJECTS = (
    "ceiling_1",
    "wall_1",
    "wall_2",
    "table_1",
    "chair_2",
    "chair_10",
    "sofa_1",
    "board_1",
    "clutter_1",
    "stairs_1",
)


def write_room(folder: Path, *, seed: int = 0) -> dict[str, np.ndarray]:
    """A room as the official download has them, far from the origin; [N, 6] rows of each object as written."""
    rng = np.random.default_rng(seed)
    (folder / "Annotations").mkdir(parents=True)
    objects = {}
    for name in OBJECTS:
        xyz = rng.uniform((-21, 11, 0), (-15, 15, 3)) + rng.uniform(-0.5, 0.5, (int(rng.integers(20, 40)), 3))
        rows = np.concatenate([xyz.round(3), rng.integers(0, 256, xyz.shape)], axis=1)
        lines = ["{:.3f} {:.3f} {:.3f} {:.0f} {:.0f} {:.0f}".format(*row) for row in rows]
        (folder / "Annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        objects[name] = rows
    (folder / f"{folder.name}.txt").write_text("not read\n")
    return objects


@pytest.fixture
def download(tmp_path) -> Path:
    """Two rooms of Area 1 and one of Area 5, with what the official folder has besides."""
    place = tmp_path / "download" / ALIGNED
    for k, name in enumerate(("Area_1/office_2", "Area_1/WC_1", "Area_5/hallway_6")):
        write_room(place / name, seed=k)
    (place / "Area_1" / "Area_1_alignmentAngle.txt").write_text("office_2 0\n")
    for debris in (".DS_Store", "Area_5/.DS_Store", "Area_5/hallway_6/Annotations/.DS_Store", "ReadMe.txt"):
        (place / debris).write_bytes(b"\0\0\0\1Bud1")
    return tmp_path / "download"


def test_a_room_has_every_point_and_a_box_for_each_piece_of_furniture(tmp_path):
    objects = write_room(tmp_path / "office_1")
    prepared = read_room(tmp_path / "office_1")
    scene = prepared.scene
    assert (prepared.problems, prepared.repairs) == ((), ())
    everything = np.concatenate([rows for _, rows in sorted(objects.items(), key=lambda item: natural(item[0]))])
    low = everything[:, :3].min(axis=0)
    np.testing.assert_array_equal(prepared.offset, low)
    np.testing.assert_allclose(scene.points, everything[:, :3] - low, atol=1e-6)
    assert (scene.points.min(axis=0) == 0).all()
    np.testing.assert_allclose(scene.colors, everything[:, 3:] / 255, atol=1e-6)
    wanted = ("board_1", "chair_2", "chair_10", "sofa_1", "table_1")
    assert [S3DIS.classes[k] for k in scene.categories] == [name.split("_")[0] for name in wanted]
    for row, name in enumerate(wanted):
        xyz = objects[name][:, :3] - low
        ends = scene.boxes[row, :3] + scene.boxes[row, 3:6] / 2 * np.array([[-1], [1]])
        np.testing.assert_allclose(ends, [xyz.min(axis=0), xyz.max(axis=0)], atol=1e-5)
        np.testing.assert_allclose(scene.points[scene.instance_ids == row], xyz, atol=1e-6)
    assert (scene.instance_ids < 0).sum() == len(everything) - sum(len(objects[name]) for name in wanted)
    assert not scene.boxes[:, 6].any()


def natural(name: str) -> tuple[str, int]:
    kind, number = name.split("_")
    return kind, int(number)


@pytest.mark.parametrize(
    ("damaged", "whole", "said"),
    [
        (b"22.350 6.692 3.048 185\x00187 182", [22.35, 6.692, 3.048, 185, 187, 182], "byte 0x00 is read as ' '"),
        (b"19.302 -9.1\x160 1.785 146 137 106", [19.302, -9.16, 1.785, 146, 137, 106], "byte 0x16 is read as '6'"),
        (b"0.5 -12.4 2.604 167.\x1000000 175 177", [0.5, -12.4, 2.604, 167, 175, 177], "byte 0x10 is read as '0'"),
        (b"1\x0e5 2.0 3.0 1 2 3", [1.5, 2, 3, 1, 2, 3], "byte 0x0e is read as '.'"),
    ],
)
def test_bytes_that_lost_a_bit_are_set_right_and_said(tmp_path, damaged, whole, said):
    path = tmp_path / "ceiling_1.txt"
    path.write_bytes(b"22.383 6.858 3.050 155 155 165\r\n" + damaged + b"\r\n22.275 6.643 3.048 192 194 191\r\n")
    one = read_object(path)
    np.testing.assert_allclose(np.c_[one.points, one.colors][1], whole)
    assert len(one.points) == 3
    assert one.repairs == (f"line 2: the {said}",)
    assert one.left_out == ()


def test_rows_that_are_no_points_are_left_out_and_said(tmp_path):
    path = tmp_path / "wall_1.txt"
    bad = ["1 2 3 185187 182", "1 2 3 4 5 6 7", "nan 2 3 4 5 6", "1 2 3 4 5 256", "1e9 2 3 4 5 6", "x"]
    path.write_text("\n".join(["1 2 3 4 5 6", *bad, "", "2 3 4 5 6 7"]))
    one = read_object(path)
    np.testing.assert_array_equal(one.points, [[1, 2, 3], [2, 3, 4]])
    assert one.left_out == tuple(f"line {k}: {row!r}" for k, row in enumerate(bad, start=2))
    path.write_text("1 2 3\n" * 20)
    with pytest.raises(
        ValueError, match=r"wall_1.txt: 20 rows are not x y z red green blue, the first is line 1: '1 2 3'"
    ):
        read_object(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"wall_1.txt has no points"):
        read_object(path)


def test_the_official_folder_becomes_a_set(download, tmp_path):
    ceiling = download / ALIGNED / "Area_5" / "hallway_6" / "Annotations" / "ceiling_1.txt"
    with open(ceiling, "ab") as file:
        file.write(b"-18.350 12.692 3.048 185\x00187 182\n")
    (ceiling.parent / "wall_2 (1).txt").write_bytes((ceiling.parent / "wall_2.txt").read_bytes())
    report = prepare_s3dis(download, tmp_path / "set")
    assert (report.written, report.expected) == ({"train": 2, "val": 1}, {"train": 204, "val": 68})
    assert report.boxes == {"table": 3, "chair": 6, "sofa": 3, "bookcase": 0, "board": 3}
    assert len(report.missing) == 269
    assert "Area_6_pantry_1" in report.missing
    assert (report.failed, report.problems, report.exit_code) == ((), (), 0)
    names = {name for name, _ in report.repairs}
    assert names == {"Area_5_hallway_6"}
    copy, byte = sorted(text for _, text in report.repairs)[::-1]
    assert copy == "wall_2 (1).txt is passed over, as its name is that of a copy of wall_2.txt"
    assert byte.startswith("ceiling_1.txt, line ")
    assert "set right: Area_5_hallway_6: ceiling_1.txt, line " in str(report)
    for split, rooms in {"train": ("Area_1_WC_1", "Area_1_office_2"), "val": ("Area_5_hallway_6",)}.items():
        stored = DetectionSet(tmp_path / "set", split)
        assert (stored.classes, stored.names) == (S3DIS.classes, rooms)
        for k, room in enumerate(rooms):
            prepared = read_room(find_s3dis(download) / room[:6] / room[7:])
            for name, array in prepared.scene.arrays().items():
                np.testing.assert_array_equal(stored[k].arrays()[name], array)
            np.testing.assert_array_equal(stored.offset(k), prepared.offset)
    again = prepare_s3dis(download / ALIGNED, tmp_path / "set")
    assert (again.reused, again.digest, again.repairs) == (3, report.digest, report.repairs)


def test_fewer_points_keep_the_boxes_of_all(download, tmp_path):
    whole, part = prepare_s3dis(download, tmp_path / "all"), prepare_s3dis(download, tmp_path / "part", max_points=50)
    assert whole.boxes == part.boxes
    for scene, fewer in zip(DetectionSet(whole.out, "train"), DetectionSet(part.out, "train"), strict=True):
        assert len(fewer.points) == 50 < len(scene.points)
        np.testing.assert_array_equal(fewer.boxes, scene.boxes)
        rows = [np.flatnonzero((scene.points == point).all(axis=1))[0] for point in fewer.points]
        np.testing.assert_array_equal(fewer.instance_ids, scene.instance_ids[rows])


def test_what_cannot_be_used_is_said(download, tmp_path):
    area = download / ALIGNED / "Area_1"
    (area / "office_2" / "Annotations" / "chair_x.txt").write_text("1 2 3 4 5 6\n")
    (area / "office_2" / "Annotations" / "board_1.txt").write_text("1 2 3 4 5 6\n1 2 4 4 5 6\n")
    (area / "WC_1" / "Annotations" / "sofa_1.txt").write_bytes(b"")
    (area / "office_3").mkdir()
    write_room(area / "office_99")
    (area / "pictures").mkdir()
    report = prepare_s3dis(download, tmp_path / "set")
    assert report.written == {"train": 1, "val": 1, "other": 1}
    assert DetectionSet(tmp_path / "set", "other").names == ("Area_1_office_99",)
    assert [name for name, _ in report.failed] == ["Area_1_WC_1", "Area_1_office_3"]
    assert "sofa_1.txt has no points" in report.failed[0][1]
    assert "there is no" in report.failed[1][1]
    assert [text for _, text in report.problems] == [
        "chair_x.txt is not named CLASS_NUMBER.txt",
        "board_1.txt: its box has no extent",
    ]
    assert report.exit_code == 1
    with pytest.raises(
        FileNotFoundError, match=r"has no folder Area_1; expected Stanford3dDataset_v1.2_Aligned_Version"
    ):
        prepare_s3dis(tmp_path / "set", tmp_path / "other")


def test_the_command_prints_the_report(download, tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "prepare_s3dis.py"), "download", "--out", "set", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == {"train": 2, "val": 1}
    assert "S3DIS: train 2 of 204, val 1 of 68 scenes, 15 boxes" in done.stderr


def write_mmdetection3d(folder: Path, rooms: dict[str, Path]) -> None:
    """What its create_data.py writes: each object but the last has a box; an info file for each area."""
    numbers = dict(zip(S3DIS.classes, S3DIS.source_ids, strict=True))
    for kind in ("points", "instance_mask", "semantic_mask"):
        (folder / kind).mkdir(parents=True)
    infos: dict[str, list] = {f"Area_{k}": [] for k in range(1, 7)}
    for name, room in rooms.items():
        paths = sorted((room / "Annotations").glob("*.txt"))
        tables = [np.loadtxt(path) for path in paths]
        kinds = [numbers.get(path.stem.split("_")[0], 12) for path in paths]
        points = np.concatenate(tables).astype(np.float32)
        points[:, :3] -= points[:, :3].min(axis=0)
        instances = np.repeat(np.arange(1, len(tables) + 1), [len(table) for table in tables])
        points.tofile(folder / "points" / f"{name}.bin")
        instances.astype(np.int64).tofile(folder / "instance_mask" / f"{name}.bin")
        np.array(kinds, np.int64)[instances - 1].tofile(folder / "semantic_mask" / f"{name}.bin")
        objects = []
        for k in range(1, instances.max()):
            if kinds[k - 1] in S3DIS.source_ids:
                own = points[instances == k, :3]
                low, high = own.min(axis=0), own.max(axis=0)
                box = np.concatenate([(low + high) / 2, high - low]).tolist()
                objects.append({"bbox_3d": box, "bbox_label_3d": S3DIS.source_ids.index(kinds[k - 1])})
        masks = {f"pts_{kind}_mask_path": f"{name}.bin" for kind in ("instance", "semantic")}
        cloud = {"num_pts_feats": 6, "lidar_path": f"{name}.bin"}
        infos[name[:6]].append({"lidar_points": cloud, "instances": objects, **masks})
    for area, entries in infos.items():
        content = {"metainfo": {"dataset": "s3dis"}, "data_list": entries}
        (folder / f"s3dis_infos_{area}.pkl").write_bytes(pickle.dumps(content))


def test_folders_of_mmdetection3d_hold_the_same_but_for_the_last_object(download, tmp_path):
    place = find_s3dis(download)
    rooms = {f"{room.parent.name}_{room.name}": room for room in sorted(place.glob("Area_*/*_*")) if room.is_dir()}
    write_mmdetection3d(tmp_path / "mm", rooms)
    assert open_mmdetection3d(tmp_path / "mm", "val").names == ("Area_5_hallway_6",)
    train = pickle.loads(pickle.dumps(open_mmdetection3d(tmp_path / "mm")))
    assert train.names == ("Area_1_WC_1", "Area_1_office_2")
    assert train.spec == S3DIS
    for name, scene in zip(train.names, train, strict=True):
        ours = read_room(rooms[name]).scene
        # the last object by name is wall_2 here: nothing is lost
        assert len(scene.points) == len(ours.points)
        assert sorted(map(tuple, scene.boxes.round(4).tolist())) == sorted(map(tuple, ours.boxes.round(4).tolist()))
        counts = [sorted(np.bincount(one.instance_ids + 1).tolist()) for one in (scene, ours)]
        assert counts[0] == counts[1]

    # a piece of furniture that is the last has no box, and its points are no other's
    for name in ("wall_1", "wall_2", "table_1"):
        (rooms["Area_5_hallway_6"] / "Annotations" / f"{name}.txt").unlink()
    (rooms["Area_5_hallway_6"] / "Annotations" / "stairs_1.txt").rename(
        rooms["Area_5_hallway_6"] / "Annotations" / "table_1.txt"
    )
    (rooms["Area_5_hallway_6"] / "Annotations" / "sofa_1.txt").rename(
        rooms["Area_5_hallway_6"] / "Annotations" / "table_0.txt"
    )
    write_mmdetection3d(tmp_path / "short", {"Area_5_hallway_6": rooms["Area_5_hallway_6"]})
    short, ours = open_mmdetection3d(tmp_path / "short", "val")[0], read_room(rooms["Area_5_hallway_6"]).scene
    assert (len(ours.boxes), len(short.boxes)) == (5, 4)
    last = np.loadtxt(rooms["Area_5_hallway_6"] / "Annotations" / "table_1.txt")
    assert (short.instance_ids < 0).sum() == (ours.instance_ids < 0).sum() + len(last)

    (tmp_path / "mm" / "s3dis_infos_Area_3.pkl").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"has no s3dis_infos_Area_3.pkl, which belong to train; the path of an"
    ):
        open_mmdetection3d(tmp_path / "mm")
    assert len(open_mmdetection3d(tmp_path / "mm" / "s3dis_infos_Area_1.pkl")) == 2


def test_the_fixture_of_mmdetection3d_itself(shared_dir):
    folder = shared_dir / "data" / "s3dis" / "mmdet3d_tests"
    if not folder.is_dir():
        pytest.skip("the research data are not here")
    scene = open_mmdetection3d(folder / "s3dis_infos.pkl")[0]
    assert (len(scene.points), len(scene.boxes)) == (100, 9)
    assert set(scene.categories.tolist()) <= set(range(5))
