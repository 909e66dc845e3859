"""Detection sets made from the download of a benchmark: in parallel, resumable, and with a full report.

What is specific to a benchmark is one function, from a scene's name to the scene. Everything else is here. Scenes are
written one by one, each with a record of its content, so that the same command resumes. A scene that fails is reported
and does not stop the others. The report has a digest of all scenes, so that two people can tell by one line whether
they have the same data.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pcfdsl.datasets.detection_set import write_info, write_scene, write_split
from pcfdsl.generate.workers import local
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene
from pcfdsl.store.atomic import make_folder, write_file

__all__ = ["PreparationReport", "PreparedScene", "prepare_set", "take_points"]

FORMAT = "pcfdsl-preparation-1"
_FILES = ("points.npy", "boxes.csv", "instances.npy")


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedScene:
    """One scene made from a download.

    Attributes:
        scene: The scene.
        problems: What had to be left out and why, one sentence each that names the file.
        repairs: Known faults of the download that were set right, one sentence each that names the file.
        offset: [3] float64, what was subtracted from the coordinates; None if nothing was.
    """

    scene: Scene
    problems: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    offset: np.ndarray | None = None

    def with_points(self, rows: np.ndarray) -> "PreparedScene":
        """The same with these of its points and all of its boxes."""
        scene = self.scene
        colors = None if scene.colors is None else scene.colors[rows]
        fewer = {"points": scene.points[rows], "instance_ids": scene.instance_ids[rows], "colors": colors}
        return replace(self, scene=replace(scene, **fewer))


@dataclass(frozen=True, kw_only=True)
class PreparationReport:
    """The outcome of a preparation.

    Attributes:
        out: Folder of the set.
        dataset: Name of the benchmark.
        settings: Everything else that the content depends on.
        written: Scenes in each split.
        expected: Scenes in each split of the complete benchmark.
        boxes: Boxes of each class.
        missing: Scenes of the splits that are not in the download.
        failed: (scene, reason) of those that could not be made.
        problems: (scene, what was left out of it and why).
        repairs: (scene, what was set right in its files).
        digest: Digest of the names and contents of all scenes; equal digests mean equal data.
        reused: Number of scenes that an earlier run had finished.
    """

    out: Path
    dataset: str
    settings: Mapping[str, Any]
    written: Mapping[str, int]
    expected: Mapping[str, int]
    boxes: Mapping[str, int]
    missing: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]
    repairs: tuple[tuple[str, str], ...] = ()
    digest: str
    reused: int = 0

    @property
    def complete(self) -> bool:
        """Whether every scene of the benchmark was written."""
        return dict(self.written) == dict(self.expected)

    @property
    def exit_code(self) -> int:
        """1 if anything failed or was left out, else 0; scenes that were never downloaded are not failures."""
        return 1 if self.failed or self.problems else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "out": str(self.out),
            "dataset": self.dataset,
            "settings": dict(self.settings),
            "complete": self.complete,
            "written": dict(self.written),
            "expected": dict(self.expected),
            "boxes": dict(self.boxes),
            "missing": list(self.missing),
            "failed": [list(entry) for entry in self.failed],
            "problems": [list(entry) for entry in self.problems],
            "repairs": [list(entry) for entry in self.repairs],
            "digest": self.digest,
            "reused": self.reused,
        }

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        counts = [f"{split} {count} of {self.expected.get(split, 0)}" for split, count in self.written.items()]
        lines = [f"{self.dataset}: {', '.join(counts)} scenes, {sum(self.boxes.values())} boxes, digest {self.digest}"]
        if self.missing:
            shown = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
            lines.append(f"not in the download: {len(self.missing)} ({shown})")
        lines += [f"failed: {scene}: {reason}" for scene, reason in self.failed]
        lines += [f"set right: {scene}: {what}" for scene, what in self.repairs]
        lines += [f"left out: {scene}: {reason}" for scene, reason in self.problems]
        return "\n".join(lines)


def prepare_set(
    make: Callable[[str], PreparedScene],
    splits: Mapping[str, Sequence[str]],
    out: str | Path,
    *,
    dataset: str,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    expected: Mapping[str, int],
    missing: Sequence[str] = (),
    failed: Sequence[tuple[str, str]] = (),
    workers: int = 1,
    overwrite: bool = False,
) -> PreparationReport:
    """Write a detection set with `preparation.json`, its settings, and `report.json`.

    Scenes that an earlier run with the same settings finished are checked against their records and kept.

    Args:
        make: Makes a scene from its name; picklable. Raises ValueError or OSError for a scene that cannot be made.
        splits: Names of the scenes of each split, without those in `missing` and `failed`.
        out: Folder of the set.
        dataset: Name of the benchmark.
        classes: Class names; categories index them.
        settings: JSON values that the content depends on.
        expected: Scenes in each split of the complete benchmark.
        missing: Scenes that are not in the download.
        failed: (scene, reason) of scenes known beforehand to be unusable.
        workers: Processes.
        overwrite: Start from scratch, even over a set with other settings.

    Raises:
        OSError: If the set cannot be written.
        ValueError: If the folder holds a set with other settings, or no scene could be made.
    """
    out = Path(out)
    content = {"format": FORMAT, "dataset": dataset, "classes": list(classes), "settings": dict(settings)}
    identity = json.loads(json.dumps(content))
    _claim(out, identity, overwrite=overwrite)
    write_info(out, classes)
    key = _digest(json.dumps(identity, sort_keys=True).encode())
    names = [name for split in splits.values() for name in split]
    job = _Job(make=make, out=out, classes=tuple(classes), key=key, fresh=overwrite)
    records, failures = {}, list(failed)
    finished = local(workers)(job, names)
    for name, record, reason, kept in tqdm(finished, total=len(names), desc=dataset, disable=None):
        if record is None:
            failures.append((name, reason))
        else:
            records[name] = {**record, "reused": kept}
    if not records:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in failures[:5])
        where = f"{len(failures)} failed{reasons}" if failures else "none of its scenes is in the download"
        raise ValueError(f"nothing of {dataset} could be prepared: {where}")
    written = {split: [name for name in members if name in records] for split, members in splits.items()}
    for split, members in written.items():
        if members:
            write_split(out, split, members)
        else:
            (out / "splits" / f"{split}.txt").unlink(missing_ok=True)
    digests = {name: records[name]["digest"] for name in sorted(records)}
    counts = dict.fromkeys(classes, 0)
    for record in records.values():
        for name, count in record["boxes"].items():
            counts[name] += count
    report = PreparationReport(
        out=out,
        dataset=dataset,
        settings=dict(identity["settings"]),
        written={split: len(members) for split, members in written.items()},
        expected=dict(expected),
        boxes=counts,
        missing=tuple(missing),
        failed=tuple(sorted(failures)),
        problems=tuple((name, text) for name in sorted(records) for text in records[name]["problems"]),
        repairs=tuple((name, text) for name in sorted(records) for text in records[name].get("repairs", ())),
        digest=_digest("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()),
        reused=sum(record["reused"] for record in records.values()),
    )
    manifest = {**identity, "splits": written, "digest": report.digest, "scenes": digests}
    write_file(out / "preparation.json", _json(manifest))
    write_file(out / "report.json", _json(report.to_dict()))
    return report


def take_points(num_points: int, max_points: int | None, *, seed: int, name: str) -> np.ndarray:
    """Choose the points of a scene to keep: all, or `max_points` drawn by the seed and the scene's name.

    Returns:
        [min(num_points, max_points)] int64, ascending.
    """
    if max_points is None or num_points <= max_points:
        return np.arange(num_points)
    return np.sort(stream(seed, "kept points", name).permutation(num_points)[:max_points])


@dataclass(frozen=True, eq=False, kw_only=True)
class _Job:
    """Makes, writes and records one scene: (name, its record or None, reason of failure, whether it existed)."""

    make: Callable[[str], PreparedScene]
    out: Path
    classes: tuple[str, ...]
    key: str
    fresh: bool = field(default=False)

    def __call__(self, name: str) -> tuple[str, dict[str, Any] | None, str, bool]:
        record_path = self.out / "scenes" / name / "record.json"
        if not self.fresh and (record := _valid_record(record_path, self.key)) is not None:
            return name, record, "", True
        record_path.unlink(missing_ok=True)
        try:
            prepared = self.make(name)
        except (OSError, ValueError) as error:
            return name, None, str(error), False
        try:
            folder = write_scene(self.out, name, prepared.scene, offset=prepared.offset)
        except ValueError as error:  # an OSError here stops everything
            return name, None, str(error), False
        used, counts = np.unique(prepared.scene.categories, return_counts=True)
        record = {
            "settings": self.key,
            "digest": _content_digest(folder),
            "points": len(prepared.scene.points),
            "boxes": {self.classes[k]: int(n) for k, n in zip(used, counts, strict=True)},
            "problems": list(prepared.problems),
            "repairs": list(prepared.repairs),
        }
        write_file(record_path, _json(record))  # last: a scene without it is unfinished
        return name, record, "", False


def _valid_record(path: Path, key: str) -> dict[str, Any] | None:
    """The record of a finished scene, if it has these settings and its files are unchanged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        wanted = record["settings"] == key and {"digest", "points", "boxes", "problems"} <= record.keys()
        return record if wanted and _content_digest(path.parent) == record["digest"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None  # missing, truncated or foreign: the scene is made again


def _claim(out: Path, identity: Mapping[str, Any], *, overwrite: bool) -> None:
    """Record the settings in the folder before anything else is written into it."""
    path = make_folder(out) / "preparation.json"
    if path.is_file() and not overwrite:
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            earlier = None
        differing = [key for key in identity if not isinstance(earlier, dict) or earlier.get(key) != identity[key]]
        if differing:
            raise ValueError(
                f"{out} holds a set prepared with other settings: {', '.join(differing)} differ "
                f"(now {json.dumps({key: identity[key] for key in differing})}); use another folder, or overwrite it"
            )
    elif not overwrite and (out / "set.json").is_file():
        raise ValueError(f"{out} holds a set that was not prepared from {identity['dataset']}; use another folder")
    elif overwrite:
        (out / "set.json").unlink(missing_ok=True)  # it may name other classes
    write_file(path, _json(identity))


def _content_digest(folder: Path) -> str:
    return _digest(*(folder.joinpath(name).read_bytes() for name in _FILES))


def _digest(*contents: bytes) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for content in contents:
        whole.update(b"%d:" % len(content))
        whole.update(content)
    return whole.hexdigest()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
