"""Voxels of a batch of clouds at one resolution, those of coarser ones, and the kernel maps between them."""

from typing import Protocol

import torch
from torch import Tensor

from pcfdsl.ops.sparse.convolution import convolve
from pcfdsl.ops.sparse.coordinates import pack, unpack
from pcfdsl.ops.sparse.kernel_map import KernelMap, Region, kernel_offsets, match
from pcfdsl.ops.sparse.pooling import Pool, pool_pairs

__all__ = ["TorchVoxels", "Voxels"]


class Voxels(Protocol):
    """What layers need of a set of voxels; one implementation a backend.

    Attributes:
        coordinates: [V, 4] int64 (batch, x, y, z), in the units of the finest voxels.
        stride: Distance between neighbouring voxels in those units.
    """

    coordinates: Tensor
    stride: int

    def coarser(self, stride: int) -> "Voxels":
        """Voxels of `stride` times the edge that hold at least one of these; the same object at every call."""
        ...

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        """Features [V, C_in] of these voxels -> [V_out, C_out] of `coarser(stride)`; weight [K, C_in, C_out]."""
        ...

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region
    ) -> Tensor:
        """Features [V_out, C_in] of `coarser(stride)` -> [V, C_out] of these voxels."""
        ...

    def pool(self, features: Tensor, *, kernel_size: int, stride: int, kind: Pool) -> Tensor:
        """Features [V, C] of these voxels -> [V_out, C] of `coarser(stride)`."""
        ...

    def pool_all(self, features: Tensor, *, kind: Pool) -> Tensor:
        """Features [V, C] of these voxels -> [B, C], one row per batch item."""
        ...


class TorchVoxels:
    """Voxels in plain torch: kernel maps by binary search in sorted keys, built once and kept.

    Rows keep the order in which they are given; coarser voxels are sorted by batch, x, y, z.
    """

    def __init__(self, coordinates: Tensor, keys: Tensor, order: Tensor | None, *, stride: int):
        """Coordinates [V, 4], their keys sorted, and the rows of the sorted keys (None where rows are sorted)."""
        self.coordinates, self.stride = coordinates, stride
        self._keys, self._order = keys, order
        self._coarser: dict[int, TorchVoxels] = {}
        self._maps: dict[tuple[int, int, Region], KernelMap] = {}

    @classmethod
    def of(cls, coordinates: Tensor) -> "TorchVoxels":
        """The finest voxels, from coordinates [V, 4] as `check_coordinates` admits them.

        Raises:
            ValueError: If a voxel occurs twice.
        """
        coordinates = coordinates.long()
        keys, order = pack(coordinates), None
        if not bool((keys[1:] > keys[:-1]).all()):
            keys, order = keys.sort()
        twice = keys[1:] == keys[:-1]
        if bool(twice.any()):
            again = unpack(keys[1:][twice][:1])[0].tolist()
            raise ValueError(
                f"{int(twice.sum())} voxels are given more than once, one of them (batch, x, y, z) = {again}; "
                "`quantize` gives each voxel once, with a point that represents it"
            )
        return cls(coordinates, keys, order, stride=1)

    def coarser(self, stride: int) -> "TorchVoxels":
        if stride == 1:
            return self
        if stride not in self._coarser:
            step = self.stride * stride
            corners = torch.div(self.coordinates, step, rounding_mode="floor") * step
            corners[:, 0] = self.coordinates[:, 0]
            keys = torch.unique(pack(corners))
            self._coarser[stride] = TorchVoxels(unpack(keys), keys, None, stride=step)
        return self._coarser[stride]

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        return convolve(features, weight, self.kernel_map(kernel_size, stride, region))

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region
    ) -> Tensor:
        return convolve(features, weight, self.kernel_map(kernel_size, stride, region).transposed)

    def pool(self, features: Tensor, *, kernel_size: int, stride: int, kind: Pool) -> Tensor:
        pairs = self.kernel_map(kernel_size, stride).all_pairs()
        return pool_pairs(features, *pairs, len(self.coarser(stride).coordinates), kind)

    def pool_all(self, features: Tensor, *, kind: Pool) -> Tensor:
        batch_idx = self.coordinates[:, 0]
        rows = torch.arange(len(features), device=features.device)
        return pool_pairs(features, rows, batch_idx, int(batch_idx.max()) + 1, kind)

    def kernel_map(self, kernel_size: int, stride: int, region: Region = "cube") -> KernelMap:
        """Map from these voxels to `coarser(stride)`; the same object at every call."""
        key = (kernel_size, stride, region)
        if key not in self._maps:
            offsets = kernel_offsets(kernel_size, region)
            if region == "cube":
                coarser = self.coarser(stride)
                self._maps[key] = match(
                    self._keys,
                    coarser._keys,
                    offsets=offsets,
                    stride=self.stride,
                    in_order=self._order,
                    out_order=coarser._order,
                )
            else:
                cube = kernel_offsets(kernel_size)
                order = tuple(cube.index(offset) for offset in offsets)
                self._maps[key] = self.kernel_map(kernel_size, stride).reordered(order)
        return self._maps[key]
