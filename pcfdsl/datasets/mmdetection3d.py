"""Folders written by mmdetection3d's preparation.

    scannet_infos_train.pkl or sunrgbd_infos_train.pkl      info files of versions 1.0 and 1.1
    s3dis_infos_Area_1.pkl, ...                             one for each area of S3DIS
    points/*.bin                                            for ScanNet as scanned; the info file has the alignment
    instance_mask/*.bin, semantic_mask/*.bin                ScanNet and S3DIS

Since version 1.0 boxes have full extents and yaw. Earlier versions wrote clockwise headings into info files of the same
form; the files cannot be told apart. Info files of S3DIS lack the box of the last object of each room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.datasets.detection_set import assign_instances
from pcfdsl.datasets.foreign import MAX_NUMBER, ForeignScenes, categories_of, existing_folder, match_instances
from pcfdsl.datasets.spec import S3DIS, SCANNET, SUNRGBD, DatasetSpec
from pcfdsl.readers.clouds import read_cloud
from pcfdsl.readers.pickles import load_plain
from pcfdsl.readers.scannet import aligned
from pcfdsl.scene.boxes import Scene

__all__ = ["open_mmdetection3d"]

_SPECS = (SCANNET, SUNRGBD, S3DIS)


def open_mmdetection3d(folder: str | Path, split: str = "train") -> ForeignScenes:
    """Open scenes written by mmdetection3d's preparation.

    Args:
        folder: The folder with the info files and `points/`; or an info file, whose name tells the benchmark.
        split: "train" or "val"; ignored for an info file.

    Raises:
        OSError: If the info file or the points are missing.
        ValueError: If the info file is invalid.
    """
    path = Path(folder)
    paths = (path,) if path.is_file() else _info_files(existing_folder(path), split)
    path = paths[0]
    spec = next((spec for spec in _SPECS if path.name.startswith(spec.key)), None)
    if spec is None:
        raise ValueError(f"{path}: the names of info files begin with {' or '.join(spec.key for spec in _SPECS)}")
    entries = {}
    for path in paths:
        listed, order = _content(path, spec)
        for place, entry in enumerate(listed):
            try:
                info = _info(entry, spec, order)
            except Exception as error:  # the file can hold anything
                what = f"{type(error).__name__} {error}; the entry is invalid"
                raise ValueError(f"{path}, entry {place}: {what}") from None
            entries[Path(info.points).stem] = info
    present = tuple(name for name, info in entries.items() if (path.parent / "points" / info.points).is_file())
    if not present:
        first = next((info.points for info in entries.values()), "its entries")
        raise FileNotFoundError(
            f"{path} lists {len(entries)} scenes, but {path.parent / 'points'} holds none of them, not even {first}"
        )
    missing = tuple(name for name in entries if name not in set(present))
    read = partial(_read, folder=path.parent, spec=spec, entries=entries)
    return ForeignScenes(spec=spec, names=present, missing=missing, read=read)


def _info_files(folder: Path, split: str) -> tuple[Path, ...]:
    """The info files of a split: one, or one for each of its parts."""
    wanted = [[folder / f"{spec.key}_infos_{part}.pkl" for part in spec.parts.get(split, (split,))] for spec in _SPECS]
    there = [files for files in wanted if any(file.is_file() for file in files)]
    if len(there) != 1:
        names = " or ".join(files[0].name for files in wanted)
        raise FileNotFoundError(f"{folder} has {len(there)} of the info files {names}; expected one")
    if absent := [file.name for file in there[0] if not file.is_file()]:
        raise FileNotFoundError(
            f"{folder} has no {', '.join(absent)}, which belong to {split}; the path of an info file opens it alone"
        )
    return tuple(there[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Info:
    """One entry of an info file: file names, boxes [K, 7], categories [K], alignment [4, 4]."""

    points: str
    num_columns: int
    boxes: np.ndarray
    categories: np.ndarray
    alignment: np.ndarray
    instance_mask: str | None
    semantic_mask: str | None


def _read(name: str, *, folder: Path, spec: DatasetSpec, entries: Mapping[str, _Info]) -> Scene:
    info = entries[name]
    cloud = read_cloud(folder / "points" / info.points, bin_columns=info.num_columns)
    points = aligned(cloud.points + cloud.offset.astype(np.float32), info.alignment)
    names = {"instance_mask": info.instance_mask, "semantic_mask": info.semantic_mask}
    masks = [folder / kind / file for kind, file in names.items() if file is not None]
    if len(masks) == 2 and all(mask.is_file() for mask in masks):
        instances, numbers = (_mask(mask, len(cloud.kept))[cloud.kept] for mask in masks)
        tolerance = 0.01 if spec is S3DIS else np.inf  # the last object of a room has no box there
        ids = match_instances(
            points, instances, spec.category_of(numbers), info.boxes, info.categories, tolerance=tolerance
        )
    else:
        ids = assign_instances(points, info.boxes.astype(np.float32))
    return Scene(points=points, boxes=info.boxes, categories=info.categories, instance_ids=ids, colors=cloud.colors)


def _content(path: Path, spec: DatasetSpec) -> tuple[list[Any], np.ndarray]:
    """The entries of an info file, and the class of the benchmark that each of its class numbers is."""
    content = load_plain(path)
    entries = content.get("data_list") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError(f"{path} has no list of scenes; expected an info file of mmdetection3d")
    about = content.get("metainfo") if isinstance(content, dict) else None
    named = about.get("categories") if isinstance(about, dict) else None
    if not isinstance(named, dict):
        return entries, np.arange(len(spec.classes))
    ours = {_plain(name): number for number, name in enumerate(spec.classes)}
    names = sorted(named, key=lambda name: str(named[name]).zfill(9))
    if [named[name] for name in names] != list(range(len(names))) or not {*map(_plain, names)} <= ours.keys():
        raise ValueError(f"{path} has the classes {named}; expected those of {spec.name}, {', '.join(spec.classes)}")
    return entries, np.array([ours[_plain(name)] for name in names])


def _plain(name: Any) -> str:
    """A class name without case, blanks and hyphens; mmdetection3d writes showercurtrain."""
    return "".join(letter for letter in str(name).casefold() if letter.isalnum()).replace("curtrain", "curtain")


def _info(entry: Mapping[str, Any], spec: DatasetSpec, order: np.ndarray) -> _Info:
    if "lidar_points" in entry:  # version 1.1
        cloud, objects = entry["lidar_points"], entry.get("instances", [])
        points, num_columns = cloud["lidar_path"], cloud.get("num_pts_feats", 6)
        boxes = [one["bbox_3d"] for one in objects]
        labels = [one["bbox_label_3d"] for one in objects]
        alignment = entry.get("axis_align_matrix", cloud.get("axis_align_matrix"))
    else:
        points, num_columns = entry["pts_path"], entry["point_cloud"].get("num_features", 6)
        objects = entry.get("annos", {})
        boxes = objects.get("gt_boxes_upright_depth", []) if objects.get("gt_num", 0) else []
        labels = objects.get("class", []) if objects.get("gt_num", 0) else []
        alignment = objects.get("axis_align_matrix")
    if alignment is None and spec is SCANNET:
        raise ValueError("it has no axis_align_matrix")
    boxes = np.array(boxes, np.float64).reshape(len(labels), 6 if spec.num_heading_bins == 1 else 7)
    if boxes.size and not np.abs(boxes).max() < MAX_NUMBER:
        raise ValueError(f"boxes are {boxes.tolist()}")
    matrix = np.eye(4) if alignment is None else np.array(alignment, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix).max() > 1e4:
        raise ValueError(f"axis_align_matrix is {matrix.tolist()}")
    if type(num_columns) is not int or not 3 <= num_columns <= 64:
        raise ValueError(f"points have {num_columns!r} columns")
    return _Info(
        points=_file_name(points),
        num_columns=num_columns,
        boxes=boxes if boxes.shape[1] == 7 else np.c_[boxes, np.zeros(len(boxes))],
        categories=order[categories_of(np.array(labels), spec, num_classes=len(order))],
        alignment=matrix,
        instance_mask=_file_name(entry["pts_instance_mask_path"]) if entry.get("pts_instance_mask_path") else None,
        semantic_mask=_file_name(entry["pts_semantic_mask_path"]) if entry.get("pts_semantic_mask_path") else None,
    )


def _file_name(path: Any) -> str:
    """The file name of a path in an info file; the folders have known names."""
    name = Path(path.replace("\\", "/")).name if isinstance(path, str) else ""
    if not name or "\0" in name:
        raise ValueError(f"{path!r} is not the path of a file")
    return name


def _mask(path: Path, num_points: int) -> np.ndarray:
    if path.stat().st_size != 8 * num_points:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; expected {num_points} int64")
    return np.fromfile(path, np.int64)
