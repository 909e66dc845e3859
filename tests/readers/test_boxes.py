import json

import numpy as np
import pytest

from pcfdsl.readers.boxes import Convention, read_boxes
from pcfdsl.readers.labelling import corner_box
from pcfdsl.scene.boxes import box_corners

BED = [1.5, -2.25, 0.5, 2.0, 1.5, 1.0, 0.25]


def written(tmp_path, content, name="a.csv"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / name


@pytest.mark.parametrize(
    "content",
    [
        "class,cx,cy,cz,dx,dy,dz,yaw\nbed,1.5,-2.25,0.5,2.0,1.5,1.0,0.25\n",
        "class;cx;cy;cz;dx;dy;dz;yaw\nbed;1,5;-2,25;0,5;2;1,5;1;0,25\n",
        "class\tcx\tcy\tcz\tdx\tdy\tdz\tyaw\nbed\t1,5\t-2,25\t0,5\t2\t1,5\t1\t0,25\n",
        "class cx cy cz dx dy dz yaw\nbed 1.5 -2.25 0.5 2.0 1.5 1.0 0.25\n",
        "sep=;\nclass;cx;cy;cz;dx;dy;dz;yaw\nbed;1.5;-2.25;0.5;2;1.5;1;0.25\n",
        'class,cx,cy,cz,dx,dy,dz,yaw\n"bed","1,5","-2,25","0,5",2,"1,5",1,"0,25"\n',
        "Yaw [rad],DZ,DY,DX,CZ,CY,CX,id,CLASS\n0.25,1,1.5,2,0.5,-2.25,1.5,7,bed\n",
        "Center X (m);Center Y (m);Center Z (m);Length;Width;Height;Heading;Label\n1,5;-2,25;0,5;2;1,5;1;0,25;bed\n",
        "name,x,y,z,l,w,h,rotation_z\nbed,1.5,-2.25,0.5,2,1.5,1,0.25\n",
        ",,,,,,,,\nclass,cx,cy,cz,dx,dy,dz,yaw,,\r\n\r\nbed,1.5,-2.25,0.5,2,1.5,1,0.25,,\r\n,,,,,,,,,\r\n",
        "\ufeffclass,cx,cy,cz,dx,dy,dz,yaw\rbed,1.5,-2.25,0.5,2,1.5,1,0.25\r",
        "class,cx,cy,cz,dx,dy,dz,yaw\nbed,1.5,-2.25,0.5,2,1.5,1,0.25\n".encode("utf-16"),
        "1.5 -2.25 0.5 2 1.5 1 0.25 bed\n",
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.TXT"])
def test_tables_of_every_spelling_hold_the_same_box(tmp_path, content, name):
    labelled = read_boxes(written(tmp_path, content, name))
    assert labelled.names == ("bed",)
    np.testing.assert_array_equal(labelled.boxes, [BED])


def test_class_names_keep_their_accents_in_latin_1_and_utf_8(tmp_path):
    row = "class;cx;cy;cz;dx;dy;dz\ncanapé;0;0;0;1;1;1\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        assert read_boxes(written(tmp_path, row.encode(encoding))).names == ("canapé",)


def test_limits_and_corners_are_boxes(tmp_path):
    limits = "class,xmin,ymin,zmin,xmax,ymax,zmax\nbed,0,1,2,4,3,3\n"
    np.testing.assert_array_equal(read_boxes(written(tmp_path, limits)).boxes, [[2, 2, 2.5, 4, 2, 1, 0]])
    corners = box_corners(np.array([BED], np.float64))[0]
    for first in (0, 1):
        header = ["class", *(f"{axis}{k}" for k in range(first, first + 8) for axis in "xyz")]
        shuffled = np.random.default_rng(0).permutation(corners).ravel().tolist()
        content = ";".join(header) + "\n" + ";".join(["bed", *map(str, shuffled)]) + "\n"
        np.testing.assert_allclose(read_boxes(written(tmp_path, content)).boxes, [BED], atol=1e-6)


@pytest.mark.parametrize("yaw", [-1.5, -0.3, 0.0, 0.7, 1.55])
def test_corners_of_any_order_give_the_box_back(yaw):
    box = np.array([[3.0, 4.0, 5.0, 2.0, 1.0, 0.5, yaw]])
    for seed in range(5):
        corners = np.random.default_rng(seed).permutation(box_corners(box)[0].astype(np.float64))
        np.testing.assert_allclose(corner_box(corners), box[0], atol=1e-6)


def test_the_convention_of_a_table_is_turned_into_ours(tmp_path):
    path = written(tmp_path, "class,cx,cy,cz,dx,dy,dz,yaw\nbed,1.5,-2.25,0,1,0.75,0.5,-30\n")
    convention = Convention(yaw="cw", sizes="half", z="bottom", angle="degrees")
    expected = [1.5, -2.25, 0.5, 2.0, 1.5, 1.0, np.pi / 6]
    np.testing.assert_allclose(read_boxes(path, convention=convention).boxes, [expected], rtol=1e-12)
    with pytest.raises(ValueError, match=r"yaw reaches 30; .*degrees \(option angle\)"):
        read_boxes(path)


def test_labelcloud_in_its_three_forms(tmp_path):
    size = {"length": 2.0, "width": 1.5, "height": 1.0}
    entry = {"name": "bed", "centroid": {"x": 1.5, "y": -2.25, "z": 0.5}, "dimensions": size}
    radians = {"objects": [{**entry, "rotations": {"x": 0, "y": 0, "z": 0.25}}], "filename": "a.ply"}
    degrees = {"objects": [{**entry, "rotations": {"x": 359.99, "y": 0, "z": float(np.rad2deg(0.25))}}]}
    vertices = {"objects": [{"name": "bed", "vertices": box_corners(np.array([BED]))[0].tolist()}]}
    for content, angle in ((radians, "radians"), (degrees, "degrees"), (vertices, "radians")):
        path = written(tmp_path, json.dumps(content), "a.json")
        labelled = read_boxes(path, convention=Convention(angle=angle))
        assert labelled.names == ("bed",)
        np.testing.assert_allclose(labelled.boxes, [BED], atol=1e-6)
        with pytest.raises(ValueError, match="labelCloud, whose convention is fixed"):
            read_boxes(path, convention=Convention(z="bottom", angle=angle))


def test_sustechpoints(tmp_path):
    def axes(x, y, z):
        return {"x": x, "y": y, "z": z}

    psr = {"position": axes(1.5, -2.25, 0.5), "scale": axes(2, 1.5, 1), "rotation": axes(0, 0, 0.25)}
    for content in ([{"obj_id": "1", "obj_type": "bed", "psr": psr}], {"objs": [{"obj_type": "bed", "psr": psr}]}):
        labelled = read_boxes(written(tmp_path, json.dumps(content), "a.json"))
        np.testing.assert_array_equal(labelled.boxes, [BED])
        assert (labelled.names, labelled.notes) == (("bed",), ())
    psr["rotation"] = axes(0.05, 0, 0.25)
    tilted = written(tmp_path, json.dumps([{"obj_type": "bed", "psr": psr}]), "a.json")
    assert read_boxes(tilted).notes == ("has 1 tilted boxes; they were set upright",)
    psr["rotation"] = axes(1.57, 0, 0.25)
    with pytest.raises(ValueError, match="tilted by 90 degrees"):
        read_boxes(written(tmp_path, json.dumps([{"obj_type": "bed", "psr": psr}]), "a.json"))
    with pytest.raises(ValueError, match="angles are in radians"):
        read_boxes(tilted, convention=Convention(angle="degrees"))


# A camera that looks along +x of the points, 1 m ahead of their origin and 2 m above it.
CALIBRATION = """P0: 1 0 0 0 0 1 0 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 2 1 0 0 -1
"""


def kitti(yaw: float, box: np.ndarray) -> str:
    """The row of a box in the frame of that camera."""
    x, y, z, dx, dy, dz, _ = box
    location = [-y, 2 - (z - dz / 2), x - 1]
    return " ".join(map(str, ["Car", 0, 0, 0, 0, 0, 9, 9, dz, dy, dx, *location, -yaw - np.pi / 2]))


@pytest.mark.parametrize("yaw", [0.0, 0.4, -1.2])
def test_kitti_is_turned_into_the_frame_of_the_points(tmp_path, yaw):
    box = np.array([20.0, 3.0, -0.5, 4.0, 1.8, 1.5, yaw])
    dont_care = "DontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10"
    label = written(tmp_path, f"{kitti(yaw, box)}\n{dont_care}\n", "a.txt")
    calibration = written(tmp_path, CALIBRATION, "calib.txt")
    labelled = read_boxes(label, calibration=calibration)
    assert labelled.names == ("Car",)
    np.testing.assert_allclose(labelled.boxes, [box], atol=1e-9)
    with pytest.raises(ValueError, match="in the frame of a camera"):
        read_boxes(label)
    with pytest.raises(ValueError, match="which is not understood"):
        read_boxes(label, calibration=written(tmp_path, "R0_rect: 1\n", "calib.txt"))
    with pytest.raises(FileNotFoundError):
        read_boxes(label, calibration=tmp_path / "missing.txt")


def test_kitti_in_the_frame_of_the_points_has_centres(tmp_path):
    label = written(tmp_path, "bed 0 0 0 0 0 0 0 1.0 1.5 2.0 1.5 -2.25 0.5 0.25 0.9\n", "a.txt")
    np.testing.assert_array_equal(read_boxes(label, camera_frame=False).boxes, [BED])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "cx,cy,cz,dx,dy,dz\n0,0,0,1,1,1\n", "line 1: no column class"),
        ("a.csv", "class,cx,cx,cy,cz,dx,dy,dz\n", "two columns are named 'cx'"),
        ("a.csv", "class,cx [mm],cy,cz,dx,dy,dz\n", r"'cx \[mm\]' is in mm; expected metres"),
        ("a.csv", "class;cx;cy;cz;dx;dy;dz\nbed;1.234,5;0;0;1;1;1\n", "line 2: could not convert .*1.234,5"),
        ("a.csv", "class,xmin,ymin,zmin,xmax,ymax,zmax,yaw\nbed,0,0,0,1,1,1,0.2\n", "line 2: has limits and a yaw"),
        ("a.csv", "class,xmin,ymin,zmin,xmax,ymax,zmax\nbed,0,0,0,1,-1,1\n", "line 2: extents .* must be positive"),
        ("a.txt", "0 0 0 1 1 1 0 bed\n0 0 0 1 1 1 0\n", "line 2: expected x y z dx dy dz yaw class as before"),
        ("a.txt", "Car 0 0 0 0 0 9 9 1 1 1 0 0 0 0\nCar 0 0\n", "line 2: has 3 values; expected the 15 or 16"),
        ("a.json", '{"objects": [{"name": "a"}]}', "box 0: KeyError 'centroid'; expected labelCloud's"),
        ("a.json", '{"objects": [{"name": "a", "vertices": [[0, 0, 0]]}]}', "box 0: ValueError vertices are"),
        ("a.json", '[{"psr": {"position": {}}}]', "box 0: KeyError .* SUSTechPOINTS"),
        ("a.csv", b"\0\0\0", "is no text"),
    ],
)
def test_errors_say_what_is_wrong_and_where(tmp_path, name, content, message):
    path = written(tmp_path, content, name)
    with pytest.raises(ValueError, match=message) as caught:
        read_boxes(path, camera_frame=False)
    assert str(caught.value).startswith(str(path))


def test_eight_points_that_are_no_box_are_refused():
    with pytest.raises(ValueError, match="not the corners of an upright box"):
        corner_box(np.random.default_rng(0).normal(size=(8, 3)))
