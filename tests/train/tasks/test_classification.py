"""A classifier learns what it is shown, gives its backbone away and takes others' over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.checkpoints.files import save_weights
from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.checkpoints.start import transfer
from pcfdsl.config import ConfigError, from_dict, load
from pcfdsl.datasets.clouds import open_clouds
from pcfdsl.models.classifier import PointCloudClassifier
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.rng import stream
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
QUICK = ("train.sinks=[]", "train.device=cpu", "train.log_every=1", "train.num_steps=3")
SRUNET = (
    "points.use_height=false",
    "model.backbone_type=srunet",
    """model.srunet={voxel_size: 0.1, net: {
        planes: [8, 8, 8, 16, 8, 8, 8, 8], layers: [1, 1, 1, 1, 1, 1, 1, 1], bn_momentum: 0.2, block_bn_momentum: 0.2
    }}""",
)


def smoke(*overrides: str) -> ClassificationConfig:
    return load(ClassificationConfig, CONFIGS / "classifier" / "smoke.yaml", (*QUICK, *overrides))


@pytest.fixture
def shapes(tmp_path) -> Path:
    """Balls, plates and sticks, ten of each in two folds."""
    rng = stream(0)
    widths = np.repeat([[1, 1, 1], [1, 1, 0.1], [0.1, 0.1, 1]], 10, axis=0)[:, None]
    points = rng.normal(size=(30, 300, 3))
    points = points / np.linalg.norm(points, axis=-1, keepdims=True) * widths * rng.uniform(0.7, 1.3, (30, 1, 3))
    path = tmp_path / "shapes.npz"
    np.savez(path, points=points.astype(np.float32), label=np.repeat([0, 1, 2], 10), fold=np.tile([0, 1], 15))
    return path


@pytest.mark.parametrize("path", sorted((CONFIGS / "classifier").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_sound(path):
    pretrains = path.stem.endswith("pretrain") or path.stem == "smoke"
    config = load(ClassificationConfig, path, [] if pretrains else ["data.path=somewhere"])
    assert pretrains == (config.data.kind == "fractals")


@pytest.mark.parametrize("backbone", [(), SRUNET], ids=["pointnet2", "srunet"])
def test_unseen_shapes_are_told_apart(shapes, tmp_path, backbone):
    config = smoke(
        f"data={{kind: npz, path: {shapes}}}",
        "split={by: fold, held_out: '1'}",
        "train.num_steps=30",
        "train.batch_size=12",
        "train.evaluations=2",
        *backbone,
    )
    run = train_classifier(config, tmp_path / "run").runs[0]
    assert run.metrics == {"accuracy": 1, "mean_class_accuracy": 1}
    table = (tmp_path / "run" / "classes.md").read_text()
    assert "| 2 | 5 | 100.0 |  |" in table
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.settings["classes"] == ["0", "1", "2"]
    model = PointCloudClassifier(from_dict(ClassificationConfig, without_classes(checkpoint.settings)).model)
    model.load_state_dict(checkpoint.state)
    assert not [name for name in checkpoint.state if ".fp" in name or "convtr" in name]  # nothing untrained is there
    assert all(parameter.grad is None for parameter in model.parameters())


def without_classes(settings: dict) -> dict:
    return {key: value for key, value in settings.items() if key != "classes"}


def test_weights_go_to_detectors_and_come_from_them(tmp_path, capsys):
    """What a detector and a classifier share is the whole way down, and it is equal after the transfer."""
    config = smoke()
    train_classifier(config, tmp_path / "classifier")
    state = load_checkpoint(tmp_path / "classifier").state
    shared = {name for name in state if name.startswith("backbone_net.")}
    detector = VoteNet(VoteNetConfig(num_proposals=8, backbone=config.model.backbone))
    report = transfer(detector, state)
    assert set(report.loaded) == shared
    assert all(".fp" in name or name.startswith("vgen.") for name in report.missing)
    save_weights(tmp_path / "detector.safetensors", detector)
    rate = "train.optimizer.learning_rate=0"
    again = smoke(rate, f"init.checkpoint={tmp_path / 'detector.safetensors'}", "train.seed=7")
    train_classifier(again, tmp_path / "again")
    assert f"{len(shared)} tensors loaded" in capsys.readouterr().err
    taken = load_checkpoint(tmp_path / "again").state
    for name in shared:
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_array_equal(taken[name], state[name], err_msg=name)
    assert not np.array_equal(taken["hidden.weight"], state["hidden.weight"])


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    config = smoke("train.num_steps=6", "train.schedule.kind=constant", "train.evaluations=0")
    train_classifier(config, tmp_path / "whole")
    short = replace(config, train=replace(config.train, num_steps=3))
    train_classifier(short, tmp_path / "parts")
    losses = [record["loss"] for record in read_log(tmp_path / "parts", kind="train")]
    assert losses == [record["loss"] for record in read_log(tmp_path / "whole", kind="train")][:3]
    assert train_classifier(short, tmp_path / "parts").runs[0].skipped


def test_seeds_are_runs_of_their_own(tmp_path):
    results = train_classifier(smoke(), tmp_path, seeds=(0, 1)).to_dict()
    assert set(results["over_seeds"]) == {"accuracy", "mean_class_accuracy"}
    assert (tmp_path / "seed1" / "best.safetensors").is_file()


def test_what_does_not_fit_is_said_before_training(tmp_path):
    with pytest.raises(ConfigError, match=r"model.backbone.input_channels: is 1, but points have 0"):
        smoke("points.use_height=false")
    with pytest.raises(ConfigError, match=r"data.path: is required by kind npz"):
        smoke("data={kind: npz}")
    with pytest.raises(ConfigError, match="expected none, random or a tag; these clouds have none"):
        train_classifier(smoke("split.by=fold"), tmp_path)
    np.save(tmp_path / "cloud.npy", np.ones((5, 3)))
    with pytest.raises(ValueError, match="is not in a class's sub-folder"):
        open_clouds(smoke(f"data={{kind: folder, path: {tmp_path}}}").data)
    with pytest.raises(ValueError, match=r"train.batch_size 4 / train.accumulate 4 comes to; raise"):
        train_classifier(smoke("train.batch_size=4", "train.accumulate=4"), tmp_path / "single")
    one_class = smoke("data.fractals.num_categories=1", "data.fractals.mix.noise_ratio=0")
    with pytest.raises(ConfigError, match="data: has one class, 000000; a classifier needs at least two"):
        train_classifier(one_class, tmp_path / "one")
    with pytest.raises(ConfigError, match=r"augment\.color: is true, but clouds"):
        smoke("augment.color=true")
