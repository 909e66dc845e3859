"""Starting points are compared on equal terms, for classifiers and detectors alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pcfdsl.checkpoints.files import save_weights
from pcfdsl.config import ConfigError, load
from pcfdsl.rng import stream
from pcfdsl.studies.comparison import compare_pretraining
from pcfdsl.studies.starts import parse_starts
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.detection import DetectorConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
QUICK = ("train.sinks=[]", "train.device=cpu", "train.num_steps=2", "train.log_every=1", "train.batch_size=4")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> ClassificationConfig:
    path = tmp_path_factory.mktemp("shapes") / "shapes.npz"
    points = stream(0).normal(size=(12, 100, 3)).astype(np.float32)
    np.savez(path, points=points, label=np.tile([0, 1], 6), fold=np.repeat([0, 1, 2], 4))
    settings = (f"data={{kind: npz, path: {path}}}", "split={by: random, shots: 2}", "train.evaluations=2")
    return load(ClassificationConfig, CONFIGS / "classifier" / "smoke.yaml", (*QUICK, *settings))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    overrides = (*QUICK, "split.by=none")
    train_classifier(load(ClassificationConfig, CONFIGS / "classifier" / "smoke.yaml", overrides), folder, seeds=(0, 1))
    return folder


def compare(config, pretrained, out, **settings):
    starts = parse_starts(["scratch", f"same={pretrained}/seed0", f"paired={pretrained}/seed{{seed}}"])
    return compare_pretraining(config, starts, out, progress=str, **settings)


def first_losses(out: Path) -> dict[tuple[str, str], float]:
    logs = {(path.parent.name, path.name): path for path in out.glob("*/*") if path.is_dir()}
    return {key: read_log(path, kind="train")[0]["loss"] for key, path in logs.items()}


def test_a_classifier_is_compared_over_folds_and_seeds(config, pretrained, tmp_path):
    study = compare(config, pretrained, tmp_path, seeds=(0, 1), hold_out="fold")
    assert {len(runs) for runs in study.runs.values()} == {6}
    summary = study.summary("paired", "accuracy")
    assert summary is not None
    assert summary.num_values == 3
    assert study.metrics() == ["accuracy", "mean_class_accuracy", "best accuracy"]
    losses = first_losses(tmp_path)
    assert losses["same", "fold_1_seed0"] == losses["paired", "fold_1_seed0"] != losses["scratch", "fold_1_seed0"]
    assert losses["same", "fold_1_seed1"] != losses["paired", "fold_1_seed1"]
    result = json.loads((tmp_path / "paired" / "fold_1_seed1" / "result.json").read_text())
    assert (
        result["about"]["settings"]["split"] | {"by": "fold", "held_out": "1", "seed": 1}
        == (result["about"]["settings"]["split"])
    )
    assert not list(tmp_path.rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    compare(config, pretrained, tmp_path, seeds=(0, 1), hold_out="fold")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == before


def test_a_detector_is_compared_over_seeds(pretrained, tmp_path):
    overrides = (*QUICK, "data.scenes.num_scenes=4", "validation.scenes.num_scenes=2", "train.evaluations=1")
    config = load(DetectorConfig, CONFIGS / "votenet" / "smoke_finetune.yaml", overrides)
    study = compare(config, pretrained, tmp_path, seeds=(0, 1), keep_weights=True)
    assert study.metrics()[0] == "mAP@0.25"
    assert {len(runs) for runs in study.runs.values()} == {2}
    losses = first_losses(tmp_path)
    assert losses["same", "seed0"] == losses["paired", "seed0"] != losses["scratch", "seed0"]
    assert (tmp_path / "scratch" / "seed1" / "last.safetensors").is_file()
    with pytest.raises(ValueError, match="a detector is compared over seeds"):
        compare(config, pretrained, tmp_path / "other", hold_out="fold")


def test_what_cannot_be_compared_is_said_first(config, pretrained, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        compare_pretraining(config, {"a": None, "b": "nowhere"}, tmp_path)
    save_weights(tmp_path.parent / "other.safetensors", torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no known layout"):
        compare_pretraining(config, {"a": None, "b": str(tmp_path.parent / "other.safetensors")}, tmp_path)
    untested = load(ClassificationConfig, CONFIGS / "classifier" / "smoke.yaml", ("split.by=none",))
    with pytest.raises(ConfigError, match="needs a test set"):
        compare_pretraining(untested, {"a": None}, tmp_path)
    unjudged = load(ClassificationConfig, CONFIGS / "classifier" / "smoke.yaml", ("train.evaluations=0",))
    with pytest.raises(ConfigError, match=r"train.evaluations: is 0"):
        compare_pretraining(unjudged, {"a": None}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_starting_points_are_named():
    assert parse_starts(["scratch", "a=x/y=z"]) == {"scratch": None, "a": "x/y=z"}
    for texts in (["a", "a=b"], ["=b"], ["a="]):
        with pytest.raises(ValueError, match="is not a starting point, or a duplicate"):
            parse_starts(texts)


def test_weights_without_a_name_are_not_taken_for_a_start_from_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scratch").mkdir()  # a folder of data, as on many clusters
    Path("run").mkdir()
    Path("run", "last.safetensors").touch()
    assert parse_starts(["scratch"]) == {"scratch": None}
    for name in ("run", "run/last.safetensors", "votenet-pointnet2-fractal"):
        with pytest.raises(ValueError, match=rf"'{name}' names weights, not the start from them; write NAME={name}"):
            parse_starts(["scratch", name])
    with pytest.raises(ValueError, match="scratch and fractals would be the same start, from scratch"):
        parse_starts(["scratch", "fractals"])
