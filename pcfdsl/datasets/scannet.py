"""ScanNetV2 (Dai et al. 2017): from its official download to a detection set.

As in VoteNet's preparation, the points are the vertices of the cleaned mesh, aligned with the axes by the matrix that
comes with the scan; an object's box is the bounding box of its vertices; objects of 18 of the nyu40 classes, or of
ScanNet200's, are labelled. Unlike there, all vertices are kept by default: VoteNet's files hold at most 50,000 of each
scan.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pcfdsl.datasets.preparation import PreparationReport, PreparedScene, prepare_set, take_points
from pcfdsl.datasets.spec import SCANNET, DatasetSpec, split_names
from pcfdsl.readers.folders import folders_in
from pcfdsl.readers.scannet import (
    Group,
    aligned,
    read_alignment,
    read_groups,
    read_label_table,
    read_segments,
    read_vertices,
)
from pcfdsl.scene.boxes import Scene

__all__ = ["ScanNetFiles", "find_scannet", "label_objects", "prepare_scannet", "read_scan"]

Alignment = Literal["axis", "none"]

LABEL_TABLE = "scannetv2-labels.combined.tsv"
_ENDINGS = {
    "vertices": "_vh_clean_2.ply",
    "segments": "_vh_clean_2.0.010000.segs.json",
    "groups": ".aggregation.json",
    "alignment": ".txt",
}


@dataclass(frozen=True, kw_only=True)
class ScanNetFiles:
    """Where the official download is.

    Attributes:
        scans: Folder with a folder for each scan.
        label_table: scannetv2-labels.combined.tsv.
    """

    scans: Path
    label_table: Path


def find_scannet(folder: str | Path, *, label_table: str | Path | None = None) -> ScanNetFiles:
    """Find the files of a download: `scans/` and the label table, as its script leaves them, or just the scans.

    Raises:
        OSError: If something is missing; the message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected the download of ScanNet, with scans/ in it")
    scans = folder / "scans" if (folder / "scans").is_dir() else folder
    tables = [Path(label_table)] if label_table else [place / LABEL_TABLE for place in (folder, folder.parent)]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        raise FileNotFoundError(
            f"there is no {tables[0]}, the label table that ScanNet's download script fetches (--label_map); "
            "put it there, or give its path (--label-map)"
        )
    return ScanNetFiles(scans=scans, label_table=table)


def prepare_scannet(
    files: ScanNetFiles,
    out: str | Path,
    *,
    spec: DatasetSpec = SCANNET,
    alignment: Alignment = "axis",
    max_points: int | None = None,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
) -> PreparationReport:
    """Make a detection set with the splits train and val from however much of ScanNet was downloaded.

    Scans in neither official split go into a split named other.

    Args:
        files: The download.
        out: Folder of the set.
        spec: SCANNET or SCANNET200: the classes.
        alignment: "axis": by the scan's matrix, as axis-aligned boxes need; "none": as scanned.
        max_points: Keep this many points of each scan, drawn at random; VoteNet's files hold 50,000. None: all,
            typically 150,000 and 4 MB.
        seed: Seed of that choice.
        workers: Processes.
        overwrite: Start from scratch.

    Raises:
        OSError: If the download is missing or the set cannot be written.
        ValueError: If the label table cannot be read, the folder holds another set, or no scan can be used.
    """
    table = read_label_table(files.label_table, column=spec.label_column)
    there = [path.name for path in folders_in(files.scans)]
    splits = {split: split_names(spec, split) for split in spec.split_sizes}
    official = {name for names in splits.values() for name in names}
    missing = sorted(official.difference(there))
    wanted = {split: [name for name in names if name in set(there)] for split, names in splits.items()}
    expected = dict(spec.split_sizes)
    if others := [name for name in there if name not in official and (files.scans / name / f"{name}.txt").is_file()]:
        wanted["other"], expected["other"] = others, len(others)
    settings = {
        "alignment": alignment,
        "max_points": max_points,
        "seed": None if max_points is None else seed,
        "labels": hashlib.blake2b(json.dumps(sorted(table.items())).encode(), digest_size=8).hexdigest(),
    }
    return prepare_set(
        _MakeScene(scans=files.scans, table=table, spec=spec, alignment=alignment, max_points=max_points, seed=seed),
        wanted,
        out,
        dataset=spec.name,
        classes=spec.classes,
        settings=settings,
        expected=expected,
        missing=missing,
        workers=workers,
        overwrite=overwrite,
    )


def read_scan(
    folder: str | Path, table: dict[str, int], *, spec: DatasetSpec = SCANNET, alignment: Alignment = "axis"
) -> PreparedScene:
    """Read one scan with its labels.

    Args:
        folder: Folder of the scan, named like its files.
        table: Raw category -> number of the class, nyu40's for SCANNET.
        spec: The classes.
        alignment: "axis" or "none".

    Returns:
        The scene with all vertices, and what had to be left out of its labels.

    Raises:
        OSError: If a file is missing; the message names it.
        ValueError: If a file is damaged or does not match another.
    """
    folder = Path(folder)
    paths = {what: folder / (folder.name + ending) for what, ending in _ENDINGS.items()}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise FileNotFoundError(f"{folder} has no {', '.join(missing)}; download the scan again")
    points, colors = read_vertices(paths["vertices"])
    segments = read_segments(paths["segments"])
    if len(segments) != len(points):
        raise ValueError(
            f"{paths['segments']} is for {len(segments)} vertices, but {paths['vertices'].name} has {len(points)}"
        )
    if alignment == "axis":
        points = aligned(points, read_alignment(paths["alignment"]))
    groups = read_groups(paths["groups"])
    unknown = [f"{group.label!r} (object {group.object_id})" for group in groups if group.label not in table]
    problems = [f"{paths['groups'].name}: label {label} is not in the label table" for label in unknown]
    try:
        instances, numbers = label_objects(segments, groups, table)
    except ValueError as error:
        raise ValueError(f"{paths['groups']}: {error}") from None
    scene, flat = _scene(points, colors, instances, spec.category_of, numbers)
    problems += [f"{paths['groups'].name}: the box of object {object_id} has no extent" for object_id in flat]
    return PreparedScene(scene=scene, problems=tuple(problems))


def label_objects(
    segments: np.ndarray, groups: tuple[Group, ...], table: dict[str, int]
) -> tuple[np.ndarray, dict[int, int]]:
    """Assign each vertex to an object, and each object to a class.

    Objects that share segments are treated as in VoteNet's preparation: the later object owns a shared segment, and an
    object's class is that of its first segment. A segment has the label, of those of its objects, that first appears
    last in the file.

    Args:
        segments: [N] segment of each vertex.
        groups: The objects.
        table: Raw category -> number of the class; other labels count as 0, unlabelled.

    Returns:
        (instances, numbers): [N] int64 object id of each vertex, -1 for none; object id -> number of its class.

    Raises:
        ValueError: If an object has a segment that no vertex has.
    """
    ids, segment_of = np.unique(segments, return_inverse=True)
    rows = {group.object_id: np.searchsorted(ids, group.segments) for group in groups}
    for group in groups:
        found = np.append(ids, -1)[rows[group.object_id]] == group.segments  # -1: after the last
        if not found.all():
            raise ValueError(
                f"object {group.object_id} ({group.label}) has segment {group.segments[~found][0]}, which no vertex has"
            )
    number_of, object_of = np.zeros(len(ids), np.int64), np.full(len(ids), -1)
    for label in dict.fromkeys(group.label for group in groups):
        for group in groups:
            if group.label == label:
                number_of[rows[group.object_id]] = table.get(label, 0)
    for group in groups:
        object_of[rows[group.object_id]] = group.object_id
    numbers = {object_id: int(number_of[row[0]]) for object_id, row in rows.items() if len(row)}
    return object_of[segment_of], numbers


def _scene(
    points: np.ndarray,
    colors: np.ndarray,
    instances: np.ndarray,
    category_of: Callable[[np.ndarray], np.ndarray],
    numbers: dict[int, int],
) -> tuple[Scene, list[int]]:
    """The scene with the objects of the classes, by object id, and the ids of those left out as they are flat."""
    boxes, categories, flat = [], [], []
    rows = np.full(len(points), -1, np.int32)
    for object_id in sorted(numbers):
        category = int(category_of(np.array(numbers[object_id])))
        own = instances == object_id
        if category < 0 or not own.any():  # another class, or all its segments belong to later objects
            continue
        low, high = points[own].min(axis=0), points[own].max(axis=0)
        if not (high > low).all():
            flat.append(object_id)
            continue
        rows[own] = len(boxes)
        boxes.append([*(low + high) / 2, *(high - low), 0])
        categories.append(category)
    scene = Scene(
        points=points,
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        categories=np.array(categories, np.int32),
        instance_ids=rows,
        colors=colors.astype(np.float32) / np.float32(255),
    )
    return scene, flat


@dataclass(frozen=True, eq=False, kw_only=True)
class _MakeScene:
    scans: Path
    table: dict[str, int]
    spec: DatasetSpec
    alignment: Alignment
    max_points: int | None
    seed: int

    def __call__(self, name: str) -> PreparedScene:
        whole = read_scan(self.scans / name, self.table, spec=self.spec, alignment=self.alignment)
        return whole.with_points(take_points(len(whole.scene.points), self.max_points, seed=self.seed, name=name))
