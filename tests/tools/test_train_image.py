"""The image tools as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.config import load
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.image import ImageConfig

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = sorted((REPOSITORY / "configs" / "train_image").glob("*.yaml"))


def tool(name: str, *arguments, code: int = 0, processes: int = 1) -> subprocess.CompletedProcess:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)]
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_is_sound(path):
    assert load(ImageConfig, path).train.batch_size > 1


def test_pre_training_then_fine_tuning(tmp_path):
    smoke = ["--config", REPOSITORY / "configs" / "train_image" / "smoke.yaml"]
    done = tool("train_image", *smoke, "--out", tmp_path / "pre", "--workers", 1)
    assert json.loads(done.stdout)["runs"]["0"]["step"] == 2
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(8) % 2)
    data = [f"{part}={{kind: npz, path: {tmp_path / 'set.npz'}}}" for part in ("data", "validation")]
    tune = [*smoke, *data, "train.evaluations=2", "--init-from", tmp_path / "pre", "--freeze-stages", 1]
    tune += ["--train-fraction", 0.5]
    done = tool("train_votenet", "--task", "image", *tune, "--seeds", 0, 1, "--out", tmp_path / "tuned")
    results = json.loads(done.stdout)
    assert results["over_seeds"]["accuracy"]["num_values"] == 2
    assert results["runs"]["1"]["best"] >= results["runs"]["1"]["metrics"]["accuracy"]
    assert read_log(tmp_path / "tuned" / "seed0", kind="train")[-1]["epoch"] == 2  # 2 steps of 4 of 8 pictures
    assert "0 of the source are outside" in done.stderr
    done = tool("train_image", *smoke, "--model", "resnet5000", "--out", tmp_path / "x", code=2)
    assert "timm has no model 'resnet5000'" in done.stderr


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    smoke = ["--config", REPOSITORY / "configs" / "train_image" / "smoke.yaml"]
    tool("train_image", *smoke, "--out", tmp_path, processes=2)
    assert json.loads((tmp_path / "last.json").read_text())["step"] == 2
