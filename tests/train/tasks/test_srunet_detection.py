"""VoteNet on SR-UNet learns a room by heart, and is saved, judged and used as on PointNet++."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.config import load
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.infer.detector import detect_in_file, evaluate_detector, load_detector
from pcfdsl.models.srunet import SRUNet
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, train_detector

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "votenet"
QUICK = ("train.sinks=[]", "train.device=cpu")


def test_a_trained_one_is_loaded_judged_and_used(tmp_path):
    config = load(
        DetectorConfig,
        CONFIGS / "smoke_srunet_finetune.yaml",
        [*QUICK, "train.num_steps=3", "data.scenes.num_scenes=4", "validation.scenes.num_scenes=2"],
    )
    result = train_detector(config, tmp_path / "run").runs[0]
    detector = load_detector(tmp_path / "run", device="cpu")
    assert detector.config.model.backbone_type == "srunet"
    assert evaluate_detector(detector).reports[0].metrics()["mAP@0.25"] == result.metrics["mAP@0.25"]
    np.save(tmp_path / "room.npy", np.random.default_rng(0).uniform(0, 3, (1500, 3)).astype(np.float32))
    found = detect_in_file(detector, tmp_path / "room.npy", confidence=0.0)
    assert found.points.shape == (1500, 3)
    assert np.isfinite(found.boxes).all()


def test_a_published_encoder_is_taken_over(tmp_path, capsys):
    overrides = [*QUICK, f"init.checkpoint={tmp_path / 'weights.pth'}"]
    config = load(DetectorConfig, CONFIGS / "smoke_srunet_finetune.yaml", overrides)
    torch.manual_seed(7)
    encoder = SRUNet(replace(config.model.srunet.net, out_channels=48))
    state = {f"module.encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"curr_iter": 9, "state_dict": state}, tmp_path / "weights.pth")
    model = detection_task(config, open_scenes(config.data)).model.state_dict()
    for name, value in encoder.state_dict().items():
        assert torch.equal(model[f"backbone_net.net.{name}"], value) or name.startswith("final.")
    said = capsys.readouterr().err
    assert f"{len(state) - 2} tensors loaded" in said
    assert "shape differs: backbone_net.net.final.kernel is (16, 48), needs (16, 32)" in said


@pytest.mark.slow
def test_one_room_is_learned_by_heart(tmp_path):
    scenes = """{num_scenes: 2, num_points: 2048, objects: [3, 3], sizes: {shape: metres},
        layout: {yaw: axis_aligned, stacking: 0, gap: 0.4}, cameras: {number: [0, 0]},
        room: {share: 0.2, walls: 0, clutter: [0, 0]}}"""
    config = load(
        DetectorConfig,
        CONFIGS / "laptop_srunet_finetune.yaml",
        [
            *QUICK,
            "train.num_steps=250",
            "train.batch_size=2",
            "train.optimizer.learning_rate=0.004",
            "train.schedule.bn_momentum=0.2",
            "train.schedule.bn_epochs=1000",
            f"data.scenes={scenes}",
            f"validation={{kind: furniture, scenes: {scenes}}}",
            "points.num_points=2048",
            "augment={flip_x: 0, flip_y: 0, rotation: 0}",
            "model.num_heading_bins=1",
        ],
    )
    result = train_detector(config, tmp_path).runs[0]
    assert result.metrics["mAP@0.25"] == 1.0
