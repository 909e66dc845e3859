"""Is a stored set the one that its recipe names? Samples are made again and compared bit for bit."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pcfdsl.generate.driver import SAMPLES_PER_SHARD, Recipe, RunOptions, make_sample, manifest_of
from pcfdsl.rng import stream
from pcfdsl.store.manifest import require_same, version_notes
from pcfdsl.store.stored import StoredSet, check, open_set

__all__ = ["VerifyReport", "require_no_mismatches", "verify"]


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What came of making samples again.

    Attributes:
        path, digest, sha256: The set.
        num_compared: Samples made again; the checksums of all were compared.
        mismatches: "sample i: key" for everything that is not bit for bit the same.
        notes: What may explain them: versions that the set was made with, where they are not those at work here.
    """

    path: str
    digest: str
    sha256: str
    num_compared: int
    mismatches: list[str]
    notes: list[str]


def verify(
    recipe: Recipe,
    out: str | Path,
    *,
    num_samples: int | None = None,
    options: RunOptions = RunOptions(),
    samples_per_shard: int = SAMPLES_PER_SHARD,
) -> VerifyReport:
    """Check all checksums of a stored set, make samples again, and compare them bit for bit.

    Args:
        recipe: What the set should be.
        out: Its folder.
        num_samples: How many samples to make again, drawn from the digest; all of them if None.
        options: Executor and progress, as for `generate`.
        samples_per_shard: As the set was made with.

    Raises:
        DifferentSetError: If the set is made from other settings.
        ValueError, OSError: If the set is damaged or not finished.
    """
    manifest = manifest_of(recipe, samples_per_shard)
    require_same(out, manifest)
    sha256 = check(out)
    stored = open_set(out)
    chosen = np.arange(len(stored))
    if num_samples is not None and num_samples < len(stored):
        rng = stream(int(manifest.digest[:16], 16), "verify")
        chosen = np.sort(rng.choice(len(stored), num_samples, replace=False))
    tasks = [part.tolist() for part in np.array_split(chosen, max(1, len(chosen) // 16))]
    mismatches: list[str] = []
    with tqdm(total=len(chosen), desc=f"verify {recipe.name}", unit=" samples", disable=not options.progress) as bar:
        for num_compared, found in options.executor(_Compare(recipe, stored), tasks):
            mismatches += found
            bar.update(num_compared)
    notes = version_notes(out, stored.records)
    if options.progress:
        for line in notes:
            print(f"note: {line}", file=sys.stderr)
    return VerifyReport(
        path=str(out),
        digest=manifest.digest,
        sha256=sha256,
        num_compared=len(chosen),
        mismatches=sorted(mismatches),
        notes=notes,
    )


def require_no_mismatches(path: str, mismatches: list[str]) -> None:
    """See that nothing differed when it was made again.

    Args:
        path: The set.
        mismatches: What differs.

    Raises:
        ValueError: Naming the first of what differs.
    """
    if mismatches:
        shown = ", ".join(mismatches[:5]) + (", ..." if len(mismatches) > 5 else "")
        raise ValueError(
            f"{path}: {len(mismatches)} differ when made again ({shown}); the files are as they were written, so they "
            "were made by another pcfdsl, or other libraries below it: see the .json record of each shard"
        )


@dataclass(frozen=True)
class _Compare:
    """Job: sample numbers -> (how many, what differs from the stored samples)."""

    recipe: Recipe
    stored: StoredSet

    def __call__(self, numbers: list[int]) -> tuple[int, list[str]]:
        found = []
        for i in numbers:
            made, read = make_sample(self.recipe, i), self.stored[i]
            for key in sorted(made.keys() | read.keys()):
                if key not in made or key not in read or not _same(np.asarray(made[key]), read[key]):
                    found.append(f"sample {i}: {key}")
        return len(numbers), found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
