"""Every task trains on the pretend device, in all its parts, and asks no more of it than its budget.

Budgets are counts of one step of a smoke recipe in plain torch, without the plain twins of the point operators, whose
places Triton kernels take on a GPU. A change that exceeds one has put something slow into every step: a wait for the
device, a copy to it, a loop of small launches. Lower a budget when something has become faster.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SCRIPT = Path(__file__).parent / "run_recipes.py"

# (launches, waits, uploads) of a step.
BUDGETS = {
    "detection:votenet/smoke_finetune": (2520, 10, 9),
    "detection:votenet/smoke_srunet_finetune": (6650, 33, 18),
    "detection:tr3d/smoke_finetune": (4790, 49, 32),
    "segmentation:pretrain/smoke_segmentation": (1820, 8, 8),
    "pointcontrast:pretrain/smoke_pointcontrast": (1720, 19, 4),
    "csc:pretrain/smoke_csc": (2660, 20, 8),
    "random_rooms:pretrain/smoke_random_rooms": (1720, 16, 4),
    "classification:classifier/smoke": (1380, 8, 3),
    "image:train_image/smoke": (520, 3, 2),
}

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has not the experimental Python backends that the pretend device rests on",
)


def run(*arguments: str) -> list[dict]:
    finished = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return {result["recipe"]: result for result in run(str(tmp_path_factory.mktemp("runs")), *BUDGETS)}


@pytest.mark.parametrize("recipe", BUDGETS)
def test_losses_are_those_of_the_cpu(results, recipe):
    result = results[recipe.split(":")[1]]
    for here, there in (("pretend", "cpu"), ("full", "cpu_full")):
        assert len(result[here]) == len(result[there])
        assert result[here][0] == pytest.approx(result[there][0], rel=1e-3)
        assert result[here] == pytest.approx(result[there], rel=0.15)  # rounding flips maxima, and weights part
    assert result["finite"]


@pytest.mark.parametrize("recipe", BUDGETS)
def test_a_step_stays_within_its_budget(results, recipe):
    result = results[recipe.split(":")[1]]
    launches = sum(count for line, count in result["launches"].items() if not line.startswith("ops/reference.py"))
    waits, uploads = (sum(result[kind].values()) for kind in ("waits", "uploads"))
    for name, count, budget in zip(
        ("launches", "waits", "uploads"), (launches, waits, uploads), BUDGETS[recipe], strict=True
    ):
        assert count <= budget, f"{count} {name}, by line: {result[name]}"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("torch.ones(2, device=pretend) + torch.ones(2)", "Expected all tensors to be on the same device"),
        ("torch.ones(2, device=pretend).numpy()", ""),
        ("torch.ops.pcfdsl.cpu_only(torch.ones(2, device=pretend))", "has no CUDA kernel"),
    ],
)
def test_the_device_is_strict(statement, error):
    code = f"""
import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})
import torch, device
torch.library.custom_op("pcfdsl::cpu_only", lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor")
with device.Pretending():
    pretend = torch.device(device.NAME)
    print(float((torch.ones(2, device=pretend) * 2).sum()), dict(device.ledger.waits.items()))
    {statement}
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.startswith("4.0 ")
    assert ": 1}" in finished.stdout
    assert finished.returncode == 1
    assert error in finished.stderr
