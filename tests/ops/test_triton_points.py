"""The Triton kernels without a GPU: their answers in Triton's interpreter, and what they compile to for two of them."""

from pathlib import Path

import pytest
import torch

from pcfdsl.ops import reference
from pcfdsl.ops.backends import choice, pytorch3d, triton_runtime
from pcfdsl.ops.grouping import gather_rows, sum_rows
from tests.ops.compiled import Resources, compile_for, run_interpreted

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch on Linux)")

INTEGER, FLOAT, FLOATS, INTEGERS = "i32", "fp32", "*fp32", "*i64"
CLOUD = {"num_points": INTEGER, "stride": INTEGER}
# Kernel: argument types, constants, warps, registers at most. A block of 1,024 threads may use 64 each; the fewer the
# others use, the more of their blocks run at once.
KERNELS = {
    "farthest_kernel": (
        {"distances": FLOATS, "out": INTEGERS, **CLOUD, "num_samples": INTEGER, "near_origin": FLOAT},
        {"TILE": 4096},
        32,
        64,
    ),
    "ball_query_kernel": (
        {"centers": FLOATS, "indices": INTEGERS, "counts": INTEGERS, "squared_radius": FLOAT, **CLOUD}
        | {"num_centers": INTEGER, "max_neighbors": INTEGER},
        {"CENTERS": 8, "TILE": 128},
        4,
        96,
    ),
    "nearest_kernel": (
        {"queries": FLOATS, "distances": FLOATS, "indices": INTEGERS, **CLOUD, "num_queries": INTEGER},
        {"K": 3, "QUERIES": 8, "TILE": 64},
        4,
        64,
    ),
    "nearest_kernel K=1": (
        {"queries": FLOATS, "distances": FLOATS, "indices": INTEGERS, **CLOUD, "num_queries": INTEGER},
        {"K": 1, "QUERIES": 8, "TILE": 64},
        4,
        64,
    ),
    "sum_rows_kernel": (
        {"values": FLOATS, "order": INTEGERS, "starts": INTEGERS, "out": FLOATS, "num_channels": INTEGER},
        {"CHANNELS": 128},
        1,
        64,
    ),
}
# A correctly rounded root is refined with fused multiply-adds, so many of them for K roots.
FUSED = {"nearest_kernel": 9, "nearest_kernel K=1": 5}


def test_interpreted_kernels_equal_their_twins_to_the_last_tie(cache):
    answer = run_interpreted("interpreted_points.py")
    assert answer["differences"] == []
    assert answer["comparisons"] > 500


def compiled(name: str, capability: int, folder: Path, *, fuse: bool = False) -> Resources:
    """Resources of a kernel."""
    from pcfdsl.ops.backends import triton_points

    types, constants, num_warps, _ = KERNELS[name]
    kernel = getattr(triton_points, name.split()[0])
    types = {"planes": FLOATS, "lengths": INTEGERS, **types}
    return compile_for(capability, kernel, types, constants, folder, num_warps=num_warps, fuse=fuse)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_without_spills_and_without_fused_multiply_adds(cache, name, capability):
    found = compiled(name, capability, cache)
    print(f"{name} sm_{capability}: {found}")
    assert found.registers <= KERNELS[name][3]
    assert found.stack == 0
    assert found.instructions.get("FFMA", 0) <= FUSED.get(name, 0)


@pytest.mark.parametrize("name", ["farthest_kernel", "ball_query_kernel", "nearest_kernel", "nearest_kernel K=1"])
def test_the_compiler_would_fuse_if_it_were_allowed_to(cache, name):
    """Otherwise the test above could not fail."""
    assert compiled(name, 90, cache, fuse=True).instructions["FFMA"] > FUSED.get(name, 0)


def test_summing_rows_is_the_gradient_of_gathering_them():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand((7, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    rows = torch.randint(0, 7, (20,), generator=generator)
    assert torch.autograd.gradcheck(gather_rows, (values, rows))
    assert torch.autograd.gradgradcheck(gather_rows, (values, rows))
    taken = torch.rand((20, 3), generator=generator, dtype=torch.float64)
    assert torch.equal(sum_rows(taken, rows, 7), reference.sum_rows(taken, rows, 7))
    torch.library.opcheck(torch.ops.pcfdsl.gather_rows.default, (values.detach(), rows))
    torch.library.opcheck(torch.ops.pcfdsl.sum_rows.default, (taken, rows, 7))


@pytest.mark.parametrize(
    ("no_triton", "no_pytorch3d", "backend", "sentence"),
    [
        (None, None, "triton", ""),
        ("no compiler", None, "pytorch3d", "point operators run on PyTorch3D: no compiler\n"),
        ("no compiler", "not built", "torch", "in plain torch, many times slower: no compiler; not built\n"),
    ],
)
def test_the_best_backend_that_runs_on_cuda_is_chosen_and_said_once(
    monkeypatch, capsys, no_triton, no_pytorch3d, backend, sentence
):
    monkeypatch.setattr(triton_runtime, "why_unusable", lambda: no_triton)
    monkeypatch.setattr(pytorch3d, "why_unusable", lambda: no_pytorch3d)
    choice._cuda_backend.cache_clear()
    try:
        assert choice.cuda_backend() == choice.cuda_backend() == backend
        printed = capsys.readouterr().err
        assert printed.endswith(sentence)
        assert printed.count("\n") == bool(sentence)
    finally:
        choice._cuda_backend.cache_clear()


def test_a_pytorch3d_that_cannot_run_is_not_chosen(monkeypatch):
    """One built without CUDA, or for another torch, is found by find_spec all the same."""
    monkeypatch.setattr(pytorch3d.importlib.util, "find_spec", lambda name: name)

    def fail(*_):
        raise RuntimeError("Not compiled with GPU support")

    monkeypatch.setattr(pytorch3d, "ball_query", fail)
    monkeypatch.setattr(pytorch3d, "farthest_point_sample", lambda *_: None)
    pytorch3d.why_unusable.cache_clear()
    try:
        assert "Not compiled with GPU support" in pytorch3d.why_unusable("cpu")
    finally:
        pytorch3d.why_unusable.cache_clear()
