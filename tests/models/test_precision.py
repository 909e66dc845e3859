from contextlib import nullcontext

import pytest
import torch
from llvmlite import binding

from pcfdsl.models import precision


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch computes bfloat16 by oneDNN")
@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2": True, "avx512f": True, "avx512bf16": False}, False),
        ({"avx512bf16": True}, True),
        ({"amx-bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, False),
    ],
)
def test_a_processors_features_say_whether_it_has_bfloat16(monkeypatch, features, expected):
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
    precision.has_bfloat16.cache_clear()
    assert precision.has_bfloat16("cpu") == expected
    precision.has_bfloat16.cache_clear()


def test_float16_is_never_replaced(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: False)
    with precision.autocast(torch.device("cpu"), "float16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16


def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32_and_float16_is_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    precision.has_bfloat16.cache_clear()
    precision._note_float32.cache_clear()
    for _ in range(2):
        assert isinstance(precision.autocast(torch.device("cuda"), "bfloat16"), nullcontext)
    said = "this GPU has no bfloat16 arithmetic; float32, faster on it, takes its place; float16 may be faster still"
    assert capsys.readouterr().err.count(said) == 1
    precision.has_bfloat16.cache_clear()
