"""The driver: generates the stored set of a recipe, shard by shard, on any number of processes and machines.

Sample i depends on the recipe and i alone, and shard boundaries on the set alone. So the bytes are the same for any
number of workers, any split into `--shard i/n` jobs, any order, and after being killed and resumed at any moment.
"""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from pcfdsl.config import to_dict
from pcfdsl.generate.workers import Executor, local
from pcfdsl.store.atomic import remove_stale, write_file
from pcfdsl.store.manifest import (
    Manifest,
    ShardRecord,
    file_checksum,
    open_folder,
    read_record,
    require_same,
    set_checksum,
    version_notes,
    versions,
)
from pcfdsl.store.paths import as_path
from pcfdsl.store.shards import encode

__all__ = [
    "SAMPLES_PER_SHARD",
    "Recipe",
    "RunOptions",
    "ShardDone",
    "Summary",
    "counters_of",
    "generate",
    "make_sample",
    "make_shards",
    "manifest_of",
    "share_of",
]

SAMPLES_PER_SHARD = 256


class Recipe(Protocol):
    """The interface of a data set to the driver; must be picklable for use with several workers.

    `arrays(i)` has the same keys for every i; only leading sizes may differ between samples. Scalar integers whose key
    begins with `num_` are summed into the records and the summary. An optional attribute `inputs` holds the SHA-256 of
    what the samples depend on besides `config`, by name.
    """

    @property
    def name(self) -> str:
        """Name of the kind of set."""
        ...

    @property
    def config(self) -> Any:
        """Dataclass of all settings that the samples depend on."""
        ...

    def __len__(self) -> int: ...

    def arrays(self, index: int, /) -> dict[str, np.ndarray]:
        """Sample `index`."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run the generation of a set; none of it affects the content.

    Attributes:
        shard: (i, n): only the i-th of n equal parts. The parts may run at the same time, into one folder.
        executor: Runs the shards: local processes, or `pcfdsl.generate.ray.on_ray` for a cluster with a shared folder.
        overwrite: Replace a set in the folder that was made from other settings.
        progress: Show a bar on stderr.
    """

    shard: tuple[int, int] = (0, 1)
    executor: Executor = field(default_factory=local)
    overwrite: bool = False
    progress: bool = True


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of a run. All but `complete`, `sha256` and `notes` refer to this run's share of the shards.

    Attributes:
        path: The folder.
        recipe, digest: Name of the recipe and digest of the manifest.
        sha256: Checksum of the whole set, once it is complete.
        complete: Whether all shards of the set exist, including those of other jobs.
        num_samples, num_shards, num_bytes: Sizes of the finished share.
        num_made: Samples made in this run; the others already existed and were checked.
        repaired: Shard files that were damaged and have been regenerated.
        counters: Sums of the samples' `num_*` scalars.
        seconds, samples_per_second: Duration of this run, and rate of the samples made in it.
        notes: Warnings, such as shards made with other versions than those installed here.
    """

    path: str
    recipe: str
    digest: str
    sha256: str | None
    complete: bool
    num_samples: int
    num_shards: int
    num_bytes: int
    num_made: int
    repaired: list[str]
    counters: dict[str, int]
    seconds: float
    samples_per_second: float
    notes: list[str] = field(default_factory=list)


def generate(
    recipe: Recipe,
    out: str | Path,
    *,
    options: RunOptions = RunOptions(),
    samples_per_shard: int = SAMPLES_PER_SHARD,
    note: Callable[[int, dict[str, int]], str] | None = None,
) -> Summary:
    """Generate a stored set, or resume one: existing shards are checked, missing and damaged ones generated.

    Args:
        recipe: What to generate.
        out: Folder of the set, or its URL.
        options: How to run.
        samples_per_shard: Part of the set's identity; a worker holds one shard in memory.
        note: (samples done, their counters) -> text at the end of the progress bar.

    Raises:
        DifferentSetError: If `out` holds a set made from other settings and `options.overwrite` is off.
        ValueError: If a sample cannot be made (the message names it), or `options.shard` is invalid.
        OSError: If something cannot be written. Finished shards are kept, and a later run resumes.
    """
    out = as_path(out)
    manifest = manifest_of(recipe, samples_per_shard)
    if options.overwrite and len(recipe):
        make_sample(recipe, 0)  # settings that cannot produce a sample must not destroy an existing set
    return make_shards(_MakeShard(recipe, manifest, out), manifest, out, options=options, note=note)


def share_of(manifest: Manifest, shard: tuple[int, int]) -> range:
    """Numbers of the shards in the i-th of n parts.

    Raises:
        ValueError: If i is not in 0..n-1.
    """
    part, parts = shard
    if not 0 <= part < parts:
        raise ValueError(f"shard is {part} of {parts}; expected (i, n) with 0 <= i < n, such as (0, 4)")
    return range(manifest.num_shards * part // parts, manifest.num_shards * (part + 1) // parts)


@dataclass(frozen=True)
class ShardDone:
    """A finished shard: its path, record, whether it was made in this run, and whether it replaced a damaged one."""

    path: Path
    record: ShardRecord
    made: bool
    repaired: bool


def make_shards(
    job: Callable[[int], ShardDone],
    manifest: Manifest,
    out: Path,
    *,
    options: RunOptions,
    note: Callable[[int, dict[str, int]], str] | None = None,
) -> Summary:
    """Run any job on the shards of a share; other arguments and errors as for `generate`.

    Args:
        job: Shard number -> the finished shard, made and recorded unless it exists intact; picklable.
        manifest: The set.
        out: Its folder.
    """
    begin = time.monotonic()
    share = share_of(manifest, options.shard)
    folder = open_folder(out, manifest, overwrite=options.overwrite)
    done: list[ShardDone] = []
    num_done = 0
    counters: Counter[str] = Counter()
    try:
        total = sum(len(manifest.samples_of(number)) for number in share)
        with tqdm(
            total=total, desc=manifest.recipe, unit=" samples", disable=not options.progress, smoothing=0.1
        ) as bar:
            for result in options.executor(job, share):
                done.append(result)
                counters.update(result.record.counters)
                num_done += result.record.num_samples
                bar.update(result.record.num_samples)
                if note is not None:
                    bar.set_postfix_str(note(num_done, counters))
    except (OSError, ValueError):
        with suppress(OSError):
            require_same(out, manifest)  # a concurrent overwrite is the more useful error
        raise
    finally:
        remove_stale(folder)  # of terminated workers
    require_same(out, manifest)  # another job may have overwritten the set
    records = [read_record(manifest.shard_path(out, number)) for number in range(manifest.num_shards)]
    finished = [record for record in records if record is not None]
    complete = len(finished) == manifest.num_shards
    notes = version_notes(out, finished)
    if not share:
        part, parts = options.shard
        notes.append(
            f"part {part} of {parts} has nothing to do: the set has {manifest.num_shards} shard(s) of up to "
            f"{manifest.samples_per_shard} samples, which are not divided"
        )
    if options.progress:
        for line in notes:
            print(f"note: {line}", file=sys.stderr)
    num_made = sum(result.record.num_samples for result in done if result.made)
    seconds = time.monotonic() - begin
    return Summary(
        path=str(out),
        recipe=manifest.recipe,
        digest=manifest.digest,
        sha256=set_checksum(finished) if complete else None,
        complete=complete,
        num_samples=num_done,
        num_shards=len(done),
        num_bytes=sum(result.record.num_bytes for result in done),
        num_made=num_made,
        repaired=sorted(str(result.path) for result in done if result.repaired),
        counters=dict(sorted(counters.items())),
        seconds=round(seconds, 3),
        samples_per_second=round(num_made / seconds, 3) if seconds else 0.0,
        notes=notes,
    )


def manifest_of(recipe: Recipe, samples_per_shard: int) -> Manifest:
    """The manifest of a recipe's set.

    Raises:
        ValueError: If samples_per_shard is less than 1.
    """
    if samples_per_shard < 1:
        raise ValueError(f"samples_per_shard is {samples_per_shard}; expected at least 1")
    return Manifest(
        recipe=recipe.name,
        config=to_dict(recipe.config),
        inputs=getattr(recipe, "inputs", {}),
        num_samples=len(recipe),
        samples_per_shard=samples_per_shard,
    )


@dataclass(frozen=True)
class _MakeShard:
    """Job: shard number -> the finished shard, made unless it exists intact."""

    recipe: Recipe
    manifest: Manifest
    out: Path

    def __call__(self, shard: int) -> ShardDone:
        path = self.manifest.shard_path(self.out, shard)
        found = read_record(path)
        if found is not None and path.exists() and file_checksum(path) == found.sha256:
            return ShardDone(path, found, made=False, repaired=False)
        numbers = self.manifest.samples_of(shard)
        samples = [make_sample(self.recipe, i) for i in numbers]
        data = encode(samples, first_sample=numbers.start, digest=self.manifest.digest)
        write_file(path, data)
        record = ShardRecord(
            shard=shard,
            first_sample=numbers.start,
            num_samples=len(numbers),
            num_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            counters=_count(samples),
            versions=versions(),
        )
        record.write(path)
        return ShardDone(path, record, made=True, repaired=found is not None)


def make_sample(recipe: Recipe, index: int) -> dict[str, np.ndarray]:
    """Make a sample of a recipe; errors name its number."""
    try:
        return recipe.arrays(index)
    except (OSError, ValueError) as error:
        raise ValueError(f"{recipe.name}: sample {index} cannot be made: {error}") from error
    except Exception as error:
        error.add_note(f"while making sample {index} of {recipe.name}")
        raise


def counters_of(sample: dict[str, np.ndarray]) -> dict[str, int]:
    """The scalar integers of a sample whose key begins with `num_`."""
    return {
        key: int(array)
        for key, array in sample.items()
        if key.startswith("num_") and np.ndim(array) == 0 and np.issubdtype(np.asarray(array).dtype, np.integer)
    }


def _count(samples: list[dict[str, np.ndarray]]) -> dict[str, int]:
    counters: Counter[str] = Counter()
    for sample in samples:
        counters.update(counters_of(sample))
    return dict(counters)
