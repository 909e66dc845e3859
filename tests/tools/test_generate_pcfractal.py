import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pcfdsl.config import load
from pcfdsl.pcfractal_set import StoredPCFractalDB
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

    for layout, count in (("published", {"csv_files": 8, "ply_files": 32}), ("webdataset", {"tar_files": 1})):
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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((*SMOKE,), 2, "--out is required"),
        ((*SMOKE, "--out", "set", "--shard", "4/4"), 2, "expected i/n with 0 <= i < n"),
        ((*SMOKE, "--out", "set", "--verify"), 1, "holds no stored set"),
        ((*SMOKE, "--out", "set", "--categories", "nowhere"), 1, "nowhere"),
        ((*SMOKE, "--out", "set", "search.variance_threshold=0.3", "search.max_draws=2000"), 1, "none of 2000 systems"),
    ],
)
def test_what_went_wrong(tool, tmp_path, arguments, code, message):
    result = tool("generate_pcfractal", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("preset", ["smoke", "small", "paper"])
def test_presets_load(preset):
    config = load(PCFractalConfig, ROOT / "configs" / "pcfractal" / f"{preset}.yaml")
    if preset == "paper":
        assert (config.num_categories, config.num_instances, config.num_points) == (1000, 1000, 10_000)
        assert (config.search.variance_threshold, config.mix.noise_ratio) == (0.15, 0.2)
