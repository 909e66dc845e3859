"""Folders written by VoteNet's preparation.

    scannet_train_detection_data/            scene0000_00_vert.npy, _sem_label.npy, _ins_label.npy, _bbox.npy
    sunrgbd_pc_bbox_votes_50k_v1_train/      000001_pc.npz, _bbox.npy (and _votes.npz, which is not needed)

There, SUN RGB-D's boxes have half extents and clockwise headings; they are converted here.
"""

from functools import partial
from pathlib import Path

import numpy as np

from pcfdsl.datasets.detection_set import assign_instances
from pcfdsl.datasets.foreign import MAX_NUMBER, ForeignScenes, categories_of, existing_folder, match_instances
from pcfdsl.datasets.spec import SCANNET, SUNRGBD, split_names
from pcfdsl.readers.arrays import read_array, read_arrays
from pcfdsl.scene.boxes import Scene

__all__ = ["open_votenet"]


def open_votenet(folder: str | Path, split: str = "train") -> ForeignScenes:
    """Open scenes written by VoteNet's preparation.

    Args:
        folder: `scannet_train_detection_data`, which holds both splits, or `sunrgbd_pc_bbox_votes_..._SPLIT`.
        split: "train" or "val".

    Raises:
        OSError: If the folder or the split's files are missing.
        ValueError: If the folder is that of another split, or there is no such split.
    """
    folder = existing_folder(folder)
    scannet = {path.name.removesuffix("_bbox.npy") for path in folder.glob("scene*_bbox.npy")}
    if scannet:
        names = split_names(SCANNET, split)
        there = tuple(name for name in names if name in scannet)
        if not there:
            raise FileNotFoundError(f"{folder} holds none of the {len(names)} scans of ScanNet's split {split}")
        missing = tuple(name for name in names if name not in scannet)
        return ForeignScenes(spec=SCANNET, names=there, missing=missing, read=partial(_read_scan, folder=folder))
    names = tuple(sorted(path.name.removesuffix("_bbox.npy") for path in folder.glob("[0-9]*_bbox.npy")))
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no files *_bbox.npy; expected VoteNet's scannet_train_detection_data or "
            f"sunrgbd_pc_bbox_votes_50k_v1_{split}"
        )
    if folder.name.endswith(("_train", "_val")) and not folder.name.endswith(f"_{split}"):
        raise ValueError(f"{folder} is not the folder of the split {split}")
    return ForeignScenes(spec=SUNRGBD, names=names, read=partial(_read_image, folder=folder))


def _read_scan(name: str, *, folder: Path) -> Scene:
    boxes = _array(folder / f"{name}_bbox.npy", columns=(7, 8))
    vertices = _array(folder / f"{name}_vert.npy", columns=(6,))
    nyu40 = _array(folder / f"{name}_sem_label.npy", columns=None, length=len(vertices))
    instances = _array(folder / f"{name}_ins_label.npy", columns=None, length=len(vertices))
    categories = SCANNET.category_of(boxes[:, 6])
    kept = categories >= 0
    boxes, categories = np.c_[boxes[kept, :6], np.zeros(int(kept.sum()))], categories[kept]
    points = vertices[:, :3].astype(np.float32)
    return Scene(
        points=points,
        boxes=boxes,
        categories=categories,
        instance_ids=match_instances(points, instances, SCANNET.category_of(nyu40), boxes, categories),
        colors=vertices[:, 3:6].astype(np.float32) / np.float32(255),
    )


def _read_image(name: str, *, folder: Path) -> Scene:
    boxes = _array(folder / f"{name}_bbox.npy", columns=(8,))
    cloud = _array(folder / f"{name}_pc.npz", columns=(6,), key="pc")
    categories = categories_of(boxes[:, 7], SUNRGBD)
    boxes = np.c_[boxes[:, :3], 2 * boxes[:, 3:6], -boxes[:, 6]]
    points = cloud[:, :3].astype(np.float32)
    return Scene(
        points=points,
        boxes=boxes,
        categories=categories,
        instance_ids=assign_instances(points, boxes.astype(np.float32)),
        colors=cloud[:, 3:6],
    )


def _array(
    path: Path, *, columns: tuple[int, ...] | None, length: int | None = None, key: str | None = None
) -> np.ndarray:
    """Read finite numbers from a .npy file, or from an array in a .npz file."""
    array = read_array(path) if key is None else read_arrays(path, (key,))[key]
    shape = f"[N, {' or '.join(map(str, columns))}]" if columns else f"[{length}]"
    fits = array.ndim == 2 and array.shape[1] in columns if columns else array.shape == (length,)
    if array.dtype.kind not in "fiu" or not fits:
        raise ValueError(f"{path} holds {array.dtype} {list(array.shape)}; expected numbers {shape}")
    if array.size and not np.abs(array.astype(np.float64)).max() < MAX_NUMBER:  # also true for NaN
        raise ValueError(f"{path} holds numbers that are not finite or absurdly large")
    return array
