import json
import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pcfdsl.config import load
from pcfdsl.image.sets import ImageSetConfig

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ["shards", "folder", "webdataset"]
QUIET = subprocess.DEVNULL
SMOKE = ("--config", ROOT / "configs/image/smoke.yaml")


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run a tool in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    return run


def test_generate_verify_look(tool, tmp_path):
    arguments = (*SMOKE, "--out", "set", "--seed", 3, "--format", "folder")
    code, made, _ = tool("generate_images", *arguments)
    assert (code, json.loads(made)["images"]["num_samples"]) == (0, 12)
    assert json.loads((tmp_path / "set/manifest.json").read_text())["config"]["seed"] == 3
    code, checked, _ = tool("generate_images", *arguments, "--verify")
    assert (code, json.loads(checked)["images"]["num_compared"]) == (0, 12)
    code, shown, _ = tool("view", "set", "--png", "sheet.png", "--num-items", 5)
    assert (code, json.loads(shown)) == (0, {"pictures": 5, "png": "sheet.png"})
    code, shown, errors = tool("view", "set")
    assert (code, shown) == (1, "")
    assert "for pictures, write a page (--html FILE)" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--dataset", "rcdb"), 2, "--out is required"),
        (("--out", "set", "--format", "zip"), 2, "invalid choice: 'zip'"),
        (("--out", "set", "--dataset", "rcdb", "rcdb.num_categories=0"), 2, "rcdb.num_categories: must be at"),
        (("--dataset", "mnist", "--out", "set"), 2, "dataset: expected one of fractaldb"),
        (("--out", "set", "--dataset", "rcdb", "rcdb.vertices=[2,9]"), 2, "rcdb.vertices: must be at least 3"),
        (("--out", "set", "--categories", "nowhere"), 1, "there is no folder nowhere"),
        (("--out", "set", *SMOKE, "--verify"), 1, "holds no stored set"),
    ],
)
def test_what_went_wrong(tool, arguments, code, message):
    found, output, errors = tool("generate_images", *arguments)
    assert (found, output) == (code, "")
    assert message in errors


@pytest.mark.slow
@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_and_run_again(tool, tmp_path, image_format, seed):
    arguments = (*SMOKE, "rcdb.num_instances=200", "--format", image_format)
    assert tool("generate_images", *arguments, "--out", "whole")[0] == 0
    command = [sys.executable, ROOT / "tools/generate_images.py", *map(str, arguments), "--out", tmp_path / "set"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=QUIET, stdout=QUIET, env=environment) as process:
        while not (tmp_path / "set").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0, 1.2))
        process.kill()
    assert tool("generate_images", *arguments, "--out", "set")[0] == 0
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def content(path):
    kinds = (".safetensors", ".png", ".tar", ".csv")
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.suffix in kinds}


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "configs/image").glob("*.yaml")))
def test_presets_load(preset):
    config = load(ImageSetConfig, ROOT / "configs/image" / f"{preset}.yaml")
    assert (
        config.dataset.startswith(preset.split("_")[0][:4])
        or preset in ("smoke", "mvfractaldb", "one_parameter")
        or "ofdb" in preset
    )
