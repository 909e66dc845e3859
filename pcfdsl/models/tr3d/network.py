"""The network: voxels -> MinkResNet34 -> a neck of two levels -> classes and a box at every voxel of them.

Names and shapes of parameters are those of MMDetection3D's TR3D, whose weights load as they are.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pcfdsl.models.backbone import PointFeatures
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.ops.sparse import (
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparsePool3d,
    SparseReLU,
    SparseTensor,
    add_onto,
    quantize_batch,
    sparse_tensor,
)
from pcfdsl.ops.sparse.coordinates import locate, pack

__all__ = ["TR3D", "MinkResNet", "TR3DHead", "TR3DNeck", "TR3DOutput"]

FIRST_PROBABILITY = 0.01  # of every class at every location, before training


@dataclass(frozen=True)
class TR3DOutput:
    """What TR3D says at L locations, the voxels of both levels of all scenes of a batch.

    Attributes:
        locations: [L, 3] float32 metres.
        scene: [L] int64; which scene of the batch.
        level: [L] int64; 0 is the fine level, 1 the coarse one.
        regression: [L, 6 or 8] float32; a box relative to the location, see `pcfdsl.models.tr3d.decode`.
        class_logits: [L, num_classes] float32.
    """

    locations: Tensor
    scene: Tensor
    level: Tensor
    regression: Tensor
    class_logits: Tensor


class TR3D(nn.Module):
    """The detector. Parameters start as published, from torch's global generator: call `torch.manual_seed` before."""

    def __init__(self, config: TR3DConfig):
        super().__init__()
        self.config = config
        self.backbone = MinkResNet(config)
        self.neck = TR3DNeck(config.planes[-3:], config.neck_channels, generated=config.upsampling == "generated")
        self.bbox_head = TR3DHead(config)

    def forward(self, points: Tensor, *, generator: object = None) -> TR3DOutput:
        """Detect in a batch of scenes.

        A voxel is the floor of its points' coordinates, also of negative ones, and has the colour of the first of them:
        samples come in random order, so that is any of them, as published.

        Args:
            points: [B, N, 3], or [B, N, 6] with colours minus 0.5, float32; metres, z up.
            generator: Not used: detectors are called with randomness, and this one needs none.

        Raises:
            ValueError: If the points have another shape or type, or are not finite.
        """
        x, _ = self._voxels(points)
        return self.bbox_head(self.neck(self.backbone(x)))

    def describe(self, points: Tensor) -> PointFeatures:
        """Points as for `forward` -> features of the first point of each voxel, of both levels of the neck.

        The fine level comes first. A point has the features of the voxels that it lies in, which boxes are predicted
        from.
        """
        x, first = self._voxels(points)
        columns = []
        for level in self.neck(self.backbone(x)):
            corners = x.voxels.coordinates.clone()
            corners[:, 1:] = corners[:, 1:].div(level.voxels.stride, rounding_mode="floor") * level.voxels.stride
            columns.append(level.features[_rows(corners, level.voxels.coordinates)])
        scene_idx, point_idx = first // points.shape[1], first % points.shape[1]
        xyz = points.flatten(0, 1)[first, :3]
        return PointFeatures(xyz, torch.cat(columns, 1).float(), point_idx, scene_idx)

    def _voxels(self, points: Tensor) -> tuple[SparseTensor, Tensor]:
        """The voxels of a batch as the backbone takes them, and the row of the point that each has its colour from."""
        config = self.config
        columns = 6 if config.features == "color" else 3
        if points.ndim != 3 or points.shape[2] != columns:
            raise ValueError(
                f"points are {list(points.shape)}; expected [B, N, {columns}] where voxels start with {config.features}"
            )
        rows = points.flatten(0, 1)
        coordinates, first, _ = quantize_batch(points, config.voxel_size)
        order = pack(coordinates).argsort()  # neighbours in space are then near in memory
        coordinates, first = coordinates[order], first[order]
        features = rows[first, 3:] + 0.5 if columns == 6 else rows.new_ones(len(first), 3)
        return sparse_tensor(coordinates, features, backend=config.backend, trusted=True), first


class MinkResNet(nn.Module):
    """MinkResNet34 with narrower late stages. Its outputs have strides 4, 8, ... with pooling, 2, 4, ... without."""

    def __init__(self, config: TR3DConfig):
        super().__init__()
        self.conv1 = SparseConv3d(3, config.stem_channels, kernel_size=3, stride=2)
        self.norm1 = SparseBatchNorm(config.stem_channels)
        self.relu = SparseReLU(inplace=True)
        self.maxpool = SparsePool3d("max", kernel_size=2, stride=2) if config.stem_pool else nn.Identity()
        self.num_stages = len(config.planes)
        channels = config.stem_channels
        for stage, (planes, count) in enumerate(zip(config.planes, config.layers, strict=True), 1):
            blocks = [_Block(channels, planes, stride=2), *(_Block(planes, planes) for _ in range(count - 1))]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            channels = planes
        _start(self)

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        """Voxels with 3 channels -> the outputs of the last three stages, the finest first."""
        x = self.maxpool(self.relu(self.norm1(self.conv1(x))))
        outputs = []
        for stage in range(1, self.num_stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            outputs.append(x)
        return outputs[-3:]


class _Block(nn.Module):
    """Two 3x3x3 convolutions, added to their input.

    Where the grid is halved the input goes through a convolution of one weight, which sees nothing but the voxel at
    the low corner of each coarse one, and zero where that is empty.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1):
        super().__init__()
        self.conv1 = SparseConv3d(in_channels, out_channels, kernel_size=3, stride=stride)
        self.norm1 = SparseBatchNorm(out_channels)
        self.conv2 = SparseConv3d(out_channels, out_channels, kernel_size=3)
        self.norm2 = SparseBatchNorm(out_channels)
        self.relu = SparseReLU(inplace=True)
        self.downsample = None
        if stride > 1:
            corner = SparseConv3d(in_channels, out_channels, kernel_size=1, stride=stride)
            self.downsample = nn.Sequential(corner, SparseBatchNorm(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        kept = x if self.downsample is None else self.downsample(x)
        return self.relu(out.replace(out.features + kept.features))


class TR3DNeck(nn.Module):
    """From the coarsest stage twice up, each time joined with the stage there.

    Args:
        planes: Channels of the three stages, the finest first.
        out_channels: Channels of both outputs.
        generated: Go onto every voxel within reach, as published; otherwise only onto those of the stage.
    """

    def __init__(self, planes: tuple[int, ...], out_channels: int, *, generated: bool = True):
        super().__init__()
        self.generated = generated
        for level, (fine, coarse) in enumerate(pairwise(planes)):
            up = SparseConvTranspose3d(coarse, fine, kernel_size=3, stride=2)
            self.add_module(f"up_block_{level + 1}", _normed(up, fine))
            self.add_module(f"lateral_block_{level}", _normed(SparseConv3d(fine, fine, kernel_size=3), fine))
            out = SparseConv3d(fine, out_channels, kernel_size=3)
            self.add_module(f"out_block_{level}", _normed(out, out_channels))
        _start(self)

    def forward(self, stages: list[SparseTensor]) -> list[SparseTensor]:
        """Outputs of three stages -> the fine and the coarse level. What goes on up is not what goes out."""
        x = stages[-1]
        levels = []
        for level in (1, 0):
            up, norm, relu = self.get_submodule(f"up_block_{level + 1}")  # type: ignore[misc]
            onto = x.voxels.generated(3, 2) if self.generated else stages[level].voxels
            x = relu(norm(up(x, onto)))
            # A voxel of the stage is its parent and an offset, so it is always among the generated ones.
            x = self.get_submodule(f"lateral_block_{level}")(add_onto(stages[level], x))
            levels.append(self.get_submodule(f"out_block_{level}")(x))
        return levels[::-1]


class TR3DHead(nn.Module):
    """Classes and boxes at every voxel; the levels share the weights."""

    def __init__(self, config: TR3DConfig):
        super().__init__()
        self.voxel_size = config.voxel_size
        self.conv_reg = SparseConv3d(config.neck_channels, config.num_box_channels, kernel_size=1, bias=True)
        self.conv_cls = SparseConv3d(config.neck_channels, config.num_classes, kernel_size=1, bias=True)
        for convolution in (self.conv_reg, self.conv_cls):
            nn.init.normal_(convolution.kernel, std=0.01)
        assert self.conv_cls.bias is not None
        nn.init.constant_(self.conv_cls.bias, -math.log((1 - FIRST_PROBABILITY) / FIRST_PROBABILITY))

    def forward(self, levels: list[SparseTensor]) -> TR3DOutput:
        """A location is the low corner of its voxel, not its middle: weights are trained with that."""
        coordinates = torch.cat([x.voxels.coordinates for x in levels])
        sizes = torch.tensor([len(x.features) for x in levels])
        return TR3DOutput(
            locations=coordinates[:, 1:].float() * self.voxel_size,
            scene=coordinates[:, 0],
            level=torch.arange(len(levels)).repeat_interleave(sizes).to(coordinates.device),
            regression=torch.cat([self.conv_reg(x).features for x in levels]).float(),
            class_logits=torch.cat([self.conv_cls(x).features for x in levels]).float(),
        )


def _rows(coordinates: Tensor, among: Tensor) -> Tensor:
    """Row of each voxel [V, 4] in others; a voxel may be asked for several times."""
    wanted, which = torch.unique(coordinates, dim=0, return_inverse=True)
    return locate(wanted, among)[which]


def _normed(convolution: SparseConv3d, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, SparseBatchNorm(channels), SparseReLU(inplace=True))


def _start(module: nn.Module) -> None:
    """Draw the kernels by fan-out, as published; transposed ones keep their own start."""
    for layer in module.modules():
        if isinstance(layer, SparseConv3d) and not layer.transposed:
            fan_out = (
                layer.kernel.shape[-1] * layer.kernel.shape[0] if layer.kernel.ndim == 3 else layer.kernel.shape[1]
            )
            nn.init.normal_(layer.kernel, std=math.sqrt(2 / fan_out))
