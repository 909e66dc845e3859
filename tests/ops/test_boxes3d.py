import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pcfdsl.ops.boxes3d import (
    axis_aligned_hull,
    box_corners,
    iou_3d_pairs,
    iou_3d_pairs_plain,
    iou_3d_pairs_torch,
    points_in_boxes,
    points_in_boxes_plain,
)
from pcfdsl.scene import boxes as arrays_of_boxes

FORMS = [iou_3d_pairs, iou_3d_pairs_torch, iou_3d_pairs_plain]


def coordinates(low, high):
    # Quarters make shared edges and corners, the hard cases, frequent.
    return st.one_of(
        st.floats(low, high).map(lambda x: round(x, 3)),
        st.integers(round(4 * low), round(4 * high)).map(lambda i: i / 4),
    )


def boxes_strategy(num_boxes):
    yaw = st.one_of(st.floats(-7, 7, width=32), st.integers(-4, 4).map(lambda i: i * math.pi / 4))
    box = st.tuples(*[coordinates(-2, 2)] * 3, *[coordinates(0, 3)] * 3, yaw)
    return st.lists(box, min_size=num_boxes, max_size=num_boxes).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )


def random_boxes(seed, num_boxes, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(num_boxes, 7, generator=generator, dtype=torch.float64)
    low = unit.new_tensor([-spread, -spread, -spread, 0.2, 0.2, 0.2, -4])
    high = unit.new_tensor([spread, spread, spread, 2, 2, 2, 4])
    return low + unit * (high - low)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bev", "key"), [(False, "iou/iou3d"), (True, "iou/iou_bev")])
def test_iou_is_that_of_the_published_code(form, bev, key, golden, boxes_of_camera_corners):
    measured = golden("votenet_eval.npz")
    a, b = (boxes_of_camera_corners(torch.from_numpy(measured[f"iou/corners_{side}"])) for side in "ab")
    np.testing.assert_allclose(form(a, b, bev=bev), measured[key], rtol=0, atol=1e-12)


def test_corners_are_those_of_the_published_code(golden, boxes_of_camera_corners):
    measured = golden("votenet_box_coding.npz")
    center, size, heading = (torch.from_numpy(measured[f"corners/{name}"]) for name in ("center", "size", "heading"))
    boxes = boxes_of_camera_corners(torch.from_numpy(measured["corners/get_3d_box_upright_camera"]))
    camera_center = torch.stack([boxes[:, 0], -boxes[:, 2], boxes[:, 1]], 1)
    np.testing.assert_allclose(camera_center, center, atol=1e-12)
    np.testing.assert_allclose(boxes[:, 3:6], size, atol=1e-12)
    np.testing.assert_allclose(torch.remainder(boxes[:, 6] + heading + 1, 2 * math.pi), 1, atol=1e-12)


def test_hulls_are_those_of_the_published_rotation(golden):
    measured = golden("votenet_box_coding.npz")
    boxes = torch.from_numpy(measured["rot_aligned/boxes"])
    for angle, matrix, rotated in zip(
        *(measured[f"rot_aligned/{name}"] for name in ("angles", "rotz", "out")), strict=True
    ):
        center = boxes[:, :3] @ torch.from_numpy(matrix).T
        yaw = math.atan2(matrix[1, 0], matrix[0, 0])
        assert abs(yaw) == pytest.approx(abs(angle))
        hull = axis_aligned_hull(torch.cat([center, boxes[:, 3:], torch.full((len(boxes), 1), yaw)], 1))
        np.testing.assert_allclose((hull[:, :3] + hull[:, 3:]) / 2, rotated[:, :3], atol=1e-12)
        np.testing.assert_allclose(hull[:, 3:] - hull[:, :3], rotated[:, 3:], atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("other", "iou", "bev_iou"),
    [
        ((0, 0, 0, 2, 2, 2, 0), 1, 1),
        ((0, 0, 0, 2, 2, 2, math.pi / 2), 1, 1),
        ((0.5, 0.5, 0.5, 1, 1, 1, 0), 1 / 8, 1 / 4),
        ((0, 0, 0, 4, 4, 4, 0), 1 / 8, 1 / 4),
        ((2, 0, 0, 2, 2, 2, 0), 0, 0),
        ((0, 0, 2, 2, 2, 2, 0), 0, 1),
        ((2, 2, 2, 2, 2, 2, 0), 0, 0),
        ((9, 9, 9, 2, 2, 2, 1), 0, 0),
        ((0, 0, 0, 2, 2, 2, math.pi / 4), math.sqrt(0.5), math.sqrt(0.5)),
        ((1, 0, 0, 2, 2, 2, 0), 1 / 3, 1 / 3),
        ((0, 0, 0, 2, 2, 0, 0), 0, 1),
        ((0, 0, 0, 0, 2, 2, 0), 0, 0),
    ],
)
def test_cases_known_by_thought(form, other, iou, bev_iou):
    # Turned and moved together, where no coordinate is a round number any more.
    for turn, shift in ((0, 0), (0.3, 1.7), (math.pi / 2, 0), (2.5, -40)):
        pair = torch.tensor([(0, 0, 0, 2, 2, 2, 0), other], dtype=torch.float64)
        pair = moved(pair, turn, shift)
        assert form(pair[:1], pair[1:]).item() == pytest.approx(iou, abs=1e-9)
        assert form(pair[:1], pair[1:], bev=True).item() == pytest.approx(bev_iou, abs=1e-9)


def moved(boxes, turn, shift):
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = boxes[:, 0], boxes[:, 1]
    position = torch.stack([cos * x - sin * y + shift, sin * x + cos * y - shift, boxes[:, 2] + shift], 1)
    return torch.cat([position, boxes[:, 3:6], boxes[:, 6:] + turn], 1)


@settings(max_examples=150, deadline=None)
@given(boxes_strategy(2), st.booleans(), st.floats(-4, 4), st.floats(-20, 20))
def test_iou_is_symmetric_bounded_and_blind_to_common_motion(pair, bev, turn, shift):
    a, b = pair[:1], pair[1:]
    iou = iou_3d_pairs(a, b, bev=bev).item()
    assert 0 <= iou <= 1
    assert iou_3d_pairs(b, a, bev=bev).item() == pytest.approx(iou, abs=1e-9)
    assert iou_3d_pairs(moved(a, turn, shift), moved(b, turn, shift), bev=bev).item() == pytest.approx(iou, abs=1e-9)
    # Extents of 0 are among the boxes.
    whole = float(a[0, 3 : 5 if bev else 6].prod() > 0)
    assert iou_3d_pairs(a, a, bev=bev).item() == pytest.approx(whole, abs=1e-9)
    for twin in (iou_3d_pairs_torch, iou_3d_pairs_plain):
        assert twin(a, b, bev=bev).item() == pytest.approx(iou, abs=1e-9)


def test_iou_is_the_share_of_random_points():
    a, b = random_boxes(3, 8, 0.4), random_boxes(4, 8, 0.4)
    points = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 4 - 2
    inside_a, inside_b = points_in_boxes(points, a), points_in_boxes(points, b)
    counted = (inside_a & inside_b).sum(1) / (inside_a | inside_b).sum(1)
    assert counted.max() > 0.2
    np.testing.assert_allclose(iou_3d_pairs(a, b), counted, atol=0.02)


def test_near_equal_boxes_do_not_exceed_one():
    # Where others' overlaps went wrong: differences of rounding size, large coordinates, single precision.
    boxes = random_boxes(6, 2000)
    boxes[:, :2] += 100
    generator = torch.Generator().manual_seed(7)
    for size in (0, 1e-16, 1e-12, 1e-8):
        others = boxes + size * torch.randn(boxes.shape, generator=generator, dtype=torch.float64)
        for form in (iou_3d_pairs, iou_3d_pairs_torch):
            iou = form(boxes, others)
            assert iou.max() <= 1
            assert iou.min() > 1 - 1e-5
    assert iou_3d_pairs(boxes.float(), boxes.float()).min() > 1 - 1e-5


@settings(max_examples=50, deadline=None)
@given(boxes_strategy(3), arrays(np.float64, (20, 3), elements=coordinates(-3, 3)))
def test_points_in_boxes(boxes, points):
    points = torch.from_numpy(points)
    offset = points[None] - boxes[:, None, :3]
    cos, sin = boxes[:, None, 6].cos(), boxes[:, None, 6].sin()
    own = torch.stack(
        [cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0], offset[..., 2]], -1
    )
    depth = (boxes[:, None, 3:6] / 2 - own.abs()).amin(-1)
    mask = points_in_boxes(points, boxes)
    clear = depth.abs() > 1e-12
    assert torch.equal(mask[clear], (depth > 0)[clear])
    assert torch.equal(mask[clear], points_in_boxes_plain(points, boxes)[clear])


def test_surfaces_belong_to_boxes():
    box = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
    points = torch.tensor([[1.0, 1, 1], [-1, 0, 0], [1.001, 0, 0]])
    assert points_in_boxes(points, box).tolist() == [[True, True, False]]


def test_corner_order():
    corners = box_corners(torch.tensor([[1.0, 2, 3, 2, 4, 6, 0]]))[0]
    face = [[0, 0], [2, 0], [2, 4], [0, 4]]
    assert corners.tolist() == [[*xy, 0] for xy in face] + [[*xy, 6] for xy in face]


def test_tensors_and_arrays_have_the_same_geometry():
    boxes = random_boxes(8, 50)
    np.testing.assert_allclose(box_corners(boxes), arrays_of_boxes.box_corners(boxes.numpy()), atol=1e-15)
    points = torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) * 3 - 1.5
    inside = arrays_of_boxes.points_in_boxes(points.numpy(), boxes.numpy())
    np.testing.assert_array_equal(points_in_boxes(points, boxes), inside)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (torch.zeros(2, 6), r"expected a float tensor \[K, 7\]"),
        (torch.zeros(7), r"expected a float tensor \[K, 7\]"),
        (torch.zeros(2, 7, dtype=torch.int64), "expected a float tensor"),
        (np.zeros((2, 7)), "is a ndarray"),
        (torch.full((2, 7), math.nan), r"a\[0\] .* not finite"),
        (torch.tensor([[0.0, 0, 0, 1, -1, 1, 0]]), "dx, dy, dz >= 0"),
    ],
)
def test_bad_boxes_are_named(boxes, message):
    for form in FORMS:
        with pytest.raises(ValueError, match=message):
            form(boxes, torch.ones(2, 7))


def test_bad_pairs_and_points_are_named():
    with pytest.raises(ValueError, match="as many of each"):
        iou_3d_pairs(torch.ones(2, 7), torch.ones(3, 7))
    with pytest.raises(ValueError, match=r"expected \[N, 3\]"):
        points_in_boxes(torch.ones(4, 4), torch.ones(2, 7))
    with pytest.raises(ValueError, match="drop those points"):
        points_in_boxes(torch.full((4, 3), math.inf), torch.ones(2, 7))


def test_the_exact_iou_has_the_gradient_of_numerical_differences():
    """Also where sides are parallel, which is where outlines have edges without a slope."""
    a = torch.tensor(
        [
            [0.1, 0.2, 0.0, 1.0, 2.0, 1.0, 0.3],
            [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.7],
            [0.3, 0.1, 0.1, 1.5, 0.7, 1.2, 0.0],
            [0.1, 0.0, 0.2, 3.0, 3.0, 3.0, 0.1],
            [9.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.4],
        ],
        dtype=torch.float64,
        requires_grad=True,
    )
    b = torch.tensor(
        [
            [0.0, 0.0, 0.3, 1.5, 1.0, 1.3, -0.5],
            [0.2, 0.3, 0.2, 1.2, 0.7, 1.0, 0.2],
            [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0],
            [0.0, 0.1, 0.0, 1.0, 1.0, 1.0, 0.3],
            [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0],
        ],
        dtype=torch.float64,
        requires_grad=True,
    )
    for bev in (False, True):
        assert torch.autograd.gradcheck(lambda a, b, bev=bev: iou_3d_pairs_torch(a, b, bev=bev), (a, b))
