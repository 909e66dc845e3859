"""Files of other projects in, files of other projects out, and the detector in between is ready for use."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcfdsl.checkpoints.files import load_weights
from pcfdsl.checkpoints.layouts import from_ours
from pcfdsl.checkpoints.weights import read_state
from pcfdsl.datasets.spec import SCANNET, SUNRGBD
from pcfdsl.infer.convert import export_checkpoint, import_checkpoint, published_settings
from pcfdsl.infer.detector import load_detector
from pcfdsl.models.votenet import VoteNet

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((ROOT / "tests/golden/votenet_state_dict.json").read_text())


def random_state(spec, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = GOLDEN[f"votenet_{spec.key}"]["state_dict"]
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("spec", [SCANNET, SUNRGBD], ids=lambda spec: spec.key)
@pytest.mark.parametrize("layout", ["votenet", "mmdetection3d"])
def test_a_detector_comes_ready_and_goes_back_unchanged(spec, layout, tmp_path):
    state = random_state(spec)
    numbers = {"num_classes": len(spec.classes), "num_heading_bins": spec.num_heading_bins}
    theirs = from_ours(state, layout=layout, **numbers).state
    key = "model_state_dict" if layout == "votenet" else "state_dict"
    torch.save({key: {f"module.{name}": t for name, t in theirs.items()}, "epoch": 180}, tmp_path / "theirs.pth")
    report = import_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.safetensors")
    assert (report.layout, report.unmatched, report.missing) == (layout, (), ())
    assert report.detector == spec.name
    assert any("has no version" in note for note in report.notes) == (layout == "mmdetection3d")
    detector = load_detector(tmp_path / "ours.safetensors", device="cpu")
    assert detector.classes == spec.classes
    assert detector.config.model.mean_sizes == spec.mean_sizes
    assert detector.config.points.num_points == spec.num_points
    for name, tensor in detector.model.state_dict().items():
        assert torch.equal(tensor.float(), state[name].to(tensor.dtype).float()), name
    export_checkpoint(tmp_path / "ours.safetensors", tmp_path / "back.pth", layout=layout)
    back, meta, _ = read_state(tmp_path / "back.pth")
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in back)
    assert ("mmdet3d_version" in meta) == (layout == "mmdetection3d")


def test_a_detector_of_other_classes_is_not_called_a_benchmarks(tmp_path):
    """Its last layer has ScanNet's size: 97 outputs."""
    report = export_checkpoint("votenet-pointnet2-fractal", tmp_path / "theirs.tar", layout="votenet")
    assert report.detector is None
    report = import_checkpoint(tmp_path / "theirs.tar", tmp_path / "ours.safetensors")
    assert report.notes[0].startswith("taken for a detector of ScanNetV2 by the size of its last layer")


@pytest.mark.parametrize(("version", "mirrored"), [("0.17.1", False), ("1.0.0rc1", True), (None, True)])
def test_headings_go_by_the_version(version, mirrored, tmp_path):
    state = random_state(SUNRGBD)
    theirs = from_ours(state, layout="mmdetection3d", num_classes=10, num_heading_bins=12, clockwise=True).state
    meta = {} if version is None else {"meta": {"mmdet3d_version": version}}
    torch.save({"state_dict": theirs, **meta}, tmp_path / "theirs.pth")
    for headings, expected in (("auto", mirrored), ("clockwise", False), ("counterclockwise", True)):
        import_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.safetensors", headings=headings)
        ours = load_weights(tmp_path / "ours.safetensors")[0]
        assert torch.equal(ours["pnet.conv3.bias"], state["pnet.conv3.bias"]) != expected


def test_a_backbone_is_weights_alone(tmp_path):
    state = random_state(SCANNET)
    trunk = {f"module.trunk.0.{n.removeprefix('backbone_net.')}": t for n, t in state.items() if "backbone_net" in n}
    torch.save({"model": trunk, "epoch": 1}, tmp_path / "theirs.pth.tar")
    report = import_checkpoint(tmp_path / "theirs.pth.tar", tmp_path / "ours.safetensors")
    assert (report.layout, report.detector, report.converted) == ("depthcontrast", None, len(trunk))
    with pytest.raises(ValueError, match=r"holds weights without settings"):
        load_detector(tmp_path / "ours.safetensors")
    export_checkpoint(tmp_path / "ours.safetensors", tmp_path / "back.pth", layout="depthcontrast")
    back, *_ = read_state(tmp_path / "back.pth")
    assert {f"module.{name}" for name in back} == trunk.keys()


def test_a_checkpoint_with_code_is_not_read(tmp_path):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"state_dict": {"a": torch.zeros(1)}, "meta": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil.pth is damaged, or not a torch checkpoint"):
        import_checkpoint(tmp_path / "evil.pth", tmp_path / "ours.safetensors")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "ours.safetensors").exists()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_checkpoints_are_refused_with_a_sentence(data, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": {"sa1.x": torch.zeros(3), "y": torch.ones(2)}}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    message = "checkpoint.pth"
    try:
        read_state(path)
    except ValueError as error:
        message = str(error)
    assert "checkpoint.pth" in message


def test_a_directory_that_points_before_the_file_is_damage(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": {"x": torch.zeros(3)}}, path)
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x06\x06")
    content[end + 48 : end + 56] = (2**31).to_bytes(8, "little")  # where the directory says that it begins
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint.pth is damaged"):
        read_state(path)


def test_the_tool_in_both_directions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def tool(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / "convert_checkpoint.py"), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    torch.save({"model_state_dict": {**random_state(SUNRGBD), "extra.weight": torch.zeros(2)}}, "votenet.tar")
    code, out, errors = tool("votenet.tar", "ours.safetensors")
    report = json.loads(out)
    assert code == 0
    assert (report["detector"], report["converted"], report["unmatched"]) == ("SUN RGB-D", 146, ["extra.weight"])
    assert errors == "left out, has no counterpart: extra.weight\n"
    code, *_ = tool("ours.safetensors", "mm.pth", "--to", "mmdetection3d")
    assert code == 0
    assert "bbox_head.conv_pred.conv_reg.bias" in read_state("mm.pth")[0]
    assert tool("absent.tar", "ours.safetensors") == (
        1,
        "",
        "error: checkpoint absent.tar does not exist; give a run's folder, a weights file, or one of "
        "resnet-small-fractaldb, vit-small-exfractaldb, votenet-pointnet2-fractal\n",
    )


def test_published_detectors_are_our_networks():
    """The settings that a converted file gets build a network of exactly the published names and shapes."""
    for spec in (SCANNET, SUNRGBD):
        state = random_state(spec)
        config, notes = published_settings(state, spec)
        assert {n: list(t.shape) for n, t in VoteNet(config.model).state_dict().items()} == {
            n: list(t.shape) for n, t in state.items()
        }
        assert (config.points.use_height, config.points.use_color, notes) == (True, False, [])
