"""The point kernels on a GPU against their twins there, at the sizes of training."""

import pytest
import torch

from pcfdsl.ops import reference
from pcfdsl.ops.backends import triton_runtime
from pcfdsl.ops.grouping import ball_query, gather
from pcfdsl.ops.interpolate import inverse_distance_weights, nearest, three_interpolate, three_nearest
from pcfdsl.ops.sampling import farthest_point_sample

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(scope="module", params=[(20_000, "uniform"), (40_000, "uniform"), (20_000, "grid")], ids=str)
def points(request):
    """[8, N, 3] metres; the grid of 0.05 m has many duplicates and equal distances."""
    if reason := triton_runtime.why_unusable():
        pytest.fail(f"there is a GPU, but no Triton kernel runs: {reason}")
    num_points, kind = request.param
    points = torch.rand((8, num_points, 3), generator=torch.Generator().manual_seed(0)) * 4 - 2
    return ((points * 20).round() / 20 if kind == "grid" else points).cuda()


@pytest.fixture(scope="module", params=[False, True], ids=["full", "ragged"])
def lengths(request, points):
    return torch.linspace(1, points.shape[1], 8, device="cuda").long() if request.param else None


@pytest.mark.parametrize("skip", [False, True])
def test_sampling(points, lengths, skip):
    arguments = {"lengths": lengths, "skip_near_origin": skip}
    found = farthest_point_sample(points, 2048, backend="triton", **arguments)
    assert torch.equal(found, reference.farthest_point_sample(points, 2048, **arguments))
    assert torch.equal(found.cpu(), farthest_point_sample(points.cpu(), 2048, **_on_cpu(arguments)))


@pytest.mark.parametrize(("radius", "count"), [(0.2, 64), (0.4, 32), (1.2, 16)])
def test_ball_query(points, lengths, radius, count):
    centers = points[:, :2048].contiguous()
    found = ball_query(points, centers, radius, count, lengths=lengths, backend="triton")
    expected = reference.ball_query(points, centers, radius, count, lengths)
    assert torch.equal(found.indices, expected[0])
    assert torch.equal(found.counts, expected[1])


def test_nearest(points, lengths):
    queries = points[:, -1024:] + 0.01
    for search, num_neighbors in ((nearest, 1), (three_nearest, 3)):
        distances, indices = search(queries, points, lengths=lengths, backend="triton")
        twins = reference.nearest(queries, points, num_neighbors, lengths)
        assert torch.equal(indices.view(twins[1].shape), twins[1])
        torch.testing.assert_close(distances.view(twins[0].shape), twins[0], rtol=2.4e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gathering_goes_backward_as_on_the_cpu_and_repeats_to_the_last_bit(points, dtype):
    indices = ball_query(points, points[:, :2048].contiguous(), 0.4, 32, backend="triton").indices
    generator = torch.Generator().manual_seed(1)
    values = torch.randn((*points.shape[:2], 64), generator=generator).cuda().to(dtype).requires_grad_()
    weights = torch.randn((*indices.shape, 64), generator=generator).cuda().to(dtype)
    first, second = (torch.autograd.grad((gather(values, indices) * weights).sum(), values)[0] for _ in range(2))
    assert torch.equal(first, second)
    rows = (indices.flatten(1) + torch.arange(8, device="cuda")[:, None] * points.shape[1]).flatten().cpu()
    on_cpu = reference.sum_rows(weights.flatten(0, 2).cpu().float(), rows, 8 * points.shape[1])
    tolerance = {"rtol": 0, "atol": 0} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(first.flatten(0, 1).cpu().float(), on_cpu, **tolerance)


def test_interpolation_goes_backward_as_its_twin(points):
    coarse = points[:, :512].contiguous()
    distances, indices = three_nearest(points[:, :1024], coarse)
    weights = inverse_distance_weights(distances)
    values = torch.randn(8, 512, 256, device="cuda", requires_grad=True)
    found, twin = (
        torch.autograd.grad(function(values, indices, weights).square().sum(), values)[0]
        for function in (three_interpolate, reference.three_interpolate)
    )
    torch.testing.assert_close(found, twin, rtol=1e-4, atol=1e-4)


def test_networks_of_operators_compile(points):
    def network(points):
        centers = gather(points, farthest_point_sample(points, 8))
        return gather(points, ball_query(points, centers, 1.0, 4).indices).amax(2)

    some = points[:, :500].contiguous()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(some), network(some))


def _on_cpu(arguments: dict) -> dict:
    return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()}
