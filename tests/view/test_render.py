import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.view.camera import Camera
from pcfdsl.view.render import BOX_COLOR, box_lines, height_colors, label_colors, render_points
from pcfdsl.view.zbuffer import HIDDEN_LINE_OPACITY

RED, BLUE = (255, 0, 0), (0, 0, 255)
FRONT = Camera((0, -10, 0), (0, 0, 0), fov=2 * np.degrees(np.arctan(0.5)))  # 100 px high: 10 px per metre at y = 0
WIDE = (200, 100)


def colors_of(*rows):
    return np.array(rows, dtype=np.uint8)


def is_like(pixel, color, tolerance=90):
    return np.abs(pixel.astype(int) - color).max() <= tolerance


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_point_in_front_hides_the_one_behind(order):
    points = np.array([(0, -1, 0), (0, 3, 0)])[list(order)]
    colors = colors_of(RED, BLUE)[list(order)]
    picture = render_points(points, colors=colors, camera=FRONT, size=WIDE, point_size=8)
    assert is_like(picture[50, 100], RED)
    behind = render_points(points, colors=colors, camera=Camera((0, 10, 0), (0, 0, 0)), size=WIDE, point_size=8)
    assert is_like(behind[50, 100], BLUE)


def test_points_fall_where_the_camera_projects_them_and_nowhere_else():
    points = np.array([(-8, 0, 3), (4.05, 0, -2.05), (7, 5, 4)])
    picture = render_points(points, colors=colors_of(RED, RED, RED), camera=FRONT, size=WIDE, point_size=3)
    pixels, _ = FRONT.project(points, WIDE)
    painted = np.argwhere((picture != 255).any(axis=2))[:, ::-1] + 0.5
    distance = np.linalg.norm(painted[:, None] - pixels[None], axis=2)
    assert (distance.min(axis=1) <= 3).all()
    assert (distance.min(axis=0) <= 1).all()


def test_points_behind_the_camera_or_outside_leave_the_paper_white():
    points = np.array([(0, -10.0, 0), (0, -11, 0), (0, -500, 0), (300, 0, 0), (0, 0, -90)])
    picture = render_points(points, camera=FRONT, size=WIDE)
    assert (picture == 255).all()


def test_point_size_is_a_diameter_in_pixels_at_the_middle_depth():
    picture = render_points(np.zeros((1, 3)), colors=colors_of(RED), camera=FRONT, size=WIDE, point_size=20)
    painted = (picture != 255).any(axis=2)
    assert painted.sum() == pytest.approx(np.pi * 10**2, rel=0.08)
    assert painted[50].sum() == pytest.approx(20, abs=1)


def test_edges_of_a_box_are_where_they_project_and_only_there():
    box = np.array([(0.5, 0.2, -0.3, 4.0, 2.0, 1.0, 0.6)])
    camera = Camera.looking_at(box_lines(box).reshape(-1, 3), aspect=2.0)
    picture = render_points(np.zeros((0, 3)), boxes=box, camera=camera, size=(400, 200))
    lines = box_lines(box)[0]
    along = np.linspace(0, 1, 200)[:, None, None]
    pixels, _ = camera.project((lines[:, 0] * (1 - along) + lines[:, 1] * along).reshape(-1, 3), (400, 200))
    red = np.argwhere(picture[..., 0].astype(int) - picture[..., 1] > 60)[:, ::-1] + 0.5
    distance = np.linalg.norm(red[:, None] - pixels[None], axis=2)
    assert distance.min(axis=1).max() <= 1.8, "painted away from every edge"
    assert distance.min(axis=0).max() <= 1.0, "an edge is missing somewhere"


def test_a_line_behind_points_is_faint_and_one_in_front_is_full():
    side = np.linspace(-3, 3, 121)
    wall = np.stack([*np.meshgrid(side, [0.0], side)], axis=-1).reshape(-1, 3)
    grey = np.full((len(wall), 3), 128, dtype=np.uint8)
    shades = {}
    for name, y in (("front", -2.0), ("back", 2.0)):
        box = np.array([(0, y, 0, 2, 0.001, 2, 0.0)])
        picture = render_points(wall, colors=grey, camera=FRONT, size=WIDE, point_size=3, boxes=box)
        (corner,), _ = FRONT.project(np.array([(1.0, y, 0.0)]), WIDE)
        column, row = corner.astype(int)
        shades[name] = (picture[row, column - 2 : column + 3].astype(int) @ [1, -1, 0]).max()
    full = BOX_COLOR[0] - BOX_COLOR[1]
    assert shades["front"] > 0.7 * full
    twice = 1 - (1 - HIDDEN_LINE_OPACITY) ** 2  # the edges of the flat box's two faces fall on each other
    assert 0.4 * HIDDEN_LINE_OPACITY * full < shades["back"] <= 1.02 * twice * full


def test_a_box_the_camera_stands_in_is_cut_not_folded_over():
    box = np.array([(0, -10.0, 0, 4, 40, 2, 0.0)])
    picture = render_points(np.zeros((0, 3)), boxes=box, camera=FRONT, size=WIDE)
    pixels, _ = FRONT.project(np.array([(-2, 10, -1), (2, 10, 1.0)]), WIDE)  # the face ahead
    (left, bottom), (right, top) = pixels.round().astype(int)
    inside = picture[top + 3 : bottom - 3, left + 3 : right - 3]
    assert inside.size > 0
    assert (inside == 255).all()
    assert (picture[50, :] != 255).any()


def test_picture_of_a_known_cube():
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (30_000, 3))
    axis, sign = random.integers(0, 3, len(points)), random.choice([-1.0, 1.0], len(points))
    points[np.arange(len(points)), axis] = sign
    face_colors = np.array([(200, 30, 30), (30, 160, 30), (30, 30, 200)], dtype=np.uint8)[axis]
    camera = Camera((4, -9, 6), (0, 0, 0))
    picture = render_points(points, colors=face_colors, camera=camera, size=(240, 240), point_size=4)
    for center, color in (((1, 0, 0), (200, 30, 30)), ((0, -1, 0), (30, 160, 30)), ((0, 0, 1), (30, 30, 200))):
        (at,), _ = camera.project(np.array([center]), (240, 240))
        column, row = at.astype(int)
        patch = picture[row - 4 : row + 5, column - 4 : column + 5].reshape(-1, 3).mean(axis=0)
        assert np.argmax(patch) == np.argmax(color), (center, patch)
        assert patch.max() - patch.min() > 60
    assert (picture[:8] == 255).all()
    assert (picture[:, :8] == 255).all()


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(*[st.floats(-5, 5)] * 3),
    st.tuples(*[st.floats(0.1, 4)] * 3),
    st.floats(-10, 10),
)
def test_box_lines_join_corners_turned_counter_clockwise(center, extents, yaw):
    lines = box_lines(np.array([(*center, *extents, yaw)]))[0]
    turn = np.array([(np.cos(yaw), -np.sin(yaw), 0), (np.sin(yaw), np.cos(yaw), 0), (0, 0, 1)])
    local = (lines - center) @ turn
    np.testing.assert_allclose(np.abs(local[:12]), np.broadcast_to(np.array(extents) / 2, (12, 2, 3)), atol=1e-9)
    lengths = np.linalg.norm(local[:12, 1] - local[:12, 0], axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.sort(np.repeat(extents, 4)), atol=1e-9)
    edges = {tuple(sorted(map(tuple, np.sign(edge).astype(int)))) for edge in local[:12]}
    assert len(edges) == 12
    np.testing.assert_allclose(local[12], [(0, 0, extents[2] / 2), (extents[0] / 2, 0, extents[2] / 2)], atol=1e-9)


@pytest.mark.parametrize("azimuth", [-60, 20, 110, 200])
def test_open_sides_let_the_camera_look_into_a_room(azimuth):
    random = np.random.default_rng(0)
    walls = random.uniform((-4, -3, 0), (4, 3, 2.5), (30_000, 3))
    side = random.integers(0, 6, len(walls))
    for axis, (low, high) in enumerate(((-4, 4), (-3, 3), (0, 2.5))):
        walls[side == axis, axis], walls[side == axis + 3, axis] = low, high
    points = np.concatenate([walls, random.normal((0, 0, 1), 0.2, (500, 3))])
    colors = np.full((len(points), 3), 128, dtype=np.uint8)
    colors[len(walls) :] = RED
    camera = Camera.looking_at(points, azimuth, 30)
    shut, opened = (
        render_points(points, colors=colors, camera=camera, size=(200, 200), point_size=4, open_sides=is_open)
        for is_open in (False, True)
    )
    reds = [(p[..., 0].astype(int) - p[..., 1] > 80).sum() for p in (shut, opened)]
    assert reds[1] > 3 * reds[0]
    assert reds[1] > 150
    behind, _ = camera.project(np.array([(0, 0, 0.01)]), (200, 200))
    column, row = behind[0].astype(int)
    assert (opened[row - 3 : row + 4, column - 3 : column + 4] < 250).any(), "the floor stays"


def test_labels_are_written_above_their_boxes():
    box = np.array([(0, 0, -2.0, 2, 2, 2, 0.0)])
    plain = render_points(np.zeros((0, 3)), boxes=box, camera=FRONT, size=WIDE)
    labelled = render_points(np.zeros((0, 3)), boxes=box, camera=FRONT, size=WIDE, box_labels=["chair"])
    rows, columns = np.nonzero((plain != labelled).any(axis=2))
    assert len(rows) > 20
    assert rows.max() <= 62  # the top of the box stands at pixel row 60
    assert abs(columns.mean() - 100) < 6


def test_the_picture_depends_on_nothing_but_its_arguments():
    points = np.random.default_rng(1).normal(size=(2000, 3)).astype(np.float32)
    first, again = render_points(points), render_points(points.copy())
    assert first.shape == (480, 640, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != 255).any()
    np.testing.assert_array_equal(render_points(points, background="#102030")[0, 0], (0x10, 0x20, 0x30))


def test_heights_and_labels_have_their_colours():
    points = np.zeros((101, 3))
    points[:, 2] = np.arange(101)
    colors = height_colors(points)
    assert len(np.unique(colors, axis=0)) > 80
    np.testing.assert_array_equal(colors, height_colors(points * (1, 1, 7) + (3, 3, 3)))
    assert len(height_colors(np.zeros((5, 3)))) == 5
    labels = np.arange(-2, 40)
    of_labels = label_colors(labels)
    np.testing.assert_array_equal(of_labels[0], of_labels[1])
    assert len(np.unique(of_labels[2:], axis=0)) == 40
    np.testing.assert_array_equal(label_colors(labels[10:]), of_labels[10:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": np.zeros((0, 3))}, "nothing to look at"),
        ({"points": np.zeros((3, 4))}, r"expected \[N, 3\]"),
        ({"points": np.full((3, 3), np.inf)}, "3 of 3 points are not finite"),
        ({"points": np.zeros((3, 3)), "colors": np.zeros((3, 3))}, "uint8"),
        ({"points": np.zeros((3, 3)), "colors": np.zeros((2, 3), np.uint8)}, r"\[3, 3\]"),
        ({"points": np.zeros((3, 3)), "boxes": np.zeros((2, 6))}, r"\[K, 7\]"),
        ({"points": np.zeros((3, 3)), "boxes": np.full((2, 7), np.nan)}, "2 of 2 boxes"),
        ({"points": np.zeros((3, 3)), "boxes": np.ones((1, 7)), "box_labels": ["a", "b"]}, "2 texts for 1 boxes"),
    ],
)
def test_what_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_points(**arguments)
