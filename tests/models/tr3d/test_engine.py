"""TR3D against a network of MinkowskiEngine's own modules, as its authors build it, with the same weights."""

import pytest
import torch
from torch import nn

from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.network import TR3D
from pcfdsl.ops.sparse import SparseConv3d, SparseConvTranspose3d, SparsePool3d, add_onto, quantize_batch, sparse_tensor

engine = pytest.importorskip("MinkowskiEngine", reason="third_party/minkowskiengine/build.sh")
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")

CONFIG = TR3DConfig(
    num_classes=3, voxel_size=0.05, stem_channels=8, planes=(8, 12, 12, 16), layers=(1, 2, 1, 1), neck_channels=10
)


class EngineTR3D(nn.Module):
    """The network in the engine's modules; names are those of the weights."""

    def __init__(self, config: TR3DConfig):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv1 = convolution(3, config.stem_channels, 3, 2)
        self.backbone.norm1 = engine.MinkowskiBatchNorm(config.stem_channels)
        self.pool = engine.MinkowskiMaxPooling(kernel_size=2, stride=2, dimension=3) if config.stem_pool else None
        channels = config.stem_channels
        for stage, (planes, count) in enumerate(zip(config.planes, config.layers, strict=True), 1):
            blocks = [Block(channels if k == 0 else planes, planes, 2 if k == 0 else 1) for k in range(count)]
            setattr(self.backbone, f"layer{stage}", nn.Sequential(*blocks))
            channels = planes
        self.num_stages = len(config.planes)
        self.neck = nn.Module()
        fine, middle, coarse = config.planes[-3:]
        for level, (to, from_) in enumerate(((fine, middle), (middle, coarse))):
            up = engine.MinkowskiGenerativeConvolutionTranspose(from_, to, kernel_size=3, stride=2, dimension=3)
            setattr(self.neck, f"up_block_{level + 1}", normed(up, to))
            setattr(self.neck, f"lateral_block_{level}", normed(convolution(to, to, 3, 1), to))
            setattr(
                self.neck,
                f"out_block_{level}",
                normed(convolution(to, config.neck_channels, 3, 1), config.neck_channels),
            )
        self.bbox_head = nn.Module()
        self.bbox_head.conv_reg = convolution(config.neck_channels, config.num_box_channels, 1, 1, bias=True)
        self.bbox_head.conv_cls = convolution(config.neck_channels, config.num_classes, 1, 1, bias=True)

    def forward(self, x):
        """Sparse tensor -> (classes, boxes) of the fine and of the coarse level."""
        x = engine.MinkowskiReLU()(self.backbone.norm1(self.backbone.conv1(x)))
        x = x if self.pool is None else self.pool(x)
        stages = []
        for stage in range(1, self.num_stages + 1):
            x = self.backbone.get_submodule(f"layer{stage}")(x)
            stages.append(x)
        stages, levels = stages[-3:], []
        x = stages[-1]
        for level in (1, 0):
            x = stages[level] + self.neck.get_submodule(f"up_block_{level + 1}")(x)  # of the union of their voxels
            x = self.neck.get_submodule(f"lateral_block_{level}")(x)
            out = self.neck.get_submodule(f"out_block_{level}")(x)
            levels.append((self.bbox_head.conv_cls(out), self.bbox_head.conv_reg(out)))
        return levels[::-1]


class Block(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, 3, stride)
        self.norm1 = engine.MinkowskiBatchNorm(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3, 1)
        self.norm2 = engine.MinkowskiBatchNorm(out_channels)
        corner = convolution(in_channels, out_channels, 1, stride)
        self.downsample = nn.Sequential(corner, engine.MinkowskiBatchNorm(out_channels)) if stride > 1 else None

    def forward(self, x):
        relu = engine.MinkowskiReLU()
        out = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        return relu(out + (x if self.downsample is None else self.downsample(x)))


def convolution(in_channels, out_channels, kernel_size, stride, *, bias=False):
    return engine.MinkowskiConvolution(
        in_channels, out_channels, kernel_size=kernel_size, stride=stride, bias=bias, dimension=3
    )


def normed(layer, channels):
    return nn.Sequential(layer, engine.MinkowskiBatchNorm(channels), engine.MinkowskiReLU())


def rows_of(coordinates):
    """Coordinates [V, 4] -> their rows."""
    return {tuple(voxel): row for row, voxel in enumerate(coordinates.tolist())}


def in_order_of(coordinates, others, values):
    """Values of the voxels `others`, in the order of the same voxels `coordinates`."""
    rows = rows_of(others)
    assert len(rows) == len(coordinates)
    return values[[rows[tuple(voxel)] for voxel in coordinates.tolist()]]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("stem_pool", [False, True])
def test_the_whole_network_is_that_of_the_engine_forward_and_backward(backend, stem_pool, training):
    torch.manual_seed(3)
    config = TR3DConfig(**{**vars(CONFIG), "stem_pool": stem_pool, "backend": backend})
    ours, theirs = TR3D(config).double(), EngineTR3D(config).double()
    theirs.load_state_dict(ours.state_dict())
    ours.train(training), theirs.train(training)
    # A room of surfaces: a floor, a wall, and a thing in the middle; two scenes.
    points = torch.rand(2, 4000, 3) * torch.tensor([3.0, 3.0, 0.05]) - 1
    points[:, 1000:2000] = torch.rand(2, 1000, 3) * torch.tensor([3.0, 0.05, 2.0]) - 1
    points[:, :700] = torch.rand(2, 700, 3) * 0.7 - 0.5
    coordinates, first, _ = quantize_batch(points, config.voxel_size)

    found = ours.bbox_head(
        ours.neck(ours.backbone(sparse_tensor(coordinates, torch.ones(len(first), 3).double(), backend=config.backend)))
    )
    expected = theirs(engine.SparseTensor(torch.ones(len(first), 3).double(), coordinates.int()))
    mine, other = [], []
    for level, (classes, boxes) in enumerate(expected):
        own = found.level == level
        voxels = torch.cat([found.scene[own, None], (found.locations[own] / config.voxel_size).round().long()], 1)
        mine += [found.class_logits[own], found.regression[own]]
        other += [in_order_of(voxels, classes.C, classes.F), in_order_of(voxels, boxes.C, boxes.F)]
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-6, atol=2e-6)  # the head's answers are float32

    for values in (mine, other):
        sum((v.double() * torch.sin(torch.arange(v.numel()).view_as(v))).sum() for v in values).backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        scale = gradients[name].grad.abs().max().item()
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-6 * max(1.0, scale))
    for (name, mine_), (_, other_) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        torch.testing.assert_close(mine_, other_, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("kernel_size", [2, 3])
@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
def test_strided_pooling_of_a_batch_is_that_of_the_engine(backend, kind, kernel_size):
    coordinates, features = cloud(300, 1)
    name = {"max": "MinkowskiMaxPooling", "avg": "MinkowskiAvgPooling", "sum": "MinkowskiSumPooling"}[kind]
    theirs = getattr(engine, name)(kernel_size=kernel_size, stride=2, dimension=3)(
        engine.SparseTensor(features, coordinates.int())
    )
    ours = SparsePool3d(kind, kernel_size=kernel_size, stride=2)(sparse_tensor(coordinates, features, backend=backend))
    expected = in_order_of(ours.voxels.coordinates, theirs.C, theirs.F)
    torch.testing.assert_close(ours.features, expected, rtol=1e-12, atol=1e-13)


def test_adding_onto_generated_voxels_is_the_engines_addition_of_unions(backend):
    """The engine adds over the union of both sets of voxels; generated ones hold the encoder's, so that is theirs."""
    coordinates, features = cloud(300, 2)
    down, up = (
        convolution(3, 4, 3, 2),
        engine.MinkowskiGenerativeConvolutionTranspose(4, 3, kernel_size=3, stride=2, dimension=3),
    )
    fine = engine.SparseTensor(features, coordinates.int())
    theirs = fine + up.double()(down.double()(fine))
    ours_down, ours_up = (
        SparseConv3d(3, 4, kernel_size=3, stride=2),
        SparseConvTranspose3d(4, 3, kernel_size=3, stride=2),
    )
    ours_down.load_state_dict(down.state_dict())
    ours_up.load_state_dict(up.state_dict())
    x = sparse_tensor(coordinates, features, backend=backend)
    coarse = ours_down.double()(x)
    ours = add_onto(x, ours_up.double()(coarse, coarse.voxels.generated(3, 2)))
    assert len(ours.features) > 2 * len(coordinates)
    expected = in_order_of(ours.voxels.coordinates, theirs.C, theirs.F)
    torch.testing.assert_close(ours.features, expected, rtol=1e-12, atol=1e-13)


def cloud(num_voxels, seed):
    """Different voxels [V, 4] of two items, some below zero, and features [V, 3]."""
    random = torch.Generator().manual_seed(seed)
    voxels = torch.randint(-9, 9, (num_voxels, 4), generator=random)
    voxels[:, 0] = torch.arange(num_voxels) % 2
    voxels = voxels.unique(dim=0)
    return voxels, torch.randn(len(voxels), 3, dtype=torch.float64, generator=random)
