"""A step of every recipe on a GPU against the CPU, in every precision, compiled, and by two processes.

PCFDSL_GPU_TESTS_ON=cpu runs all but the last on the CPU against itself: a rehearsal of this file, not a test of a GPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pcfdsl.config import load
from pcfdsl.recipes import find_recipe
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.table import TASKS

DEVICE = os.environ.get("PCFDSL_GPU_TESTS_ON", "cuda")
RECIPES = (
    "detection:votenet/smoke_pretrain",
    "detection:votenet/smoke_finetune",
    "detection:votenet/smoke_srunet_finetune",
    "detection:tr3d/smoke_finetune",
    "segmentation:pretrain/smoke_segmentation",
    "pointcontrast:pretrain/smoke_pointcontrast",
    "csc:pretrain/smoke_csc",
    "random_rooms:pretrain/smoke_random_rooms",
    "classification:classifier/smoke",
    "image:train_image/smoke",
)
TWO_PROCESSES = Path(__file__).parents[1] / "train" / "toy_run.py"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def first_step(pair: str, out: Path, device: str, *overrides: str) -> dict[str, float]:
    """The record of the first of two steps; the second has to be finite, too."""
    task, recipe = pair.split(":")
    config_class, train = TASKS[task]()
    settings = ["train.num_steps=2", "train.log_every=1", "train.evaluations=1", "train.sinks=[]"]
    train(load(config_class, find_recipe(recipe), [*settings, f"train.device={device}", *overrides]), out)
    records = read_log(out, kind="train")
    assert len(records) == 2
    return records[0]


@pytest.mark.parametrize("pair", RECIPES)
def test_a_step_is_that_of_the_cpu(pair, tmp_path):
    here, there = first_step(pair, tmp_path / "gpu", DEVICE), first_step(pair, tmp_path / "cpu", "cpu")
    assert here["loss"] == pytest.approx(there["loss"], rel=1e-3)
    assert here["gradient_norm"] == pytest.approx(there["gradient_norm"], rel=0.05)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("pair", RECIPES[1:4])
def test_half_precision_is_near_the_whole(pair, precision, tmp_path):
    half = first_step(pair, tmp_path / "half", DEVICE, f"train.precision={precision}")
    whole = first_step(pair, tmp_path / "whole", DEVICE)
    name = "vote" if "vote" in whole else "loss"  # the rest of VoteNet's jumps where rounding moves a proposal
    assert half[name] == pytest.approx(whole[name], rel=0.1)


def test_tf32_is_near_float32(tmp_path):
    pair = "detection:votenet/smoke_srunet_finetune"
    coarse, exact = (
        first_step(pair, tmp_path / "tf32", DEVICE, "train.tf32=true"),
        first_step(pair, tmp_path / "f", DEVICE),
    )
    assert coarse["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.filterwarnings("default")  # the compiler warns of itself
def test_a_compiled_network_makes_the_same_step(tmp_path):
    pair = "classification:classifier/smoke"
    compiled = first_step(pair, tmp_path / "compiled", DEVICE, "train.compile=true")
    assert compiled["loss"] == pytest.approx(first_step(pair, tmp_path / "plain", DEVICE)["loss"], rel=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_processes_over_nccl_train_as_one(tmp_path):
    settings = {"num_steps": 10, "batch_size": 8, "log_every": 1, "sinks": (), "device": "auto"}
    for count in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
        subprocess.run([*command, TWO_PROCESSES, tmp_path / str(count), json.dumps(settings)], check=True)
    one, two = ([record["loss"] for record in read_log(tmp_path / str(count), kind="train")] for count in (1, 2))
    assert two == pytest.approx(one, rel=1e-4)
