"""SR-UNet: the sparse residual U-Net of PointContrast and CSC (Res16UNet34C of MinkowskiEngine's model zoo).

A stem, four times down by strided convolutions and residual blocks, four times up onto the voxels of the way down, each
time joined with their features. Names and shapes of parameters are those of the published weights.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pcfdsl.config import option, validate
from pcfdsl.ops.sparse import (
    Region,
    SparseBackend,
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseReLU,
    SparseTensor,
    sparse_tensor,
)
from pcfdsl.ops.sparse.coordinates import check_coordinates, pack

__all__ = ["SRUNet", "SRUNetConfig"]


@dataclass(frozen=True, kw_only=True)
class SRUNetConfig:
    """The sparse U-Net. The defaults are Res16UNet34C's; planes and layers go down four levels, then up four."""

    in_channels: int = option(3, "channels of a voxel's features", minimum=1, maximum=65_536)
    out_channels: int = option(256, "channels of the output features", minimum=1, maximum=65_536)
    first_kernel: int = option(3, "edge of the first convolution's kernel, voxels; odd", minimum=1, maximum=15)
    stem_planes: int = option(32, "channels after the first convolution", minimum=1, maximum=65_536)
    planes: tuple[int, ...] = option(
        (32, 64, 128, 256, 256, 128, 96, 96), "channels of each level's blocks", minimum=1, maximum=65_536
    )
    layers: tuple[int, ...] = option(
        (2, 3, 4, 6, 2, 2, 2, 2), "residual blocks of each level", minimum=1, maximum=1_000
    )
    block_region: Region = option(
        "hybrid", "order of the weights in the blocks' kernels: hybrid in PointContrast's and CSC's files"
    )
    bn_momentum: float = option(
        0.02, "share of the new batch in running statistics outside the blocks", minimum=0, maximum=1
    )
    block_bn_momentum: float = option(
        0.1, "share of the new batch in running statistics in the blocks", minimum=0, maximum=1
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        for name in ("planes", "layers"):
            if len(getattr(self, name)) != 8:
                yield name, f"has {len(getattr(self, name))} entries; expected 8, four on the way down and four up"
        if self.first_kernel % 2 == 0:
            yield "first_kernel", f"is {self.first_kernel}; expected an odd size, so that voxels stay centred"
        if self.block_region == "cross":
            yield "block_region", "is cross; expected cube or hybrid"

    @property
    def num_bottleneck_channels(self) -> int:
        """Channels at the deepest level."""
        return self.planes[3]


class SRUNet(nn.Module):
    """Features for every voxel from voxels with features.

    Args:
        config: Widths and depths.
        backend: What computes the convolutions, see `sparse_tensor`.
    """

    def __init__(self, config: SRUNetConfig, *, backend: SparseBackend = "auto"):
        super().__init__()
        self.config = config
        self.backend: SparseBackend = backend
        self.relu = SparseReLU(inplace=True)
        stem = config.stem_planes
        self.conv0p1s1 = SparseConv3d(config.in_channels, stem, kernel_size=config.first_kernel)
        self.bn0 = self._norm(stem)
        channels = stem
        skips = []  # channels at strides 1, 2, 4, 8
        for level in range(4):
            stride = 2**level
            skips.append(channels)
            down = SparseConv3d(channels, channels, kernel_size=2, stride=2)
            self.add_module(f"conv{level + 1}p{stride}s2", down)
            self.add_module(f"bn{level + 1}", self._norm(channels))
            self.add_module(f"block{level + 1}", self._blocks(level, channels))
            channels = config.planes[level]
        for level in range(4, 8):
            planes = config.planes[level]
            up = SparseConvTranspose3d(channels, planes, kernel_size=2, stride=2)
            self.add_module(f"convtr{level}p{2 ** (8 - level)}s2", up)
            self.add_module(f"bntr{level}", self._norm(planes))
            self.add_module(f"block{level + 1}", self._blocks(level, planes + skips.pop()))
            channels = planes
        self.final = SparseConv3d(channels, config.out_channels, kernel_size=1, bias=True)

    def forward(self, coordinates: Tensor, features: Tensor) -> Tensor:
        """Features for every voxel.

        Args:
            coordinates: [V, 4] int32 or int64 (batch, x, y, z) as `pcfdsl.ops.sparse.quantize` gives them: each voxel
                once; batch items count from 0 without gaps; x, y, z in -32768..32767.
            features: [V, in_channels] float32.

        Returns:
            [V, out_channels], rows in the order of the input.

        Raises:
            ValueError: For other shapes, types, values or devices, and for voxels given twice.
        """
        levels, order = self._down(coordinates, features)
        x = levels.pop()
        for level in range(4, 8):
            skip = levels.pop()
            up = self.get_submodule(f"convtr{level}p{2 ** (8 - level)}s2")(x, skip.voxels)
            up = self.relu(self.get_submodule(f"bntr{level}")(up))
            joined = skip.replace(torch.cat([up.features, skip.features], 1))
            x = self.get_submodule(f"block{level + 1}")(joined)
        out = self.final(x).features
        return torch.empty_like(out).index_copy(0, order, out)

    def encode(self, coordinates: Tensor, features: Tensor) -> SparseTensor:
        """The way down alone: features of the deepest level, [V16, num_bottleneck_channels] at stride 16.

        `SparseGlobalPool("max")` makes one row per cloud of them; `voxels.coordinates` tells the batch item of each.
        Arguments as for `forward`.
        """
        return self._down(coordinates, features)[0][-1]

    def _down(self, coordinates: Tensor, features: Tensor) -> tuple[list[SparseTensor], Tensor]:
        """Tensors at strides 1 (after the stem), 2, 4, 8 and 16; and which rows of the input theirs are at stride 1.

        Voxels are sorted: neighbours in space are then near in memory, and results do not depend on the input's order.
        """
        check_coordinates(coordinates, features)
        order = pack(coordinates).argsort()
        x = sparse_tensor(coordinates[order], features[order], backend=self.backend, trusted=True)
        x = self.relu(self.bn0(self.conv0p1s1(x)))
        levels = [x]
        for level in range(4):
            x = self.get_submodule(f"conv{level + 1}p{2**level}s2")(x)
            x = self.relu(self.get_submodule(f"bn{level + 1}")(x))
            x = self.get_submodule(f"block{level + 1}")(x)
            levels.append(x)
        return levels, order

    def _norm(self, channels: int) -> SparseBatchNorm:
        return SparseBatchNorm(channels, momentum=self.config.bn_momentum)

    def _blocks(self, level: int, in_channels: int) -> nn.Sequential:
        planes, count = self.config.planes[level], self.config.layers[level]
        widths = [in_channels, *[planes] * count]
        return nn.Sequential(*(_ResidualBlock(a, b, self.config) for a, b in pairwise(widths)))


class _ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions, added to their input (through a 1x1x1 convolution where widths differ)."""

    def __init__(self, in_channels: int, out_channels: int, config: SRUNetConfig):
        super().__init__()
        settings = {"kernel_size": 3, "region": config.block_region}
        self.conv1 = SparseConv3d(in_channels, out_channels, **settings)
        self.norm1 = SparseBatchNorm(out_channels, momentum=config.block_bn_momentum)
        self.conv2 = SparseConv3d(out_channels, out_channels, **settings)
        self.norm2 = SparseBatchNorm(out_channels, momentum=config.block_bn_momentum)
        self.relu = SparseReLU(inplace=True)
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                SparseConv3d(in_channels, out_channels, kernel_size=1),
                SparseBatchNorm(out_channels, momentum=config.bn_momentum),
            )

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        kept = x if self.downsample is None else self.downsample(x)
        return self.relu(out.replace(out.features + kept.features))
