import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.models.batch_norm import SynchronizedBatchNorm, moments_over_processes
from pcfdsl.ops.neighborhoods import neighbor_rows
from pcfdsl.ops.rows import norm_relu, norm_relu_max, norm_relu_max_torch, norm_relu_torch
from pcfdsl.rng import stream

EPS = 1e-5


def padded_neighborhoods(*, num_items, num_points, num_centers, num_neighbors, seed=0):
    """A ball query's answer: increasing indices, then the first again; some centres without any."""
    random = stream(seed, "neighborhoods")
    counts = random.integers(0, min(num_neighbors, num_points) + 1, (num_items, num_centers))
    indices = np.zeros((num_items, num_centers, num_neighbors), dtype=np.int64)
    for b, s in np.ndindex(*counts.shape):
        found = np.sort(random.permutation(num_points)[: counts[b, s]])
        indices[b, s, : counts[b, s]] = found
        indices[b, s, counts[b, s] :] = found[0] if len(found) else 0
    return torch.from_numpy(indices), torch.from_numpy(counts)


def parameters(rows, channels, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    tensors = torch.randn(rows, channels), torch.rand(channels) - 0.3, torch.randn(channels)
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def ragged(channels, dtype=torch.float64, num_centers=9, seed=0):
    indices, counts = padded_neighborhoods(
        num_items=2, num_points=20, num_centers=num_centers, num_neighbors=6, seed=seed
    )
    rows = neighbor_rows(indices, counts, num_points=20)
    return rows, parameters(len(rows.point_idx), channels, dtype, seed)


@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.integers(1, 9), st.integers(0, 1000))
def test_rows_say_the_same_as_the_padded_neighborhoods(num_items, num_points, num_centers, num_neighbors, seed):
    shape = {"num_items": num_items, "num_points": num_points, "num_centers": num_centers}
    indices, counts = padded_neighborhoods(**shape, num_neighbors=num_neighbors, seed=seed)
    rows = neighbor_rows(indices, counts, num_points=num_points)
    padded = indices + torch.arange(num_items)[:, None, None] * num_points
    for i, neighborhood in enumerate(padded.flatten(0, 1)):
        mine = slice(int(rows.starts[i]), int(rows.starts[i + 1]))
        repeated = rows.point_idx[mine].repeat_interleave(rows.multiplicity[mine].long())
        assert sorted(repeated.tolist()) == sorted(neighborhood.tolist())
        assert (rows.center_idx[mine] == i).all()
        assert len(set(rows.point_idx[mine].tolist())) == mine.stop - mine.start
    assert rows.starts[-1] == len(rows.point_idx)


@pytest.mark.parametrize("given_statistics", [False, True])
def test_gradients_are_those_of_the_numerical_differences(given_statistics):
    rows, (values, weight, bias) = ragged(3)
    statistics = torch.rand(2, 3, dtype=torch.float64) if given_statistics else None
    settings = {"multiplicity": rows.multiplicity.double(), "eps": EPS, "statistics": statistics}
    for operator in (
        lambda *x: norm_relu(*x, **settings)[0],
        lambda *x: norm_relu_max(*x, starts=rows.starts, **settings)[0],
    ):
        assert torch.autograd.gradcheck(operator, (values, weight, bias))


@pytest.mark.parametrize("given_statistics", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_equal_their_twins_forward_and_backward(dtype, given_statistics):
    rows, inputs = ragged(17, dtype, num_centers=4000)  # several blocks
    statistics = torch.rand(2, 17, dtype=dtype) if given_statistics else None
    settings = {"multiplicity": rows.multiplicity, "eps": EPS, "statistics": statistics}
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    for fast, twin, extra in (
        (norm_relu, norm_relu_torch, {}),
        (norm_relu_max, norm_relu_max_torch, {"starts": rows.starts}),
    ):
        results = []
        for operator in (fast, twin):
            out, used = operator(*inputs, **extra, **settings)
            probe = torch.sin(torch.arange(out.numel())).view_as(out).to(dtype)
            results.append((out.detach(), used, *torch.autograd.grad((out * probe).sum(), inputs)))
        for mine, expected in zip(*results, strict=True):
            close = (mine - expected).abs() <= tolerance * expected.abs().max()
            # In float32 rounding may move a value that is nearly 0 across the ReLU's kink.
            assert close.all() if dtype == torch.float64 else close.double().mean() > 1 - 1e-4


def test_equals_batch_norm_of_the_padded_layout():
    indices, counts = padded_neighborhoods(num_items=2, num_points=30, num_centers=50, num_neighbors=8)
    points, weight, bias = parameters(60, 5)
    rows = neighbor_rows(indices, counts, num_points=30)
    settings = {"multiplicity": rows.multiplicity, "eps": EPS}
    pooled, used = norm_relu_max(points[rows.point_idx], weight, bias, starts=rows.starts, **settings)

    padded = points[indices + torch.arange(2)[:, None, None] * 30].permute(0, 3, 1, 2)
    mean, variance = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    normed = F.batch_norm(padded, mean, variance, weight, bias, training=True, momentum=1.0, eps=EPS)
    expected = normed.relu().amax(3).permute(0, 2, 1).flatten(0, 1)
    total = 2 * 50 * 8
    torch.testing.assert_close(pooled, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(used, torch.stack([mean, variance * (total - 1) / total]), rtol=1e-9, atol=1e-12)
    probe = torch.sin(torch.arange(pooled.numel())).view_as(pooled).double()
    mine = torch.autograd.grad((pooled * probe).sum(), (points, weight, bias))
    twin = torch.autograd.grad((expected * probe).sum(), (points, weight, bias))
    for a, b in zip(mine, twin, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_results_do_not_depend_on_the_number_of_threads():
    rows, inputs = ragged(8, torch.float32, num_centers=5000)
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            out, used = norm_relu_max(*inputs, starts=rows.starts, multiplicity=rows.multiplicity, eps=EPS)
            # One value per channel, so that torch's own sums over threads stay out of it.
            results.append((out, used, *torch.autograd.grad(out, inputs, torch.ones_like(out))))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_stay_in_float32_under_autocast(dtype):
    """In float16 the weights of a mean over 100,000 rows are subnormal; output was off by percents."""
    rows, weight, bias = (values.detach() for values in parameters(100_000, 4, torch.float32))
    rows = rows * 3 + 5
    starts, multiplicity = torch.arange(0, 100_001, 10), torch.ones(100_000)
    settings = {"multiplicity": multiplicity, "eps": EPS}
    norm = SynchronizedBatchNorm(torch.nn.BatchNorm1d(4))

    def results():
        out, used = norm_relu_torch(rows, weight, bias, **settings)
        pooled, _ = norm_relu_max_torch(rows, weight, bias, starts=starts, **settings)
        return out, used, pooled, moments_over_processes(rows, multiplicity)[0], norm(rows)

    expected = results()
    with torch.autocast("cpu", dtype=dtype):
        found = results()
    for mine, wanted in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, wanted, rtol=0, atol=0)


def test_values_that_are_not_numbers_stay_visible():
    rows, inputs = ragged(3)
    with torch.no_grad():
        inputs[0][0, 0] = torch.nan
    out, _ = norm_relu(*inputs, multiplicity=rows.multiplicity, eps=EPS)
    pooled, _ = norm_relu_max(*inputs, starts=rows.starts, multiplicity=rows.multiplicity, eps=EPS)
    assert out[:, 0].isnan().all()
    assert pooled[:, 0].isnan().all()
    assert not out[:, 1:].isnan().any()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
def test_torch_accepts_the_registered_operators():
    rows, inputs = ragged(3, torch.float32)
    with torch.no_grad():
        statistics = torch.rand(2, 3)
    torch.library.opcheck(torch.ops.pcfdsl.norm_relu, (*inputs, rows.multiplicity, EPS, None))
    torch.library.opcheck(torch.ops.pcfdsl.norm_relu_max, (*inputs, rows.starts, rows.multiplicity, EPS, statistics))
