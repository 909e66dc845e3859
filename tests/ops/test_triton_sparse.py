"""The Triton kernels of sparse convolution without a GPU: answers in Triton's interpreter, and what they compile to."""

import pytest
import torch

from tests.ops.compiled import compile_for, run_interpreted

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch on Linux)")

TABLES = {"weight_idx": "*i32", "rows": "*i32", "order": "*i32", "num_slots": "i32:16"}
CHANNELS = {"num_in": "i32:16", "num_out": "i32:16"}
# Type, precision, and what multiplies on sm_80 and on sm_90.
FACTORS = {
    "bfloat16": ("bf16", "tf32", "HMMA", "HGMMA"),
    "TF32": ("fp32", "tf32", "HMMA", "HGMMA"),
    "float32": ("fp32", "ieee", "FFMA", "FFMA"),
}


def test_interpreted_kernels_equal_the_torch_form_forward_and_backward():
    errors = run_interpreted("interpreted_sparse.py")["errors"]
    assert len(errors) > 150
    # Sums are float32; of float16 what comes out is rounded once more, by at most half of 2^-10.
    bounds = {"float32": 1e-6, "float16": 2**-11 + 1e-6}
    assert [(name, error) for name, dtype, error in errors if not error <= bounds[dtype]] == []


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("channels", [(32, 32), (96, 128)], ids=str)
@pytest.mark.parametrize("factors", FACTORS)
def test_products_run_on_tensor_cores_without_spills(cache, factors, channels, capability):
    from pcfdsl.ops.backends import triton_sparse

    kind, precision, *instructions = FACTORS[factors]
    instruction = instructions[capability == 90]
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    block_in, block_out = triton_sparse.multiply_blocks(*channels, dtype, precision)
    constants = {"D": 9, "TILE": 64, "BN": block_out, "BK": block_in, "PRECISION": precision}
    arguments = TABLES | CHANNELS | {"x": f"*{kind}", "weight": f"*{kind}", "before": "*fp32", "out": f"*{kind}"}
    arguments |= {"offsets": "*i32", "num_offsets": "*i32", "split": "i32"}
    for transposed in (False, True):  # forward, and the gradient of the features
        constants |= {"TRANSPOSED": transposed, "FIRST": False, "IN_PLACE": False}
        used = compile_for(capability, triton_sparse.multiply_kernel, arguments, constants, cache)
        report(f"multiply {'transposed' if transposed else ''}", factors, channels, capability, used, instruction)
        assert used.stack == 0
        assert used.registers <= 200  # then two blocks of 128 threads share a multiprocessor at least
        assert used.instructions.get(instruction, 0) > 0
        assert used.instructions.get("LDGSTS", 0) > 0, "loads are not issued ahead"
        assert not {"ATOM", "ATOMG", "RED"} & set(used.instructions)

    block_in, block_out = triton_sparse.weight_blocks(*channels, precision)
    constants = {"D": 9, "TILE": 64, "BM": block_in, "BN": block_out, "PRECISION": precision}
    arguments = TABLES | CHANNELS | {"x": f"*{kind}", "grad": f"*{kind}", "partial": "*fp32"}
    arguments |= {"tiles": "*i32", "num_tiles": "*i32", "num_weights": "i32"}
    used = compile_for(capability, triton_sparse.weight_kernel, arguments, constants, cache)
    if block_in < 64 and instruction == "HGMMA":
        instruction = "HMMA"  # HGMMA has 64 rows at least
    report("weight gradient", factors, channels, capability, used, instruction)
    assert used.stack == 0
    assert used.instructions.get(instruction, 0) > 0
    assert not {"ATOM", "ATOMG", "RED"} & set(used.instructions)


def report(kernel, factors, channels, capability, used, instruction) -> None:
    print(
        f"{kernel} {factors} {channels} sm_{capability}: {used.registers} registers, {used.stack} bytes of stack, "
        f"{used.shared} shared, {used.instructions.get(instruction, 0)} {instruction}"
    )
