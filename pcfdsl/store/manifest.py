"""What a stored set is made from, and what is in each of its shards.

    out/manifest.json                        what the set is made from; written first, never changed
    out/shards-<digest>/00000.safetensors    samples
    out/shards-<digest>/00000.json           its record: checksum, counts, versions; written last, so it says "finished"

No file is written by two writers with different content: shards depend on the manifest and their number alone, and
the folder's name on the manifest. So any number of processes, machines and restarts may work on one set without locks.
"""

import dataclasses
import errno
import hashlib
import json
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pcfdsl import __version__
from pcfdsl.store.atomic import make_folder, remove_stale, write_file
from pcfdsl.store.paths import as_path, is_remote, remote_errors

__all__ = [
    "DifferentSetError",
    "Manifest",
    "ShardRecord",
    "file_checksum",
    "open_folder",
    "read_manifest",
    "read_record",
    "set_checksum",
    "version_notes",
    "versions",
]

FORMAT = 1
_FILE = "manifest.json"


class DifferentSetError(ValueError):
    """A folder holds a set made from something else than was asked for."""


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of a sample."""
    return {
        "pcfdsl": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "machine": platform.machine(),
    }


def version_notes(out: str | Path, records: Sequence["ShardRecord"]) -> list[str]:
    """What to know of shards made by other versions than are at work here; empty where all are alike."""
    here, notes = versions(), []
    for name in sorted({name for record in records for name in record.versions}):
        others = Counter(record.versions[name] for record in records if name in record.versions)
        others.pop(here.get(name, ""), None)
        for other, count in sorted(others.items()):
            notes.append(
                f"{count} of {len(records)} shards of {out} were made with {name} {other}, here is "
                f"{here.get(name, 'none')}: their last bits may differ from what is made now (--verify compares "
                "them); to have all from one, make the set again in another folder"
            )
    return notes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a set is made from.

    Attributes:
        recipe: Name of the recipe.
        config: Its resolved settings as nested plain dictionaries, the seed among them.
        inputs: SHA-256 of what it was given besides, by name; empty where the settings say all.
        num_samples: Samples of the whole set.
        samples_per_shard: Samples in each shard but the last.
        versions: Of the process that began the set; not part of the digest.
        format: Version of this layout.
    """

    recipe: str
    config: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    num_samples: int
    samples_per_shard: int
    versions: dict[str, str] = field(default_factory=versions)
    format: int = FORMAT

    def identity(self) -> dict[str, Any]:
        """Everything that the bytes of the shards follow from."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "versions"}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `identity`."""
        return _digest(self.identity())

    @property
    def num_shards(self) -> int:
        """Shards of the whole set."""
        return -(-self.num_samples // self.samples_per_shard)

    def samples_of(self, shard: int) -> range:
        """Numbers of the samples in a shard."""
        first = shard * self.samples_per_shard
        return range(first, min(first + self.samples_per_shard, self.num_samples))

    def shard_folder(self, out: Path) -> Path:
        """Where the shards are."""
        return out / f"shards-{self.digest[:16]}"

    def shard_path(self, out: Path, shard: int) -> Path:
        """File of a shard; its record has the suffix .json."""
        return self.shard_folder(out) / f"{shard:05d}.safetensors"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is in a finished shard.

    Attributes:
        shard: Its number.
        first_sample, num_samples: Which samples.
        num_bytes, sha256: Of the file.
        counters: Sums over the samples of their scalar integers named num_*.
        versions: Of the process that made it.
    """

    shard: int
    first_sample: int
    num_samples: int
    num_bytes: int
    sha256: str
    counters: dict[str, int]
    versions: dict[str, str]

    def write(self, shard_path: Path) -> None:
        """Write the record beside its shard."""
        content = dataclasses.asdict(self)
        write_file(shard_path.with_suffix(".json"), _to_json({**content, "digest": _digest(content)}))


def read_record(shard_path: Path) -> ShardRecord | None:
    """Record beside a shard; None where there is none or it cannot be used, which means: not finished.

    One that was damaged, speaks of another shard, or has entries of other kinds than it should, cannot be used.
    """
    try:
        content = json.loads(shard_path.with_suffix(".json").read_bytes())
        stated = content.pop("digest", None)  # records of earlier versions have none
        record = ShardRecord(**content)
        damaged = stated not in (None, _digest(content))
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    numbers = (record.shard, record.first_sample, record.num_samples, record.num_bytes, *_values(record.counters))
    texts = (record.sha256, *_values(record.versions))
    kept = all(type(number) is int for number in numbers) and all(isinstance(text, str) for text in texts)
    return record if kept and not damaged and f"{record.shard:05d}" == shard_path.stem else None


def read_manifest(out: str | Path) -> Manifest:
    """Manifest of a stored set.

    Raises:
        FileNotFoundError: If the folder holds no set.
        ValueError: If its manifest is damaged or of a newer layout.
    """
    path = as_path(out) / _FILE
    try:
        with remote_errors(path):
            content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{out} holds no stored set; expected a folder with {_FILE} in it") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged; remove it and run the command that made the set again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a manifest of format {FORMAT}; was it made by another version of pcfdsl?")
    stated = content.pop("digest", None)
    try:
        manifest = Manifest(**content)
    except TypeError:
        raise ValueError(f"{path} lacks entries; remove it and run the command that made the set again") from None
    if manifest.digest != stated:
        raise ValueError(f"{path} was edited: it does not have the digest it states; undo that, or remove the file")
    return manifest


def open_folder(out: str | Path, manifest: Manifest, *, overwrite: bool = False) -> Path:
    """Make a folder ready to take the shards of a set, new or begun earlier, by this process or others.

    Args:
        out: The folder.
        manifest: The set.
        overwrite: Replace a set made from something else. One made from the same is gone on with all the same, and
            one of which no shard was ever made is replaced in any case.

    Returns:
        The folder of the shards.

    Raises:
        DifferentSetError: If there is a set made from something else, saying what differs.
        OSError: If the folder cannot be used.
    """
    out = make_folder(out)
    content = _to_json({**dataclasses.asdict(manifest), "digest": manifest.digest})
    remove_stale(out)
    if not write_file(out / _FILE, content, exclusive=True):
        try:
            require_same(out, manifest)
        except ValueError:
            if not overwrite and any(out.glob("shards-*/*")):  # a set of which nothing was made is no loss
                raise
            write_file(out / _FILE, content)
            overwrite = True
    if overwrite:  # also what an earlier overwriting did not get round to
        for old in out.glob("shards-*"):
            if old != manifest.shard_folder(out):
                _remove_folder(old)
    folder = make_folder(manifest.shard_folder(out))
    remove_stale(folder)
    return folder


def _remove_folder(folder: Path) -> None:
    """Remove shards of another set, though other jobs may be removing them as well, or a job that has not yet seen that
    it lost may be writing them; what it leaves, the next overwriting removes.
    """
    for _ in range(100):
        if not folder.exists():
            return
        try:
            folder.fs.rm(folder.path, recursive=True) if is_remote(folder) else shutil.rmtree(folder)  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def require_same(out: str | Path, manifest: Manifest) -> None:
    """Make sure that a stored set is the one meant.

    Raises:
        DifferentSetError: Saying what differs and what to do.
    """
    stored = read_manifest(out)
    if stored.digest != manifest.digest:
        differences = "".join(f"\n  {line}" for line in _differences(stored.identity(), manifest.identity()))
        raise DifferentSetError(
            f"{out} holds a set made from other settings (stored -> asked for):{differences}\n"
            "give another --out, or --overwrite to replace the stored set"
        )


def file_checksum(path: str | Path) -> str:
    """SHA-256 (hex) of a file."""
    with as_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_checksum(records: list[ShardRecord]) -> str:
    """SHA-256 (hex) over the shards' checksums in order: one value for everything in a set."""
    return hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()


def _values(entries: Any) -> list[Any]:
    return list(entries.values()) if isinstance(entries, dict) else [None]


def _differences(stored: dict, asked: dict, prefix: str = "") -> Iterator[str]:
    for key in sorted(stored.keys() | asked.keys()):
        before, after = stored.get(key), asked.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}: {json.dumps(before)} -> {json.dumps(after)}"


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _to_json(content: dict) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
