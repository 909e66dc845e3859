"""Triton kernels without a GPU: run by Triton's interpreter, or compiled for a GPU, and what the machine code says."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Resources:
    """Of a compiled kernel.

    Attributes:
        registers: Of a thread.
        stack: Bytes of a thread; what was spilled.
        shared: Bytes of a block.
        instructions: How often each instruction occurs in the code, as HGMMA or FFMA.
    """

    registers: int
    stack: int
    shared: int
    instructions: dict[str, int]


def run_interpreted(script: str) -> Any:
    """The JSON answer of a script beside this file, run in a process where Triton interprets its kernels."""
    path = Path(__file__).with_name(script)
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def compile_for(
    capability: int,
    kernel: Any,
    arguments: dict[str, str],
    constants: dict[str, Any],
    folder: Path,
    *,
    num_warps: int = 4,
    num_stages: int = 3,
    fuse: bool = True,
) -> Resources:
    """Compile a kernel for sm_`capability`.

    Args:
        capability: 80 or 90.
        kernel: A function under triton.jit.
        arguments: Types ("*fp32", "i32") of the arguments that are no constants. Pointers, and integers written
            "i32:16", are taken to be multiples of 16, as they are in real launches.
        constants: Values of the rest.
        folder: For the machine code.
        num_warps, num_stages: Of the launch.
        fuse: Whether the compiler may fuse multiplications with additions.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.exists():
        pytest.skip(f"Triton {triton.__version__} brings no cuobjdump")
    signature = {name: arguments.get(name, "constexpr").removesuffix(":16") for name in kernel.arg_names}
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if arguments.get(name, "").startswith("*") or arguments.get(name, "").endswith(":16")
    }
    compiled = triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": fuse},
    )
    path = folder / "kernel.cubin"
    path.write_bytes(compiled.asm["cubin"])
    usage, code = (
        subprocess.run([tool, option, path], capture_output=True, text=True, check=True).stdout
        for option in ("--dump-resource-usage", "-sass")
    )
    counts = {word: int(number) for word, number in re.findall(r"(REG|STACK):(\d+)", usage)}
    words = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", code, re.MULTILINE)
    return Resources(
        counts["REG"], counts["STACK"], compiled.metadata.shared, {word: words.count(word) for word in set(words)}
    )
