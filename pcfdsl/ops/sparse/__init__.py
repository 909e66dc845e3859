"""Sparse convolution over voxels, after MinkowskiEngine's conventions, in plain torch on any device."""

from pcfdsl.ops.sparse.coordinates import quantize, quantize_batch
from pcfdsl.ops.sparse.kernel_map import Region, kernel_offsets
from pcfdsl.ops.sparse.layers import (
    SparseBackend,
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseGlobalPool,
    SparsePool3d,
    SparseReLU,
    SparseTensor,
    add_onto,
    sparse_tensor,
)

__all__ = [
    "Region",
    "SparseBackend",
    "SparseBatchNorm",
    "SparseConv3d",
    "SparseConvTranspose3d",
    "SparseGlobalPool",
    "SparsePool3d",
    "SparseReLU",
    "SparseTensor",
    "add_onto",
    "kernel_offsets",
    "quantize",
    "quantize_batch",
    "sparse_tensor",
]
