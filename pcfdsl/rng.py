"""Where random generators come from: a seed and a path of names, nothing else.

Every random decision in pcfdsl is drawn from `stream(seed, *path)`. The path says what the numbers are for, as in
`stream(0, "category", 17)`, so sample i never depends on how many samples were made before it, by whom, or in what
order.
"""

import hashlib

import numpy as np
from numpy.random.bit_generator import ISeedSequence

__all__ = ["stream"]


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """Generator that depends on the seed and the path alone.

    The 128-bit key of a Philox-4x64 counter generator is the BLAKE2b hash of the encoded (seed, *path), so two
    different paths give unrelated sequences, and (1, "23") is not (12, "3").

    Args:
        seed: Any Python integer.
        *path: Integers (NumPy's too) and strings.

    Raises:
        TypeError: If the seed or a path item is anything else; floats would round.

    >>> stream(0, "category", 17).integers(1000, size=3)
    array([955,   8, 425])
    """
    encoded = bytearray()
    for item in (seed, *path):
        if isinstance(item, str):
            kind, text = b"s", item.encode("utf-8", "surrogateescape")  # names of files may be any bytes
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            kind, text = b"i", b"%d" % int(item)
        else:
            raise TypeError(f"a path takes integers and strings, got {item!r} of type {type(item).__name__}")
        encoded += kind + b"%d:" % len(text) + text
    key = _Key(hashlib.blake2b(encoded, digest_size=16).digest())
    return np.random.Generator(np.random.Philox(key))  # type: ignore[arg-type]  # the stubs know SeedSequence alone


class _Key(ISeedSequence):
    """Philox's 128-bit key, as `Philox(key=...)`, which first asks the system for entropy, in three times the time."""

    def __init__(self, key: bytes):
        self.key = key

    def generate_state(self, n_words, dtype=np.uint32):
        """The key as words, least significant first."""
        return np.frombuffer(self.key, np.dtype(dtype).newbyteorder("<"), n_words).astype(dtype)
