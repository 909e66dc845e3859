"""Plain twins of the sparse operators: a dictionary of voxels and one product per neighbour."""

import torch
from torch import Tensor

__all__ = ["coarser_coordinates", "convolve", "convolve_transpose"]

Offsets = tuple[tuple[int, int, int], ...]


def coarser_coordinates(coordinates: Tensor, step: int) -> Tensor:
    """Voxels [V', 4] of edge `step` that hold any of the voxels [V, 4], sorted."""
    cells = {(b, *(axis // step * step for axis in xyz)) for b, *xyz in coordinates.tolist()}
    return torch.tensor(sorted(cells), dtype=torch.int64, device=coordinates.device)


def convolve(
    features: Tensor, weight: Tensor, coordinates: Tensor, out_coordinates: Tensor, *, offsets: Offsets, stride: int
) -> Tensor:
    """out[c] = sum over k of features[c + offsets[k] * stride] @ weight[k], wherever there is such a voxel.

    Args:
        features: [V, C_in].
        weight: [K, C_in, C_out].
        coordinates, out_coordinates: [V, 4], [V', 4].
        offsets: K of them.
        stride: Of the input's coordinates.
    """
    rows = []
    where = {tuple(voxel): row for row, voxel in enumerate(coordinates.tolist())}
    for b, x, y, z in out_coordinates.tolist():
        row = features.new_zeros(weight.shape[2])
        for k, (dx, dy, dz) in enumerate(offsets):
            neighbor = where.get((b, x + dx * stride, y + dy * stride, z + dz * stride))
            if neighbor is not None:
                row = row + features[neighbor] @ weight[k]
        rows.append(row)
    return torch.stack(rows)


def convolve_transpose(
    features: Tensor, weight: Tensor, coordinates: Tensor, out_coordinates: Tensor, *, offsets: Offsets, stride: int
) -> Tensor:
    """The sums of `convolve` from fine to coarse, run backwards: each coarse voxel gives to the fine ones around it.

    Args:
        features: [V, C_in] of the coarse voxels.
        weight: [K, C_in, C_out].
        coordinates, out_coordinates: [V, 4] coarse, [V', 4] fine.
        offsets: K of them.
        stride: Of the fine coordinates.
    """
    backwards = tuple((-x, -y, -z) for x, y, z in offsets)
    return convolve(features, weight, coordinates, out_coordinates, offsets=backwards, stride=stride)
