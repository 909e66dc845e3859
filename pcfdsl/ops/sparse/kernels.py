"""CPU kernels of the sparse convolution; each has its line of plain torch in `reference` and elsewhere."""

import numba
import numpy as np
import torch
from torch import Tensor

__all__ = ["add_rows"]


def add_rows(out: Tensor, idx: Tensor, rows: Tensor) -> None:
    """out[idx[i]] += rows[i]; no row of `out` is named twice.

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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(out, idx, rows):
    for i in range(len(idx)):
        row = idx[i]
        for c in range(rows.shape[1]):
            out[row, c] += rows[i, c]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_bfloat16(out, idx, rows):
    for i in range(len(idx)):
        row = idx[i]
        for c in range(rows.shape[1]):  # bfloat16 is the upper half of a float32
            out[row, c] += np.uint32(np.uint32(rows[i, c]) << np.uint32(16)).view(np.float32)
