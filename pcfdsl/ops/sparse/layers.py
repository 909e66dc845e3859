"""Layers over sparse tensors, with parameters in MinkowskiEngine's names and shapes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pcfdsl.ops.backends import triton_runtime
from pcfdsl.ops.sparse import minkowski
from pcfdsl.ops.sparse.coordinates import check_coordinates, locate
from pcfdsl.ops.sparse.kernel_map import Region, kernel_offsets
from pcfdsl.ops.sparse.pooling import Pool
from pcfdsl.ops.sparse.voxels import TorchVoxels, TritonVoxels, Voxels

__all__ = [
    "SparseBackend",
    "SparseBatchNorm",
    "SparseConv3d",
    "SparseConvTranspose3d",
    "SparseGlobalPool",
    "SparsePool3d",
    "SparseReLU",
    "SparseTensor",
    "add_onto",
    "sparse_tensor",
]

SparseBackend = Literal["auto", "torch", "triton", "minkowski"]


@dataclass(frozen=True)
class SparseTensor:
    """Features of voxels.

    Attributes:
        features: [V, C].
        voxels: Where they are; shared by all tensors on the same voxels.
    """

    features: Tensor
    voxels: Voxels

    def replace(self, features: Tensor) -> "SparseTensor":
        """Other features on the same voxels."""
        return SparseTensor(features, self.voxels)


def sparse_tensor(
    coordinates: Tensor, features: Tensor, *, backend: SparseBackend = "auto", trusted: bool = False
) -> SparseTensor:
    """A sparse tensor at the finest resolution; rows keep their order.

    Args:
        coordinates: [V, 4] int32 or int64 (batch, x, y, z), each voxel once, as `quantize` gives them. Batch items
            count from 0 without gaps; x, y, z lie in -32768..32767.
        features: [V, C] floating point, on the same device.
        backend: What computes: "torch", "triton" (on CUDA), or "minkowski" (MinkowskiEngine, where it is installed).
            "auto" is torch on the CPU, where it is the fastest; on CUDA it is the first of Triton, MinkowskiEngine
            and torch that runs there.
        trusted: The caller has called `check_coordinates`. Saves a synchronisation.

    Raises:
        ValueError: For other shapes, types, values or devices, for duplicate voxels, and for a backend that is
            unknown or not installed.
    """
    if not trusted:
        check_coordinates(coordinates, features)
    chosen = _chosen(backend, coordinates)
    # For every backend: it sees duplicates, which MinkowskiEngine drops.
    voxels = (TritonVoxels if chosen == "triton" else TorchVoxels).of(coordinates)
    return SparseTensor(features, minkowski.MinkowskiVoxels.of(coordinates) if chosen == "minkowski" else voxels)


def _chosen(backend: SparseBackend, coordinates: Tensor) -> str:
    if backend == "auto":
        if not coordinates.is_cuda:
            return "torch"
        if minkowski.has_cuda():  # no reason to say that Triton is missing
            return "minkowski" if triton_runtime.why_unusable() else "triton"
        return "triton" if triton_runtime.usable("sparse convolutions") else "torch"
    if backend == "minkowski" and not minkowski.is_available():
        raise ValueError(
            "backend 'minkowski' needs MinkowskiEngine, which is not installed; use 'auto', or build it with "
            "third_party/minkowskiengine/build.sh"
        )
    if backend == "triton" and not coordinates.is_cuda:
        raise ValueError(f"backend 'triton' runs on CUDA, the voxels are on {coordinates.device}; use 'auto'")
    if backend == "triton" and (reason := triton_runtime.why_unusable()):
        raise ValueError(f"backend 'triton' cannot run: {reason}; use 'auto'")
    if backend not in ("torch", "triton", "minkowski"):
        raise ValueError(f"backend {backend!r} is unknown; expected auto, torch, triton or minkowski")
    return backend


def add_onto(x: SparseTensor, onto: SparseTensor) -> SparseTensor:
    """Add features [V, C] to those [V', C] of the same voxels of another tensor, which may have more voxels.

    Raises:
        ValueError: If x has a voxel that the other lacks.
    """
    if x.voxels is onto.voxels:
        return onto.replace(onto.features + x.features)
    rows = locate(x.voxels.coordinates, onto.voxels.coordinates)
    return onto.replace(onto.features.index_add(0, rows, x.features.to(onto.features.dtype)))


class SparseConv3d(nn.Module):
    """Sparse convolution; with stride 1 the voxels stay, with a larger one they get coarser.

    Parameters are `kernel` [K^3, C_in, C_out] ([C_in, C_out] for size 1 and stride 1) and `bias` [1, C_out].

    Args:
        in_channels, out_channels: Of the features.
        kernel_size: Edge of the kernel in input voxels.
        stride: Edge of an output voxel in input voxels.
        bias: Whether to add one.
        region: Shape and order of the kernel, see `kernel_offsets`.
    """

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        bias: bool = False,
        region: Region = "cube",
    ):
        super().__init__()
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        volume = len(kernel_offsets(kernel_size, region))
        self.kernel_size, self.stride, self.region = kernel_size, stride, region
        is_matrix = volume == 1 and stride == 1
        shape = (in_channels, out_channels) if is_matrix else (volume, in_channels, out_channels)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(1, out_channels)) if bias else None
        bound = ((out_channels if self.transposed else in_channels) * volume) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[V, C_in] -> [V_out, C_out] on `x.voxels.coarser(stride)`."""
        self._check(x)
        if self.kernel.ndim == 2:
            features = x.features @ self.kernel
        else:
            settings = {"kernel_size": self.kernel_size, "stride": self.stride, "region": self.region}
            features = x.voxels.convolve(x.features, self.kernel, **settings)
        return SparseTensor(self._biased(features), x.voxels.coarser(self.stride))

    def extra_repr(self) -> str:
        size = f"{self.kernel.shape[-2]}, {self.kernel.shape[-1]}, kernel_size={self.kernel_size}"
        return f"{size}, stride={self.stride}, bias={self.bias is not None}, region={self.region}"

    def _check(self, x: SparseTensor) -> None:
        channels = self.kernel.shape[-2]
        if x.features.shape[1] != channels:
            raise ValueError(f"the layer takes {channels} channels, the features have {x.features.shape[1]}")
        if x.features.device != self.kernel.device:
            raise ValueError(f"the layer is on {self.kernel.device}, the features on {x.features.device}")
        autocast = torch.is_autocast_enabled(x.features.device.type)
        if x.features.dtype != self.kernel.dtype and not autocast:
            raise ValueError(f"the layer's weights are {self.kernel.dtype}, the features {x.features.dtype}")

    def _biased(self, features: Tensor) -> Tensor:
        return features if self.bias is None else features + self.bias.to(features.dtype)


class SparseConvTranspose3d(SparseConv3d):
    """The transpose of a strided convolution: from coarser voxels to finer ones.

    Usually back to those that were convolved down; or to any others, such as `voxels.generated(kernel_size, stride)`,
    all that can be reached (MinkowskiEngine's generative transposed convolution). Pairs are those of the convolution
    of the same size and stride between the two, in the same order of weights.
    """

    transposed = True

    def forward(self, x: SparseTensor, onto: Voxels) -> SparseTensor:  # type: ignore[override]
        """[V, C_in] on voxels of `stride` times the edge of `onto`'s -> [V_out, C_out] on the voxels `onto`.

        Raises:
            ValueError: If x is on voxels of another edge.
        """
        self._check(x)
        if x.voxels.stride != onto.stride * self.stride or (self.stride == 1 and x.voxels is not onto):
            raise ValueError(
                f"features are on voxels of stride {x.voxels.stride}, not {self.stride} times the target's "
                f"({onto.stride}); give the voxels that were convolved down, or generated ones"
            )
        if self.kernel.ndim == 2:
            features = x.features @ self.kernel
        else:
            settings = {"kernel_size": self.kernel_size, "region": self.region}
            features = onto.convolve_transpose(x.features, self.kernel, source=x.voxels, **settings)
        return SparseTensor(self._biased(features), onto)


class SparsePool3d(nn.Module):
    """Maximum, average (over the voxels that are there) or sum over a kernel.

    Args:
        kind: "max", "avg" or "sum".
        kernel_size: Edge of the kernel in input voxels.
        stride: Edge of an output voxel in input voxels.
    """

    def __init__(self, kind: Pool, *, kernel_size: int, stride: int):
        super().__init__()
        self.kind: Pool = kind
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[V, C] -> [V_out, C] on `x.voxels.coarser(stride)`."""
        features = x.voxels.pool(x.features, kernel_size=self.kernel_size, stride=self.stride, kind=self.kind)
        return SparseTensor(features, x.voxels.coarser(self.stride))


class SparseGlobalPool(nn.Module):
    """Maximum, average or sum over all voxels of each batch item."""

    def __init__(self, kind: Pool):
        super().__init__()
        self.kind: Pool = kind

    def forward(self, x: SparseTensor) -> Tensor:
        """[V, C] -> [B, C], rows in the order of the batch."""
        return x.voxels.pool_all(x.features, kind=self.kind)


class SparseBatchNorm(nn.Module):
    """Batch norm over the voxels of all batch items; its parameters are a BatchNorm1d's under `bn`."""

    def __init__(self, num_channels: int, *, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.bn = nn.BatchNorm1d(num_channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[V, C] -> [V, C]."""
        return x.replace(self.bn(x.features))


class SparseReLU(nn.Module):
    """ReLU.

    Args:
        inplace: Overwrite the input's features, where nothing else needs them.
    """

    def __init__(self, *, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[V, C] -> [V, C]."""
        return x.replace(torch.relu_(x.features) if self.inplace else torch.relu(x.features))
