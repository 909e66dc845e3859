"""The manifest of a stored set, and the records of its shards.

    out/manifest.json                        what the set is made from; written first, never changed
    out/shards-<digest>/00000.safetensors    samples
    out/shards-<digest>/00000.json           its record: checksum, counts, versions; written last, so it says "finished"

Two writers of the same file always write the same content: a shard depends only on the manifest and its number, the
folder's name only on the manifest. So any number of processes, machines and restarts can share one set without locks.
"""

import dataclasses
import errno
import hashlib
import json
import platform
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pcfdsl import __version__
from pcfdsl.config import differences
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
    """A folder holds a set made from other settings than the requested ones."""


def versions() -> dict[str, str]:
    """Versions of the software that determines the bytes of a sample."""
    return {
        "pcfdsl": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "machine": platform.machine(),
    }


def version_notes(out: str | Path, records: Sequence["ShardRecord"]) -> list[str]:
    """Warnings about shards made with other versions than those installed here; empty if there are none."""
    here, notes = versions(), []
    for name in sorted({name for record in records for name in record.versions}):
        others = Counter(record.versions[name] for record in records if name in record.versions)
        others.pop(here.get(name, ""), None)
        for other, count in sorted(others.items()):
            notes.append(
                f"{count} of {len(records)} shards of {out} were made with {name} {other}, but this is "
                f"{here.get(name, 'none')}: their last bits may differ from newly generated ones (--verify compares "
                "them); for a uniform set, generate it from scratch in another folder"
            )
    return notes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a set is made from.

    Attributes:
        recipe: Name of the recipe.
        config: Its resolved settings as nested plain dictionaries, including the seed.
        inputs: SHA-256 of other inputs, by name; empty if the settings determine everything.
        num_samples: Samples in the whole set.
        samples_per_shard: Samples in each shard but the last.
        versions: Those of the process that started the set; not part of the digest.
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
        """Everything that determines the bytes of the shards."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "versions"}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `identity`."""
        return _digest(self.identity())

    @property
    def num_shards(self) -> int:
        """Number of shards in the whole set."""
        return -(-self.num_samples // self.samples_per_shard)

    def samples_of(self, shard: int) -> range:
        """Numbers of the samples in a shard."""
        first = shard * self.samples_per_shard
        return range(first, min(first + self.samples_per_shard, self.num_samples))

    def shard_folder(self, out: Path) -> Path:
        """Folder of the shards."""
        return out / f"shards-{self.digest[:16]}"

    def shard_path(self, out: Path, shard: int) -> Path:
        """File of a shard; its record has the same name with the suffix .json."""
        return self.shard_folder(out) / f"{shard:05d}.safetensors"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The contents of a finished shard.

    Attributes:
        shard: Its number.
        first_sample, num_samples: Its range of samples.
        num_bytes, sha256: Size and checksum of the file.
        counters: Sums over the samples of their scalar integers named num_*.
        versions: Those of the process that made it.
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
    """Record of a shard, or None if it is missing or invalid, which means that the shard is not finished.

    A record is invalid if it is damaged, describes another shard, or has entries of the wrong type.
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
        ValueError: If its manifest is damaged, edited, or of another format.
    """
    path = as_path(out) / _FILE
    try:
        with remote_errors(path):
            content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{out} holds no stored set; expected a folder with {_FILE} in it") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged; remove it and rerun the command that made the set") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a manifest of format {FORMAT}; was it made by another version of pcfdsl?")
    stated = content.pop("digest", None)
    try:
        manifest = Manifest(**content)
    except TypeError:
        raise ValueError(f"{path} lacks entries; remove it and rerun the command that made the set") from None
    if manifest.digest != stated:
        raise ValueError(f"{path} was edited: its contents do not match its digest; undo the edit or remove the file")
    return manifest


def open_folder(out: str | Path, manifest: Manifest, *, overwrite: bool = False) -> Path:
    """Prepare a folder for the shards of a set, whether new or to be resumed, also alongside other processes.

    Args:
        out: The folder.
        manifest: The set.
        overwrite: Replace a set made from other settings. One made from the same settings is resumed regardless, and
            one without any shards is always replaced.

    Returns:
        The folder of the shards.

    Raises:
        DifferentSetError: If the folder holds a set made from other settings; the message lists the differences.
        OSError: If the folder cannot be used.
    """
    out = make_folder(out)
    content = _to_json({**dataclasses.asdict(manifest), "digest": manifest.digest})
    remove_stale(out)
    if not write_file(out / _FILE, content, exclusive=True):
        try:
            require_same(out, manifest)
        except ValueError:
            if not overwrite and any(out.glob("shards-*/*")):  # a set without shards is no loss
                raise
            write_file(out / _FILE, content)
            overwrite = True
    if overwrite:  # also removes what an interrupted overwrite left behind
        for old in out.glob("shards-*"):
            if old != manifest.shard_folder(out):
                _remove_folder(old)
    folder = make_folder(manifest.shard_folder(out))
    remove_stale(folder)
    return folder


def _remove_folder(folder: Path) -> None:
    """Remove the shards of another set, even while other jobs remove them too.

    A job that has not noticed the overwrite may still be writing there; the next overwrite removes what it leaves.
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
    """Ensure that a stored set was made from this manifest.

    Raises:
        DifferentSetError: If not; the message lists the differences.
    """
    stored = read_manifest(out)
    if stored.digest != manifest.digest:
        changed = "".join(
            f"\n  {key}: {json.dumps(before)} -> {json.dumps(after)}"
            for key, before, after in differences(stored.identity(), manifest.identity())
        )
        raise DifferentSetError(
            f"{out} holds a set made from other settings (stored -> requested):{changed}\n"
            "choose another --out, or pass --overwrite to replace the stored set"
        )


def file_checksum(path: str | Path) -> str:
    """SHA-256 (hex) of a file."""
    with as_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_checksum(records: list[ShardRecord]) -> str:
    """SHA-256 (hex) over the shards' checksums in order: one value for the whole set."""
    return hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest()


def _values(entries: Any) -> list[Any]:
    return list(entries.values()) if isinstance(entries, dict) else [None]


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _to_json(content: dict) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
