"""Strings of formal languages: pairs of equal halves, balanced brackets, brackets that may cross.

They mean nothing and look like nothing; a network that fills in what is hidden in them has to copy over a distance, to
count and to keep a stack (Shinnick et al., Can You Learn to See Without Images?, arXiv 2511.13945).
"""

from typing import Literal

import numpy as np

from pcfdsl.jit import kernel

__all__ = ["Language", "draw_string"]

Language = Literal["ww", "dyck", "shuffle_dyck"]


def draw_string(rng: np.random.Generator, language: Language, length: int, *, num_symbols: int) -> np.ndarray:
    """A random string: [length] int64, symbols from 0.

    Of brackets, 2 b opens and 2 b + 1 closes. While both are possible, one or the other is as likely; which kind opens
    is uniform. A string of odd length is one that is longer by a symbol, without its last.

    Args:
        rng: Source of randomness.
        language: `ww`: a random string and the same again. `dyck`: each bracket closes the last one that is open.
            `shuffle_dyck`: it closes any that is open.
        length: Number of symbols.
        num_symbols: How many there are, an even number.
    """
    half = -(-length // 2)
    drawn = rng.integers(num_symbols if language == "ww" else num_symbols // 2, size=half)
    if language == "ww":
        return np.tile(drawn, 2)[:length]
    return _brackets(drawn, rng.random(2 * half), rng.random(2 * half), language == "shuffle_dyck")[:length]


@kernel
def _brackets(kinds, openings, choices, crossing):
    """[2 N] symbols that open brackets of these kinds in this order, and close each of them."""
    symbols = np.empty(2 * len(kinds), np.int64)
    open_kinds = np.empty(len(kinds), np.int64)
    opened = depth = 0
    for i in range(len(symbols)):
        if opened < len(kinds) and (depth == 0 or openings[i] < 0.5):
            open_kinds[depth] = kinds[opened]
            symbols[i] = 2 * kinds[opened]
            opened, depth = opened + 1, depth + 1
        else:
            at = int(choices[i] * depth) if crossing else depth - 1
            symbols[i] = 2 * open_kinds[at] + 1
            depth -= 1
            open_kinds[at] = open_kinds[depth]
    return symbols
