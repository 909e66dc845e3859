"""Point files as other programs write them: the columns that are meant are read, and guesses are said."""

import numpy as np
import pytest

from pcfdsl.readers.clouds import read_cloud
from pcfdsl.readers.columns import likely_columns

RNG = np.random.default_rng(0)
POINTS = (RNG.uniform(0, 1, (300, 3)) * [8, 5, 2.5]).round(3)
COLORS = RNG.integers(0, 256, (300, 3))
INTENSITY = RNG.integers(0, 100, 300)


def rows(*columns: np.ndarray, cut: str = " ") -> str:
    return "".join(cut.join(f"{value:.9g}" for value in row) + "\n" for row in np.column_stack(columns))


def read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_cloud(path)


@pytest.mark.parametrize(
    ("content", "has_colors"),
    [
        ("//X Y Z Intensity R G B\n300\n" + rows(POINTS, INTENSITY, COLORS), True),  # CloudCompare
        ("//X,Y,Z,Rf,Gf,Bf\n300\n" + rows(POINTS, COLORS / 255, cut=","), True),
        ("id;X [m];Y [m];Z [m]\n" + rows(np.arange(300), POINTS, cut=";"), False),
        ('"Intensity","Points:0","Points:1","Points:2"\n' + rows(INTENSITY, POINTS, cut=","), False),  # ParaView
        (rows(POINTS, INTENSITY / 100, COLORS), True),
        (rows(POINTS, COLORS), True),
        ("\n".join(",".join(f'"{value}"' for value in row) for row in POINTS), False),
        ("\n".join(",".join(f'"{value}"'.replace(".", ",") for value in row) for row in POINTS), False),
        (rows(POINTS) + "\x1a", False),
    ],
)
def test_columns_go_by_their_names_or_values(tmp_path, content, has_colors):
    cloud = read(tmp_path, "a.txt", content)
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-5)
    assert (cloud.colors is not None) == has_colors
    if cloud.colors is not None:
        np.testing.assert_allclose(cloud.colors, COLORS / 255, atol=1e-5)
    assert not cloud.notes


def test_a_whole_number_in_the_first_row_is_no_decimal_point(tmp_path):
    content = "1;2;3\n1,5;2;3\n"
    np.testing.assert_allclose(read(tmp_path, "a.txt", content).points, [[1, 2, 3], [1.5, 2, 3]])


def test_guesses_are_said(tmp_path):
    named = read(tmp_path, "a.txt", "northing,easting,height\n" + rows(POINTS, cut=","))
    assert named.notes == ("its columns are named northing, easting, height; the first three were taken for x, y, z",)
    seven = read(tmp_path, "b.txt", rows(POINTS, INTENSITY, COLORS))
    assert seven.notes[0].startswith("columns 3 to 5 of 7 (from 0) were taken for colours")
    black = read(tmp_path, "c.xyzrgb", rows(POINTS, 0 * COLORS))
    assert black.colors is None
    assert "all black" in black.notes[0]


PCD = "VERSION .5\n{}\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 300\nHEIGHT 1\nDATA {}\n"
PACKED = COLORS @ [1 << 16, 1 << 8, 1]


@pytest.mark.parametrize(
    ("content", "dropped"),
    [
        (PCD.format("COLUMNS x y z rgb", "ascii") + rows(POINTS, PACKED.view("i8").astype("u4").view("f4")), 0),
        (
            PCD.format("FIELDS x y z rgb", "ASCII")
            + "".join(f"{a} {b} {c} {p}\n" for (a, b, c), p in zip(POINTS, PACKED, strict=True)),
            0,
        ),
        (
            (PCD.format("FIELDS x y z _", "ascii") + rows(POINTS, INTENSITY)).replace("WIDTH 300", "WIDTH 301")
            + "-nan(ind) 1.#QNAN nan 0\n",
            1,
        ),
    ],
)
def test_pcd_of_old_and_careless_writers(tmp_path, content, dropped):
    cloud = read(tmp_path, "a.pcd", content)
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-4)
    assert (~cloud.kept).sum() == dropped
    if "rgb" in content:
        assert cloud.colors is not None
        np.testing.assert_allclose(cloud.colors, COLORS / 255, atol=1e-5)


def test_rows_of_another_width_are_noticed(tmp_path):
    """KITTI's four columns are a whole number of rows of six in every third file."""
    table = np.column_stack([POINTS, INTENSITY / 100]).astype("<f4")
    table.tofile(tmp_path / "a.bin")
    assert "looks like rows of 4 numbers, but was read in rows of 6" in read_cloud(tmp_path / "a.bin").notes[0]
    assert not read_cloud(tmp_path / "a.bin", bin_columns=4).notes
    np.column_stack([POINTS, COLORS]).astype("<f4").tofile(tmp_path / "b.bin")
    assert not read_cloud(tmp_path / "b.bin").notes
    assert likely_columns(RNG.normal(size=9000)) == 0


def test_arrays_as_people_save_them(tmp_path):
    np.save(tmp_path / "a.npy", POINTS.T)
    with pytest.raises(
        ValueError, match=r"a\.npy: has the shape \(3, 300\); expected a row for each point: transpose it"
    ):
        read_cloud(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", POINTS)
    np.savez(tmp_path / "c.npz", positions=POINTS, colors=np.column_stack([COLORS, INTENSITY]).astype("u1"))
    np.savez(tmp_path / "d.npz", points=POINTS, about=np.array([{"made": "by hand"}], object))
    for name in "bcd":
        np.testing.assert_allclose(read_cloud(tmp_path / f"{name}.npz").points, POINTS, atol=1e-5)
    colors = read_cloud(tmp_path / "c.npz").colors
    assert colors is not None
    np.testing.assert_allclose(colors, COLORS / 255, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ply", b"version https://git-lfs.github.com/spec/v1\n", "it begins with b'version https://git-lfs"),
        ("a.pcd", b"<!DOCTYPE html>", "it begins with b'<!DOCTYPE html>'"),
        (
            "a.ply",
            b"ply\nformat ascii 1.0\nelement vertex 0\n"
            + b"".join(b"property float %c\n" % a for a in b"xyz")
            + b"end_header\n",
            "has no points",
        ),
    ],
)
def test_files_of_another_kind_are_named_with_what_they_are(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, name, content)


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; expected a file of points"):
        read_cloud(tmp_path)


def test_a_binary_stl_ends_where_it_says(tmp_path):
    corners = np.arange(18).reshape(2, 3, 3).astype("<f4")
    facets = np.zeros(2, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets["corners"] = corners
    content = b"made by hand".ljust(80) + np.uint32(2).tobytes() + facets.tobytes()
    np.testing.assert_array_equal(read(tmp_path, "a.stl", content + b"tail").points, corners.reshape(-1, 3))
    with pytest.raises(ValueError, match=r"b\.stl: is truncated: it declares 184 bytes, there are 180"):
        read(tmp_path, "b.stl", content[:-4])


def test_what_spans_more_than_any_place_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 0, 0], [1e30, 0, 0]]))
    with pytest.raises(ValueError, match=r"a\.npy: spans 1e\+30 units, which are no coordinates"):
        read_cloud(tmp_path / "a.npy")
