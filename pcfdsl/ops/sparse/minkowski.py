"""The same voxels on MinkowskiEngine 0.5, where it is installed; held equal to the torch ones by the test suite.

Set OPENBLAS_NUM_THREADS=1 before the process starts: with more, its CPU build stalls on busy cores.
"""

import functools
import importlib
import importlib.util
import warnings
from typing import Any

import torch
from torch import Tensor

from pcfdsl.ops.sparse.coordinates import pack, shift_keys, unpack
from pcfdsl.ops.sparse.kernel_map import Region, kernel_offsets
from pcfdsl.ops.sparse.pooling import Pool
from pcfdsl.ops.sparse.voxels import finer_step

__all__ = ["MinkowskiVoxels", "has_cuda", "is_available"]


@functools.cache
def is_available() -> bool:
    """Whether MinkowskiEngine can be imported."""
    return importlib.util.find_spec("MinkowskiEngine") is not None


@functools.cache
def has_cuda() -> bool:
    """Whether it is there and was built for CUDA."""
    return is_available() and bool(_engine().is_cuda_available())


@functools.cache
def _engine() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The MinkowskiEngine was compiled with CPU_ONLY")
        return importlib.import_module("MinkowskiEngine")


class MinkowskiVoxels:
    """See `pcfdsl.ops.sparse.voxels.Voxels`. Rows of coarser voxels come in the order the engine gives them."""

    def __init__(self, coordinates: Tensor, manager: Any, key: Any, *, stride: int):
        """Coordinates [V, 4], and where the engine keeps them."""
        self.coordinates, self.stride = coordinates, stride
        self._manager, self._key = manager, key
        self._coarser: dict[int, MinkowskiVoxels] = {}

    @classmethod
    def of(cls, coordinates: Tensor) -> "MinkowskiVoxels":
        """The finest voxels, from coordinates [V, 4] as `check_coordinates` admits them, each voxel once."""
        engine = _engine()
        kind = engine.CoordinateMapType.CUDA if coordinates.is_cuda else engine.CoordinateMapType.CPU
        manager = engine.CoordinateManager(D=3, coordinate_map_type=kind)
        key, _ = manager.insert_and_map(coordinates.int().contiguous(), [1, 1, 1], "")
        return cls(coordinates.long(), manager, key, stride=1)

    def coarser(self, stride: int) -> "MinkowskiVoxels":
        if stride == 1:
            return self
        if stride not in self._coarser:
            key = self._manager.stride(self._key, [stride] * 3)
            coordinates = self._manager.get_coordinates(key).long()
            self._coarser[stride] = MinkowskiVoxels(coordinates, self._manager, key, stride=self.stride * stride)
        return self._coarser[stride]

    def generated(self, kernel_size: int, stride: int) -> "MinkowskiVoxels":
        step = finer_step(self.stride, stride)
        offsets = shift_keys(torch.tensor(kernel_offsets(kernel_size), device=self.coordinates.device) * step)
        coordinates = unpack(torch.unique(pack(self.coordinates) + offsets[:, None]))
        key, _ = self._manager.insert_and_map(coordinates.int(), [step] * 3, "generated")
        return MinkowskiVoxels(coordinates, self._manager, key, stride=step)

    def convolve(self, features: Tensor, weight: Tensor, *, kernel_size: int, stride: int, region: Region) -> Tensor:
        function = _engine().MinkowskiConvolutionFunction
        return self._apply(function, features, weight, kernel_size, stride, region, self, self.coarser(stride))

    def convolve_transpose(
        self, features: Tensor, weight: Tensor, *, source: "MinkowskiVoxels", kernel_size: int, region: Region
    ) -> Tensor:
        function = _engine().MinkowskiConvolutionTransposeFunction
        stride = source.stride // self.stride
        return self._apply(function, features, weight, kernel_size, stride, region, source, self)

    def pool(self, features: Tensor, *, kernel_size: int, stride: int, kind: Pool) -> Tensor:
        function = _engine().MinkowskiLocalPoolingFunction
        mode = getattr(_engine().PoolingMode, f"LOCAL_{kind.upper()}_POOLING")
        generator = _generator(kernel_size, stride, "cube")
        with _no_autocast(features):
            return function.apply(
                _single(features), mode, generator, self._key, self.coarser(stride)._key, self._manager
            )

    def pool_all(self, features: Tensor, *, kind: Pool) -> Tensor:
        function = _engine().MinkowskiGlobalPoolingFunction
        engine = _engine()
        mode = getattr(engine.PoolingMode, f"GLOBAL_{kind.upper()}_POOLING_PYTORCH_INDEX")
        out_key = engine.CoordinateMapKey(4)
        with _no_autocast(features):
            pooled = function.apply(_single(features), mode, self._key, out_key, self._manager)
        batch_idx = self._manager.get_coordinates(out_key)[:, 0].long()
        return pooled.index_select(0, batch_idx.argsort())

    def _apply(
        self,
        function: Any,
        features: Tensor,
        weight: Tensor,
        kernel_size: int,
        stride: int,
        region: Region,
        source: "MinkowskiVoxels",
        target: "MinkowskiVoxels",
    ) -> Tensor:
        if region == "hybrid":  # the engine's own region of that name went with version 0.5
            hybrid = kernel_offsets(kernel_size, "hybrid")
            order = [hybrid.index(offset) for offset in kernel_offsets(kernel_size)]
            weight, region = weight.index_select(0, torch.tensor(order, device=weight.device)), "cube"
        generator = _generator(kernel_size, stride, region)
        mode = importlib.import_module("MinkowskiEngineBackend._C").ConvolutionMode.DEFAULT
        with _no_autocast(features):
            return function.apply(
                _single(features), _single(weight), generator, mode, source._key, target._key, self._manager
            )


def _generator(kernel_size: int, stride: int, region: Region) -> Any:
    engine = _engine()
    kind = engine.RegionType.HYPER_CROSS if region == "cross" else engine.RegionType.HYPER_CUBE
    return engine.KernelGenerator(kernel_size=kernel_size, stride=stride, region_type=kind, dimension=3)


def _single(values: Tensor) -> Tensor:
    """The engine has no half precision: float32 where autocast gave less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _no_autocast(features: Tensor) -> torch.autocast:
    return torch.autocast(features.device.type, enabled=False)
