import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.ops.boxes3d import iou_3d_pairs_plain
from pcfdsl.ops.nms import keep_3d, keep_3d_torch, nms_3d, nms_bev, nms_plain

OVERLAPS = [("iou", "iou"), ("candidate", "old")]


@pytest.fixture
def measured(golden):
    return golden("votenet_nms.npz")


@pytest.mark.parametrize(("overlap", "name"), OVERLAPS)
@pytest.mark.parametrize("form", [nms_3d, nms_plain])
def test_picks_are_those_of_the_published_code(form, overlap, name, measured):
    boxes, scores, classes = torch.from_numpy(measured["boxes3d_cls"]).split([6, 1, 1], 1)
    options = {"threshold": 0.25, "overlap": overlap}
    picked = form(boxes, scores[:, 0], **options)
    np.testing.assert_array_equal(picked, measured[f"nms_3d_faster/th0.25_{name}"])
    picked = form(boxes, scores[:, 0], classes=classes[:, 0].long(), **options)
    np.testing.assert_array_equal(picked, measured[f"nms_3d_faster_samecls/th0.25_{name}"])


@pytest.mark.parametrize(("overlap", "name"), OVERLAPS)
@pytest.mark.parametrize("form", [nms_3d, nms_plain])
def test_picks_from_above_are_those_of_the_published_code(form, overlap, name, measured):
    x1, y1, x2, y2, scores = torch.from_numpy(measured["boxes2d"]).unbind(1)
    # The heights differ: they must not matter.
    z = torch.arange(128.0, dtype=torch.float64)
    picked = form(torch.stack([x1, y1, z, x2, y2, z + 1], 1), scores, threshold=0.25, overlap=overlap, bev=True)
    np.testing.assert_array_equal(picked, measured[f"nms_2d_faster/th0.25_{name}"])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    st.sampled_from(["iou", "candidate"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_kernel_picks_as_its_twin(num_boxes, seed, threshold, overlap, bev, by_class, by_scene):
    generator = torch.Generator().manual_seed(seed)

    def integers(high, *shape):
        return torch.randint(high, shape, generator=generator)

    # Small whole numbers: ties of scores, touching and empty boxes, overlaps equal to the threshold.
    low = integers(5, num_boxes, 3).float()
    boxes = torch.cat([low, low + integers(4, num_boxes, 3)], 1)
    options = {
        "threshold": threshold,
        "overlap": overlap,
        "bev": bev,
        "classes": integers(3, num_boxes) if by_class else None,
        "scene": integers(2, num_boxes) if by_scene else None,
    }
    scores = integers(6, num_boxes) / 6
    assert torch.equal(nms_3d(boxes, scores, **options), nms_plain(boxes, scores, **options))


def test_scenes_at_once_are_scenes_one_by_one(measured):
    boxes, scores = torch.from_numpy(measured["boxes3d_cls"])[:, :7].split([6, 1], 1)
    scene = torch.arange(128) % 3
    together = nms_3d(boxes, scores[:, 0], threshold=0.1, scene=scene)
    for i in range(3):
        own = (scene == i).nonzero()[:, 0]
        alone = own[nms_3d(boxes[own], scores[own, 0], threshold=0.1)]
        assert torch.equal(together[scene[together] == i], alone)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from(["iou", "candidate"]),
    st.booleans(),
    st.booleans(),
)
def test_a_batch_is_suppressed_on_a_device_as_one_pick_after_the_other(
    num_boxes, seed, threshold, overlap, bev, by_class
):
    generator = torch.Generator().manual_seed(seed)
    low = torch.randint(4, (3, num_boxes, 3), generator=generator).float()
    boxes = torch.cat([low, low + torch.randint(5, low.shape, generator=generator)], 2)
    scores = torch.randint(6, low.shape[:2], generator=generator) / 6
    candidates = torch.rand(scores.shape, generator=generator) < 0.8
    classes = torch.randint(3, scores.shape, generator=generator) if by_class else None
    options = {"threshold": threshold, "overlap": overlap, "bev": bev, "candidates": candidates, "classes": classes}
    assert torch.equal(keep_3d_torch(boxes, scores, **options), keep_3d(boxes, scores, **options))


def test_a_long_chain_of_suppression_is_followed_to_its_end():
    x = torch.arange(40.0)
    boxes = torch.stack([x, 0 * x, 0 * x, x + 1.9, 0 * x + 1, 0 * x + 1], 1)[None]
    kept = keep_3d_torch(boxes, -x[None], threshold=0.1, candidates=torch.ones(1, 40, dtype=torch.bool))
    assert kept[0].nonzero()[:, 0].tolist() == list(range(0, 40, 2))


def test_order_and_strictness():
    box = torch.tensor([0.0, 0, 0, 1, 1, 1])
    equal = torch.stack([box, box, box + 5])
    assert nms_3d(equal, torch.tensor([0.5, 0.5, 0.1]), threshold=0.5).tolist() == [1, 2]
    half = torch.stack([box, torch.tensor([0, 0, 0, 1, 1, 0.5])])
    assert nms_3d(half, torch.tensor([0.9, 0.1]), threshold=0.5).tolist() == [0, 1]
    assert nms_3d(half, torch.tensor([0.9, 0.1]), threshold=0.49).tolist() == [0]
    assert nms_3d(half, torch.tensor([0.9, 0.1]), threshold=0.99, overlap="candidate").tolist() == [0]


def test_nothing_and_empty_boxes():
    assert nms_3d(torch.zeros(0, 6), torch.zeros(0), threshold=0.5).shape == (0,)
    assert sorted(nms_3d(torch.zeros(3, 6), torch.ones(3), threshold=0.0).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(3, 7)}, r"expected \[K, 6\]"),
        ({"scores": torch.zeros(2)}, r"scores has shape \[2\]"),
        ({"classes": torch.zeros(4, dtype=torch.int64)}, r"classes has shape \[4\]"),
        ({"scores": torch.full((3,), torch.nan)}, "not finite"),
        ({"boxes": torch.tensor([[0.0, 0, 0, 1, -1, 1]] * 3)}, "maximum below its minimum"),
        ({"overlap": "giou"}, "'iou' or 'candidate'"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"boxes": torch.zeros(3, 6), "scores": torch.zeros(3), "threshold": 0.5} | change
    with pytest.raises(ValueError, match=message):
        nms_3d(arguments.pop("boxes"), arguments.pop("scores"), **arguments)


@settings(max_examples=40)
@given(st.integers(0, 25), st.integers(0, 2**31), st.sampled_from([0.1, 0.5]))
def test_oriented_suppression_from_above_is_one_pick_after_the_other(num_boxes, seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(num_boxes, 7, generator=generator, dtype=torch.float64) * 2 + 0.1
    scores = torch.rand(num_boxes, generator=generator)
    classes, scene = torch.randint(2, (2, num_boxes), generator=generator)
    picked: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        rivals = [p for p in picked if (classes[p], scene[p]) == (classes[i], scene[i])]
        overlaps = iou_3d_pairs_plain(boxes[[i] * len(rivals)], boxes[rivals], bev=True)
        if not (overlaps > threshold).any():
            picked.append(i)
    assert nms_bev(boxes, scores, threshold=threshold, classes=classes, scene=scene).tolist() == picked
