"""The Triton kernels of rows without a GPU: their answers in Triton's interpreter, and what they compile to."""

import pytest

from pcfdsl.ops.backends import triton_runtime
from tests.ops.compiled import compile_for, run_interpreted

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch on Linux)")

SIZES = {"eps": "fp32", "num_rows": "i32", "num_channels": "i32:16", "num_partial": "i32", "num_segments": "i32"}
POINTERS = {"starts": "*i64", "winner": "*i32"} | dict.fromkeys(
    ("rows", "multiplicity", "partial", "used", "weight", "bias", "grad", "sums", "total", "out", "grad_rows"), "*fp32"
)
TILE, RUN, FOLD = {"ROWS": 32, "CHANNELS": 64}, {"ROWS": 16, "CHANNELS": 64}, {"FOLD": 32, "CHANNELS": 16}
THROUGH = {"THROUGH": True}
KERNELS = {
    "moments_kernel": TILE,
    "join_moments_kernel": FOLD,
    "forward_kernel": TILE,
    "sums_kernel": TILE,
    "join_sums_kernel": FOLD,
    "backward_kernel": TILE | THROUGH,
    "forward_max_kernel": RUN,
    "sums_max_kernel": TILE,
    "backward_max_kernel": RUN | THROUGH,
}


def test_interpreted_kernels_equal_the_torch_forms_forward_and_backward():
    answer = run_interpreted("interpreted_rows.py")
    assert len(answer["errors"]) == 320
    assert [(name, error) for name, error in answer["errors"] if not error < 1e-5] == []
    assert answer["unequal"] == []


@pytest.mark.parametrize(
    ("reason", "printed"), [(None, ""), ("no compiler", "rows run in plain torch, which is slower: no compiler\n")]
)
def test_where_triton_cannot_run_one_sentence_says_why(monkeypatch, capsys, reason, printed):
    monkeypatch.setattr(triton_runtime, "why_unusable", lambda: reason)
    triton_runtime._usable.cache_clear()
    try:
        assert [triton_runtime.usable("rows") for _ in range(2)] == [reason is None] * 2
        assert capsys.readouterr().err == printed
    finally:
        triton_runtime._usable.cache_clear()


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_without_spills_and_in_few_registers(cache, name, capability):
    from pcfdsl.ops.backends import triton_rows

    kernel, constants = getattr(triton_rows, name), KERNELS[name]
    arguments = {
        argument: (POINTERS | SIZES).get(argument) for argument in kernel.arg_names if argument not in constants
    }
    used = compile_for(capability, kernel, arguments, constants, cache)
    print(f"{name} sm_{capability}: {used.registers} registers, {used.stack} bytes of stack, {used.shared} shared")
    assert used.stack == 0
    assert used.registers <= 80  # then 6 blocks of 128 threads share a multiprocessor, each with 8 wide loads in flight
    assert not {"ATOM", "ATOMG", "RED"} & set(used.instructions)
