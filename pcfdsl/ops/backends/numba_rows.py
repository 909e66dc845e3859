"""CPU kernels of ops.rows: each works on the items start to stop, so that threads can share the items.

`sums` are [2, C] float64: of the gradient, and of the gradient times the normalised row (or of rows and their squares).
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcfdsl.jit import kernel

BLOCK = 2048


def arrays_of(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


@functools.lru_cache(maxsize=1)
def _threads(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Keyed by the process: a forked child has none of its parent's threads."""
    return ThreadPoolExecutor(num_threads)


def over_blocks(of_block: Callable, num_items: int, *arguments: Any, block: int = BLOCK) -> list:
    """of_block(*arguments, start, stop) over all items, in threads; results in the order of the blocks."""
    bounds = [(start, min(start + block, num_items)) for start in range(0, num_items, block)]
    num_threads = min(torch.get_num_threads(), len(bounds))
    if num_threads <= 1:
        return [of_block(*arguments, start, stop) for start, stop in bounds]
    run = _threads(os.getpid(), torch.get_num_threads()).map
    return list(run(lambda bound: of_block(*arguments, *bound), bounds))


def sum_blocks(of_block: Callable, num_items: int, num_channels: int, *arrays: np.ndarray) -> Tensor:
    """[2, C] float64 sum of what `of_block` returns for each block."""
    total = np.zeros((2, num_channels))
    for part in over_blocks(of_block, num_items, *arrays):
        total += part
    return torch.from_numpy(total)


@kernel
def moments(rows, multiplicity, start, stop):
    sums = np.zeros((2, rows.shape[1]))
    for i in range(start, stop):
        times = np.float64(multiplicity[i])
        for c in range(rows.shape[1]):
            value = np.float64(rows[i, c])
            sums[0, c] += times * value
            sums[1, c] += times * value * value
    return sums


@kernel
def forward(rows, scale, shift, out, start, stop):
    for i in range(start, stop):
        for c in range(rows.shape[1]):
            value = rows[i, c] * scale[c] + shift[c]
            out[i, c] = 0 if value <= 0 else value  # NaN stays NaN


@kernel
def reduce(grad, rows, scale, shift, center, start, stop):
    sums = np.zeros((2, rows.shape[1]))
    for i in range(start, stop):
        for c in range(rows.shape[1]):
            passed = np.float64(grad[i, c]) if rows[i, c] * scale[c] + shift[c] > 0 else 0.0
            sums[0, c] += passed
            sums[1, c] += passed * ((rows[i, c] - center[0, c]) * center[1, c])
    return sums


@kernel
def backward(grad, rows, multiplicity, scale, shift, common, slope, out, start, stop):
    zero = grad.dtype.type(0)
    for i in range(start, stop):
        times = multiplicity[i]
        for c in range(rows.shape[1]):
            value = rows[i, c]
            passed = grad[i, c] * scale[c] if value * scale[c] + shift[c] > 0 else zero
            out[i, c] = passed - times * (common[c] + slope[c] * value)


@kernel
def forward_max(rows, starts, scale, shift, out, winner, start, stop):
    for segment in range(start, stop):
        first = starts[segment]
        for c in range(rows.shape[1]):
            out[segment, c] = rows[first, c] * scale[c] + shift[c]
            winner[segment, c] = first
        for i in range(first + 1, starts[segment + 1]):
            row = np.int32(i)
            for c in range(rows.shape[1]):
                value = rows[i, c] * scale[c] + shift[c]
                larger = value > out[segment, c]
                out[segment, c] = value if larger else out[segment, c]
                winner[segment, c] = row if larger else winner[segment, c]
        for c in range(rows.shape[1]):
            out[segment, c] = 0 if out[segment, c] <= 0 else out[segment, c]


@kernel
def reduce_max(grad, rows, winner, center, start, stop):
    sums = np.zeros((2, rows.shape[1]))
    for segment in range(start, stop):
        for c in range(rows.shape[1]):
            passed = np.float64(grad[segment, c])
            sums[0, c] += passed
            sums[1, c] += passed * ((rows[winner[segment, c], c] - center[0, c]) * center[1, c])
    return sums


@kernel
def backward_max(grad, rows, winner, starts, multiplicity, scale, common, slope, out, start, stop):
    for segment in range(start, stop):
        for i in range(starts[segment], starts[segment + 1]):
            for c in range(rows.shape[1]):
                out[i, c] = -multiplicity[i] * (common[c] + slope[c] * rows[i, c])
        for c in range(rows.shape[1]):
            out[winner[segment, c], c] += grad[segment, c] * scale[c]
