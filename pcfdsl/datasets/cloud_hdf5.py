"""ModelNet40 and ScanObjectNN as they are handed out: HDF5 files of a training and a test part.

    modelnet40_ply_hdf5_2048/  ply_data_train*.h5, ply_data_test*.h5 and shape_names.txt (Qi et al., PointNet)
    main_split/                training_objectdataset*.h5 and test_objectdataset*.h5 (Uy et al., ICCV 2019)

Each has `data` [S, P, 3] and `label` [S] or [S, 1]. Other sets in files of these names and contents are read as well.
"""

import re
from pathlib import Path

import numpy as np

__all__ = ["SCANOBJECTNN_CLASSES", "hdf5_parts", "read_hdf5_shapes"]

# In the order of ScanObjectNN's labels; its files do not have them.
SCANOBJECTNN_CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)
_PART = re.compile(r"train(?:ing)?|test(?:ing)?", re.IGNORECASE)
_NAMES = "shape_names.txt"


def hdf5_parts(path: str | Path) -> dict[str, list[Path]]:
    """The files of each part, "train" and "test", by what their names say.

    Args:
        path: A folder, or one of its files: then the files of the same name but for the part.

    Raises:
        OSError: If there is no such file or folder.
        ValueError: If a part is missing, or the folder holds several versions of a set, such as ScanObjectNN's with and
            without augmentation.
    """
    path = Path(path)
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no {path}; expected a folder of .h5 files, or one of them")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".h5", ".hdf5"))
    versions: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        found = _PART.search(file.stem)
        if found:
            version = re.sub(r"\d+$", "", _PART.sub("", file.stem, count=1))
            part = "train" if found[0].lower().startswith("train") else "test"
            versions.setdefault(version, {}).setdefault(part, []).append(file)
    if path.is_file():
        versions = {name: parts for name, parts in versions.items() if any(path in own for own in parts.values())}
    whole = {name: parts for name, parts in versions.items() if len(parts) == 2}
    if not whole:
        names = ", ".join(file.name for file in files[:6]) or "no .h5 file"
        raise ValueError(f"{path}: expected .h5 files with train and test in their names; found {names}")
    if len(whole) > 1:
        firsts = ", ".join(parts["train"][0].name for parts in whole.values())
        raise ValueError(f"{folder} holds several versions of a set; name the one to use: {firsts}")
    return dict(sorted(next(iter(whole.values())).items(), reverse=True))  # train first


def read_hdf5_shapes(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read both parts into memory.

    Returns:
        points: [S, P, 3] float32, as stored (both sets have y up).
        labels: [S] int64.
        parts: [S], "train" or "test".
        classes: Names of the labels, from shape_names.txt beside the files or ScanObjectNN's 15; else numbers.

    Raises:
        OSError: If there is no such file or folder.
        ValueError: If h5py is missing, or a file is damaged or holds something else. The message names the file.
    """
    points, labels, parts = [], [], []
    found = hdf5_parts(path)
    for part, files in found.items():
        for file in files:
            own_points, own_labels = _read(file)
            points.append(own_points)
            labels.append(own_labels)
            parts += [part] * len(own_labels)
    if len({own.shape[1:] for own in points}) > 1:
        sizes = ", ".join(str(own.shape[1]) for own in points)
        raise ValueError(f"{path}: files have different numbers of points a shape, {sizes}; expected one number")
    label = np.concatenate(labels)
    return np.concatenate(points), label, np.array(parts), _classes(found["train"][0], int(label.max()) + 1)


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise ValueError(f"{file} needs h5py: pip install h5py, or pip install 'pcfdsl[matlab]'") from None
    try:
        with h5py.File(file, "r") as opened:
            content = {name: np.asarray(opened[name]) for name in ("data", "label") if name in opened}
    except Exception as error:  # h5py raises all kinds of exceptions on damaged files
        raise ValueError(f"{file} cannot be read as HDF5 ({error}); download it again") from None
    if len(content) < 2:
        raise ValueError(f"{file} has no {'data' if 'data' not in content else 'label'}; expected data and label")
    points, label = content["data"], content["label"].reshape(-1)
    if points.ndim != 3 or points.shape[2] < 3 or not points.size or len(label) != len(points):
        raise ValueError(f"{file}: data is {points.shape}, label {content['label'].shape}; expected [S, P, 3] and [S]")
    if label.dtype.kind not in "iu" or label.min() < 0:
        raise ValueError(f"{file}: label is {label.dtype} from {label.min()}; expected integers from 0")
    return points[..., :3].astype(np.float32), label.astype(np.int64)


def _classes(file: Path, count: int) -> tuple[str, ...]:
    listed = file.parent / _NAMES
    names = tuple(listed.read_text(encoding="utf-8").split()) if listed.is_file() else ()
    if not names and "objectdataset" in file.name:
        names = SCANOBJECTNN_CLASSES
    if names and len(names) < count:
        raise ValueError(f"{listed if listed.is_file() else file} has {len(names)} names, but labels go to {count - 1}")
    return names or tuple(map(str, range(count)))
