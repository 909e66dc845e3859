"""The job files for clusters: what they run, run without the cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "configs" / "cluster"
SMOKE = ("tools/generate_pcfractal.py", "--config", "configs/pcfractal/smoke.yaml", "num_points=100")


def run(command, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, **variables}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize("first", [0, 1])
def test_the_tasks_of_a_slurm_array_make_the_set_of_one_process(tmp_path, first):
    whole = run([sys.executable, *SMOKE, "--out", tmp_path / "whole"])
    assert whole.returncode == 0, whole.stderr
    for task in range(first, first + 3):
        done = run(
            ["bash", CLUSTER / "slurm_generate.sh", *SMOKE, "--out", tmp_path / "set"],
            SLURM_ARRAY_TASK_ID=str(task),
            SLURM_ARRAY_TASK_MIN=str(first),
            SLURM_ARRAY_TASK_MAX=str(first + 2),
            SLURM_ARRAY_TASK_COUNT="3",
            SLURM_CPUS_PER_TASK="1",
        )
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "set") == files(tmp_path / "whole")
    assert json.loads(done.stdout)["clouds"]["complete"]


def test_an_array_with_gaps_is_refused():
    array = {"SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "9", "SLURM_ARRAY_TASK_COUNT": "2"}
    done = run(["bash", CLUSTER / "slurm_generate.sh", *SMOKE], SLURM_ARRAY_TASK_ID="9", **array)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the array has gaps; submit the whole one again" in done.stderr


def test_slurm_training_hands_torchrun_all_nodes_and_the_whole_command(tmp_path):
    for name, text in (("scontrol", "printf 'n3\\nn4\\n'"), ("srun", 'shift; exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    command = ["bash", CLUSTER / "slurm_train.sh", "tools/train_votenet.py", "--out", "a b", "train.batch_size=64"]
    variables = {"SLURM_JOB_NODELIST": "n[3-4]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}
    shown = run(command, PATH=f"{tmp_path}:{os.environ['PATH']}", TORCHRUN="echo", SLURM_GPUS_ON_NODE="4", **variables)
    assert shown.returncode == 0, shown.stderr
    nodes = "--nnodes 2 --nproc-per-node 4 --max-restarts 3 --rdzv-id 7 --rdzv-backend c10d --rdzv-endpoint n3:29500"
    assert shown.stdout == f"{nodes} {' '.join(command[2:])}\n"


def test_the_kubernetes_job_is_a_command_of_the_tool(tmp_path):
    job = yaml.safe_load((CLUSTER / "kubernetes_generate.yaml").read_text())
    spec = job["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", 64)
    arguments = [text.replace("$(JOB_COMPLETION_INDEX)", "63") for text in container["args"]]
    assert f"--shard=63/{spec['completions']}" in arguments
    assert container["command"][0] == "python"
    shown = run([sys.executable, *container["command"][1:], *arguments, "--dry-run"])
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["images"]["num_samples"] == 1_000_000
