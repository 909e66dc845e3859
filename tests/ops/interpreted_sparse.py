"""The Triton kernels of sparse convolution in Triton's interpreter against the torch form in float64; prints JSON.

The interpreter cannot multiply bfloat16, and knows no TF32; float16 goes the way of bfloat16 through the same code.
Run by test_triton_sparse.py in a process of its own: TRITON_INTERPRET=1 has to be set before anything imports Triton.
"""

import itertools
import json

import torch
from torch import Tensor

from pcfdsl.ops.sparse.implicit_gemm import TILE
from pcfdsl.ops.sparse.voxels import TorchVoxels, TritonVoxels

# Of the kernel, the stride, and the region: what SR-UNet has, and an even kernel that keeps its voxels.
KERNELS = (
    (3, 1, "cube"),
    (3, 1, "hybrid"),
    (3, 1, "cross"),
    (2, 2, "cube"),
    (3, 2, "cube"),
    (2, 1, "cube"),
    (1, 2, "cube"),
)
CHANNELS = ((3, 20), (40, 16))


def scattered(num_voxels: int, generator: torch.Generator, *, extent: int = 4) -> Tensor:
    """Voxels [V, 4] of two clouds around the origin, sorted."""
    voxels = torch.randint(-extent, extent, (num_voxels, 4), generator=generator)
    voxels[:, 0] %= 2
    return voxels.unique(dim=0)


def alone(num_voxels: int) -> Tensor:
    """Voxels [V, 4] without neighbours."""
    return torch.arange(num_voxels)[:, None] * torch.tensor([0, 10, 0, 0])


def results(voxels, features: Tensor, weight: Tensor, probe: Tensor, *, upward: bool, **settings) -> tuple[Tensor, ...]:
    """Output, and the gradients of features and weight of its sum weighted by `probe`."""
    leaves = [tensor.clone().requires_grad_() for tensor in (features, weight)]
    if upward:
        settings["source"] = voxels.coarser(settings.pop("stride"))
    out = (voxels.convolve_transpose if upward else voxels.convolve)(*leaves, **settings)
    return out.detach(), *torch.autograd.grad(out, leaves, probe.to(out.dtype))


def comparisons(generator: torch.Generator):
    """Yields (name, type, what the kernels give, what the torch form gives in float64)."""
    shuffled = torch.randperm(150, generator=generator)
    cases = [(scattered(300, generator), kernel, CHANNELS) for kernel in (KERNELS[0], *KERNELS[3:])]
    cases += [(scattered(300, generator)[shuffled], kernel, CHANNELS[:1]) for kernel in KERNELS[1:5]]
    cases += [(torch.zeros(1, 4, dtype=torch.int64), kernel, CHANNELS[:1]) for kernel in KERNELS[:4]]
    cases += [(scattered(80, generator), kernel, ((70, 80),)) for kernel in (KERNELS[0], KERNELS[3])]  # several blocks
    cases += [(alone(TILE), KERNELS[0], CHANNELS[1:]), (alone(33 * TILE), KERNELS[3], CHANNELS[:1])]  # several shares
    for coordinates, (size, stride, region), channels in cases:
        fast, twin = TritonVoxels.of(coordinates), TorchVoxels.of(coordinates)
        settings = {"kernel_size": size, "stride": stride, "region": region}
        num_fine, num_coarse = len(coordinates), len(twin.coarser(stride).coordinates)
        num_weights = len(twin.kernel_map(size, twin.coarser(stride), region).groups)
        for upward, (num_in, num_out), dtype in itertools.product(
            (False, True), channels, (torch.float32, torch.float16)
        ):
            if dtype != torch.float32 and (channels is not CHANNELS or region != "cube" or num_in == 40):
                continue
            rows_in, rows_out = (num_coarse, num_fine) if upward else (num_fine, num_coarse)
            features = torch.randn((rows_in, num_in), generator=generator).to(dtype)
            weight = torch.randn((num_weights, num_in, num_out), generator=generator).to(dtype)
            probe = torch.randn((rows_out, num_out), generator=generator).to(dtype)
            found = results(fast, features, weight, probe, upward=upward, **settings)
            wanted = results(twin, features.double(), weight.double(), probe, upward=upward, **settings)
            for part, mine, exact in zip(("output", "features", "weight"), found, wanted, strict=True):
                case = f"{num_fine} voxels, {settings}, upward {upward}, {num_in} -> {num_out}, {part}"
                yield case, str(dtype).removeprefix("torch."), mine, exact


if __name__ == "__main__":
    errors = [
        (name, dtype, float((mine.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-30)))
        for name, dtype, mine, exact in comparisons(torch.Generator().manual_seed(0))
    ]
    print(json.dumps({"errors": errors}))
