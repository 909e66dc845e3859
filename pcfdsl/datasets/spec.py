"""The benchmarks as data: classes, published mean sizes, splits and evaluation protocol."""

import csv
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Literal

import numpy as np

from pcfdsl.datasets.augment import AugmentConfig

__all__ = ["S3DIS", "SCANNET", "SCANNET200", "SPECS", "SUNRGBD", "SUNRGBD37", "DatasetSpec", "split_names", "spec_of"]


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The fixed facts of a benchmark.

    Attributes:
        key: Its name in file names.
        name: Its name in text.
        classes: Class names; categories index them.
        scans: Key of the benchmark whose scans and splits these are; its own if empty.
        source_ids: The benchmark's own number of each class; empty if its labels are names.
        label_column: The column of ScanNet's label table that has these numbers.
        groups: Classes by how many objects they have, where papers report on them apart.
        mean_sizes: Published mean full extents of each class, metres, along the box's own x, y and z; may be empty.
        class_levels: TR3D's level of each class's boxes, 0 fine or 1 coarse, by its published settings.
        num_heading_bins: Bins of VoteNet's box coding; 1 if boxes have no yaw.
        split_sizes: Scenes of each split of the complete benchmark. Papers report on "val".
        parts: What mmdetection3d's preparation divides a split into: the names of its info files; those of the splits
            if empty.
        num_points: Points of a sample, VoteNet's where it was published for the benchmark.
        votes: VoteNet's vote targets: see `pcfdsl.samples.detection`.
        augment: The augmentation, VoteNet's where it was published for the benchmark.
        iou_thresholds: The thresholds at which papers report mAP.
        fractions: Shares of the training scenes in label-efficient comparisons.
    """

    key: str
    name: str
    classes: tuple[str, ...]
    scans: str = ""
    source_ids: tuple[int, ...] = ()
    label_column: str = ""
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mean_sizes: tuple[tuple[float, float, float], ...] = ()
    class_levels: tuple[int, ...] = ()
    num_heading_bins: int
    split_sizes: dict[str, int]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    num_points: int
    votes: Literal["extent", "overlap"]
    augment: AugmentConfig
    iou_thresholds: tuple[float, ...] = (0.25, 0.5)
    fractions: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)

    def category_of(self, source_ids: np.ndarray) -> np.ndarray:
        """The int32 category of each of the benchmark's own class numbers, -1 for other numbers."""
        source_ids = np.asarray(source_ids)
        known = np.asarray(self.source_ids)
        place = np.minimum(np.searchsorted(known, source_ids), len(known) - 1)
        return np.where(known[place] == source_ids, place, -1).astype(np.int32)


# Class names are VoteNet's, except its misspelt shower curtain. `category_of` relies on ascending numbers.
SCANNET = DatasetSpec(
    key="scannet",
    name="ScanNetV2",
    classes=(
        *("cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
        *("desk", "curtain", "refrigerator", "showercurtain", "toilet", "sink", "bathtub", "garbagebin"),
    ),
    label_column="nyu40id",
    source_ids=(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39),
    mean_sizes=(
        (0.7696672604054122, 0.8116021117472902, 0.9257374136145354),
        (1.8768580001697206, 1.842559515802484, 1.1931565443674723),
        (0.6132799886259447, 0.6148608680507913, 0.7182701427611315),
        (1.3955006289669847, 1.5121545143953459, 0.8344356450508899),
        (0.9794959591575039, 1.067514848627126, 0.6329687451853335),
        (0.5316630050523676, 0.5955577157376698, 1.7500148278367265),
        (0.9624705646410668, 0.724623255389463, 1.1481868198746867),
        (0.8322192367698465, 1.0490935469312328, 1.6875663369894027),
        (0.21132214086709308, 0.4206159026354871, 0.5372845894025259),
        (1.444007275463308, 1.897083342075348, 0.2698574721523859),
        (1.0294261633133401, 1.4040796643617202, 0.875543219276837),
        (1.3766411551957802, 0.6552179310711618, 1.6813129177564903),
        (0.665081893931554, 0.7111192617003478, 1.298853067379424),
        (0.41999173755044333, 0.3790694684595675, 1.7513971522047713),
        (0.5935955854113569, 0.5912492439611671, 0.7391901372634259),
        (0.5086759479906277, 0.506560866579865, 0.30136235530383004),
        (1.151152646430185, 1.054629599379602, 0.4970679366700003),
        (0.47535286277763605, 0.492494933218611, 0.5802116805268812),
    ),
    class_levels=(0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0),
    num_heading_bins=1,
    split_sizes={"train": 1201, "val": 312},
    num_points=40_000,
    votes="extent",
    augment=AugmentConfig(flip_x=0.5, flip_y=0.5, rotation=5.0, hull=True),
)

SUNRGBD = DatasetSpec(
    key="sunrgbd",
    name="SUN RGB-D",
    classes=("bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf", "bathtub"),
    mean_sizes=(
        (2.114256, 1.6203, 0.927272),
        (0.791118, 1.279516, 0.718182),
        (0.923508, 1.867419, 0.845495),
        (0.591958, 0.552978, 0.827272),
        (0.699104, 0.454178, 0.75625),
        (0.69519, 1.346299, 0.736364),
        (0.528526, 1.002642, 1.172878),
        (0.500618, 0.632163, 0.683424),
        (0.404671, 1.071108, 1.688889),
        (0.76584, 1.398258, 0.472728),
    ),
    class_levels=(1, 1, 1, 0, 0, 1, 0, 0, 1, 0),
    num_heading_bins=12,
    split_sizes={"train": 5285, "val": 5050},
    num_points=20_000,
    votes="overlap",
    augment=AugmentConfig(flip_x=0.5, flip_y=0.0, rotation=30.0, scale=(0.85, 1.15)),
)

# Gwak et al. 2020 chose these five of the 13 classes, and Area 5. The numbers are the places of the classes in the list
# that goes back to PointNet (data/s3dis/meta_data/class_names.txt of mmdetection3d); sample, levels, augmentation are
# TR3D's (tr3d_s3dis-3d-5class.py of its authors).
S3DIS = DatasetSpec(
    key="s3dis",
    name="S3DIS",
    classes=("table", "chair", "sofa", "bookcase", "board"),
    source_ids=(7, 8, 9, 10, 11),
    class_levels=(1, 0, 1, 1, 0),
    num_heading_bins=1,
    split_sizes={"train": 204, "val": 68},
    parts={"train": ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6"), "val": ("Area_5",)},
    num_points=100_000,
    votes="extent",
    augment=AugmentConfig(flip_x=0.5, flip_y=0.5, rotation=0.0, scale=(0.95, 1.05), translation=0.1),
)


def _scannet200() -> DatasetSpec:
    """ScanNet200 (Rozenberszki et al. 2022) on the scans of ScanNetV2: its classes but for wall and floor.

    These 198 are the objects by the benchmark's own VALID_PANOPTIC_IDS, and what Zoo3D reports detections on.
    """
    text = (files("pcfdsl.datasets") / "classes" / "scannet200.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader((line for line in text.splitlines() if not line.startswith("#")), delimiter="\t"))
    members = {name: tuple(row["class"] for row in rows if row["group"] == name) for name in ("head", "common", "tail")}
    return replace(
        SCANNET,
        key="scannet200",
        name="ScanNet200",
        scans=SCANNET.key,
        classes=tuple(row["class"] for row in rows),
        source_ids=tuple(int(row["id"]) for row in rows),
        label_column="id",
        groups=members,
        mean_sizes=(),
        class_levels=(),
    )


SCANNET200 = _scannet200()

# The names of seg37list.mat in SUN RGB-D's toolbox, which boxes bear as well, as listed in the README of YanjieZe/UNet;
# SamsungLabs/tr3d#9 is a training on boxes of these names. ImVoxelNet's config imvoxelnet_total_sunrgbd_v2.py, after
# Total3DUnderstanding, leaves out four of them: wall, floor, floor_mat and ceiling.
SUNRGBD37 = replace(
    SUNRGBD,
    key="sunrgbd37",
    name="SUN RGB-D, 37 classes",
    scans=SUNRGBD.key,
    classes=(
        *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
        *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor_mat", "clothes"),
        *("ceiling", "books", "fridge", "tv", "paper", "towel", "shower_curtain", "box", "whiteboard", "person"),
        *("night_stand", "toilet", "sink", "lamp", "bathtub", "bag"),
    ),
    mean_sizes=(),
    class_levels=(),
)

SPECS = (SCANNET, SUNRGBD, S3DIS, SCANNET200, SUNRGBD37)


def spec_of(classes: tuple[str, ...]) -> DatasetSpec | None:
    """The benchmark with these classes in this order, or None."""
    return next((spec for spec in SPECS if spec.classes == tuple(classes)), None)


def split_names(spec: DatasetSpec, split: str) -> tuple[str, ...]:
    """Names of the scenes of an official split.

    Raises:
        ValueError: If its list does not come with this package; SUN RGB-D's is in its toolbox.

    >>> len(split_names(SCANNET, "val"))
    312
    """
    path = files("pcfdsl.datasets") / "splits" / f"{spec.scans or spec.key}_{split}.txt"
    if not path.is_file():
        raise ValueError(f"no list of the {split} scenes of {spec.name} comes with this package")
    return tuple(path.read_text(encoding="utf-8").split())
