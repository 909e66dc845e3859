"""Between boxes as we write them and the bins and residuals VoteNet predicts (VoteNet, Qi et al. 2019, section 4.2).

VoteNet's heading turns clockwise seen from above, our yaw counter-clockwise. That sign flips here and nowhere else.
"""

import math

import torch
from torch import Tensor

__all__ = ["decode_size", "decode_yaw", "encode_size", "encode_yaw"]


def encode_yaw(yaw: Tensor, num_bins: int) -> tuple[Tensor, Tensor]:
    """Heading bin and residual of a yaw.

    Bin k is centred at heading k * 2 pi / num_bins. One bin means that boxes are axis-aligned: the residual is 0.

    Args:
        yaw: [...] radians, counter-clockwise from +x about +z; any range.
        num_bins: Number of heading bins NH.

    Returns:
        Bins [...] int64 in 0..NH-1, and residuals [...] radians in [-pi/NH, pi/NH], clockwise.
    """
    if num_bins == 1:
        return torch.zeros_like(yaw, dtype=torch.int64), torch.zeros_like(yaw)
    width = 2 * math.pi / num_bins
    shifted = torch.remainder(torch.remainder(-yaw, 2 * math.pi) + width / 2, 2 * math.pi)
    # Rounding may leave `shifted` at 2 pi itself.
    bins = (shifted / width).long().clamp_(max=num_bins - 1)
    return bins, shifted - (bins.to(yaw.dtype) * width + width / 2)


def decode_yaw(bins: Tensor, residuals: Tensor, num_bins: int) -> Tensor:
    """Yaw [...] in [-pi, pi] of heading bins [...] and residuals [...] (radians); 0 where there is one bin."""
    if num_bins == 1:
        return torch.zeros_like(residuals)
    heading = bins.to(residuals.dtype) * (2 * math.pi / num_bins) + residuals
    return -torch.where(heading > math.pi, heading - 2 * math.pi, heading)


def encode_size(sizes: Tensor, size_classes: Tensor, mean_sizes: Tensor) -> Tensor:
    """Residual [..., 3] of full extents [..., 3] (metres) against the mean size [NS, 3] of their size class [...]."""
    return sizes - mean_sizes[size_classes]


def decode_size(residuals: Tensor, size_classes: Tensor, mean_sizes: Tensor) -> Tensor:
    """Full extents [..., 3] (metres) of residuals [..., 3] against the mean size [NS, 3] of their size class [...]."""
    return residuals + mean_sizes[size_classes]
