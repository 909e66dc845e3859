"""Shards: several samples, each a dictionary of arrays, in one safetensors file.

Arrays of equal shape are stacked, [S, ...]. Arrays whose leading sizes differ are concatenated, with S + 1 offsets
under `<key>@offsets`. The bytes depend on the samples alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pcfdsl.store.manifest import file_checksum
from pcfdsl.store.paths import as_path, local_copy

__all__ = ["Shard", "encode"]

_OFFSETS = "@offsets"


def encode(samples: Sequence[dict[str, np.ndarray]], *, first_sample: int, digest: str) -> bytes:
    """Bytes of a shard file.

    Args:
        samples: At least one; all with the same keys and, per key, the same dtype and trailing sizes.
        first_sample: Number of the first one in its set, for messages and the file's metadata.
        digest: Digest of the set's manifest, for the file's metadata, so that a misplaced shard can be detected.

    Raises:
        ValueError: If samples do not match; the message names the first mismatched sample and key.
    """
    tensors: dict[str, np.ndarray] = {}
    for key in samples[0]:
        arrays = [_array(sample, samples[0], key, first_sample + i) for i, sample in enumerate(samples)]
        for i, array in enumerate(arrays):
            if array.dtype != arrays[0].dtype or array.shape[1:] != arrays[0].shape[1:] or array.ndim != arrays[0].ndim:
                raise ValueError(
                    f"sample {first_sample + i}: {key} is {array.dtype} {list(array.shape)}, but sample {first_sample} "
                    f"has {arrays[0].dtype} {list(arrays[0].shape)}; only leading sizes may differ"
                )
        if len({array.shape for array in arrays}) == 1:
            tensors[key] = np.stack(arrays)
        else:
            tensors[key] = np.concatenate(arrays)
            tensors[key + _OFFSETS] = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    about = {"first_sample": first_sample, "num_samples": len(samples), "digest": digest}
    # A single entry: the order in which safetensors writes several is not fixed.
    return save(tensors, metadata={"pcfdsl": json.dumps(about)})


class Shard:
    """Read access to a memory-mapped shard file; samples are copied out one by one. Thread-safe.

    A remote file is downloaded first.

    Args:
        path: The file.
        num_bytes: Its expected size.
        digest: Digest of the set it should belong to.
        first_sample: Number of the sample it should begin with; None accepts any.
        sha256: Its expected checksum; None skips the check, which reads the whole file.

    Raises:
        ValueError: If the file is damaged or misplaced; the message says how to repair it.
        OSError: If it cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        num_bytes: int,
        digest: str,
        *,
        first_sample: int | None = None,
        sha256: str | None = None,
    ):
        self._path = path = as_path(path)
        size = path.stat().st_size
        if size != num_bytes:
            raise ValueError(_damaged(path, f"has {size} bytes instead of {num_bytes}"))
        local = local_copy(path)
        if sha256 is not None and file_checksum(local) != sha256:
            raise ValueError(_damaged(path, "does not match its checksum"))
        try:
            file = safe_open(str(local), framework="numpy")
            about = json.loads((file.metadata() or {}).get("pcfdsl", "{}"))
        except (SafetensorError, ValueError, RecursionError) as error:
            raise ValueError(_damaged(path, f"cannot be read ({error})")) from None
        if not isinstance(about, dict) or about.get("digest") != digest:
            raise ValueError(_damaged(path, "belongs to another set"))
        if first_sample is not None and about.get("first_sample") != first_sample:
            raise ValueError(_damaged(path, "is another shard of the set"))
        names = list(file.keys())
        self._offsets = {name: file.get_tensor(name) for name in names if name.endswith(_OFFSETS)}
        self._slices = {name: file.get_slice(name) for name in names if name not in self._offsets}

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """Sample number `index` of the shard, keys in alphabetical order.

        Raises:
            ValueError: If the file is damaged.
        """
        try:
            return {key: self._read(key, index) for key in sorted(self._slices)}
        except (SafetensorError, OverflowError, LookupError, TypeError, ValueError) as error:
            raise ValueError(_damaged(self._path, f"cannot be read ({error})")) from None

    def _read(self, key: str, index: int) -> np.ndarray:
        view, offsets = self._slices[key], self._offsets.get(key + _OFFSETS)
        shape = tuple(view.get_shape())
        if offsets is None:
            return view[index : index + 1].reshape(shape[1:])
        begin, end = int(offsets[index]), int(offsets[index + 1])
        return view[begin:end] if begin < end else view[0:0]  # safetensors rejects an empty slice at the end


def _array(sample: dict[str, np.ndarray], first: dict[str, np.ndarray], key: str, number: int) -> np.ndarray:
    if sample.keys() != first.keys():
        raise ValueError(f"sample {number} has the keys {sorted(sample)}; those before it have {sorted(first)}")
    array = np.ascontiguousarray(sample[key]).reshape(np.shape(sample[key]))  # ascontiguousarray turns 0-d into 1-d
    if array.dtype.kind not in "biuf":
        raise ValueError(f"sample {number}: {key} is an array of {array.dtype}; expected numbers or booleans")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _damaged(path: str | Path, what: str) -> str:
    return f"{path} {what}; rerun the command that made the set to replace it"
