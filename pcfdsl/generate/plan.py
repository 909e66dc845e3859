"""What generating a set will cost, extrapolated from a few samples."""

import time
from dataclasses import dataclass

from pcfdsl.generate.driver import SAMPLES_PER_SHARD, Recipe, manifest_of
from pcfdsl.store.shards import encode

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Estimated cost of generating a set, extrapolated from a few samples.

    Attributes:
        recipe, digest: Name of the recipe and digest of the manifest.
        num_samples, num_shards, num_bytes: Sizes of the whole set.
        samples_per_second: Rate of one process.
        seconds: Wall-clock time for the whole set on all workers.
    """

    recipe: str
    digest: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_second: float
    seconds: float


def plan(
    recipe: Recipe,
    *,
    workers: int = 1,
    samples_per_shard: int = SAMPLES_PER_SHARD,
    seconds: float = 1.0,
) -> Plan:
    """Estimate the cost of generating a set. Writes nothing.

    Args:
        recipe: The set.
        workers: Number of local processes.
        samples_per_shard: As for `generate`.
        seconds: How long to make samples; at least two are made, the first of them untimed.
    """
    manifest = manifest_of(recipe, samples_per_shard)
    num_bytes = sum(array.nbytes for array in recipe.arrays(0).values())  # also triggers compilation
    num_timed, begin = 0, time.perf_counter()
    while num_timed == 0 or (time.perf_counter() - begin < seconds and num_timed + 1 < len(recipe)):
        num_timed += 1
        arrays = recipe.arrays(num_timed % len(recipe))
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
