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
