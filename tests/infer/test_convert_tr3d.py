"""TR3D checkpoints of MMDetection3D and of its authors become ours and theirs again, by the names of their code."""

import pytest
import torch

from pcfdsl.checkpoints.weights import read_state
from pcfdsl.config import load
from pcfdsl.datasets.spec import S3DIS, SCANNET, SUNRGBD
from pcfdsl.infer.convert import export_checkpoint, import_checkpoint
from pcfdsl.infer.detector import load_detector
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.network import TR3D
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector

# The authors' name <-> MMDetection3D's, which is ours.
HEAD = {"head.bbox_conv.": "bbox_head.conv_reg.", "head.cls_conv.": "bbox_head.conv_cls."}


def theirs(spec, layout: str) -> dict[str, torch.Tensor]:
    """A whole published network with 262 tensors; test_network.py holds its names and shapes to the published ones."""
    torch.manual_seed(0)
    state = TR3D(TR3DConfig(num_classes=len(spec.classes), oriented=spec is SUNRGBD)).state_dict()
    assert len(state) == 262
    if layout == "samsunglabs":
        for new, old in HEAD.items():
            state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return dict(state)


@pytest.mark.parametrize("spec", [SCANNET, SUNRGBD, S3DIS], ids=lambda spec: spec.key)
@pytest.mark.parametrize("layout", ["tr3d", "samsunglabs"])
def test_a_detector_comes_ready_and_goes_back_unchanged(spec, layout, tmp_path):
    published = theirs(spec, layout)
    torch.save({"meta": {}, "state_dict": {f"module.{n}": t for n, t in published.items()}}, tmp_path / "theirs.pth")
    report = import_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.safetensors")
    assert (report.layout, report.converted, report.unmatched, report.missing) == (layout, 262, (), ())
    assert report.detector == spec.name
    detector = load_detector(tmp_path / "ours.safetensors", device="cpu")
    model = detector.config.model
    assert detector.classes == spec.classes
    assert (model.oriented, model.variant) == ((True, "released") if spec is SUNRGBD else (False, "native"))
    assert (model.class_levels, model.features, model.voxel_size) == (spec.class_levels, "color", 0.01)
    export_checkpoint(tmp_path / "ours.safetensors", tmp_path / "back.pth", layout=layout)
    back, meta, _ = read_state(tmp_path / "back.pth")
    assert back.keys() == published.keys()
    assert all(torch.equal(back[name], published[name]) for name in back)
    assert ("mmdet3d_version" in meta) == (layout == "tr3d")


def test_a_published_backbone_is_a_starting_point(tmp_path, capsys):
    torch.save({"state_dict": theirs(SCANNET, "samsunglabs")}, tmp_path / "theirs.pth")
    overrides = ["train.device=cpu", "train.num_steps=1", "train.batch_size=1", "train.evaluations=0"]
    overrides += ["train.sinks=[]", "model={detector: tr3d, voxel_size: 0.1}", "points.num_points=256"]
    overrides += [f"init.checkpoint={tmp_path / 'theirs.pth'}"]
    train_detector(load(DetectorConfig, "tr3d/smoke_finetune", overrides), tmp_path / "run")
    assert "258 tensors loaded, 4 of the source are outside the chosen parts" in capsys.readouterr().err


def test_another_network_on_the_same_backbone_is_not_taken_for_it(tmp_path):
    """FCAF3D's backbone has the same names; its head's are listed, and no settings are made up."""
    state = {name: tensor for name, tensor in theirs(SCANNET, "tr3d").items() if name.startswith("backbone.")}
    state |= {"bbox_head.up_block_1.0.kernel": torch.zeros(8, 2, 2), "bbox_head.conv_center.kernel": torch.zeros(2, 1)}
    torch.save({"state_dict": state}, tmp_path / "theirs.pth")
    report = import_checkpoint(tmp_path / "theirs.pth", tmp_path / "ours.safetensors")
    assert report.detector is None
    assert report.unmatched == ("bbox_head.up_block_1.0.kernel", "bbox_head.conv_center.kernel")
