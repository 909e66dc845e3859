"""The two inner loops that numba runs faster than torch on the CPU; elsewhere they are a line or two of torch."""

import numpy as np
import torch
from torch import Tensor

from pcfdsl.jit import kernel

__all__ = ["add_rows", "find_pairs", "find_pairs_torch"]


def add_rows(out: Tensor, idx: Tensor, rows: Tensor) -> None:
    """out[idx[i]] += rows[i]; without duplicates in `idx`.

    Args:
        out: [V, C], contiguous; changed in place. At least float32.
        idx: [R] int64.
        rows: [R, C] of any floating type.
    """
    if out.device.type != "cpu" or rows.dtype == torch.float16:
        out.index_add_(0, idx, rows.to(out.dtype))
    elif rows.dtype == torch.bfloat16:
        _add_bfloat16(out.numpy(), idx.numpy(), rows.view(torch.uint16).numpy())
    else:
        _add(out.numpy(), idx.numpy(), rows.numpy())


def find_pairs(in_keys: Tensor, out_keys: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (i, j) with in_keys[i] == out_keys[j] + shift, for one shift after the other, j increasing.

    Args:
        in_keys, out_keys: [V_in], [V_out] int64, increasing.
        shifts: [G] int64.

    Returns:
        i [P] and j [P] int64, and how many there are for each shift [G] int64.
    """
    if in_keys.device.type != "cpu":
        return find_pairs_torch(in_keys, out_keys, shifts)
    room = len(shifts) * min(len(in_keys), len(out_keys))
    in_idx, out_idx = torch.empty(room, dtype=torch.int64), torch.empty(room, dtype=torch.int64)
    counts = torch.empty_like(shifts)
    arrays = (tensor.numpy() for tensor in (in_keys, out_keys, shifts, in_idx, out_idx, counts))
    num_pairs = _merge(*arrays)
    return in_idx[:num_pairs].clone(), out_idx[:num_pairs].clone(), counts


def find_pairs_torch(in_keys: Tensor, out_keys: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`find_pairs` in plain torch, for any device."""
    wanted = out_keys + shifts[:, None]
    place = torch.searchsorted(in_keys, wanted).clamp_(max=len(in_keys) - 1)
    met = in_keys[place] == wanted
    group, out_idx = met.nonzero(as_tuple=True)
    return place[group, out_idx], out_idx, met.sum(1)


@kernel
def _merge(in_keys, out_keys, shifts, in_idx, out_idx, counts):
    found = 0
    for g in range(len(shifts)):
        before, i = found, 0
        for j in range(len(out_keys)):
            wanted = out_keys[j] + shifts[g]
            while i < len(in_keys) and in_keys[i] < wanted:
                i += 1
            if i == len(in_keys):
                break
            if in_keys[i] == wanted:
                in_idx[found], out_idx[found] = i, j
                found += 1
        counts[g] = found - before
    return found


@kernel
def _add(out, idx, rows):
    for i in range(len(idx)):
        row = idx[i]
        for c in range(rows.shape[1]):
            out[row, c] += rows[i, c]


@kernel
def _add_bfloat16(out, idx, rows):
    for i in range(len(idx)):
        row = idx[i]
        for c in range(rows.shape[1]):  # bfloat16 is the upper half of a float32
            out[row, c] += np.uint32(np.uint32(rows[i, c]) << np.uint32(16)).view(np.float32)
