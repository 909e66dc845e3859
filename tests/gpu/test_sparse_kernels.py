"""Sparse convolution on a GPU: the implicit product against the torch form, at the sizes of training."""

import pytest
import torch

from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.ops.backends import triton_runtime
from pcfdsl.ops.sparse import quantize
from pcfdsl.ops.sparse.coordinates import pack
from pcfdsl.ops.sparse.voxels import TorchVoxels, TritonVoxels

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

NUM_SCENES = 32
# Kernel, stride, and whether it goes up: what SR-UNet has at a level.
KERNELS = ((3, 1, "hybrid", False), (3, 1, "cube", False), (2, 2, "cube", False), (2, 2, "cube", True))


@pytest.fixture(scope="module")
def coordinates():
    """[V, 4] on the GPU, sorted: about 8,000 voxels a scene on waves, as densely as on the surfaces of a room."""
    if reason := triton_runtime.why_unusable():
        pytest.fail(f"there is a GPU, but no Triton kernel runs: {reason}")
    points = torch.rand((NUM_SCENES, 20_000, 3), generator=torch.Generator().manual_seed(0)) * 6
    points[..., 2] = 1.5 + points[..., 0].sin() * points[..., 1].cos()
    scene = torch.arange(NUM_SCENES).repeat_interleave(points.shape[1])
    voxels, _, _ = quantize(points.flatten(0, 1).cuda(), 0.06, batch_idx=scene.cuda())
    return voxels[pack(voxels).argsort()]


@pytest.fixture(autouse=True)
def precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def results(voxels, features, weight, probe, *, upward, **settings):
    """Output, and gradients of features and weight."""
    leaves = [tensor.clone().requires_grad_() for tensor in (features, weight)]
    if upward:
        settings["source"] = voxels.coarser(settings.pop("stride"))
    out = (voxels.convolve_transpose if upward else voxels.convolve)(*leaves, **settings)
    return out.detach(), *torch.autograd.grad(out, leaves, probe.to(out.dtype))


# Errors as a share of the norm. bfloat16: factors are exact, what comes out is rounded by at most 2^-9. TF32: tensor
# cores drop all but 10 bits of each factor, an error of up to 2^-10 each, which adds up as the products do: at random.
@pytest.mark.parametrize(("factors", "bound"), [("float32", 3e-6), ("TF32", 2**-9), ("bfloat16", 2**-9 + 1e-6)])
@pytest.mark.parametrize("channels", [(3, 32), (32, 64), (96, 96), (256, 128)], ids=str)
@pytest.mark.parametrize(("size", "stride", "region", "upward"), KERNELS)
@pytest.mark.parametrize("level", [1, 4])
def test_equals_the_torch_form_and_repeats_to_the_last_bit(
    coordinates, level, size, stride, region, upward, channels, factors, bound
):
    torch.set_float32_matmul_precision("high" if factors == "TF32" else "highest")
    dtype = torch.bfloat16 if factors == "bfloat16" else torch.float32
    fast, twin = (kind.of(coordinates).coarser(level) for kind in (TritonVoxels, TorchVoxels))
    settings = {"kernel_size": size, "stride": stride, "region": region, "upward": upward}
    num_rows = [len(voxels.coordinates) for voxels in (twin, twin.coarser(stride))][:: -1 if upward else 1]
    generator = torch.Generator("cuda").manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    features, weight = random(num_rows[0], channels[0]), random(size**3, *channels)
    probe = random(num_rows[1], channels[1])
    found = results(fast, features, weight, probe, **settings)
    again = results(fast, features, weight, probe, **settings)
    exact = results(twin, features.double(), weight.double(), probe, **settings)
    for name, mine, repeated, wanted in zip(("output", "features", "weight"), found, again, exact, strict=True):
        assert torch.equal(mine, repeated), name
        assert (mine.double() - wanted).norm() <= bound * wanted.norm(), name


def test_maps_and_products_wait_for_nothing(coordinates):
    """But for coarser voxels, whose number the host has to know. The first maps upload the kernel's offsets, once."""
    for round_ in range(2):
        voxels = TritonVoxels.of(coordinates)
        voxels.coarser(2)
        features = torch.randn(len(coordinates), 16, device="cuda", requires_grad=True)
        weights = {size: torch.randn(size**3, 16, 16, device="cuda", requires_grad=True) for size in (2, 3)}
        torch.cuda.set_sync_debug_mode("error" if round_ else "default")
        try:
            out = voxels.convolve(features, weights[3], kernel_size=3, stride=1, region="cube")
            out = voxels.convolve(out, weights[2], kernel_size=2, stride=2, region="cube")
            back = {"source": voxels.coarser(2), "kernel_size": 2, "region": "cube"}
            out = voxels.convolve_transpose(out, weights[2], **back)
            out.square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_learns_as_in_plain_torch(coordinates, dtype):
    """A few layers keep gradients close; with all of SR-UNet's, ReLUs flip and nothing can be said."""
    few = coordinates[coordinates[:, 0] < 4]
    config = SRUNetConfig(planes=(32,) * 8, layers=(1,) * 8, out_channels=16)
    features = torch.randn(len(few), 3, device="cuda")
    losses = []
    for backend in ("triton", "torch"):
        torch.manual_seed(0)
        network = SRUNet(config, backend=backend).cuda()
        optimizer = torch.optim.SGD(network.parameters(), 0.01)
        for _ in range(3):
            with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
                out = network(few, features)
            loss = (out.float() - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[2] < losses[0]
    torch.testing.assert_close(losses[:3], losses[3:], rtol=1e-4 if dtype == torch.float32 else 2e-2, atol=0)
