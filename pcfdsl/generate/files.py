"""Images as files: image folders that every loader reads, or WebDataset tars.

    out/manifest.json                  what the set is made from
    out/image/<category>/<name>.png    images in the released layout; pairs have image/ and mask/
    out/<number>.tar                   or, as WebDataset: <sample>.png and <sample>.cls, or .mask.png, and .json
    out/shards-<digest>/<number>.json  a record per block of samples, written last, so it says "finished"

Blocks of samples are made like the shards of `pcfdsl.generate.driver`: distributed, resumable, with reproducible bytes.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from pcfdsl.generate.driver import (
    RunOptions,
    ShardDone,
    Summary,
    counters_of,
    make_sample,
    make_shards,
    manifest_of,
    share_of,
)
from pcfdsl.image.labelled import ImageRecipe
from pcfdsl.store.atomic import remove_stale, write_file
from pcfdsl.store.manifest import (
    Manifest,
    ShardRecord,
    file_checksum,
    read_manifest,
    read_record,
    require_same,
    versions,
)
from pcfdsl.store.paths import as_path, is_remote
from pcfdsl.store.pictures import (
    PICTURE_ENDINGS,
    decode_png,
    encode_image_tar,
    encode_png,
    read_tar,
    write_tar_index,
)

__all__ = ["FileFormat", "compare_files", "refuse_joint_removal", "remove_other_files", "write_image_files"]

SAMPLES_PER_BLOCK = 1000
FileFormat = Literal["folder", "webdataset"]


def write_image_files(
    recipe: ImageRecipe,
    out: str | Path,
    file_format: FileFormat,
    *,
    options: RunOptions = RunOptions(),
    samples_per_block: int = SAMPLES_PER_BLOCK,
) -> Summary:
    """Write the files of a set, or resume: existing files are checked, missing and damaged ones written.

    Args:
        recipe: What to make.
        out: Folder of the set, or its URL.
        file_format: One PNG file per picture, or tars.
        options: As for `pcfdsl.generate.driver.generate`.
        samples_per_block: Samples per tar and per record.

    Raises:
        DifferentSetError: If `out` holds a set made from other settings and `options.overwrite` is off.
        ValueError: If a sample cannot be made; the message names it.
        OSError: If something cannot be written. Finished blocks are kept, and a later run resumes.
    """
    out = as_path(out)
    manifest = files_manifest(recipe, file_format, samples_per_block)
    share_of(manifest, options.shard)  # fails before anything is written
    if options.overwrite:
        make_sample(recipe, 0)  # settings that cannot produce a sample must not destroy an existing set
        remove_other_files(out, manifest)
    made = make_shards(_WriteBlock(recipe, manifest, out, file_format), manifest, out, options=options)
    if made.complete and file_format == "webdataset":
        blocks = range(manifest.num_shards)
        write_tar_index(out, [_tar_name(n) for n in blocks], [len(manifest.samples_of(n)) for n in blocks])
    return made


def files_manifest(
    recipe: ImageRecipe, file_format: FileFormat, samples_per_block: int = SAMPLES_PER_BLOCK
) -> Manifest:
    """The manifest of a set of files: that of a set of shards, plus the format."""
    manifest = manifest_of(recipe, samples_per_block)
    return replace(manifest, inputs={**manifest.inputs, "file_format": file_format})


def compare_files(
    recipe: ImageRecipe,
    out: str | Path,
    file_format: FileFormat,
    *,
    num_samples: int | None = None,
    samples_per_block: int = SAMPLES_PER_BLOCK,
) -> tuple[int, list[str]]:
    """Verify all checksums, redraw samples, and compare the pictures pixel for pixel.

    Args:
        recipe, out, file_format, samples_per_block: As for `write_image_files`.
        num_samples: How many samples to redraw, spread evenly; all if None.

    Returns:
        The number of samples compared, and the files that differ.

    Raises:
        DifferentSetError: If the set was made from other settings.
        ValueError: If a block is damaged; the message names it.
        FileNotFoundError: If the set is incomplete.
    """
    out = as_path(out)
    manifest = files_manifest(recipe, file_format, samples_per_block)
    require_same(out, manifest)
    block_job = _WriteBlock(recipe, manifest, out, file_format)
    for block in range(manifest.num_shards):
        record = read_record(manifest.shard_path(out, block))
        if record is None:
            raise FileNotFoundError(f"{out} is incomplete; rerun the command that started it")
        if block_job.checksum(block) != record.sha256:
            raise ValueError(
                f"block {block} of {out} does not match its checksum; rerun the command that made it to replace it"
            )
    count = len(recipe) if num_samples is None else min(num_samples, len(recipe))
    mismatches = []
    members = lru_cache(maxsize=1)(read_tar)  # samples are compared in order, many of each tar
    for place in (i * len(recipe) // count for i in range(count)):
        for name, (read, made) in block_job.pictures(place, members).items():
            if read.shape != made.shape or (read != made).any():
                mismatches.append(name)
    return count, mismatches


@dataclass(frozen=True)
class _WriteBlock:
    """Job: block number -> its finished files, made unless they exist intact."""

    recipe: ImageRecipe
    manifest: Manifest
    out: Path
    file_format: FileFormat

    def __call__(self, block: int) -> ShardDone:
        record_path = self.manifest.shard_path(self.out, block)
        found = read_record(record_path)
        if found is not None and self.checksum(block) == found.sha256:
            return ShardDone(record_path, found, made=False, repaired=False)
        numbers = self.manifest.samples_of(block)
        for folder in {(self.out / path).parent for path in self._paths(block)}:
            remove_stale(folder)  # of a worker that was killed while making this block
        checksums, counters, num_bytes = [], Counter[str](), 0
        for path, data, counts in self._write(block):
            write_file(self.out / path, data, durable=False)  # the record has the checksum
            checksums.append(hashlib.sha256(data).hexdigest())
            counters.update(counts)
            num_bytes += len(data)
        record = ShardRecord(
            shard=block,
            first_sample=numbers.start,
            num_samples=len(numbers),
            num_bytes=num_bytes,
            sha256=hashlib.sha256("".join(checksums).encode()).hexdigest(),
            counters=dict(counters),
            versions=versions(),
        )
        record.write(record_path)
        return ShardDone(record_path, record, made=True, repaired=found is not None)

    def checksum(self, block: int) -> str | None:
        """Checksum of a block's files on disk; None if one is missing."""
        try:
            checksums = [file_checksum(self.out / path) for path in self._paths(block)]
        except FileNotFoundError:
            return None
        return hashlib.sha256("".join(checksums).encode()).hexdigest()

    def pictures(
        self, place: int, members: Callable[[Path], dict[str, bytes]]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Each picture of a sample, by name: (as stored, as redrawn); `members` reads a tar."""
        if self.file_format == "folder":
            made, names = make_sample(self.recipe, place), self.recipe.file_names(place)
            return {
                name: (decode_png((self.out / name).read_bytes()), self.recipe.file_picture(made[key]))
                for key, name in names.items()
            }
        block = place // self.manifest.samples_per_shard
        number = self.recipe.interleaved(place)
        made, stored = make_sample(self.recipe, number), members(self.out / _tar_name(block))
        return {
            f"{_tar_name(block)}: {number:09d}{ending}": (decode_png(stored[f"{number:09d}{ending}"]), made[key])
            for key, ending in PICTURE_ENDINGS.items()
            if key in made
        }

    def _paths(self, block: int) -> Iterable[str]:
        if self.file_format == "webdataset":
            return [_tar_name(block)]
        return (name for i in self.manifest.samples_of(block) for name in self.recipe.file_names(i).values())

    def _write(self, block: int) -> Iterable[tuple[str, bytes, Mapping[str, int]]]:
        """Path, content and counts of each file, in the order of `_paths`."""
        places = self.manifest.samples_of(block)
        if self.file_format == "webdataset":
            counts: Counter[str] = Counter()

            def samples():
                for place in places:
                    number = self.recipe.interleaved(place)
                    sample = make_sample(self.recipe, number)
                    counts.update(counters_of(sample))
                    yield number, sample

            yield _tar_name(block), encode_image_tar(samples()), counts
            return
        for i in places:
            sample, counted = make_sample(self.recipe, i), False
            for key, name in self.recipe.file_names(i).items():
                yield name, encode_png(self.recipe.file_picture(sample[key])), {} if counted else counters_of(sample)
                counted = True


def _tar_name(block: int) -> str:
    return f"{block:06d}.tar"


def refuse_joint_removal(out: str | Path, config: dict, image_format: str, shard: tuple[int, int]) -> None:
    """Refuse one job of several that is to replace picture files: it would remove what another has just made.

    Args:
        out: Folder of the set.
        config: The settings of the new one.
        image_format: Its format.
        shard: (i, n), as in `RunOptions`.

    Raises:
        ValueError: If n is more than one and there are picture files made from other settings.
    """
    found = _manifest_of_files(out)
    if shard[1] > 1 and found and (found.config, found.inputs["file_format"]) != (config, image_format):
        raise ValueError(
            f"{out} holds pictures made from other settings, which several jobs cannot replace at the same time; "
            "remove the folder, or choose another"
        )


def remove_other_files(out: str | Path, manifest: Manifest) -> None:
    """Remove the picture files of a set made from other settings, and nothing else in the folder."""
    out, found = as_path(out), _manifest_of_files(out)
    if found is None or found.digest == manifest.digest:
        return
    for old in (out / name for name in ("image", "mask", "param")):
        if old.is_dir():
            old.fs.rm(old.path, recursive=True) if is_remote(old) else shutil.rmtree(old)  # type: ignore[attr-defined]
    for tar in [*out.glob("[0-9]*.tar"), *out.glob("_info.json")]:
        tar.unlink()


def _manifest_of_files(out: str | Path) -> Manifest | None:
    """What the picture files in a folder were made from; None if there are none, or it cannot be told."""
    try:
        found = read_manifest(out)
    except (FileNotFoundError, ValueError):
        return None
    return found if "file_format" in found.inputs else None
