import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pcfdsl.config import load
from pcfdsl.generate.pcfractal import StoredPCFractalDB
from pcfdsl.pointcloud.pcfractal import PCFractalConfig

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ("--config", ROOT / "configs/pcfractal/smoke.yaml", "num_points=100")


@pytest.fixture
def tool(tmp_path):
    def run(name, *arguments):
        command = [sys.executable, ROOT / "tools" / f"{name}.py", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)

    return run


def test_generate_verify_export(tool, tmp_path):
    made = tool("generate_pcfractal", *SMOKE, "--out", "set", "--seed", 3, "--workers", 2)
    assert made.returncode == 0, made.stderr
    summary = json.loads(made.stdout)
    assert summary["clouds"]["complete"]
    assert (summary["clouds"]["path"], summary["clouds"]["num_samples"]) == ("set", 32)
    assert "draws accepted" in made.stderr
    assert StoredPCFractalDB(tmp_path / "set").config.seed == 3

    verified = tool("generate_pcfractal", *SMOKE, "--out", "set", "--seed", 3, "--verify", "--num-samples", 5)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["clouds"]["sha256"] == summary["clouds"]["sha256"]

    other = tool("generate_pcfractal", *SMOKE, "--out", "set", "--seed", 4)
    assert (other.returncode, other.stdout) == (1, "")
    assert "config.seed: 3 -> 4" in other.stderr

    for layout, count in (
        ("released", {"csv_files": 8, "ply_files": 32}),
        ("webdataset", {"tar_files": 1}),
        ("parquet", {"parquet_files": 1}),
    ):
        exported = tool("export_pcfractal", "set", "--out", layout, "--layout", layout)
        assert exported.returncode == 0, exported.stderr
        assert json.loads(exported.stdout) == {"path": layout, **count}


def test_dry_run_and_print_config_write_nothing(tool, tmp_path):
    dry = tool("generate_pcfractal", *SMOKE, "--dry-run", "--out", "set")
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["clouds"]["num_bytes"] == 32 * (100 * 12 + 24)
    shown = tool("generate_pcfractal", *SMOKE, "--print-config")
    assert yaml.safe_load(shown.stdout)["num_points"] == 100
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    assert tool("generate_pcfractal", "--config", "shown.yaml", "--print-config").stdout == shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((*SMOKE,), 2, "--out is required"),
        ((*SMOKE, "--out", "set", "--shard", "4/4"), 2, "expected i/n with 0 <= i < n"),
        ((*SMOKE, "--out", "set", "num_pints=3"), 2, "num_pints"),
        ((*SMOKE, "--out", "set", "--categories", "broken"), 1, "broken/0.csv, row 1, column 1: 'x' is not a number"),
        ((*SMOKE, "--out", "set", "--verify"), 1, "holds no stored set"),
        ((*SMOKE, "--out", "set", "--categories", "nowhere"), 1, "nowhere"),
        ((*SMOKE, "--out", "set", "search.variance_threshold=0.3", "search.max_draws=2000"), 1, "none of 2000 systems"),
    ],
)
def test_what_went_wrong(tool, tmp_path, arguments, code, message):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.csv").write_text(",".join(["x"] + ["0.1"] * 12))
    result = tool("generate_pcfractal", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_moment_and_run_again(tool, tmp_path, seed):
    assert tool("generate_pcfractal", *SMOKE, "--out", "whole").returncode == 0
    command = [sys.executable, ROOT / "tools/generate_pcfractal.py", *SMOKE, "--out", tmp_path / "set"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        while not (tmp_path / "set").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0, 0.6))
        process.kill()
    resumed = tool("generate_pcfractal", *SMOKE, "--out", "set")
    assert resumed.returncode == 0, resumed.stderr
    assert shards(tmp_path / "set") == shards(tmp_path / "whole")


def shards(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*.safetensors")}


@pytest.mark.parametrize("preset", ["smoke", "small", "paper"])
def test_presets_load(preset):
    config = load(PCFractalConfig, ROOT / "configs" / "pcfractal" / f"{preset}.yaml")
    if preset == "paper":
        assert (config.num_categories, config.num_instances, config.num_points) == (1000, 1000, 10_000)
        assert (config.search.variance_threshold, config.mix.noise_ratio) == (0.15, 0.2)
