"""How points become voxels, and what is refused with which reason."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.ops.sparse import (
    SparseConv3d,
    SparseConvTranspose3d,
    SparseGlobalPool,
    add_onto,
    minkowski,
    quantize,
    sparse_tensor,
)
from pcfdsl.ops.sparse.coordinates import pack, unpack


def test_quantize_equals_minkowski_engine(golden):
    arrays = golden("minkowski_pool.npz")
    voxels, point_idx, voxel_idx = quantize(torch.from_numpy(arrays["quantize/points"]), 0.2)
    np.testing.assert_array_equal(voxels, arrays["quantize/coords"])
    np.testing.assert_array_equal(point_idx, arrays["quantize/index"])
    np.testing.assert_array_equal(voxel_idx, arrays["quantize/inverse"])


@given(st.integers(1, 80), st.sampled_from([0.05, 0.3, 1.0]), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_quantize_finds_the_voxel_of_every_point_and_the_first_point_of_every_voxel(
    num_points, voxel_size, has_origin, has_batch, seed
):
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(num_points, 3, generator=random)
    origin = torch.tensor([0.2, -3.0, 0.01]) if has_origin else None
    batch_idx = torch.randint(3, (num_points,), generator=random) if has_batch else None
    voxels, point_idx, voxel_idx = quantize(points, voxel_size, origin=origin, batch_idx=batch_idx)
    cells = torch.floor((points - (0 if origin is None else origin)) / voxel_size).long()
    if batch_idx is not None:
        cells = torch.cat([batch_idx[:, None], cells], 1)
    assert torch.equal(voxels[voxel_idx], cells)
    assert torch.equal(cells[point_idx], voxels)
    assert len(voxels) == len(set(map(tuple, cells.tolist())))
    assert (point_idx.diff() > 0).all()
    firsts = [voxel_idx.tolist().index(v) for v in range(len(voxels))]
    assert point_idx.tolist() == firsts


@given(
    st.lists(st.tuples(st.integers(0, 4095), *[st.integers(-32768, 32767)] * 3), min_size=2, max_size=20, unique=True)
)
def test_keys_sort_like_voxels_and_unpack_to_them(voxels):
    coordinates = torch.tensor(voxels)
    keys = pack(coordinates)
    assert torch.equal(unpack(keys), coordinates)
    assert coordinates[keys.argsort()].tolist() == sorted(map(list, voxels))


def test_voxels_at_the_ends_of_the_range_have_no_neighbors_across_it():
    ends = torch.tensor([[0, -32768, -32768, -32768], [0, 32767, 32767, 32767], [1, -32768, 32767, -32768]])
    layer = SparseConv3d(1, 1, kernel_size=5)
    out = layer(sparse_tensor(ends, torch.ones(3, 1))).features
    torch.testing.assert_close(out, layer.kernel[62].expand(3, 1))


@pytest.mark.parametrize(("change", "message"), [
    (lambda p: p[:0], "no points"),
    (lambda p: p.double().long(), "float32 or float64"),
        (lambda p: p.half(), "float32 or float64"),
    (lambda p: p[:, :2], r"\[N, 3\]"),
    (lambda p: p.index_fill(0, torch.tensor([4]), torch.nan), "NaN or infinity, first at point 4"),
    (lambda p: p.index_fill(0, torch.tensor([2]), torch.inf), "NaN or infinity, first at point 2"),
    (lambda p: p + 1e7, r"outside voxels -32768\.\.32767"),
])  # fmt: skip
def test_quantize_says_what_is_wrong_with_points(change, message):
    with pytest.raises(ValueError, match=message):
        quantize(change(torch.zeros(6, 3)), 0.05)


def test_quantize_says_what_is_wrong_with_its_settings():
    points = torch.zeros(6, 3)
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="voxel_size must be positive and finite"):
            quantize(points, size)
    with pytest.raises(ValueError, match="points are on cpu, batch_idx is on meta"):
        quantize(points, 0.1, batch_idx=torch.zeros(6, dtype=torch.int64, device="meta"))
    with pytest.raises(ValueError, match=r"origin must be \[3\] metres, got \[2\]"):
        quantize(points, 0.1, origin=torch.zeros(2))
    with pytest.raises(ValueError, match=r"batch_idx must be integer \[N\] = \[6\]"):
        quantize(points, 0.1, batch_idx=torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"0\.\.4095"):
        quantize(points, 0.1, batch_idx=torch.full((6,), 5000))


@pytest.mark.parametrize(("coordinates", "features", "message"), [
    (torch.zeros(0, 4).long(), torch.zeros(0, 1), "no voxels"),
    (torch.zeros(3, 3).long(), torch.zeros(3, 1), r"\[V, 4\]"),
    (torch.zeros(3, 4), torch.zeros(3, 1), "int32 or int64"),
    (torch.eye(4).long()[:2], torch.zeros(3, 1), r"V = 2"),
    (torch.eye(4).long()[:2], torch.zeros(2, 1).long(), "floating point"),
    (torch.tensor([[0, 0, 0, 40000]]), torch.zeros(1, 1), r"-32768\.\.32767"),
    (torch.tensor([[-1, 0, 0, 0]]), torch.zeros(1, 1), r"0\.\.4095"),
    (torch.tensor([[0, 0, 0, 0], [2, 0, 0, 0]]), torch.zeros(2, 1), "batch item 1 has no voxels"),
    (torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 2, 3]]), torch.zeros(3, 1), r"are duplicates.*\[0, 1, 2, 3\]"),
    (torch.tensor([[0, 1, 2, 3]]), torch.zeros(1, 1, device="meta"), "on cpu, features on meta"),
])  # fmt: skip
def test_sparse_tensors_say_what_is_wrong_with_them(coordinates, features, message):
    with pytest.raises(ValueError, match=message):
        sparse_tensor(coordinates, features)


def test_layers_say_what_does_not_fit():
    x = sparse_tensor(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]), torch.ones(2, 3))
    with pytest.raises(ValueError, match="takes 4 channels, the features have 3"):
        SparseConv3d(4, 5, kernel_size=3)(x)
    with pytest.raises(ValueError, match=r"weights are torch\.float64, the features torch\.float32"):
        SparseConv3d(3, 5, kernel_size=3).double()(x)
    with pytest.raises(ValueError, match="on meta, the features on cpu"):
        SparseConv3d(3, 5, kernel_size=3).to("meta")(x)
    with pytest.raises(ValueError, match=r"stride 1, not 2 times the target's \(1\)"):
        SparseConvTranspose3d(3, 5, kernel_size=2, stride=2)(x, x.voxels)
    with pytest.raises(ValueError, match="voxels of stride 1 cannot be made finer by 2"):
        x.voxels.generated(3, 2)
    with pytest.raises(ValueError, match=r"1 voxels are not among the others.*\[0, 1, 0, 0\]"):
        add_onto(x, sparse_tensor(torch.tensor([[0, 0, 0, 0], [0, 2, 0, 0]]), torch.ones(2, 3)))
    for wrong in ({"kernel_size": 0}, {"kernel_size": 2, "region": "hybrid"}, {"kernel_size": 3, "region": "ball"}):
        with pytest.raises(ValueError, match=r"kernel|region"):
            SparseConv3d(3, 5, **wrong)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        SparseConv3d(3, 5, kernel_size=3, stride=0)
    with pytest.raises(ValueError, match="expected max, avg or sum"):
        SparseGlobalPool("min")(x)
    with pytest.raises(ValueError, match="expected auto, torch, triton or minkowski"):
        sparse_tensor(torch.zeros(1, 4).long(), torch.zeros(1, 1), backend="spconv")


def test_triton_is_for_cuda():
    with pytest.raises(ValueError, match="'triton' runs on CUDA, the voxels are on cpu; use 'auto'"):
        sparse_tensor(torch.zeros(1, 4).long(), torch.zeros(1, 1), backend="triton")


def test_a_backend_that_is_not_installed_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(minkowski, "is_available", lambda: False)
    with pytest.raises(ValueError, match="MinkowskiEngine, which is not installed"):
        sparse_tensor(torch.zeros(1, 4).long(), torch.zeros(1, 1), backend="minkowski")
    assert sparse_tensor(torch.zeros(1, 4).long(), torch.zeros(1, 1)).voxels.stride == 1
