"""Norm, ReLU and maximum over rows on a GPU: the kernels against the torch forms, at the sizes of training."""

import pytest
import torch

from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.ops.backends import triton_runtime
from pcfdsl.ops.neighborhoods import NeighborRows, neighbor_rows
from pcfdsl.ops.rows import norm_relu, norm_relu_max, norm_relu_max_torch, norm_relu_torch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

EPS = 1e-5


@pytest.fixture(scope="module", params=[(2048, 64), (256, 16)], ids=str)
def neighborhoods(request) -> NeighborRows:
    """Of 8 clouds; about 850,000 rows with 2,048 centres and up to 64 neighbours."""
    if reason := triton_runtime.why_unusable():
        pytest.fail(f"there is a GPU, but no Triton kernel runs: {reason}")
    num_centers, num_neighbors = request.param
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 2 * num_neighbors, (8, num_centers), generator=generator).clamp(max=num_neighbors)
    indices = torch.randint(0, 20_000, (8, num_centers, num_neighbors), generator=generator)
    return neighbor_rows(indices.cuda(), counts.cuda(), num_points=20_000)


@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("num_channels", [64, 100, 256])
def test_equal_the_torch_forms_and_repeat_to_the_last_bit(neighborhoods, num_channels, is_given):
    generator = torch.Generator("cuda").manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=generator, device="cuda")

    rows = random(len(neighborhoods.point_idx), num_channels) + 5 * random(num_channels)
    inputs = rows, random(num_channels), random(num_channels)
    given = torch.stack([rows.mean(0), 0.5 + random(num_channels).square()]) if is_given else None
    for fast, form, extra, num_out in (
        (norm_relu, norm_relu_torch, {}, len(rows)),
        (norm_relu_max, norm_relu_max_torch, {"starts": neighborhoods.starts}, len(neighborhoods.starts) - 1),
    ):
        probe = random(num_out, num_channels)

        def results(operator, dtype, extra=extra, probe=probe):
            leaves = [tensor.to(dtype).requires_grad_() for tensor in inputs]
            statistics = None if given is None else given.to(dtype)
            settings = {"multiplicity": neighborhoods.multiplicity, "eps": EPS, "statistics": statistics, **extra}
            out, used = operator(*leaves, **settings)
            return out.detach(), used, *torch.autograd.grad(out, leaves, probe.to(dtype))

        found, again = results(fast, torch.float32), results(fast, torch.float32)
        for mine, repeated, exact in zip(found, again, results(form, torch.float64), strict=True):
            assert torch.equal(mine, repeated)
            # In norm: rounding may move a value that is nearly 0 across the kink of the ReLU, or change a winner.
            assert (mine.double() - exact).norm() < (1e-5 if mine.ndim == 2 and len(mine) <= 2 else 5e-3) * exact.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_stay_in_float32_under_autocast(neighborhoods, dtype):
    norm = RowNormReLU(64).cuda()
    rows = torch.randn(len(neighborhoods.point_idx), 64, device="cuda") + 5
    for form in (norm_relu, norm_relu_torch):
        with torch.autocast("cuda", dtype=dtype):
            out, used = form(rows, norm.weight, norm.bias, multiplicity=neighborhoods.multiplicity, eps=EPS)
        exact = norm_relu_torch(
            rows.double(), norm.weight.double(), norm.bias.double(), multiplicity=neighborhoods.multiplicity, eps=EPS
        )
        torch.testing.assert_close(used.double(), exact[1], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(out.double(), exact[0], rtol=1e-4, atol=1e-4)


def test_a_layer_waits_for_nothing(neighborhoods):
    norm = RowNormReLU(64).cuda()
    rows = torch.randn(len(neighborhoods.point_idx), 64, device="cuda", requires_grad=True)
    for round_ in range(2):
        torch.cuda.set_sync_debug_mode("error" if round_ else "default")
        try:
            norm(norm(rows, neighborhoods.multiplicity), neighborhoods=neighborhoods).square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
