"""The demo end to end, on two classes of meshes in a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pcfdsl.config import ConfigError, load
from pcfdsl.studies.demo import DemoConfig, run_demo
from pcfdsl.train.log import read_log

SMOKE = Path(__file__).parents[2] / "configs" / "demo" / "smoke.yaml"
SHORT = ("pretrain.train.num_steps=2", "finetune.train.num_steps=2", "finetune.train.evaluations=1")


@pytest.fixture
def models(tmp_path):
    for name, size in (("shelf", (1.0, 0.4, 2.0)), ("table", (1.6, 0.9, 0.7))):
        (tmp_path / "models" / name).mkdir(parents=True)
        for i in range(2):
            trimesh.creation.box(extents=np.array(size) + i / 10).export(tmp_path / "models" / name / f"{i}.obj")
    return tmp_path / "models"


def test_seeds_given_twice_are_refused_before_the_pre_training():
    with pytest.raises(ConfigError, match=r"^seeds: are \(0, 0, 1\); .* needs at least two, all of them different$"):
        DemoConfig(seeds=(0, 0, 1))


def test_demo_on_a_folder_of_meshes(models, tmp_path):
    config = load(DemoConfig, SMOKE, SHORT)
    report = run_demo(config, tmp_path / "demo", meshes=models)
    text = report.with_suffix(".md").read_text()
    assert "on rooms of furniture models" in text
    assert "identical bit for bit" in text
    assert report.read_text().count("<figure>") >= 6
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("last.safetensors")}
    assert len(runs) == 5  # the pre-training, and two seeds of both arms

    log = tmp_path / "demo" / "scratch" / "seed1" / "log.jsonl"  # as an interrupt after its first step leaves it
    log.write_text(json.dumps(read_log(log.parent)[0] | {"step": 1}) + "\n" + log.read_text())
    run_demo(config, tmp_path / "demo", meshes=models)
    assert runs == {path: path.stat().st_mtime_ns for path in runs}

    start = str(tmp_path / "demo" / "pretrain")
    strict = (
        "evaluation.iou_thresholds=[0.5]",
        "evaluation.monitor=mAP@0.5",
        "train.epochs=0.125",
        "train.evaluations=1",
    )
    config = load(DemoConfig, SMOKE, (*SHORT[:1], *(f"finetune.{setting}" for setting in strict)))
    text = run_demo(config, tmp_path / "started", meshes=models, weights=start).with_suffix(".md").read_text()
    assert "trained for 0.125 epochs in steps of" in text
    assert "mAP@0.5: pre-trained minus scratch" in text
    assert f"Started from the weights {start}" in text
    assert not (tmp_path / "started" / "pretrain").exists()
    logs = [read_log(tmp_path / demo / "pre-trained" / "seed0", kind="train") for demo in ("demo", "started")]
    assert logs[0][0]["loss"] == logs[1][0]["loss"]
