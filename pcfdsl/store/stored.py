"""Reading stored sets."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from pcfdsl.store.manifest import Manifest, ShardRecord, file_checksum, read_manifest, read_record, set_checksum
from pcfdsl.store.paths import as_path
from pcfdsl.store.shards import Shard

__all__ = ["StoredSet", "check", "open_set"]

_OPEN_SHARDS = 64  # each holds a file handle; a process may typically have about a thousand


class StoredSet(Sequence[dict[str, np.ndarray]]):
    """A complete stored set as a sequence: item i holds the arrays of the recipe's sample i, bit for bit.

    Shards are read on demand. A process verifies the checksum of each shard on first access, at about a gigabyte per
    second, so that damaged data never goes unnoticed into training. Thread-safe; pickles as its path, manifest and
    records.

    Attributes:
        path: The folder.
        manifest: What the set is made from.
        records: One per shard.
    """

    def __init__(self, path: Path, manifest: Manifest, records: list[ShardRecord]):
        self.path, self.manifest, self.records = path, manifest, records
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._checked: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.manifest.num_samples

    @overload
    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, np.ndarray]]: ...
    def __getitem__(self, index):
        """Sample by its number, or a list of them for a slice; the arrays are copies.

        Raises:
            IndexError: If there is no such sample.
            ValueError: If its shard is damaged; the message names the file.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a stored set of {len(self)}")
        shard, offset = divmod(int(index) % len(self), self.manifest.samples_per_shard)
        return self._shard(shard).sample(offset)

    def __getstate__(self) -> dict:
        return {"path": self.path, "manifest": self.manifest, "records": self.records}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)

    def _shard(self, number: int) -> Shard:
        with self._lock:
            shard = self._shards.pop(number, None)
            if shard is None:
                path = self.manifest.shard_path(self.path, number)
                record = self.records[number]
                shard = Shard(
                    path,
                    record.num_bytes,
                    self.manifest.digest,
                    first_sample=self.manifest.samples_of(number).start,
                    sha256=None if number in self._checked else record.sha256,
                )
                self._checked.add(number)
            self._shards[number] = shard
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        return shard


def open_set(path: str | Path) -> StoredSet:
    """Open a complete stored set for reading.

    Raises:
        FileNotFoundError: If there is none, or it is incomplete.
        ValueError: If its manifest is invalid.
    """
    path = as_path(path)
    manifest = read_manifest(path)
    found = [read_record(manifest.shard_path(path, shard)) for shard in range(manifest.num_shards)]
    records = [record for record in found if record is not None]
    if len(records) < len(found):
        raise FileNotFoundError(
            f"{path} is incomplete: {len(found) - len(records)} of {len(found)} shards are missing, "
            f"the first is {found.index(None)}; rerun the command that started it"
        )
    return StoredSet(path, manifest, records)


def check(path: str | Path) -> str:
    """Verify the checksum of every shard.

    Returns:
        The checksum of the whole set; sets with equal checksums hold the same bytes.

    Raises:
        ValueError: If files are missing or damaged; the message names each of them.
        FileNotFoundError: As `open_set`.
    """
    stored = open_set(path)
    damaged = []
    for record in stored.records:
        file = stored.manifest.shard_path(stored.path, record.shard)
        if not file.exists():
            damaged.append(f"{file} is missing")
        elif file_checksum(file) != record.sha256:
            damaged.append(f"{file} does not match its checksum")
    if damaged:
        raise ValueError("\n".join([*damaged, "rerun the command that made the set to replace them"]))
    return set_checksum(stored.records)
