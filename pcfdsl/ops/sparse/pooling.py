"""Pooling over the neighbourhoods of a kernel map, or over whole clouds."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Pool", "pool_pairs"]

Pool = Literal["max", "avg", "sum"]


def pool_pairs(features: Tensor, in_idx: Tensor, out_idx: Tensor, num_out: int, kind: Pool) -> Tensor:
    """Maximum, average or sum of features[in_idx] by out_idx.

    Averages divide by the number of rows that are there. Of equal maxima the first pair takes the gradient.

    Args:
        features: [V_in, C].
        in_idx, out_idx: [P] int64; every output row occurs.
        num_out: V_out.
        kind: What to compute.

    Returns:
        [V_out, C].

    Raises:
        ValueError: If there is no such kind.
    """
    if kind == "max":
        return features.gather(0, _winners(features.detach(), in_idx, out_idx, num_out))
    if kind not in ("avg", "sum"):
        raise ValueError(f"pooling {kind!r} is unknown; expected max, avg or sum")
    total = features.new_zeros(num_out, features.shape[1]).index_add(0, out_idx, features.index_select(0, in_idx))
    if kind == "sum":
        return total
    return total / torch.bincount(out_idx, minlength=num_out)[:, None]


def _winners(features: Tensor, in_idx: Tensor, out_idx: Tensor, num_out: int) -> Tensor:
    """Input row [V_out, C] of each maximum."""
    values = features.index_select(0, in_idx)
    targets = out_idx[:, None].expand_as(values)
    shape = (num_out, values.shape[1])
    largest = values.new_zeros(shape).scatter_reduce(0, targets, values, "amax", include_self=False)
    # A NaN equals nothing, not even the maximum that it is.
    is_largest = (values == largest[out_idx]) | values.isnan()
    pair = torch.arange(len(in_idx), device=in_idx.device)[:, None]
    pair = torch.where(is_largest, pair, len(in_idx))
    first = pair.new_zeros(shape).scatter_reduce(0, targets, pair, "amin", include_self=False)
    return in_idx[first]
