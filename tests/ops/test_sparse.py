"""Sparse convolution against MinkowskiEngine's measured numbers, dense convolution and its plain twin."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pcfdsl.ops.sparse import (
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseGlobalPool,
    SparsePool3d,
    SparseReLU,
    add_onto,
    kernel_offsets,
    reference,
    sparse_tensor,
)
from pcfdsl.ops.sparse.coordinates import pack
from pcfdsl.ops.sparse.implicit_gemm import TILE
from pcfdsl.ops.sparse.kernels import add_rows, find_pairs, find_pairs_torch
from pcfdsl.ops.sparse.voxels import TritonVoxels

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


# --- dense convolution ------------------------------------------------------------------------------------------------


def full_grid(edge: int, first: int, num_items: int = 2) -> torch.Tensor:
    """Every voxel of a cube, in no order."""
    axis = torch.arange(first, first + edge)
    grid = torch.cartesian_prod(torch.arange(num_items), axis, axis, axis)
    return grid[torch.randperm(len(grid))]


def dense(coordinates, features, edge, first, stride=1):
    """[B, C, X, Y, Z] of features of all voxels of a cube."""
    batch_idx, x, y, z = coordinates.unbind(1)
    out = features.new_zeros(int(batch_idx.max()) + 1, features.shape[1], *[edge] * 3)
    cell = torch.stack([x, y, z]).sub(first).div(stride, rounding_mode="floor")
    return out.index_put((batch_idx, torch.arange(features.shape[1])[:, None], *cell), features.T)


def dense_weight(kernel):
    """[C_out, C_in, K, K, K] over (x, y, z) of a kernel in which x runs fastest."""
    kernel = kernel[None] if kernel.ndim == 2 else kernel
    size = round(len(kernel) ** (1 / 3))
    return kernel.view(size, size, size, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_on_a_full_grid_equals_dense_convolution_and_its_transpose(kernel_size, stride, backend):
    edge, first = 6, -6
    coordinates = full_grid(edge, first)
    features = torch.randn(len(coordinates), 3, dtype=torch.float64)
    before = 0 if kernel_size % 2 == 0 else kernel_size // 2
    after = kernel_size - 1 - before
    down = SparseConv3d(3, 4, kernel_size=kernel_size, stride=stride).double()
    up = SparseConvTranspose3d(4, 2, kernel_size=kernel_size, stride=stride).double()
    x = sparse_tensor(coordinates, features, backend=backend)
    coarse = down(x)
    fine = up(coarse, x.voxels)

    padded = F.pad(dense(coordinates, features, edge, first), (before, after) * 3)
    expected = F.conv3d(padded, dense_weight(down.kernel), stride=stride)
    mine = dense(coarse.voxels.coordinates, coarse.features, edge // stride, first, stride)
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
    spread = F.conv_transpose3d(expected, dense_weight(up.kernel).transpose(0, 1), stride=stride)
    room = F.pad(spread, (0, max(0, edge + before - spread.shape[2])) * 3)
    expected = room[(..., *[slice(before, before + edge)] * 3)]
    torch.testing.assert_close(dense(coordinates, fine.features, edge, first), expected, rtol=1e-10, atol=1e-12)


# --- the plain twin ---------------------------------------------------------------------------------------------------


def scattered(num_voxels: int, seed: int, *, num_items: int = 2, extent: int = 5) -> torch.Tensor:
    """Different voxels around the origin, in no order; every batch item has some."""
    random = torch.Generator().manual_seed(seed)
    first = torch.stack([torch.arange(num_items), *torch.randint(-extent, extent, (3, num_items), generator=random)], 1)
    more = torch.randint(-extent, extent, (num_voxels, 4), generator=random)
    more[:, 0] %= num_items
    voxels = torch.cat([first, more]).unique(dim=0)
    return voxels[torch.randperm(len(voxels), generator=random)]


def on(coordinates, backend="torch"):
    """A sparse tensor for the sake of its voxels."""
    return sparse_tensor(coordinates, torch.zeros(len(coordinates), 1), backend=backend)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kernel_size=st.sampled_from([1, 2, 3, 4]),
    stride=st.sampled_from([1, 2, 3]),
    num_voxels=st.integers(0, 60),
    region=st.sampled_from(["cube", "hybrid", "cross"]),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_twin_at_any_level(backend, kernel_size, stride, num_voxels, region, seed):
    if kernel_size % 2 == 0:
        region = "cube"
    coordinates = scattered(num_voxels, seed)
    level = on(coordinates, backend).voxels.coarser(2)
    voxels = level.coordinates
    features = torch.randn(len(voxels), 3, dtype=torch.float64, requires_grad=True)
    offsets = kernel_offsets(kernel_size, region)
    weight = torch.randn(len(offsets), 3, 2, dtype=torch.float64, requires_grad=True)
    settings_ = {"kernel_size": kernel_size, "stride": stride, "region": region}
    coarse = level.coarser(stride).coordinates
    expected_coarse = reference.coarser_coordinates(voxels, 2 * stride)
    assert sorted(coarse.tolist()) == (expected_coarse.tolist() if stride > 1 else sorted(voxels.tolist()))

    assert_same(
        level.convolve(features, weight, **settings_),
        reference.convolve(features, weight, voxels, coarse, offsets=offsets, stride=2),
        (features, weight),
    )
    given_coarse = torch.randn(len(coarse), 3, dtype=torch.float64, requires_grad=True)
    assert_same(
        level.convolve_transpose(
            given_coarse, weight, source=level.coarser(stride), kernel_size=kernel_size, region=region
        ),
        reference.convolve_transpose(given_coarse, weight, coarse, voxels, offsets=offsets, stride=2),
        (given_coarse, weight),
    )


def assert_same(mine, expected, inputs):
    """Values, and gradients of a sum that weights each value differently."""
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
    probe = torch.sin(torch.arange(mine.numel(), dtype=mine.dtype)).view_as(mine)
    expected = expected + 0 * sum(tensor.sum() for tensor in inputs)  # has a gradient even where nothing meets
    for a, b in zip(
        torch.autograd.grad((mine * probe).sum(), inputs),
        torch.autograd.grad((expected * probe).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kernel_size=st.sampled_from([2, 3]), num_voxels=st.integers(0, 40), seed=st.integers(0, 1000))
def test_transposed_convolution_goes_onto_any_finer_voxels(backend, kernel_size, num_voxels, seed):
    """Onto all that it reaches, and onto some that have nothing to do with the coarse ones."""
    coarse = on(scattered(num_voxels, seed), backend).voxels.coarser(4)
    offsets = kernel_offsets(kernel_size)
    everything = coarse.generated(kernel_size, 2)
    assert everything.stride == 2
    reached = {
        (b, x + 2 * dx, y + 2 * dy, z + 2 * dz) for b, x, y, z in coarse.coordinates.tolist() for dx, dy, dz in offsets
    }
    assert sorted(map(tuple, everything.coordinates.tolist())) == sorted(reached)
    features = torch.randn(len(coarse.coordinates), 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(offsets), 3, 2, dtype=torch.float64, requires_grad=True)
    targets = [everything]
    if backend == "torch":  # the engine's coordinates are of one manager each
        targets.append(on(scattered(30, seed + 1)).voxels.coarser(2))
    for onto in targets:
        assert_same(
            onto.convolve_transpose(features, weight, source=coarse, kernel_size=kernel_size, region="cube"),
            reference.convolve_transpose(
                features, weight, coarse.coordinates, onto.coordinates, offsets=offsets, stride=2
            ),
            (features, weight),
        )


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_generated_voxels_are_those_of_the_engines_generative_convolution():
    engine = pytest.importorskip("MinkowskiEngine", reason="third_party/minkowskiengine/build.sh")
    coordinates = scattered(200, 9)
    features = torch.randn(len(coordinates), 3, dtype=torch.float64)
    down = engine.MinkowskiConvolution(3, 4, kernel_size=2, stride=2, dimension=3).double()
    up = engine.MinkowskiGenerativeConvolutionTranspose(4, 5, kernel_size=3, stride=2, dimension=3).double()
    theirs = up(down(engine.SparseTensor(features, coordinates.int())))
    mine, onto_all = SparseConv3d(3, 4, kernel_size=2, stride=2), SparseConvTranspose3d(4, 5, kernel_size=3, stride=2)
    mine.load_state_dict(down.state_dict())
    onto_all.load_state_dict(up.state_dict())
    x = mine.double()(sparse_tensor(coordinates, features))
    out = onto_all.double()(x, x.voxels.generated(3, 2))
    order, their_order = sorted_rows(out.voxels.coordinates), sorted_rows(theirs.C.long())
    assert torch.equal(out.voxels.coordinates[order], theirs.C.long()[their_order])
    torch.testing.assert_close(out.features[order], theirs.F[their_order], rtol=1e-12, atol=1e-13)


def test_features_are_added_where_the_same_voxels_are(backend):
    coordinates = scattered(100, 2)
    x = sparse_tensor(coordinates, torch.randn(len(coordinates), 3, dtype=torch.float64), backend=backend)
    coarse = SparseConv3d(3, 4, kernel_size=3, stride=2).double()(x)
    up = SparseConvTranspose3d(4, 3, kernel_size=3, stride=2).double()(coarse, coarse.voxels.generated(3, 2))
    features = dict(zip(map(tuple, coordinates.tolist()), x.features, strict=True))
    expected = [up.features[row] + features.pop(tuple(v), 0) for row, v in enumerate(up.voxels.coordinates.tolist())]
    assert not features  # a fine voxel is its parent and an offset: generated voxels hold every one
    torch.testing.assert_close(add_onto(x, up).features, torch.stack(expected))
    assert torch.equal(add_onto(x, x).features, 2 * x.features)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (2, 2), (3, 2), (2, 1)])
def test_gradients_are_those_of_numerical_differences(kernel_size, stride):
    voxels = on(scattered(25, 3, extent=2)).voxels
    size = {"kernel_size": kernel_size, "stride": stride, "region": "cube"}
    weight = torch.randn(kernel_size**3, 2, 3, dtype=torch.float64, requires_grad=True)
    fine = torch.randn(len(voxels.coordinates), 2, dtype=torch.float64, requires_grad=True)
    coarse = torch.randn(len(voxels.coarser(stride).coordinates), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: voxels.convolve(x, w, **size), (fine, weight))
    back = {"source": voxels.coarser(stride), "kernel_size": kernel_size, "region": "cube"}
    assert torch.autograd.gradcheck(lambda x, w: voxels.convolve_transpose(x, w, **back), (coarse, weight))
    for kind in ("max", "avg", "sum"):
        pool = {"kernel_size": kernel_size, "stride": stride, "kind": kind}
        assert torch.autograd.gradcheck(lambda x, pool=pool: voxels.pool(x, **pool), fine)
        assert torch.autograd.gradcheck(lambda x, kind=kind: voxels.pool_all(x, kind=kind), fine)


# --- rows, batches, threads, types ------------------------------------------------------------------------------------


def test_rows_may_come_in_any_order_and_batch_items_do_not_meet(backend):
    coordinates = scattered(200, 1, num_items=3)
    features = torch.randn(len(coordinates), 3, dtype=torch.float64)
    layers = Chain(
        [
            SparseConv3d(3, 4, kernel_size=3),
            SparseConv3d(4, 4, kernel_size=2, stride=2),
            SparseConvTranspose3d(4, 2, kernel_size=2, stride=2),
        ]
    ).double()

    def run(rows):
        return layers(sparse_tensor(coordinates[rows], features[rows], backend=backend)).features

    out = run(torch.arange(len(coordinates)))
    order = torch.randperm(len(coordinates))
    torch.testing.assert_close(run(order), out[order], rtol=1e-12, atol=1e-13)
    for item in range(3):
        rows = (coordinates[:, 0] == item).nonzero()[:, 0]
        alone = coordinates[rows].clone()
        alone[:, 0] = 0
        x = layers(sparse_tensor(alone, features[rows], backend=backend))
        torch.testing.assert_close(x.features, out[rows], rtol=1e-12, atol=1e-13)


def test_threads_share_the_work_without_changing_the_result():
    coordinates = full_grid(22, -11, num_items=1)
    coordinates = coordinates[torch.rand(len(coordinates)) < 0.4]
    in_order = coordinates[pack(coordinates).argsort()]
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            for rows in (coordinates, in_order):
                torch.manual_seed(0)
                layers = Chain(
                    [
                        SparseConv3d(16, 48, kernel_size=3),
                        SparseConv3d(48, 64, kernel_size=2, stride=2),
                        SparseConvTranspose3d(64, 96, kernel_size=2, stride=2),
                    ]
                )
                features = torch.sin(pack(rows)[:, None] * torch.arange(1, 17)).float().requires_grad_()
                out = layers(sparse_tensor(rows, features)).features
                out.square().sum().backward()
                back = pack(rows).argsort()
                results.append([out.detach()[back], features.grad[back], *(p.grad for p in layers.parameters())])
            assert torch.get_num_threads() == num_threads
            with torch.inference_mode():
                assert torch.equal(layers(sparse_tensor(rows, features)).features, out)
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        for mine, expected in zip(result, results[0], strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_runs_are_repeatable_to_the_bit():
    coordinates = scattered(3000, 5, extent=9)
    features = torch.randn(len(coordinates), 8)
    layer = SparseConv3d(8, 16, kernel_size=3)

    def run():
        layer.zero_grad()
        x = features.clone().requires_grad_()
        layer(sparse_tensor(coordinates, x)).features.square().sum().backward()
        return x.grad, layer.kernel.grad.clone()

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_multiplies_in_half_precision_and_adds_up_in_float32(dtype):
    coordinates = scattered(600, 2, extent=4)
    features = torch.randn(len(coordinates), 16, requires_grad=True)
    layer = SparseConv3d(16, 16, kernel_size=3)
    exact = layer(sparse_tensor(coordinates, features)).features
    with torch.autocast("cpu", dtype=dtype):
        rounded = layer(sparse_tensor(coordinates, features)).features
    assert rounded.dtype == dtype
    error = (rounded.float() - exact).abs().max() / exact.abs().max()
    assert 0 < error < (0.02 if dtype == torch.bfloat16 else 0.003)
    exact_grads = torch.autograd.grad(exact.square().sum(), (features, layer.kernel))
    grads = torch.autograd.grad(rounded.float().square().sum(), (features, layer.kernel))
    for grad, expected in zip(grads, exact_grads, strict=True):
        assert grad.dtype == torch.float32
        assert (grad - expected).norm() < 0.03 * expected.norm()


def test_voxels_and_kernel_maps_are_made_once():
    voxels = on(scattered(300, 4)).voxels
    assert voxels.kernel_map(3, voxels) is voxels.kernel_map(3, voxels)
    assert voxels.kernel_map(3, voxels.coarser(2)) is voxels.kernel_map(3, voxels.coarser(2))
    assert voxels.coarser(2) is voxels.coarser(2)
    assert voxels.kernel_map(3, voxels, "hybrid").in_idx is voxels.kernel_map(3, voxels).in_idx


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_pairs_of_keys_are_those_of_binary_search(num_in, num_out, seed):
    random = torch.Generator().manual_seed(seed)
    in_keys, out_keys = (torch.randperm(80, generator=random)[:n].sort()[0] for n in (num_in, num_out))
    shifts = torch.tensor([-3, 0, 17, 500, 1])
    for mine, expected in zip(
        find_pairs(in_keys, out_keys, shifts), find_pairs_torch(in_keys, out_keys, shifts), strict=True
    ):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rows_are_added_exactly(dtype):
    out = torch.randn(9, 5, dtype=torch.promote_types(dtype, torch.float32))
    rows, idx = torch.randn(4, 5).to(dtype), torch.tensor([8, 0, 3, 1])
    expected = out.index_add(0, idx, rows.to(out.dtype))
    add_rows(out, idx, rows)
    assert torch.equal(out, expected)


# --- pooling ----------------------------------------------------------------------------------------------------------


def test_of_equal_maxima_the_first_takes_the_gradient(backend):
    coordinates = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]])
    features = torch.tensor([[2.0], [1.0], [2.0], [0.0]], requires_grad=True)
    pool = SparsePool3d("max", kernel_size=2, stride=2)
    pool(sparse_tensor(coordinates, features, backend=backend)).features.sum().backward()
    assert features.grad[:, 0].tolist() == [1, 0, 0, 1]


def test_values_that_are_not_numbers_stay_visible_in_pools():
    features = torch.tensor([[1.0], [torch.nan], [3.0]])
    x = sparse_tensor(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]), features)
    for kind in ("max", "avg", "sum"):
        pooled = SparseGlobalPool(kind)(x)
        assert pooled[0].isnan()
        assert pooled[1] == 3


# --- tables of the implicit product, which are plain torch -----------------------------------------------------------


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "region"),
    [(3, 1, "cube"), (3, 1, "hybrid"), (3, 1, "cross"), (5, 1, "cube"), (2, 1, "cube"), (2, 2, "cube"), (3, 2, "cube")],
)
def test_tables_hold_the_pairs_of_the_kernel_maps(kernel_size, stride, region, in_order):
    coordinates = scattered(400, 7)
    if in_order:
        coordinates = coordinates[pack(coordinates).argsort()]
    voxels = TritonVoxels.of(coordinates)
    coarse = voxels.coarser(stride)
    kernel_map = voxels.kernel_map(kernel_size, coarse, region)
    in_idx, out_idx = kernel_map.all_pairs()
    sizes = [kernel_map.num_in if k == kernel_map.identity else b - a for k, (a, b) in enumerate(kernel_map.groups)]
    weight_idx = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    expected = set(zip(weight_idx.tolist(), in_idx.tolist(), out_idx.tolist(), strict=True))
    down, up = voxels.meetings(kernel_size, coarse, region)
    assert pairs_of(down) == expected
    assert {(k, i, j) for k, j, i in pairs_of(up)} == expected
    assert (down.table is up.table) == (stride == 1 and kernel_size % 2 == 1 and region != "cross")
    assert voxels.meetings(kernel_size, coarse, region)[0].table is down.table


def pairs_of(meetings):
    """(weight, input row, output row) of all that meet, after checking that tiles list what they hold."""
    table = meetings.table
    num_splits, num_tiles, num_offsets = table.offsets.shape
    rows = table.rows.view(num_splits, num_offsets, num_tiles, TILE)
    pairs = set()
    for split in range(num_splits):
        order = table.order[split].view(num_tiles, TILE)
        assert sorted(order[order >= 0].tolist()) == list(range(table.num_out))
        for tile in range(num_tiles):
            listed = table.offsets[split, tile, : table.num_offsets[split, tile]].tolist()
            assert listed == (rows[split, :, tile] >= 0).any(1).nonzero()[:, 0].tolist()
            for offset in listed:
                assert (
                    tile in table.tiles[split * num_offsets + offset, : table.num_tiles[split * num_offsets + offset]]
                )
                weight = int(meetings.weight_idx[split * num_offsets + offset])
                found = zip(rows[split, offset, tile].tolist(), order[tile].tolist(), strict=True)
                pairs |= {(weight, i, j) for i, j in found if i >= 0}
    return pairs


def test_rows_with_the_same_offsets_lie_together():
    """Or else every tile would compute every offset: 27 for the few that a row of a surface has."""
    coordinates = scattered(3000, 11, extent=14)
    coordinates = coordinates[pack(coordinates).argsort()]
    voxels = TritonVoxels.of(coordinates)
    table = voxels.meetings(3, voxels)[0].table
    needed, computed = int((table.rows >= 0).sum()), int(table.num_offsets.sum()) * TILE
    assert needed < computed < 2.5 * needed
