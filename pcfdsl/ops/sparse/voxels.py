"""Voxels of a batch of clouds at one resolution, those of coarser ones, and the kernel maps between them."""

import functools
from typing import Protocol, Self

import torch
from torch import Tensor

from pcfdsl.ops.sparse import implicit_gemm
from pcfdsl.ops.sparse.convolution import convolve
from pcfdsl.ops.sparse.coordinates import pack, shift_keys, unpack
from pcfdsl.ops.sparse.kernel_map import KernelMap, Region, kernel_offsets, match
from pcfdsl.ops.sparse.pooling import Pool, pool_pairs

__all__ = ["TorchVoxels", "TritonVoxels", "Voxels", "finer_step"]


class Voxels(Protocol):
    """What layers need of a set of voxels; one implementation per backend.

    Attributes:
        coordinates: [V, 4] int64 (batch, x, y, z), in the units of the finest voxels.
        stride: Distance between neighbouring voxels in those units.
    """

    coordinates: Tensor
    stride: int

    def coarser(self, stride: int) -> "Voxels":
        """Voxels of `stride` times the edge that hold at least one of these; the same object at every call."""
        ...

    def generated(self, kernel_size: int, stride: int) -> "Voxels":
        """Every finer voxel, of a `stride`-th of the edge, that a transposed convolution from these ones can reach."""
        ...

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        """Features [V, C_in] of these voxels -> [V_out, C_out] of `coarser(stride)`; weight [K, C_in, C_out]."""
        ...

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, source: Self, kernel_size: int, region: Region
    ) -> Tensor:
        """Features [V_in, C_in] of `source` -> [V, C_out] of these voxels; they need not be `coarser` of these."""
        ...

    def pool(self, features: Tensor, *, kernel_size: int, stride: int, kind: Pool) -> Tensor:
        """Features [V, C] of these voxels -> [V_out, C] of `coarser(stride)`."""
        ...

    def pool_all(self, features: Tensor, *, kind: Pool) -> Tensor:
        """Features [V, C] of these voxels -> [B, C], one row per batch item."""
        ...


def finer_step(step: int, stride: int) -> int:
    """Edge of the finer voxels that a transposed convolution of a stride generates.

    Raises:
        ValueError: If the stride does not divide the edge of the coarse ones.
    """
    if stride < 1 or step % stride:
        raise ValueError(f"voxels of stride {step} cannot be made finer by {stride}; expected a divisor of {step}")
    return step // stride


class TorchVoxels:
    """Voxels in plain torch: kernel maps by binary search in sorted keys, built once and kept.

    Rows keep the order in which they are given; coarser voxels are sorted by batch, x, y, z.
    """

    def __init__(self, coordinates: Tensor, keys: Tensor, order: Tensor | None, *, stride: int):
        """Coordinates [V, 4], their keys sorted, and the rows of the sorted keys (None where rows are sorted)."""
        self.coordinates, self.stride = coordinates, stride
        self._keys, self._order = keys, order
        self._coarser: dict[int, Self] = {}
        self._maps: dict[tuple[int, Self | None, Region], KernelMap] = {}

    @classmethod
    def of(cls, coordinates: Tensor) -> Self:
        """The finest voxels, from coordinates [V, 4] as `check_coordinates` admits them. Waits for a GPU once or twice.

        Raises:
            ValueError: If there are duplicate voxels.
        """
        coordinates = coordinates.long()
        keys = pack(coordinates)
        if bool((keys[1:] > keys[:-1]).all()):
            return cls(coordinates, keys, None, stride=1)
        keys, order = keys.sort()
        twice = keys[1:] == keys[:-1]
        if bool(twice.any()):
            again = unpack(keys[1:][twice][:1])[0].tolist()
            raise ValueError(
                f"{int(twice.sum())} voxels are duplicates, such as (batch, x, y, z) = {again}; "
                "`quantize` gives each voxel once, with a point that represents it"
            )
        return cls(coordinates, keys, order, stride=1)

    def coarser(self, stride: int) -> Self:
        if stride == 1:
            return self
        if stride not in self._coarser:
            step = self.stride * stride
            corners = torch.div(self.coordinates, step, rounding_mode="floor") * step
            corners[:, 0] = self.coordinates[:, 0]
            keys = torch.unique(pack(corners))
            self._coarser[stride] = type(self)(unpack(keys), keys, None, stride=step)
        return self._coarser[stride]

    def generated(self, kernel_size: int, stride: int) -> Self:
        step = finer_step(self.stride, stride)
        offsets = torch.tensor(kernel_offsets(kernel_size), device=self._keys.device)
        keys = torch.unique(self._keys + shift_keys(offsets * step)[:, None])
        return type(self)(unpack(keys), keys, None, stride=step)

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        return convolve(features, weight, self.kernel_map(kernel_size, self.coarser(stride), region))

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, source: Self, kernel_size: int, region: Region
    ) -> Tensor:
        return convolve(features, weight, self.kernel_map(kernel_size, source, region).transposed)

    def pool(self, features: Tensor, *, kernel_size: int, stride: int, kind: Pool) -> Tensor:
        pairs = self.kernel_map(kernel_size, self.coarser(stride)).all_pairs()
        return pool_pairs(features, *pairs, len(self.coarser(stride).coordinates), kind)

    def pool_all(self, features: Tensor, *, kind: Pool) -> Tensor:
        rows = torch.arange(len(features), device=features.device)
        return pool_pairs(features, rows, self.coordinates[:, 0], self._num_items, kind)

    @functools.cached_property
    def _num_items(self) -> int:
        return int(self.coordinates[:, 0].max()) + 1

    def kernel_map(self, kernel_size: int, target: Self, region: Region = "cube") -> KernelMap:
        """Map from these voxels to themselves or to coarser ones; the same object at every call."""
        key = (kernel_size, self._other(target), region)
        if key not in self._maps:
            offsets = kernel_offsets(kernel_size, region)
            if region == "cube":
                self._maps[key] = match(
                    self._keys,
                    target._keys,
                    offsets=offsets,
                    stride=self.stride,
                    in_order=self._order,
                    out_order=target._order,
                )
            else:
                cube = kernel_offsets(kernel_size)
                order = tuple(cube.index(offset) for offset in offsets)
                self._maps[key] = self.kernel_map(kernel_size, target).reordered(order)
        return self._maps[key]

    def _other(self, voxels: Self) -> Self | None:
        """Other voxels as a key; None for these themselves, which would otherwise hold on to themselves."""
        return None if voxels is self else voxels


class TritonVoxels(TorchVoxels):
    """The same voxels where Triton runs: convolutions are implicit matrix products; pooling and float64 are torch's."""

    def __init__(self, coordinates: Tensor, keys: Tensor, order: Tensor | None, *, stride: int):
        super().__init__(coordinates, keys, order, stride=stride)
        self._tables: dict[tuple[Self | None, bool, implicit_gemm.Offsets], implicit_gemm.NeighborTable] = {}

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        if features.dtype == torch.float64:
            return super().convolve(features, weight, kernel_size=kernel_size, stride=stride, region=region)
        down, up = self.meetings(kernel_size, self.coarser(stride), region)
        return implicit_gemm.convolve(features, weight, down, up)

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, source: Self, kernel_size: int, region: Region
    ) -> Tensor:
        if features.dtype == torch.float64:
            return super().convolve_transpose(features, weight, source=source, kernel_size=kernel_size, region=region)
        down, up = self.meetings(kernel_size, source, region)
        return implicit_gemm.convolve(features, weight, up, down)

    def meetings(
        self, kernel_size: int, coarse: Self, region: Region = "cube"
    ) -> tuple[implicit_gemm.Meetings, implicit_gemm.Meetings]:
        """From these voxels to themselves or coarser ones, and back. Tables are made once, shared where they can be."""
        down = kernel_offsets(kernel_size, region)
        up = tuple((-x, -y, -z) for x, y, z in down)
        return self._meetings(down, coarse, upward=False), self._meetings(up, coarse, upward=True)

    def _meetings(self, kernel: implicit_gemm.Offsets, coarse: Self, *, upward: bool) -> implicit_gemm.Meetings:
        """Kernels with their weights in another order share a table, and so do the two ways of a symmetric one."""
        offsets = tuple(sorted(kernel, key=lambda offset: offset[::-1]))  # by planes
        source, target = (coarse, self) if upward else (self, coarse)
        key = (self._other(coarse), upward and coarse is not self, offsets)
        if key not in self._tables:
            self._tables[key] = implicit_gemm.neighbor_table(
                source._keys,
                target._keys,
                offsets,
                stride=self.stride,
                in_order=source._order,
                out_order=target._order,
            )
        weight_idx = implicit_gemm.weight_order(offsets, kernel, self.coordinates.device)
        return implicit_gemm.Meetings(self._tables[key], weight_idx)
