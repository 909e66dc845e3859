"""Boxes as spreadsheets and labelling tools write them: what a column says counts, and nothing applies twice."""

import itertools
import json

import numpy as np
import pytest

from pcfdsl.readers.boxes import Convention, read_boxes

BOX = (1.2, 0.45, 0.42, 0.5, 0.55, 0.84)
HEAD, ROW = "class,cx,cy,cz,dx,dy,dz", "chair," + ",".join(map(str, BOX))


def read(tmp_path, content, name="a.csv", **convention):
    (tmp_path / name).write_text(content)
    return read_boxes(tmp_path / name, convention=Convention(**convention))


@pytest.mark.parametrize("column", ["yaw (deg)", "yaw_deg", "Yaw [°]", "heading degrees", "rotation_z (degrees)"])
@pytest.mark.parametrize("angle", ["radians", "degrees"])
def test_a_column_in_degrees_is_converted_once(tmp_path, column, angle):
    found = read(tmp_path, f"{HEAD},{column}\n{ROW},5\n", angle=angle)
    np.testing.assert_allclose(found.boxes, [[*BOX, np.deg2rad(5)]])


def test_a_column_in_radians_stays_so(tmp_path):
    found = read(tmp_path, f"{HEAD},yaw (rad)\n{ROW},1.5\n", angle="degrees")
    np.testing.assert_allclose(found.boxes, [[*BOX, 1.5]])


@pytest.mark.parametrize("column", ["theta", "orientation", "yaw_mrad", "rot"])
def test_a_yaw_under_another_name_is_not_left_out(tmp_path, column):
    with pytest.raises(ValueError, match=r"a\.csv, line 1: is the column '.*' the yaw\? Name it yaw"):
        read(tmp_path, f"{HEAD},{column}\n{ROW},1.5\n")


CORNERS = list(itertools.product((0, 2), (0, 1), (0, 0.5)))


@pytest.mark.parametrize(
    "content",
    [
        "class,xmin,xmax,ymin,ymax,zmin,zmax\nchair,0,2,0,1,0,0.5\n",
        "class," + ",".join(f"x{k},y{k},z{k}" for k in range(8)) + "\nchair," + ",".join(map(str, np.ravel(CORNERS))),
    ],
)
@pytest.mark.parametrize("convention", [{"sizes": "half"}, {"z": "bottom"}, {"yaw": "cw"}, {"angle": "degrees"}])
def test_limits_and_corners_have_no_other_convention(tmp_path, content, convention):
    np.testing.assert_allclose(read(tmp_path, content).boxes, [[1, 0.5, 0.25, 2, 1, 0.5, 0]], atol=1e-12)
    with pytest.raises(ValueError, match="leave out the option"):
        read(tmp_path, content, **convention)


@pytest.mark.parametrize(
    "content",
    [
        f"# made by hand, today\n{HEAD},yaw\n{ROW},1.5\n",
        f"#{HEAD},yaw\n{ROW},1.5\n",
        f'{HEAD},yaw,remark\n{ROW},1.5,"two\nlines"\n',
    ],
)
def test_comments_and_remarks(tmp_path, content):
    np.testing.assert_allclose(read(tmp_path, content).boxes, [[*BOX, 1.5]])


def test_the_line_of_a_fault_counts_the_lines_of_remarks(tmp_path):
    with pytest.raises(ValueError, match="line 4: could not convert"):
        read(tmp_path, f'{HEAD},yaw,remark\n{ROW},1.5,"two\nlines"\n{ROW},north,\n')


def test_rows_of_mmdetection3d_with_blanks_and_commas(tmp_path):
    numbers = [*map(str, BOX), "1.5"]
    blanks, commas = " ".join([*numbers, "night stand"]), ",".join([*numbers, "night stand"])
    for content in (blanks, commas):
        found = read(tmp_path, content + "\n\n" + content, "a.txt")
        assert found.names == ("night stand",) * 2
        np.testing.assert_allclose(found.boxes, [[*BOX, 1.5]] * 2)
    with pytest.raises(ValueError, match="line 2: expected x y z dx dy dz yaw class as before, got '1 2 3'"):
        read(tmp_path, blanks + "\n1 2 3\n", "a.txt")


def test_no_objects(tmp_path):
    assert read(tmp_path, "", "a.txt").boxes.shape == (0, 7)
    assert read(tmp_path, '{"objs": []}', "a.json").boxes.shape == (0, 7)
    with pytest.raises(ValueError, match="an empty file"):
        read(tmp_path, "")


def test_names_of_macos_are_those_of_others(tmp_path):
    rows = [ROW.replace("chair", name) for name in ("Stu\u0308hle", "St\xfchle")]
    found = read(tmp_path, "\n".join([HEAD, *rows]))
    assert found.names == ("Stühle", "Stühle")


def test_labelclouds_radians_are_within_half_a_turn(tmp_path):
    centroid, size = (
        dict(zip("xyz", BOX[:3], strict=True)),
        dict(zip(("length", "width", "height"), BOX[3:], strict=True)),
    )
    entry = {"name": "chair", "centroid": centroid, "dimensions": size, "rotations": {"x": 0, "y": 0, "z": 5}}
    content = json.dumps({"objects": [entry]})
    with pytest.raises(ValueError, match=r"yaw reaches 5; expected radians, -pi to pi\. Are these degrees"):
        read(tmp_path, content, "a.json")
    np.testing.assert_allclose(read(tmp_path, content, "a.json", angle="degrees").boxes, [[*BOX, np.deg2rad(5)]])


@pytest.mark.parametrize("angle", ["radians", "degrees"])
@pytest.mark.parametrize("column", ["roll (deg)", "roll_deg", "Rotation X [°]", "pitch degrees"])
def test_a_tilt_in_degrees_is_one(tmp_path, column, angle):
    with pytest.raises(ValueError, match="a box is tilted by 80 degrees"):
        read(tmp_path, f"{HEAD},yaw_deg,{column}\n{ROW},5,80\n", angle=angle)
    assert read(tmp_path, f"{HEAD},yaw_deg,{column}\n{ROW},5,2\n", angle=angle).notes
