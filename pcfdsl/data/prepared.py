"""Folders that VoteNet's and mmdetection3d's preparations have written, read as they are.

    votenet          scannet_train_detection_data/scene0000_00_vert.npy, _sem_label.npy, _ins_label.npy, _bbox.npy
                     sunrgbd_pc_bbox_votes_50k_v1_train/000001_pc.npz, _bbox.npy (and _votes.npz, which is not needed)
    mmdetection3d    scannet_infos_train.pkl or sunrgbd_infos_train.pkl, points/*.bin, and for ScanNet instance_mask/
                     and semantic_mask/; info files of versions 1.0 and 1.1

Boxes become ours at this border: VoteNet's SUN RGB-D files have half extents and clockwise headings; mmdetection3d's,
since version 1.0, full extents and yaw. (Before it, headings were clockwise in info files of the same form; no file
tells.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from pcfdsl.data.safe_pickle import load_plain
from pcfdsl.data.scan_files import read_points
from pcfdsl.data.scannet_files import aligned
from pcfdsl.data.spec import SCANNET, SUNRGBD, DatasetSpec, split_names
from pcfdsl.data.stored import assign_instances
from pcfdsl.scene.boxes import Scene

__all__ = ["PreparedScenes", "open_mmdetection3d", "open_votenet"]

_MAX_NUMBER = 1e9


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedScenes(Sequence[Scene]):
    """The scenes of a prepared folder; they are read when asked for.

    Attributes:
        spec: Which benchmark they are of.
        names: Names of the scenes.
        missing: Names of scenes of the split whose files are not there.
        read: Reads the scene of a name; pickles.
    """

    spec: DatasetSpec
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    read: Callable[[str], Scene]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; categories index them."""
        return self.spec.classes

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name = self.names[index]
        try:
            return self.read(name)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def open_votenet(folder: str | Path, split: str = "train") -> PreparedScenes:
    """Scenes that VoteNet's preparation has written.

    Args:
        folder: `scannet_train_detection_data`, which holds both splits, or `sunrgbd_pc_bbox_votes_..._SPLIT`.
        split: "train" or "val".

    Raises:
        OSError: If the folder or the split's files are not there.
        ValueError: If the folder is that of another split, or a split has no list of scenes.
    """
    folder = _existing(folder)
    scannet = {path.name.removesuffix("_bbox.npy") for path in folder.glob("scene*_bbox.npy")}
    if scannet:
        names = split_names(SCANNET, split)
        there = tuple(name for name in names if name in scannet)
        if not there:
            raise FileNotFoundError(f"{folder} holds none of the {len(names)} scans of ScanNet's split {split}")
        missing = tuple(name for name in names if name not in scannet)
        return PreparedScenes(spec=SCANNET, names=there, missing=missing, read=_VoteNetScan(folder))
    names = tuple(sorted(path.name.removesuffix("_bbox.npy") for path in folder.glob("[0-9]*_bbox.npy")))
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no files *_bbox.npy; expected VoteNet's scannet_train_detection_data or "
            f"sunrgbd_pc_bbox_votes_50k_v1_{split}"
        )
    if folder.name.endswith(("_train", "_val")) and not folder.name.endswith(f"_{split}"):
        raise ValueError(f"{folder} is not the folder of the split {split}; give that one")
    return PreparedScenes(spec=SUNRGBD, names=names, read=_VoteNetImage(folder))


def open_mmdetection3d(folder: str | Path, split: str = "train") -> PreparedScenes:
    """Scenes that mmdetection3d's preparation has written.

    Args:
        folder: With the info files and `points/`; or an info file itself, whose name says the data set.
        split: "train" or "val"; for an info file it means nothing.

    Raises:
        OSError: If the info file or the points are not there.
        ValueError: If the info file holds anything but plain data of that kind.
    """
    path = Path(folder)
    if not path.is_file():
        path = _existing(path)
        found = [path / f"{spec.key}_infos_{split}.pkl" for spec in (SCANNET, SUNRGBD)]
        there = [file for file in found if file.is_file()]
        if len(there) != 1:
            names = " or ".join(file.name for file in found)
            raise FileNotFoundError(f"{folder} has {len(there)} of the info files {names}; expected one")
        path = there[0]
    spec = next((spec for spec in (SCANNET, SUNRGBD) if path.name.startswith(spec.key)), None)
    if spec is None:
        raise ValueError(f"{path}: the names of info files begin with scannet or sunrgbd")
    entries = {}
    for place, entry in enumerate(_entries(path)):
        try:
            info = _info(entry, spec)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, entry {place}: {type(error).__name__} {error}; it is not understood") from None
        entries[Path(info.points).stem] = info
    present = tuple(name for name, info in entries.items() if (path.parent / "points" / info.points).is_file())
    if not present:
        first = next((info.points for info in entries.values()), "its entries")
        raise FileNotFoundError(
            f"{path} names {len(entries)} scenes, but {path.parent / 'points'} has not even {first}"
        )
    missing = tuple(name for name in entries if name not in set(present))
    return PreparedScenes(spec=spec, names=present, missing=missing, read=_InfoScene(path.parent, spec, entries))


@dataclass(frozen=True, eq=False)
class _VoteNetScan:
    folder: Path

    def __call__(self, name: str) -> Scene:
        boxes = _array(self.folder / f"{name}_bbox.npy", columns=(7, 8))
        vertices = _array(self.folder / f"{name}_vert.npy", columns=(6,))
        nyu40 = _array(self.folder / f"{name}_sem_label.npy", columns=None, length=len(vertices))
        instances = _array(self.folder / f"{name}_ins_label.npy", columns=None, length=len(vertices))
        categories = SCANNET.category_of(boxes[:, 6])
        kept = categories >= 0
        boxes = np.c_[boxes[kept, :6], np.zeros(int(kept.sum()))]
        return _scan(vertices, instances, nyu40, boxes, categories[kept])


@dataclass(frozen=True, eq=False)
class _VoteNetImage:
    folder: Path

    def __call__(self, name: str) -> Scene:
        boxes = _array(self.folder / f"{name}_bbox.npy", columns=(8,))
        cloud = _array(self.folder / f"{name}_pc.npz", columns=(6,), key="pc")
        categories = _categories(boxes[:, 7], SUNRGBD)
        boxes = np.c_[boxes[:, :3], 2 * boxes[:, 3:6], -boxes[:, 6]]
        points = cloud[:, :3].astype(np.float32)
        return Scene(
            points=points,
            boxes=boxes,
            categories=categories,
            instance_ids=assign_instances(points, boxes.astype(np.float32)),
            colors=cloud[:, 3:6],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Info:
    """One entry of an info file: names of files, boxes [K, 7], categories [K], alignment [4, 4]."""

    points: str
    num_columns: int
    boxes: np.ndarray
    categories: np.ndarray
    alignment: np.ndarray
    instance_mask: str | None
    semantic_mask: str | None


@dataclass(frozen=True, eq=False)
class _InfoScene:
    folder: Path
    spec: DatasetSpec
    entries: Mapping[str, _Info]

    def __call__(self, name: str) -> Scene:
        info = self.entries[name]
        points, colors = read_points(self.folder / "points" / info.points, bin_columns=info.num_columns)
        points = aligned(points, info.alignment)
        masks = [
            None if file is None or not (self.folder / kind / file).is_file() else self.folder / kind / file
            for kind, file in (("instance_mask", info.instance_mask), ("semantic_mask", info.semantic_mask))
        ]
        if masks[0] is not None and masks[1] is not None:
            instances, nyu40 = (_mask(path, len(points)) for path in masks if path is not None)
            ids = _match_instances(points, instances, self.spec.category_of(nyu40), info.boxes, info.categories)
        else:
            ids = assign_instances(points, info.boxes.astype(np.float32))
        return Scene(points=points, boxes=info.boxes, categories=info.categories, instance_ids=ids, colors=colors)


def _scan(
    vertices: np.ndarray, instances: np.ndarray, nyu40: np.ndarray, boxes: np.ndarray, categories: np.ndarray
) -> Scene:
    points = vertices[:, :3].astype(np.float32)
    ids = _match_instances(points, instances, SCANNET.category_of(nyu40), boxes, categories)
    colors = vertices[:, 3:6].astype(np.float32) / np.float32(255)
    return Scene(points=points, boxes=boxes, categories=categories, instance_ids=ids, colors=colors)


def _match_instances(
    points: np.ndarray, instances: np.ndarray, point_categories: np.ndarray, boxes: np.ndarray, categories: np.ndarray
) -> np.ndarray:
    """[N] int32 row of each point's box: the files do not say it, but the box is the one that fits the points best.

    An object has the class of its first point, as in the published loader.
    """
    rows = np.full(len(points), -1, np.int32)
    ends = np.concatenate([boxes[:, :3] - boxes[:, 3:6] / 2, boxes[:, :3] + boxes[:, 3:6] / 2], axis=1)
    for instance in np.unique(instances):
        own = np.flatnonzero(instances == instance)
        candidates = np.flatnonzero(categories == point_categories[own[0]])
        if len(candidates):
            extent = np.concatenate([points[own].min(axis=0), points[own].max(axis=0)])
            rows[own] = candidates[np.abs(ends[candidates] - extent).max(axis=1).argmin()]
    return rows


def _entries(path: Path) -> list[Any]:
    content = load_plain(path)
    entries = content.get("data_list") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError(f"{path} has no list of scenes; expected an info file of mmdetection3d")
    return entries


def _info(entry: Mapping[str, Any], spec: DatasetSpec) -> _Info:
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
    if boxes.size and not np.abs(boxes).max() < _MAX_NUMBER:
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
        categories=_categories(np.array(labels), spec),
        alignment=matrix,
        instance_mask=_file_name(entry["pts_instance_mask_path"]) if entry.get("pts_instance_mask_path") else None,
        semantic_mask=_file_name(entry["pts_semantic_mask_path"]) if entry.get("pts_semantic_mask_path") else None,
    )


def _categories(labels: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    labels = np.asarray(labels, np.float64)
    categories = labels.astype(np.int32) if np.isfinite(labels).all() and (np.abs(labels) < 1e6).all() else None
    if categories is None or (categories != labels).any() or not ((labels >= 0) & (labels < len(spec.classes))).all():
        raise ValueError(f"classes are {labels.tolist()}; {spec.name} has 0 to {len(spec.classes) - 1}")
    return categories


def _file_name(path: Any) -> str:
    """The last part of a path of an info file: files lie in folders of known names."""
    name = Path(path.replace("\\", "/")).name if isinstance(path, str) else ""
    if not name or "\0" in name:
        raise ValueError(f"{path!r} names no file")
    return name


def _mask(path: Path, num_points: int) -> np.ndarray:
    if path.stat().st_size != 8 * num_points:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; expected {num_points} int64")
    return np.fromfile(path, np.int64)


def _array(
    path: Path, *, columns: tuple[int, ...] | None, length: int | None = None, key: str | None = None
) -> np.ndarray:
    """Finite numbers of a .npy file, or of an array in an .npz file."""
    try:
        if key is None:
            array = np.array(np.load(path, allow_pickle=False, mmap_mode="r"))  # the map checks the header's promise
        else:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                array = np.array(content[key])
    except OSError:
        raise
    except Exception as error:  # NumPy and zipfile fail on damaged files in many ways
        raise ValueError(f"{path} is no whole array ({error})") from None
    shape = f"[N, {' or '.join(map(str, columns))}]" if columns else f"[{length}]"
    fits = array.ndim == 2 and array.shape[1] in columns if columns else array.shape == (length,)
    if array.dtype.kind not in "fiu" or not fits:
        raise ValueError(f"{path} holds {array.dtype} {list(array.shape)}; expected numbers {shape}")
    if array.size and not np.abs(array.astype(np.float64)).max() < _MAX_NUMBER:  # also for what is no number
        raise ValueError(f"{path} holds numbers that are not finite, or beyond all measure")
    return array


def _existing(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return folder
