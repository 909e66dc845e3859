"""State dicts of other projects, synthesised with exactly their names and shapes."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.checkpoints.layouts import LAYOUTS, detect_layout, from_ours, mirror_headings, to_ours
from pcfdsl.models.box_coding import decode_yaw

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def random_state(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def golden_shapes(file: str, key: str) -> dict[str, list[int]]:
    return json.loads((GOLDEN / file).read_text())[key]["state_dict"]


@pytest.fixture(params=["votenet_scannet", "votenet_sunrgbd"])
def votenet_shapes(request):
    return golden_shapes("votenet_state_dict.json", request.param)


@pytest.fixture
def srunet_shapes():
    return golden_shapes("srunet_state_dict.json", "Res16UNet34C_in3_out256_conv1k3")


def mmdetection3d_shapes(num_classes: int, num_heading_bins: int) -> dict[str, list[int]]:
    """Names as its modules nest (read in its configs/_base_/models/votenet.py, PointSAModule, PointFPModule,
    VoteModule and BaseConvBboxHead); no published file was at hand to compare them with."""
    shapes: dict[str, list[int]] = {}

    def layer(prefix: str, inputs: int, outputs: int, *, kernel: list[int], bias: bool) -> None:
        shapes[f"{prefix}.conv.weight"] = [outputs, inputs, *kernel]
        if bias:
            shapes[f"{prefix}.conv.bias"] = [outputs]
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{prefix}.bn.{name}"] = [outputs]
        shapes[f"{prefix}.bn.num_batches_tracked"] = []

    def mlp(prefix: str, widths: list[int]) -> None:
        for j, (inputs, outputs) in enumerate(pairwise(widths)):
            layer(f"{prefix}.layer{j}", inputs, outputs, kernel=[1, 1], bias=False)

    levels = ([4, 64, 64, 128], [131, 128, 128, 256], [259, 128, 128, 256], [259, 128, 128, 256])
    for i, widths in enumerate(levels):
        mlp(f"backbone.SA_modules.{i}.mlps.0", widths)
    for i in range(2):
        mlp(f"backbone.FP_modules.{i}.mlps", [512, 256, 256])
    for i in range(2):
        layer(f"bbox_head.vote_module.vote_conv.{i}", 256, 256, kernel=[1], bias=True)
    shapes["bbox_head.vote_module.conv_out.weight"] = [259, 256, 1]
    shapes["bbox_head.vote_module.conv_out.bias"] = [259]
    mlp("bbox_head.vote_aggregation.mlps.0", [259, 128, 128, 128])
    for i in range(2):
        layer(f"bbox_head.conv_pred.shared_convs.layer{i}", 128, 128, kernel=[1], bias=True)
    for part, rows in (("cls", 2 + num_classes), ("reg", 3 + 2 * num_heading_bins + 4 * num_classes)):
        shapes[f"bbox_head.conv_pred.conv_{part}.weight"] = [rows, 128, 1]
        shapes[f"bbox_head.conv_pred.conv_{part}.bias"] = [rows]
    return shapes


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("classes", "bins", "key"), [(18, 1, "votenet_scannet"), (10, 12, "votenet_sunrgbd")])
def test_conversion_from_mmdetection3d_and_back(classes, bins, key):
    theirs = random_state(mmdetection3d_shapes(classes, bins))
    assert detect_layout(theirs) == "mmdetection3d"
    ours = to_ours(theirs, layout="mmdetection3d")
    assert ours.unmatched == ()
    assert {name: list(tensor.shape) for name, tensor in ours.state.items()} == golden_shapes(
        "votenet_state_dict.json", key
    )
    back = from_ours(ours.state, layout="mmdetection3d", num_classes=classes, num_heading_bins=bins)
    assert back.unmatched == ()
    assert same(back.state, theirs)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in ("tr3d", "samsunglabs")])
@pytest.mark.parametrize("srunet", [False, True])
def test_conversion_from_ours_and_back(layout, srunet, votenet_shapes, srunet_shapes):
    if srunet and layout == "mmdetection3d":
        pytest.skip("it has no SR-UNet in VoteNet")
    shapes = dict(votenet_shapes)
    if srunet:
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith("backbone_net.")}
        shapes |= {f"backbone_net.net.{name}": shape for name, shape in srunet_shapes.items()}
    ours = random_state(shapes)
    classes, bins = (18, 1) if len(ours["pnet.conv3.bias"]) == 97 else (10, 12)
    theirs = from_ours(ours, layout=layout, num_classes=classes, num_heading_bins=bins)
    assert detect_layout(theirs.state) == layout
    back = to_ours(theirs.state, layout=layout)
    assert back.unmatched == ()
    kept = {name: tensor for name, tensor in ours.items() if name not in theirs.unmatched}
    assert same(back.state, kept)
    if layout in ("votenet", "mmdetection3d"):
        assert theirs.unmatched == ()
    else:
        assert theirs.unmatched == tuple(name for name in ours if not name.startswith("backbone_net."))


@given(bins=st.integers(1, 16), classes=st.integers(1, 20), seed=st.integers(0, 99))
def test_converted_weights_give_the_same_box(bins, classes, seed):
    """Their decoding of their channels and ours of the converted ones give the same yaw, size class and scores."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(7, 5, generator=generator) - 0.5
    prefix = "bbox_head.conv_pred.conv_"
    theirs = {
        f"{prefix}{part}.{kind}": torch.rand((rows, 5, 1) if kind == "weight" else rows, generator=generator) - 0.5
        for part, rows in (("cls", 2 + classes), ("reg", 3 + 2 * bins + 4 * classes))
        for kind in ("weight", "bias")
    }
    scores, regressed = (
        features @ theirs[f"{prefix}{part}.weight"][..., 0].T + theirs[f"{prefix}{part}.bias"]
        for part in ("cls", "reg")
    )
    best = regressed[:, 3 : 3 + bins].argmax(1)
    residual = regressed[:, 3 + bins : 3 + 2 * bins].gather(1, best[:, None])[:, 0] * math.pi / bins
    yaw = best * 2 * math.pi / bins + residual if bins > 1 else torch.zeros(7)

    ours = to_ours(theirs, layout="mmdetection3d").state
    channels = features @ ours["pnet.conv3.weight"][..., 0].T + ours["pnet.conv3.bias"]
    splits = (2, 3, bins, bins, classes, 3 * classes, classes)
    objectness, center, heading, residuals, size, size_residuals, category = channels.split(splits, 1)
    bin_idx = heading.argmax(1)
    our_residual = residuals.gather(1, bin_idx[:, None])[:, 0] * math.pi / bins
    our_yaw = decode_yaw(bin_idx, our_residual, bins)
    torch.testing.assert_close(torch.cos(our_yaw - yaw), torch.ones(7), atol=1e-5, rtol=0)
    rest = [objectness, center, size, size_residuals, category]
    expected = [
        scores[:, :2],
        regressed[:, :3],
        *regressed[:, 3 + 2 * bins :].split((classes, 3 * classes), 1),
        scores[:, 2:],
    ]
    torch.testing.assert_close(torch.cat(rest, 1), torch.cat(expected, 1))


@given(st.integers(1, 20), st.integers(0, 9))
def test_mirroring_twice_changes_nothing(bins, more):
    channels = torch.rand(5 + 2 * bins + more, 3)
    assert torch.equal(mirror_headings(mirror_headings(channels, bins), bins), channels)


def test_clockwise_headings_are_not_mirrored(votenet_shapes):
    ours = random_state(votenet_shapes)
    classes, bins = (18, 1) if len(ours["pnet.conv3.bias"]) == 97 else (10, 12)
    numbers = {"num_classes": classes, "num_heading_bins": bins}
    old = from_ours(ours, layout="mmdetection3d", clockwise=True, **numbers).state
    regressed = ours["pnet.conv3.bias"][2 : len(ours["pnet.conv3.bias"]) - classes]
    assert torch.equal(old["bbox_head.conv_pred.conv_reg.bias"], regressed)
    assert same(to_ours(old, layout="mmdetection3d", clockwise=True).state, ours)
    new = from_ours(ours, layout="mmdetection3d", **numbers).state
    assert torch.equal(new["bbox_head.conv_pred.conv_reg.bias"], regressed) == (bins == 1)


def test_tensors_without_a_counterpart_are_named(votenet_shapes, srunet_shapes):
    """Heads, decoders and moving averages of pre-training are listed."""
    pointcontrast = random_state(srunet_shapes)
    assert detect_layout(pointcontrast) == "backbone"
    converted = to_ours(pointcontrast, layout="backbone")
    assert converted.unmatched == ()
    assert converted.state.keys() == {f"backbone_net.net.{name}" for name in srunet_shapes}
    csc = {f"encoder.{name}": shape for name, shape in srunet_shapes.items()} | {"projector.weight": [3]}
    assert to_ours(random_state(csc), layout="backbone").unmatched == ("projector.weight",)
    bare = {name.removeprefix("backbone_net."): s for name, s in votenet_shapes.items() if "backbone_net" in name}
    trunks = {f"trunk.{i}.{name}": shape for i in (0, 1) for name, shape in bare.items()}
    trunks["trunk.0.head.clf.0.weight"] = [4, 4]
    depthcontrast = random_state(trunks)
    assert detect_layout(depthcontrast) == "depthcontrast"
    converted = to_ours(depthcontrast, layout="depthcontrast")
    assert converted.state.keys() == {f"backbone_net.{name}" for name in bare}
    first = next(iter(bare))
    assert torch.equal(converted.state[f"backbone_net.{first}"], depthcontrast[f"trunk.0.{first}"])
    expected = [f"trunk.1.{name}" for name in bare] + ["trunk.0.head.clf.0.weight"]
    assert sorted(converted.unmatched) == sorted(expected)


def test_states_that_cannot_be_converted_are_refused():
    tensor = torch.zeros(5)
    with pytest.raises(ValueError, match=r"match no known layout; the first are layer1.weight; expected"):
        detect_layout({"layer1.weight": tensor})
    with pytest.raises(ValueError, match=r"before version 0.6; upgrade it"):
        detect_layout({"bbox_head.conv_pred.conv_out.weight": tensor})
    with pytest.raises(ValueError, match=r"no tensor name matches the layout depthcontrast"):
        to_ours({"layer1.weight": tensor}, layout="depthcontrast")
    with pytest.raises(ValueError, match=r"no tensor has a counterpart in the layout"):
        from_ours({"layer1.weight": tensor}, layout="backbone")
    head = {f"bbox_head.conv_pred.conv_{part}.bias": torch.zeros(12) for part in ("cls", "reg")}
    with pytest.raises(ValueError, match=r"12 and 12 channels; expected 2"):
        to_ours(head, layout="mmdetection3d")
    half = to_ours(
        {"bbox_head.conv_pred.conv_reg.bias": tensor, "bbox_head.vote_module.conv_out.bias": tensor},
        layout="mmdetection3d",
    )
    assert half.unmatched == ("bbox_head.conv_pred.conv_reg.bias",)
    last = {f"pnet.conv3.{kind}": torch.zeros(97) for kind in ("weight", "bias")}
    with pytest.raises(ValueError, match=r"give the numbers of classes and heading bins"):
        from_ours(last, layout="mmdetection3d")
    with pytest.raises(ValueError, match=r"97 channels, not those of 10 classes and 12 heading bins"):
        from_ours(last, layout="mmdetection3d", num_classes=10, num_heading_bins=12)


@given(st.dictionaries(st.text(max_size=60), st.just(torch.zeros(3)), max_size=5), st.sampled_from(LAYOUTS))
def test_any_names_are_converted_or_refused_with_a_message(state, layout):
    for convert in (to_ours, from_ours):
        try:
            converted = convert(state, layout=layout)
        except ValueError:
            continue
        assert len(converted.state) + len(converted.unmatched) == len(state)
