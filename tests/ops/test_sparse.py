"""Sparse convolution against MinkowskiEngine's measured numbers, dense convolution and its plain twin."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcfdsl.ops.sparse import (
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseGlobalPool,
    SparsePool3d,
    SparseReLU,
    kernel_offsets,
    quantize,
    sparse_tensor,
)
from pcfdsl.ops.sparse import minkowski

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CONVOLUTIONS = [f"conv_k{k}_s{s}" for k in (1, 2, 3, 5) for s in (1, 2)]
POOLS = [f"pool_{kind}_{size}" for kind in ("max", "avg", "sum") for size in ("k2_s2", "k3_s2", "k3_s1")]


class Chain(nn.ModuleList):
    """Layers in a row; a transposed convolution goes back onto the voxels before the last strided one."""

    def forward(self, x):
        visited = []
        for layer in self:
            if isinstance(layer, SparseConvTranspose3d):
                x = layer(x, visited.pop())
                continue
            if getattr(layer, "stride", 1) > 1:
                visited.append(x.voxels)
            x = layer(x)
        return x


@pytest.fixture(
    params=[
        "torch",
        pytest.param(
            "minkowski",
            marks=pytest.mark.skipif(
                not minkowski.is_available(),
                reason="MinkowskiEngine is not installed (third_party/minkowskiengine/build.sh)",
            ),
        ),
    ]
)
def backend(request) -> str:
    """What computes; every test that asks for it holds for both."""
    return request.param


def layers_of(case: str) -> Chain:
    if case == "conv_k3_cross":
        return Chain([SparseConv3d(5, 7, kernel_size=3, region="cross")])
    if case.startswith("conv"):
        return Chain([SparseConv3d(5, 7, kernel_size=int(case[6]), stride=int(case[9]), bias=True)])
    if case.startswith("down_up"):
        size = {"kernel_size": int(case[-1]), "stride": 2}
        return Chain([SparseConv3d(5, 6, **size), SparseConvTranspose3d(6, 4, **size)])
    if case == "two_levels":
        return Chain(
            [
                SparseConv3d(5, 6, kernel_size=2, stride=2),
                SparseConv3d(6, 6, kernel_size=3, stride=2),
                SparseConvTranspose3d(6, 6, kernel_size=3, stride=2),
                SparseConvTranspose3d(6, 4, kernel_size=2, stride=2),
            ]
        )
    if case == "block":
        first, second = SparseConv3d(5, 8, kernel_size=3), SparseConv3d(8, 8, kernel_size=3)
        return Chain([first, SparseBatchNorm(8), SparseReLU(), second])
    if case.startswith("pool"):
        _, kind, kernel, stride = case.split("_")
        return Chain([SparsePool3d(kind, kernel_size=int(kernel[1]), stride=int(stride[1]))])
    return Chain([SparseGlobalPool(case.removeprefix("global_"))])


def file_of(case: str) -> str:
    if case in ("conv_k1_s1", "conv_k1_s2", "conv_k3_cross", "down_up_k2", "down_up_k3", "two_levels", "block"):
        return "net"
    return "conv" if case.startswith("conv") else "pool"


def sorted_rows(coordinates):
    return np.lexsort(coordinates.numpy().T[::-1])


@pytest.mark.parametrize(
    "case",
    [
        *CONVOLUTIONS,
        "conv_k3_cross",
        *POOLS,
        "global_avg",
        "global_max",
        "down_up_k2",
        "down_up_k3",
        "two_levels",
        "block",
    ],
)
def test_equals_minkowski_engine_forward_and_backward(golden, case, backend):
    arrays = golden(f"minkowski_{file_of(case)}.npz")
    chain = layers_of(case).double()
    stored = {name.removeprefix(f"{case}/"): arrays[name] for name in arrays.files if name.startswith(f"{case}/")}
    state = {name[6:]: torch.from_numpy(value) for name, value in stored.items() if name.startswith("param/")}
    missing = chain.load_state_dict(state, strict=case != "block")
    assert all(name.split(".")[-1].startswith(("running", "num_batches")) for name in missing.missing_keys)
    features = torch.from_numpy(arrays["feats"]).requires_grad_()
    x = chain(sparse_tensor(torch.from_numpy(arrays["coords"]), features, backend=backend))
    if case.startswith("global"):
        out, order = x, slice(None)
    else:
        out, order = x.features, sorted_rows(x.voxels.coordinates)
        np.testing.assert_array_equal(x.voxels.coordinates[order], stored["out_coords"])
    np.testing.assert_allclose(out[order].detach(), stored["out"], rtol=1e-12, atol=1e-13)
    (out[order] * torch.from_numpy(stored["probe"])).sum().backward()
    np.testing.assert_allclose(features.grad, stored["grad_feats"], rtol=1e-11, atol=1e-13)
    for name, parameter in chain.named_parameters():
        np.testing.assert_allclose(parameter.grad, stored[f"grad/{name}"], rtol=1e-10, atol=1e-12)
    buffers = dict(chain.named_buffers())
    assert sorted(buffers) == sorted(name[13:] for name in stored if name.startswith("buffer_after/"))
    for name, buffer in buffers.items():
        np.testing.assert_allclose(buffer, stored[f"buffer_after/{name}"], rtol=1e-12)


def test_quantize_equals_minkowski_engine(golden):
    arrays = golden("minkowski_pool.npz")
    voxels, point_idx, voxel_idx = quantize(torch.from_numpy(arrays["quantize/points"]), 0.2)
    np.testing.assert_array_equal(voxels, arrays["quantize/coords"])
    np.testing.assert_array_equal(point_idx, arrays["quantize/index"])
    np.testing.assert_array_equal(voxel_idx, arrays["quantize/inverse"])
