"""Comparing starting points of a classifier, one of them trained here, as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMOKE = REPOSITORY / "configs" / "classifier" / "smoke.yaml"


def tool(name: str, *arguments, code: int = 0) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(REPOSITORY / "tools" / f"{name}.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def test_pre_training_then_comparing(tmp_path):
    train = ["--task", "classification", "--config", SMOKE, "train.num_steps=2"]
    done = tool("train_votenet", *train, "--out", tmp_path / "run")
    assert json.loads(done.stdout)["runs"]["0"]["step"] == 2
    compare = ["--downstream", "classifier", "--config", SMOKE, "train.num_steps=2", "--seeds", 0, 1]
    done = tool(
        "compare_pretraining", *compare, "--init", "scratch", f"own={tmp_path / 'run'}", "--out", tmp_path / "study"
    )
    assert set(json.loads(done.stdout)["arms"]) == {"scratch", "own"}
    assert "[4/4] own seed1: accuracy" in done.stderr
    assert (tmp_path / "study" / "study.md").read_text().startswith("| accuracy | runs |")
    done = tool("compare_pretraining", "--downstream", "detector", "--config", SMOKE, "--out", tmp_path / "x", code=2)
    assert "split: unknown key" in done.stderr
