"""Verification of stored sets: samples are regenerated and compared bit for bit."""

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
    """Result of a verification.

    Attributes:
        path, digest, sha256: The set.
        num_compared: Samples regenerated; the checksums of all shards were verified.
        mismatches: "sample i: key" for every array that differs.
        notes: Possible explanations: versions used for the set, if they differ from those installed here.
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
    """Verify all checksums of a stored set, regenerate samples, and compare them bit for bit.

    Args:
        recipe: The recipe of the set.
        out: Its folder.
        num_samples: How many samples to regenerate, drawn with the digest as seed; all if None.
        options: Executor and progress, as for `generate`.
        samples_per_shard: As for `generate`.

    Raises:
        DifferentSetError: If the set was made from other settings.
        ValueError, OSError: If the set is damaged or incomplete.
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
    """Ensure that a verification found no differences.

    Args:
        path: The set.
        mismatches: What differs.

    Raises:
        ValueError: If anything differs; the message names the first five.
    """
    if mismatches:
        shown = ", ".join(mismatches[:5]) + (", ..." if len(mismatches) > 5 else "")
        raise ValueError(
            f"{path}: {len(mismatches)} differ when regenerated ({shown}); the checksums match, so they were made "
            "with another version of pcfdsl or its dependencies: see the .json record of each shard"
        )


@dataclass(frozen=True)
class _Compare:
    """Job: sample numbers -> (their count, mismatches with the stored samples)."""

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
