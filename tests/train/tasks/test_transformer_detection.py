"""VoteNet on a transformer for clouds: started from what reads pictures and clouds, saved, judged and used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.files import load_weights
from pcfdsl.config import load
from pcfdsl.datasets.sources import open_scenes
from pcfdsl.infer.detector import detect_in_file, evaluate_detector, load_detector
from pcfdsl.infer.features import load_backbone
from pcfdsl.train.tasks.classification import ClassificationConfig
from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, train_detector
from pcfdsl.train.tasks.table import TASKS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
QUICK = ("train.sinks=[]", "train.device=cpu")
FEW = (*QUICK, "train.num_steps=3", "data.scenes.num_scenes=4", "validation.scenes.num_scenes=2")


def detector_settings(*settings):
    return load(DetectorConfig, CONFIGS / "votenet" / "smoke_transformer_finetune.yaml", [*FEW, *settings])


def test_a_trained_one_is_loaded_judged_and_used(tmp_path):
    result = train_detector(detector_settings(), tmp_path / "run").runs[0]
    detector = load_detector(tmp_path / "run", device="cpu")
    assert detector.config.model.backbone_type == "point_transformer"
    assert evaluate_detector(detector).reports[0].metrics()["mAP@0.25"] == result.metrics["mAP@0.25"]
    cloud = np.random.default_rng(0).uniform(0, 3, (1500, 3)).astype(np.float32)
    np.save(tmp_path / "room.npy", cloud)
    found = detect_in_file(detector, tmp_path / "room.npy", confidence=0.0)
    assert found.points.shape == (1500, 3)
    assert np.isfinite(found.boxes).all()
    extractor = load_backbone(tmp_path / "run", device="cpu")
    features = extractor(cloud)
    assert features.shape == (1500, 256)
    seeds = extractor.backbone.describe(torch.from_numpy(extractor._sample(cloud, None, 0))[None])
    at_seed = np.abs(cloud[:, None] - seeds.xyz.numpy()).sum(2).argmin(0)
    np.testing.assert_allclose(features[at_seed], seeds.features.detach().numpy(), atol=1e-4)


# Of a network for pictures the patches, their positions and the classifier have no place in a detector.
LEFT_OUT = {"vg_fractal": 5, "point_mae": 0}


@pytest.mark.parametrize("task", LEFT_OUT)
def test_it_starts_from_runs_on_formulas(tmp_path, capsys, task):
    config_class, train = TASKS[task]()
    train(load(config_class, CONFIGS / task / "smoke.yaml", [*QUICK, "train.num_steps=2"]), tmp_path)
    capsys.readouterr()
    config = detector_settings(f"init.checkpoint={tmp_path}")
    own = detection_task(config, open_scenes(config.data)).model.state_dict()
    state, _ = load_weights(tmp_path / "last.safetensors")
    shared = [name for name in own if name.startswith(("backbone_net.vit.", "backbone_net.tokenizer."))]
    assert len(shared) > 40
    assert all(torch.equal(own[name], state[name]) for name in shared)
    said = capsys.readouterr().err
    assert f"{len(shared)} tensors loaded" in said
    assert "not in the source, keeps its value: backbone_net.seeds.layer0.conv.weight" in said
    unused = [name for name in state if name.startswith("backbone_net.") and name not in own]
    assert len(unused) == LEFT_OUT[task]
    assert ("unused: " in said) == bool(unused)


def test_a_classifiers_run_says_why_it_describes_no_points(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "shapes.npz", points=rng.normal(size=(8, 300, 3)), label=np.arange(8) % 2, fold=np.arange(8) // 4
    )
    shapes = f"data.path={tmp_path / 'shapes.npz'}"
    transformer = "model.transformer={embed_dim: 24, depth: 2, num_heads: 2, tokens: {num_groups: 16, group_size: 8}}"
    settings = [*QUICK, shapes, transformer, "train.num_steps=1", "train.batch_size=4"]
    config = load(ClassificationConfig, CONFIGS / "classifier" / "laptop_transformer.yaml", settings)
    _, train = TASKS["classification"]()
    train(config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"lacks \d+ tensors of the backbone, such as seeds\..*describes no points"):
        load_backbone(tmp_path / "run", device="cpu")


def test_laptop_recipes_are_of_one_network():
    def recipe(task, name, *settings):
        return load(TASKS[task]()[0], CONFIGS / f"{name}.yaml", settings)

    detectors = [recipe("detection", f"votenet/laptop_transformer_{kind}").model for kind in ("pretrain", "finetune")]
    clouds, own = (
        recipe("classification", "classifier/laptop_transformer", "data.path=shapes.npz").model,
        detectors[0].transformer,
    )
    masked, pairs = recipe("point_mae", "point_mae/laptop").model, recipe("vg_fractal", "vg_fractal/laptop").model
    assert detectors[0] == detectors[1]
    for other in (clouds.transformer, masked.transformer):
        assert replace(other, tokens=own.tokens, num_seeds=own.num_seeds) == own
    assert pairs.arguments[1:] == ("embed_dim=96", "depth=4", "num_heads=3")
    assert (own.embed_dim, own.depth, own.num_heads) == (96, 4, 3)
