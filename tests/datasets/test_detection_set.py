import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pcfdsl.datasets.detection_set import (
    DetectionSet,
    assign_instances,
    read_classes,
    write_info,
    write_scene,
    write_split,
)
from pcfdsl.readers.boxes import read_boxes
from pcfdsl.readers.clouds import read_cloud
from pcfdsl.rng import stream


def same(a, b) -> bool:
    left, right = a.arrays(), b.arrays()
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


@pytest.fixture
def stored(rooms, tmp_path: Path) -> DetectionSet:
    write_info(tmp_path, rooms.source.classes)
    names = [f"room_{i}" for i in range(4)]
    for i, name in enumerate(names):
        write_scene(tmp_path, name, rooms[i])
    write_split(tmp_path, "train", names[:3])
    write_split(tmp_path, "val", names[3:])
    return DetectionSet(tmp_path, "train")


def test_scenes_are_read_back_bit_for_bit(rooms, stored):
    assert len(stored) == 3
    assert all(same(stored[i], rooms[i]) for i in range(3))
    assert same(DetectionSet(stored.folder, "val")[0], rooms[3])
    assert [same(a, rooms[i]) for i, a in zip((2, 1), stored[2:0:-1], strict=True)] == [True, True]
    assert stored.classes == rooms.source.classes == read_classes(stored.folder)


def test_colours_and_odd_class_names_are_read_back(rooms, tmp_path):
    names = ('a "quoted", name', *rooms.source.classes[1:])
    scene = replace(rooms[0], colors=stream(0).random((1500, 3)))
    scene = replace(scene, categories=np.zeros(len(scene.boxes)))
    write_info(tmp_path, names)
    write_scene(tmp_path, "x", scene)
    write_split(tmp_path, "all", ["x"])
    assert same(DetectionSet(tmp_path, "all")[0], scene)


def test_rewriting_a_scene_leaves_no_file_of_the_old_one(rooms, stored):
    target = stored.folder / "scenes" / "room_0"
    (target / "boxes.csv").rename(target / "boxes.json")
    write_scene(stored.folder, "room_0", rooms[5])
    assert same(stored[0], rooms[5])


@pytest.mark.parametrize("kind", ["npy", "bin", "ply"])
@pytest.mark.parametrize("colored", [False, True])
def test_points_are_read_from_every_format(tmp_path, kind, colored):
    points = stream(0).normal(size=(20, 3)).astype(np.float32)
    colors = stream(1).integers(0, 256, (20, 3)).astype(np.uint8)
    path = tmp_path / f"points.{kind}"
    rows = np.concatenate([points, colors], axis=1, dtype=np.float32) if colored else points
    if kind == "npy":
        np.save(path, rows)
    elif kind == "bin":
        rows.tofile(path)
    else:
        trimesh.PointCloud(points, colors=colors if colored else None).export(path)
    cloud = read_cloud(path, bin_columns=rows.shape[1])
    read, read_colors = cloud.points, cloud.colors
    np.testing.assert_array_equal(read, points)
    assert read.flags["C_CONTIGUOUS"]
    if colored:
        np.testing.assert_allclose(read_colors, colors / 255, atol=1e-6)
    else:
        assert read_colors is None


def test_boxes_are_read_from_csv_and_json(tmp_path):
    (tmp_path / "a.csv").write_text("class,cx,cy,cz,dx,dy,dz,yaw\nbed,1,2,3,4,5,6,0.5\n lamp ,0,0,0,1,1,1e-1,0\n")
    entries = [
        {"class": "bed", "center": [1, 2, 3], "size": [4, 5, 6], "yaw": 0.5},
        {"class": "lamp", "center": [0, 0, 0], "size": [1, 1, 0.1]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    expected = np.array([[1, 2, 3, 4, 5, 6, 0.5], [0, 0, 0, 1, 1, 0.1, 0]])
    for kind in ("csv", "json"):
        labelled = read_boxes(tmp_path / f"a.{kind}")
        assert labelled.names == ("bed", "lamp")
        np.testing.assert_array_equal(labelled.boxes, expected)
    (tmp_path / "none.csv").write_text("class,cx,cy,cz,dx,dy,dz\n")
    assert read_boxes(tmp_path / "none.csv").boxes.shape == (0, 7)


HEADER = "class,cx,cy,cz,dx,dy,dz,yaw\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "class,u,v,w,dx,dy,dz\nbed,0,0,0,1,1,1\n", "line 1: no column cx, cy, cz; expected class,cx"),
        ("a.csv", "", "an empty file"),
        ("a.csv", HEADER + "bed,0,0,0,1,1,1,0\nbed,0,0,0,1,1\n", "line 3: the number of columns differs from line 1"),
        ("a.csv", HEADER + "bed,0,0,0,1,1,1,0,9\n", "line 2: the number of columns differs from line 1"),
        ("a.csv", HEADER + "bed,0,zero,0,1,1,1,0\n", "line 2: could not convert string to float: 'zero'"),
        ("a.csv", HEADER + "bed,0,nan,0,1,1,1,0\n", "line 2: .* not finite"),
        ("a.csv", HEADER + "bed,0,0,0,1,0,1,0\n", "line 2: extents .* must be positive"),
        ("a.json", '[{"class": "bed", "center": [0, 0, 0], "si', "is not JSON.*truncated"),
        ("a.json", "{}", "holds a dict"),
        ("a.json", '[{"class": "bed", "center": [0, 0], "size": [1, 1, 1]}]', "box 0: ValueError"),
        ("a.json", '[{"center": [0, 0, 0], "size": [1, 1, 1]}]', "box 0: KeyError 'class'"),
        ("a.json", '[{"class": "bed", "center": [0, 0, 0], "size": [1, -1, 1]}]', "box 0: extents"),
    ],
)
def test_errors_in_boxes_name_the_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_boxes(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_errors_in_points_name_the_file(tmp_path):
    np.save(tmp_path / "two.npy", np.zeros((4, 2)))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    np.save(tmp_path / "text.npy", np.array([["a", "b", "c"]]))
    np.save(tmp_path / "nan.npy", np.full((2, 3), np.nan))
    np.save(tmp_path / "whole.npy", np.zeros((100, 3)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-50])
    (tmp_path / "cut.bin").write_bytes(bytes(50))
    (tmp_path / "broken.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n")
    (tmp_path / "points.doc").write_text("0 0 0")
    for name, message in {
        "two.npy": r"expected numbers \[N, 3 or more\]",
        "none.npy": "has no points",
        "text.npy": "expected numbers",
        "nan.npy": r"has no finite points \(2 in all\)",
        "cut.npy": "cut.npy declares 2400 bytes",
        "cut.bin": "50 bytes are not a multiple of a row of 6 float32; it is truncated",
        "broken.ply": "broken.ply: ",
        "points.doc": "unknown ending .doc; expected one of .ply, .pcd",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            read_cloud(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        read_cloud(tmp_path / "absent.npy")


def test_the_smallest_box_owns_a_point_without_instances(stored, rooms):
    points = np.array([[0, 0, 0], [2, 0, 0], [9, 9, 9]])
    boxes = np.array([[0, 0, 0, 9, 9, 9, 0], [0, 0, 0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(assign_instances(points, boxes), [1, 0, -1])
    np.testing.assert_array_equal(assign_instances(points, boxes[:0]), [-1, -1, -1])
    (stored.folder / "scenes" / "room_1" / "instances.npy").unlink()
    guessed = stored[1].instance_ids
    assert np.mean(guessed == rooms[1].instance_ids) > 0.7


def test_errors_in_a_set_are_explained(stored, tmp_path, rooms):
    with pytest.raises(FileNotFoundError, match=r"is not a detection set: it has no set\.json"):
        DetectionSet(tmp_path / "scenes", "train")
    with pytest.raises(FileNotFoundError, match="has no split 'test'; it has train, val"):
        DetectionSet(tmp_path, "test")
    with pytest.raises(ValueError, match="use another folder"):
        write_info(tmp_path, ["bed"])
    with pytest.raises(ValueError, match="distinct"):
        write_info(tmp_path / "other", ["bed", "bed"])
    with pytest.raises(ValueError, match="cannot be a scene's name"):
        write_scene(tmp_path, "../escape", rooms[0])
    with pytest.raises(ValueError, match="the set has 10 classes"):
        write_scene(tmp_path, "x", replace(rooms[0], categories=rooms[0].categories + 10))

    (tmp_path / "scenes" / "room_0" / "boxes.csv").write_text("class,cx,cy,cz,dx,dy,dz,yaw\nthrone,0,0,0,1,1,1,0\n")
    np.save(tmp_path / "scenes" / "room_1" / "instances.npy", np.zeros(3))
    (tmp_path / "scenes" / "room_2" / "points.npy").unlink()
    problems = "unknown class throne; the set has bed", "3 entries; expected 1500", r"has 0 files points\.\*"
    for i, problem in enumerate(problems):
        with pytest.raises((OSError, ValueError), match=problem):
            stored[i]

    write_split(tmp_path, "more", ["room_0", "room_9"])
    with pytest.raises(ValueError, match="1 scenes without a folder in scenes/; the first is 'room_9'"):
        DetectionSet(tmp_path, "more")
    (tmp_path / "set.json").write_text('{"format": "pcfdsl-detection-9"}')
    with pytest.raises(ValueError, match="is invalid; expected"):
        DetectionSet(tmp_path, "train")
