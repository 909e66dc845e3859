"""Torch operators in several threads, each computing with one.

A sparse convolution is many products too small to be worth sharing among threads one by one; whole shares of it are.
"""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["run_each"]

Share = TypeVar("Share")
Result = TypeVar("Result")


def run_each(function: Callable[[Share], Result], shares: Sequence[Share]) -> list[Result]:
    """function(share) for every share, each in a thread of its own and without recording gradients."""

    def run(share: Share) -> Result:
        with torch.no_grad():
            return function(share)

    if len(shares) == 1:
        return [run(shares[0])]
    return list(_pool(os.getpid(), len(shares)).map(run, shares))


@functools.lru_cache(maxsize=4)
def _pool(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Keyed by the process: a forked child has none of its parent's threads."""
    before = torch.get_num_threads()
    started = threading.Barrier(num_threads)

    def start(_: int) -> None:
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="sparse")
    list(pool.map(start, range(num_threads)))
    torch.set_num_threads(before)  # it counts for this thread and those to come, not for those of the pool
    return pool
