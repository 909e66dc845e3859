"""Reading stored sets back, bit for bit as their recipes made them."""

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

_OPEN_SHARDS = 64  # each holds a file handle; systems allow a process about a thousand


class StoredSet(Sequence[dict[str, np.ndarray]]):
    """A complete stored set as a sequence: item i holds the arrays that the recipe gave for sample i.

    Nothing is read before it is asked for. When a process first comes to a shard it compares it with its checksum,
    about a second for a gigabyte, so that no damage goes into a training unseen. Safe to use from several threads;
    pickles as its path and records.

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
        """Sample by its number, or a list of them for a slice; the arrays are the caller's own.

        Raises:
            IndexError: If there is no such sample.
            ValueError: If its shard is damaged, naming the file.
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
    """A stored set, ready to be read.

    Raises:
        FileNotFoundError: If there is none, or some of its shards have not been made yet.
        ValueError: If its manifest cannot be used.
    """
    path = as_path(path)
    manifest = read_manifest(path)
    found = [read_record(manifest.shard_path(path, shard)) for shard in range(manifest.num_shards)]
    records = [record for record in found if record is not None]
    if len(records) < len(found):
        raise FileNotFoundError(
            f"{path} is not finished: {len(found) - len(records)} of {len(found)} shards are missing, "
            f"the first is {found.index(None)}; run the command that began it again"
        )
    return StoredSet(path, manifest, records)


def check(path: str | Path) -> str:
    """Compare every shard with its checksum.

    Returns:
        The checksum of the whole set; two sets with the same one hold the same bytes.

    Raises:
        ValueError: Naming every file that is not what its record says.
        FileNotFoundError: As `open_set`.
    """
    stored = open_set(path)
    damaged = []
    for record in stored.records:
        file = stored.manifest.shard_path(stored.path, record.shard)
        if not file.exists():
            damaged.append(f"{file} is missing")
        elif file_checksum(file) != record.sha256:
            damaged.append(f"{file} is not what was written")
    if damaged:
        raise ValueError("\n".join([*damaged, "run the command that made the set again and they will be made anew"]))
    return set_checksum(stored.records)
