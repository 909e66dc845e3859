"""Exported networks give what the network gives, and say what they are; nothing else is written."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcfdsl.checkpoints.run_folder import save_checkpoint
from pcfdsl.config import from_dict, load, to_dict
from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.infer.detector import load_detector
from pcfdsl.infer.export import ABOUT, compare, export_model
from pcfdsl.infer.exportable import Exportable, load_exportable
from pcfdsl.infer.image import load_image_classifier
from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.decode import DecodeOptions, decode, decode_boxes, select_proposals
from pcfdsl.models.detector import build_detector
from pcfdsl.models.votenet import VoteNet
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.train.tasks.image import ImageConfig, image_task

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'pcfdsl[onnx]'")

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SUFFIXES = {"onnx": ".onnx", "exported": ".pt2"}
CLASSES = ("chair", "table", "bed")
DETECTORS = {
    "height": [],
    "colors": [
        *("points.num_points=700", "points.use_color=true", "points.use_height=false"),
        *("model.num_heading_bins=1", "model.cluster_sampling_eval=vote_fps"),
        "model.mean_sizes=[[1, 1, 1], [2, 1, 1], [1, 2, 0.5]]",
        *("model.backbone.input_channels=3", "model.backbone.skip_near_origin=true"),
    ],
    "transformer": [],
}


def detector_run(folder: Path, *settings: str, recipe: str = "votenet/smoke_finetune") -> Path:
    """The run of a detector at random weights, whose norms have statistics."""
    config = load(DetectorConfig, CONFIGS / f"{recipe}.yaml", [f"model.num_classes={len(CLASSES)}", *settings])
    torch.manual_seed(0)
    model = build_detector(config.model)
    for module in model.modules():
        if isinstance(module, RowNormReLU):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if isinstance(model, VoteNet):  # at random weights, proposals hardly differ
        for channels in (slice(2), slice(-len(CLASSES), None)):  # objectness and classes
            model.pnet.conv3.weight.data[channels] *= 50
    settings_ = {**to_dict(config), "classes": list(CLASSES)}
    save_checkpoint(folder, "last", model=model, settings=settings_, step=7, metrics={})
    return folder


def open_file(path: Path, format: str) -> tuple[Callable[[Tensor], list[Tensor]], dict[str, str]]:
    """What runs a file, and what it says of itself."""
    if format == "exported":
        extra = {ABOUT: ""}
        program = torch.export.load(path, extra_files=extra).module()
        return lambda example: [out] if isinstance(out := program(example), Tensor) else list(out), json.loads(
            extra[ABOUT]
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    about = session.get_modelmeta().custom_metadata_map
    return lambda example: [torch.from_numpy(x) for x in session.run(None, {given.name: example.numpy()})], about


@dataclass(frozen=True)
class Exported:
    run: Path
    file: Path
    format: str
    written: dict


EXPORTED = [("height", "onnx"), ("colors", "onnx"), ("height", "exported"), ("transformer", "onnx")]


# One after the other in a module: exporting takes seconds.
@pytest.fixture(scope="module", params=EXPORTED, ids="-".join)
def exported(request, tmp_path_factory) -> Exported:
    (name, format), folder = request.param, tmp_path_factory.mktemp("exported")
    recipe = "votenet/smoke_transformer_finetune" if name == "transformer" else "votenet/smoke_finetune"
    run, file = detector_run(folder / "run", *DETECTORS[name], recipe=recipe), folder / f"net{SUFFIXES[format]}"
    return Exported(run, file, format, export_model(run, file, format=format))


@torch.no_grad()
def test_an_exported_detector_finds_what_the_detector_finds(exported):
    detector, (asked, about) = load_detector(exported.run, device="cpu"), open_file(exported.file, exported.format)
    model, num_channels = detector.config.model, len(json.loads(about["channels"]))
    shape = (1, json.loads(about["num_points"]), num_channels)
    points = torch.from_numpy(np.random.default_rng(1).uniform(0, 3, shape).astype(np.float32))
    boxes, objectness, probabilities = asked(points)
    output, classes = detector.model(points), probabilities.argmax(-1)
    assert output.objectness_logits.std(1).min() > 0.05  # it does depend on what is there
    torch.testing.assert_close(boxes, decode_boxes(output, model), rtol=1e-4, atol=1e-4)
    options = DecodeOptions(confidence=0.0, nms="2d", nms_threshold=0.0, per_class_proposal=False, remove_empty=True)
    expected = decode(output, model, points, options=options)
    kept = select_proposals(boxes, objectness, classes, points, options=options)
    assert 0 < kept.sum() < 16
    torch.testing.assert_close(boxes[kept], expected.boxes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(objectness[kept], expected.scores, rtol=1e-4, atol=1e-5)
    assert torch.equal(classes[kept], expected.classes)


def test_it_says_what_it_is_and_how_near_it_is(exported):
    _, about = open_file(exported.file, exported.format)
    config, written = load_detector(exported.run, device="cpu").config, exported.written
    assert json.loads(about["classes"]) == list(CLASSES)
    assert json.loads(about["num_points"]) == config.points.num_points
    assert about["settings_digest"] == json.loads((exported.run / "last.json").read_text())["digest"]
    channels = json.loads(about["channels"])
    colors, height = ["red", "green", "blue"] * config.points.use_color, ["height"] * config.points.use_height
    assert channels == ["x", "y", "z", *colors, *height]
    assert written["bytes"] == exported.file.stat().st_size
    assert written["input"] == {"points": [1, config.points.num_points, len(channels)]}
    assert written["outputs"] == {"boxes": [1, 16, 7], "objectness": [1, 16], "class_probabilities": [1, 16, 3]}
    assert (written["rows_compared"], written["rows_apart"]) == (64, 0)
    assert 0 < written["largest_difference"] < 1e-4


def test_it_runs_without_this_package_and_names_no_path(exported):
    content = exported.file.read_bytes()
    for path in ("site-packages", str(Path(__file__).parents[2])):
        assert path.encode() not in content
    if exported.format == "onnx":
        onnx = pytest.importorskip("onnx")
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert not model.functions
        assert {entry.domain for entry in model.opset_import} == {""}
        assert "Scan" in {node.op_type for node in model.graph.node}
        return
    code = """
import sys
sys.modules["pcfdsl"] = None
import torch
outputs = torch.export.load(sys.argv[1]).module()(torch.rand(1, 1024, 4))
print([list(output.shape) for output in outputs])
"""
    command = [sys.executable, "-c", code, str(exported.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[1, 16, 7], [1, 16], [1, 16, 3]]


def image_run(folder: Path, name: str, *arguments: str) -> Path:
    pictures = ArrayPictures(np.zeros((4, 32, 32), np.uint8), np.arange(4) % 2)
    settings = {"view": {"size": 32}, "model": {"name": name, "arguments": arguments}}
    run = {"num_steps": 1, "batch_size": 4, "sinks": ()}
    task = image_task(from_dict(ImageConfig, settings | {"train": run}), pictures)
    for module in task.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)  # timm starts some at 0
    save_checkpoint(folder, "last", model=task.model, settings=task.settings, step=0, metrics={})
    return folder


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@torch.no_grad()
def test_an_exported_image_network_takes_any_number_of_pictures(name, format, tmp_path):
    run = image_run(tmp_path / "run", name)
    written = export_model(run, tmp_path / f"net{SUFFIXES[format]}", format=format)
    assert written["rows_apart"] == 0
    assert written["input"] == {"images": ["batch", 3, 32, 32]}
    asked, about = open_file(tmp_path / f"net{SUFFIXES[format]}", format)
    assert json.loads(about["mean"]) == [0.5]
    network = load_image_classifier(run, device="cpu").model
    for number in (1, 5):
        images = torch.randn(number, 3, 32, 32)
        expected = network(images)
        assert number == 1 or expected.std(0).min() > 1e-2
        torch.testing.assert_close(asked(images)[0], expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_exported_is_refused(tmp_path):
    run = detector_run(tmp_path / "srunet", recipe="votenet/smoke_srunet_finetune")
    with pytest.raises(ValueError, match=r"srunet.*has an SR-UNet.*PointNet\+\+"):
        export_model(run, tmp_path / "net.onnx")
    run = detector_run(tmp_path / "tr3d", recipe="tr3d/smoke_pretrain")
    with pytest.raises(ValueError, match=r"has a TR3D.*PointNet\+\+"):
        export_model(run, tmp_path / "net.onnx")
    run = detector_run(tmp_path / "random", "model.cluster_sampling_eval=random")
    with pytest.raises(ValueError, match=r"clusters at random.*seed_fps or vote_fps"):
        export_model(run, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net\.onnx does not end in \.pt2"):
        export_model(run, tmp_path / "net.onnx", format="exported")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export_model(tmp_path / "none", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


class Doubled(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values * 2


def doubled(**changes) -> Exportable:
    fields = {
        "module": Doubled(),
        "input": "values",
        "outputs": ("doubled",),
        "examples": (torch.ones(50, 2), torch.ones(50, 2)),
        "any_batch": True,
        "row_dims": 1,
        "undecided": 0.0,
        "about": {"producer": "pcfdsl test"},
    }
    return Exportable(**fields | changes)


def test_differences_are_found():
    same = compare(doubled(), lambda values: [values * 2])
    assert (same.largest_difference, same.num_rows, same.num_apart) == (0.0, 100, 0)

    def one_off(by: float):
        def run(values):
            out = values * 2
            out[7, 1] += by
            return [out]

        return run

    near = compare(doubled(), one_off(1e-3))
    assert near.num_apart == 0
    assert near.largest_difference == pytest.approx(5e-4, rel=1e-3)  # of 2, the largest output
    for by in (0.1, float("nan"), float("inf")):
        assert compare(doubled(), one_off(by)).num_apart == 2


def test_yaws_at_the_seam_are_one():
    boxes = torch.ones(1, 4, 7)
    boxes[..., 6] = torch.pi - 1e-5

    def turned(values):
        out = values.clone()
        out[0, 1, 6] = -torch.pi
        return [out]

    exportable = doubled(module=nn.Identity(), outputs=("boxes",), examples=(boxes,), row_dims=2)
    assert compare(exportable, turned).num_apart == 0
    assert compare(exportable, lambda values: [values + 0.1]).num_apart == 4


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_file_that_differs_is_not_written(format, tmp_path, monkeypatch):
    run = image_run(tmp_path / "run", "test_resnet")
    exportable = load_exportable(run)
    monkeypatch.setattr("pcfdsl.infer.export.load_exportable", lambda path: replace(exportable, undecided=-1.0))
    with pytest.raises(ValueError, match="gives other results than the network: 0 of 8 rows"):
        export_model(run, tmp_path / f"net{SUFFIXES[format]}", format=format)
    assert not (tmp_path / f"net{SUFFIXES[format]}").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    run = image_run(tmp_path / "run", "test_resnet")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'pcfdsl\[onnx\]'"):
        export_model(run, tmp_path / "net.onnx")
