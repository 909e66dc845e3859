"""SUN RGB-D (Song et al. 2015): from its official downloads to a detection set, in pure Python.

As in VoteNet's preparation, depth images become points in the upright frame (x right, y forward, z up, the camera at
the origin), and the boxes of ten classes, or of 37, become labels. Papers report on the first version of the labels.
VoteNet writes half extents and clockwise headings; here, as everywhere, boxes have full extents and yaw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pcfdsl.datasets.detection_set import assign_instances
from pcfdsl.datasets.preparation import PreparationReport, PreparedScene, prepare_set, take_points
from pcfdsl.datasets.spec import SUNRGBD, DatasetSpec
from pcfdsl.readers.sunrgbd_images import ImageFiles, read_color, read_depth, unproject
from pcfdsl.readers.sunrgbd_meta import Frame, read_frames, read_splits, with_labels_of
from pcfdsl.scene.boxes import Scene

__all__ = ["SunRgbdFiles", "find_sunrgbd", "prepare_sunrgbd"]


Labels = Literal["v1", "v2"]


@dataclass(frozen=True, kw_only=True)
class SunRgbdFiles:
    """Where the official downloads are.

    Attributes:
        images: SUNRGBD.zip, or the folder it was unpacked to.
        metadata: SUNRGBDMeta3DBB_v2.mat: cameras, and the labels of the second version.
        labels_v1: The toolbox's Metadata/SUNRGBDMeta.mat: the labels of the first version.
        split: The toolbox's traintestSUNRGBD/allsplit.mat.
    """

    images: Path
    metadata: Path
    labels_v1: Path
    split: Path


def find_sunrgbd(folder: str | Path, *, images: Path | None = None) -> SunRgbdFiles:
    """Find the downloads in a folder: `SUNRGBD.zip` or `SUNRGBD/`, the .mat file, and `SUNRGBDtoolbox/`.

    Args:
        folder: The folder.
        images: The zip or folder of images, if it is elsewhere.

    Raises:
        OSError: If something is missing; the message says what, and where to get it.
    """
    folder = Path(folder)
    toolbox = [folder / "SUNRGBDtoolbox", folder / "SUNRGBDtoolbox" / "SUNRGBDtoolbox"]
    candidates = {
        "images": [images] if images else [folder / "SUNRGBD.zip", folder / "SUNRGBD"],
        "metadata": [folder / "SUNRGBDMeta3DBB_v2.mat"],
        "labels_v1": [box / "Metadata" / "SUNRGBDMeta.mat" for box in toolbox],
        "split": [box / "traintestSUNRGBD" / "allsplit.mat" for box in toolbox],
    }
    found = {what: next((path for path in paths if path.exists()), None) for what, paths in candidates.items()}
    # the first version of the labels is required only if it is used
    missing = [str(candidates[what][0]) for what, path in found.items() if path is None and what != "labels_v1"]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {', '.join(missing)}; the data set's page (rgbd.cs.princeton.edu) offers SUNRGBD.zip, "
            "SUNRGBDMeta3DBB_v2.mat and SUNRGBDtoolbox.zip, which must be unpacked"
        )
    return SunRgbdFiles(**{what: path or candidates[what][0] for what, path in found.items()})


def prepare_sunrgbd(
    files: SunRgbdFiles,
    out: str | Path,
    *,
    spec: DatasetSpec = SUNRGBD,
    labels: Labels = "v1",
    max_points: int | None = None,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
) -> PreparationReport:
    """Make a detection set with the splits train and val.

    Scenes are named by the number of the image, from 000001, as in VoteNet's files. Points are in column order of the
    image. Boxes of other classes are ignored; boxes that have no extent or are not finite are left out and
    reported.

    Args:
        files: The downloads; absent images are reported as missing.
        out: Folder of the set.
        spec: SUNRGBD or SUNRGBD37: the classes.
        labels: Version of the labels; the cameras are always those of the second version, as in VoteNet's preparation.
        max_points: Keep this many points of each image, drawn at random; VoteNet's files hold 50,000. None: all, up to
            387,000 of 28 bytes each.
        seed: Seed of that choice.
        workers: Processes.
        overwrite: Start from scratch.

    Raises:
        OSError: If a download is missing or the set cannot be written.
        ValueError: If the metadata cannot be read, or the folder holds another set.
    """
    frames = read_frames(files.metadata)
    if labels == "v1":
        if not files.labels_v1.is_file():
            raise FileNotFoundError(
                f"there is no {files.labels_v1}, which holds the first version of the labels; unpack "
                "SUNRGBDtoolbox.zip into its folder, or use the second version"
            )
        frames = with_labels_of(frames, read_frames(files.labels_v1, cameras=False))
    images = ImageFiles(files.images)
    splits: dict[str, list[str]] = {"train": [], "val": []}
    wanted: dict[str, Frame] = {}
    missing, failed = [], []
    split_of = read_splits(files.split)
    for frame in frames:
        if frame.problem:
            failed.append((frame.name, frame.problem))
        elif (split := split_of.get(frame.folder_key)) is None:
            failed.append((frame.name, f"{frame.folder_key} is in neither split of {files.split}"))
        elif frame.depth_key not in images and frame.color_key not in images:
            missing.append(frame.name)
        else:
            splits[split].append(frame.name)
            wanted[frame.name] = frame
    unknown = sorted(split_of.keys() - {frame.folder_key for frame in frames})
    if len(unknown) > sum(not frame.depth_key for frame in frames):
        reason = f"lists {len(unknown)} images that {files.metadata.name} does not describe; the first is {unknown[0]}"
        failed.append((files.split.name, reason))
    return prepare_set(
        _MakeScene(frames=wanted, images=images, spec=spec, max_points=max_points, seed=seed),
        splits,
        out,
        dataset=spec.name,
        classes=spec.classes,
        settings={"labels": labels, "max_points": max_points, "seed": None if max_points is None else seed},
        expected=spec.split_sizes,
        missing=missing,
        failed=failed,
        workers=workers,
        overwrite=overwrite,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _MakeScene:
    frames: dict[str, Frame]
    images: ImageFiles
    spec: DatasetSpec
    max_points: int | None
    seed: int

    def __call__(self, name: str) -> PreparedScene:
        frame = self.frames[name]
        points, colors = _points(frame, self.images)
        kept = take_points(len(points), self.max_points, seed=self.seed, name=name)
        names, boxes, problems = _labels(frame, self.spec.classes)
        return PreparedScene(
            scene=Scene(
                points=points[kept],
                boxes=boxes,
                categories=np.array([self.spec.classes.index(label) for label in names], np.int32),
                instance_ids=assign_instances(points[kept], boxes),
                colors=colors[kept],
            ),
            problems=problems,
        )


def _points(frame: Frame, images: ImageFiles) -> tuple[np.ndarray, np.ndarray]:
    """Points and colours of a frame. Error messages name the image."""
    contents = {}
    for key, read in ((frame.depth_key, read_depth), (frame.color_key, read_color)):
        content = images.read(key)
        try:
            contents[key] = read(content)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    depth, color = contents[frame.depth_key], contents[frame.color_key]
    if depth.shape != color.shape[:2]:
        (rows, columns), (color_rows, color_columns) = depth.shape, color.shape[:2]
        raise ValueError(
            f"{frame.depth_key} has {columns} x {rows} pixels, but {frame.color_key} {color_columns} x {color_rows}; "
            "they are not of the same image"
        )
    points, pixels = unproject(depth, intrinsics=frame.intrinsics, tilt=frame.tilt)
    if not len(points):
        raise ValueError(f"{frame.depth_key} has no pixel with a depth")
    return points, color.reshape(-1, 3)[pixels]


def _labels(frame: Frame, classes: Sequence[str]) -> tuple[Sequence[str], np.ndarray, tuple[str, ...]]:
    """Class names and [K, 7] float32 boxes of usable labels of the classes, and what is wrong with the others."""
    ours = [row for row, name in enumerate(frame.names) if name in classes]
    boxes = frame.boxes[ours].astype(np.float32)
    finite = np.all(np.isfinite(boxes), axis=1)
    usable = finite & np.all(boxes[:, 3:6] > 0, axis=1)
    problems = tuple(
        f"metadata, box {row + 1} ({frame.names[row]}): {boxes[i].tolist()} "
        + ("has no extent" if finite[i] else "has numbers that are missing or not finite")
        for i, row in enumerate(ours)
        if not usable[i]
    )
    return [frame.names[row] for row, fine in zip(ours, usable, strict=True) if fine], boxes[usable], problems
