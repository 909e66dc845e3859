"""The driver: a recipe becomes a stored set, shard by shard, on any number of processes and machines.

Sample i is a function of the recipe and i alone, and shard boundaries follow from the set alone. So the same bytes come
out for any number of workers, split into `--shard i/n` jobs, order, and after being killed at any moment.
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
    "Plan",
    "Recipe",
    "RunOptions",
    "ShardDone",
    "Summary",
    "generate",
    "make_sample",
    "make_shards",
    "manifest_of",
    "plan",
    "share_of",
]

SAMPLES_PER_SHARD = 256


class Recipe(Protocol):
    """What the driver needs to know of a data set; it must pickle to be used with several workers.

    `arrays(i)` has the same keys for every i; only leading sizes may differ between samples. Scalar integers whose key
    begins with `num_` are summed into the records and the summary. An attribute `inputs`, where there is one, holds the
    SHA-256 of what the samples depend on besides `config`, by name.
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
    """How a set is made; none of it changes what is made.

    Attributes:
        shard: (i, n): only the i-th of n equal parts. The parts may run at the same time, into one folder.
        executor: What runs the shards: processes of this machine, or `pcfdsl.generate.ray.on_ray` for a cluster whose
            nodes all see the folder.
        overwrite: Replace a set in the folder that was made from other settings.
        progress: Show a bar on stderr.
    """

    shard: tuple[int, int] = (0, 1)
    executor: Executor = field(default_factory=local)
    overwrite: bool = False
    progress: bool = True


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did. All but `complete` and `sha256` speak of this run's share of the shards.

    Attributes:
        path: The folder.
        recipe, digest: What the set is made from.
        sha256: Of everything in the set, once it is complete.
        complete: Whether all shards of the set are there, those of other jobs included.
        num_samples, num_shards, num_bytes: What is there now.
        num_made: Samples made in this run; the others were there already and were checked.
        repaired: Shard files that were damaged and have been made anew.
        counters: Sums of the samples' own counts.
        seconds, samples_per_second: Of this run; the rate is of the samples made.
        notes: What to know besides, such as that shards come from other versions than are at work here.
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What generating a set would take, judged by a few samples made now.

    Attributes:
        recipe, digest: What the set would be made from.
        num_samples, num_shards, num_bytes: Of the whole set.
        samples_per_second: Of one process.
        seconds: For the whole set, all workers together.
    """

    recipe: str
    digest: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_second: float
    seconds: float


def generate(
    recipe: Recipe,
    out: str | Path,
    *,
    options: RunOptions = RunOptions(),
    samples_per_shard: int = SAMPLES_PER_SHARD,
    note: Callable[[int, dict[str, int]], str] | None = None,
) -> Summary:
    """Generate a stored set, or what is missing of it: existing shards are checked, damaged ones generated again.

    Args:
        recipe: What to generate.
        out: Folder of the set, or its URL.
        options: Which part of it, where, and whether another set may be replaced.
        samples_per_shard: A worker holds one shard in memory; part of what the set is made from.
        note: Text at the end of the bar, from the samples done and their counters.

    Raises:
        DifferentSetError: If `out` holds a set made from other settings and may not be replaced.
        ValueError: If a sample cannot be made, naming it, or there is no such part.
        OSError: If something cannot be written. Finished shards are kept, and a later run goes on from there.
    """
    out = as_path(out)
    manifest = manifest_of(recipe, samples_per_shard)
    share_of(manifest, options.shard)  # complains before anything is written
    if options.overwrite and len(recipe):
        make_sample(recipe, 0)  # settings from which nothing can be made must not cost an existing set
    return make_shards(_MakeShard(recipe, manifest, out), manifest, out, options=options, note=note)


def share_of(manifest: Manifest, shard: tuple[int, int]) -> range:
    """Numbers of the shards in the i-th of n parts.

    Raises:
        ValueError: If there is no such part.
    """
    part, parts = shard
    if not 0 <= part < parts:
        raise ValueError(f"shard is {part} of {parts}; expected (i, n) with 0 <= i < n, such as (0, 4)")
    return range(manifest.num_shards * part // parts, manifest.num_shards * (part + 1) // parts)


@dataclass(frozen=True)
class ShardDone:
    """What became of a shard: its file as messages name it, its record, and whether it was made now, or made anew."""

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
    """Run a job on the shards of a share, whatever it makes of them; arguments and errors as for `generate`.

    Args:
        job: Shard number -> the shard, made and recorded now unless it is there and whole; pickles.
        manifest: The set.
        out: Its folder.
    """
    begin = time.monotonic()
    share = share_of(manifest, options.shard)
    folder = open_folder(out, manifest, overwrite=options.overwrite)
    done: list[ShardDone] = []
    counters: Counter[str] = Counter()
    try:
        total = sum(len(manifest.samples_of(number)) for number in share)
        with tqdm(
            total=total, desc=manifest.recipe, unit=" samples", disable=not options.progress, smoothing=0.1
        ) as bar:
            for result in options.executor(job, share):
                done.append(result)
                counters.update(result.record.counters)
                bar.update(result.record.num_samples)
                if note is not None:
                    bar.set_postfix_str(note(sum(result.record.num_samples for result in done), counters))
    except (OSError, ValueError):
        with suppress(OSError):
            require_same(out, manifest)  # where someone overwrites the set meanwhile, that is what is wrong
        raise
    finally:
        remove_stale(folder)  # of workers that were ended
    require_same(out, manifest)  # someone may have overwritten the set meanwhile
    records = [read_record(manifest.shard_path(out, number)) for number in range(manifest.num_shards)]
    finished = [record for record in records if record is not None]
    complete = len(finished) == manifest.num_shards
    notes = version_notes(out, finished)
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
        num_samples=sum(result.record.num_samples for result in done),
        num_shards=len(done),
        num_bytes=sum(result.record.num_bytes for result in done),
        num_made=num_made,
        repaired=sorted(str(result.path) for result in done if result.repaired),
        counters=dict(sorted(counters.items())),
        seconds=round(seconds, 3),
        samples_per_second=round(num_made / seconds, 3) if seconds else 0.0,
        notes=notes,
    )


def plan(
    recipe: Recipe,
    *,
    workers: int = 1,
    samples_per_shard: int = SAMPLES_PER_SHARD,
    timed: Recipe | None = None,
    seconds: float = 1.0,
) -> Plan:
    """What generating a set would take. Writes nothing.

    Args:
        recipe: The set.
        workers, samples_per_shard: As for `generate`.
        timed: A smaller recipe whose samples cost as much, where the whole one is slow to begin.
        seconds: How long to make samples for; at least two are made, the first of them untimed.
    """
    manifest, timed = manifest_of(recipe, samples_per_shard), timed or recipe
    num_bytes = sum(array.nbytes for array in timed.arrays(0).values())  # compiles what is not yet compiled
    num_timed, begin = 0, time.perf_counter()
    while num_timed == 0 or (time.perf_counter() - begin < seconds and num_timed + 1 < len(timed)):
        num_timed += 1
        arrays = timed.arrays(num_timed % len(timed))
        encode([arrays], first_sample=0, digest="")
        num_bytes += sum(array.nbytes for array in arrays.values())
    each = (time.perf_counter() - begin) / num_timed
    return Plan(
        recipe=recipe.name,
        digest=manifest.digest,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        num_bytes=round(num_bytes / (num_timed + 1) * manifest.num_samples),
        samples_per_second=round(1 / each, 3),
        seconds=round(each * manifest.num_samples / max(1, min(workers, manifest.num_shards)), 3),
    )


def manifest_of(recipe: Recipe, samples_per_shard: int) -> Manifest:
    """What a set of this recipe is made from.

    Raises:
        ValueError: If shards are to hold no samples.
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
    """Job: shard number -> the shard on disk, made now unless it is there and whole."""

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
    """Sample of a recipe; what goes wrong is reported with its number."""
    try:
        return recipe.arrays(index)
    except (OSError, ValueError) as error:
        raise ValueError(f"{recipe.name}: sample {index} cannot be made: {error}") from error
    except Exception as error:
        error.add_note(f"while making sample {index} of {recipe.name}")
        raise


def _count(samples: list[dict[str, np.ndarray]]) -> dict[str, int]:
    counters: Counter[str] = Counter()
    for sample in samples:
        for key, array in sample.items():
            if key.startswith("num_") and np.ndim(array) == 0 and np.issubdtype(np.asarray(array).dtype, np.integer):
                counters[key] += int(array)
    return dict(counters)
