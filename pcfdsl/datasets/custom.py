"""A detection set from a folder of clouds and boxes in any of the usual conventions; unusable files are reported."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcfdsl.datasets.detection_set import (
    DetectionSet,
    assign_instances,
    class_indices,
    read_classes,
    read_split,
    split_files,
    write_info,
    write_scene,
    write_split,
)
from pcfdsl.readers.boxes import BOX_FILES, Convention, LabelledBoxes, read_boxes
from pcfdsl.readers.clouds import CLOUD_FILES, read_cloud
from pcfdsl.readers.folders import files_in, has_ending
from pcfdsl.readers.hints import class_hints, scan_hints, summarize_notes
from pcfdsl.readers.text import begins_with_rows
from pcfdsl.scene.boxes import Scene, points_in_boxes

__all__ = ["IN_FRAME_OF_POINTS", "PrepareReport", "prepare_folder"]

IN_FRAME_OF_POINTS = "none"  # instead of a folder of calibrations
_LABELCLOUD_CLASSES = "_classes.json"  # lies beside labelCloud's labels


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """The outcome of preparing a folder.

    Attributes:
        out: Folder of the set.
        split: The split that was written.
        classes: Its classes.
        written: Names of the scenes written.
        failed: (file or scene, reason) of what was left out.
        num_boxes: Boxes written.
        num_empty_boxes: Boxes that hold no point.
        num_dropped_points: Points that were not finite and are not in the set.
        hint: A warning if all boxes are empty, or another convention would fit the points better; or "".
        notes: Sentences on what looks wrong or had to be changed.
    """

    out: Path
    split: str
    classes: tuple[str, ...]
    written: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    num_boxes: int
    num_empty_boxes: int
    num_dropped_points: int
    hint: str
    notes: tuple[str, ...]

    def open(self) -> DetectionSet:
        """Open the split."""
        return DetectionSet(self.out, self.split)

    def to_json(self) -> str:
        """The report as indented JSON."""
        content = {
            "out": str(self.out),
            "split": self.split,
            "classes": list(self.classes),
            "scenes": len(self.written),
            "boxes": self.num_boxes,
            "empty_boxes": self.num_empty_boxes,
            "dropped_points": self.num_dropped_points,
            "failed": dict(self.failed),
            "hint": self.hint,
            "notes": list(self.notes),
        }
        return json.dumps(content, indent=2)


def prepare_folder(
    scans: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    calibration: str | Path | None = None,
    split: str = "train",
    convention: Convention | None = None,
    classes: Sequence[str] | None = None,
    bin_columns: int = 6,
) -> PrepareReport:
    """Write a split of a detection set from a folder of clouds and boxes.

    Args:
        scans: Folder with a cloud for each scan (`pcfdsl.readers.clouds`), and boxes of the same name
            (`pcfdsl.readers.boxes`).
        out: Folder of the set; it may hold other splits already. A scan that has the name of a scene of another split
            is stored as SPLIT_NAME.
        labels: Folder of the boxes; None: they lie beside the clouds.
        calibration: For labels of KITTI: the folder of calibrations NAME.txt, or "none" if the boxes are in the frame
            of the points.
        split: Name of the split.
        convention: Convention of the boxes; None: pcfdsl's.
        classes: Class names in order; None: those of the set in `out`, or else those found, sorted.
        bin_columns: Columns of .bin files.

    Returns:
        The report, which lists the files that could not be used and were left out.

    Raises:
        OSError: If the folder is missing.
        ValueError: If no scene can be used.
    """
    failed: list[tuple[str, str]] = []
    clouds, tables = _by_name(scans, labels, failed)
    labelled: dict[str, LabelledBoxes] = {}
    in_camera = str(calibration) != IN_FRAME_OF_POINTS
    for name in sorted(clouds.keys() & tables.keys()):
        try:
            camera = Path(calibration) / f"{name}.txt" if calibration and in_camera else None
            labelled[name] = read_boxes(tables[name], convention=convention, calibration=camera, camera_frame=in_camera)
        except (OSError, ValueError) as error:
            failed.append((name, str(error)))
    found = sorted({label for boxes in labelled.values() for label in boxes.names})
    classes = tuple(unicodedata.normalize("NFC", name) for name in classes or _existing_classes(out) or found)
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f"classes name {', '.join(twice)} twice; expected different names")
    others = {name for other, path in split_files(out).items() if other != split for name in read_split(path)}
    renamed = {name: f"{split}_{name}" for name in labelled if name in others}
    if clash := sorted(others.union(labelled).intersection(renamed.values())):
        raise ValueError(f"{out} has other scenes of the names {', '.join(clash)}; rename these scans")
    written, num_boxes, num_empty, num_dropped, held = [], 0, 0, 0, np.zeros(4)
    notes: dict[str, Sequence[str]] = {}
    for name, found_boxes in labelled.items():
        try:
            cloud = read_cloud(clouds[name], bin_columns=bin_columns)
            boxes = found_boxes.boxes.copy()
            boxes[:, :3] -= cloud.offset
            boxes = boxes.astype(np.float32)
            scene = Scene(
                points=cloud.points,
                boxes=boxes,
                categories=class_indices(found_boxes.names, classes, tables[name]),
                instance_ids=assign_instances(cloud.points, boxes),
                colors=cloud.colors,
            )
        except (OSError, ValueError) as error:
            failed.append((name, str(error)))
            continue
        if not written:
            write_info(out, classes)
        try:
            write_scene(out, renamed.get(name, name), scene, offset=cloud.offset)
        except ValueError as error:
            failed.append((name, str(error)))
            continue
        written.append(renamed.get(name, name))
        num_dropped += int((~cloud.kept).sum())
        num_boxes += len(scene.boxes)
        counts = [points_in_boxes(scene.points, boxes).sum(axis=1) for boxes in _alternatives(scene.boxes)]
        empty = ["has boxes, but none of them holds a point"] if len(scene.boxes) and not counts[0].any() else []
        notes[name] = (*cloud.notes, *found_boxes.notes, *scan_hints(scene.points), *empty)
        held += [count.sum() for count in counts]
        num_empty += int((counts[0] == 0).sum())
    if not written:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in failed[:5])
        reason = f"{len(failed)} failed{reasons}" if failed else f"it has no files {', '.join(CLOUD_FILES)}"
        raise ValueError(f"{scans} holds no usable scene: {reason}")
    write_split(out, split, written)
    return PrepareReport(
        out=Path(out),
        split=split,
        classes=classes,
        written=tuple(written),
        failed=tuple(failed),
        num_boxes=num_boxes,
        num_empty_boxes=num_empty,
        num_dropped_points=num_dropped,
        hint=_hint(held) if num_boxes else "there are no boxes",
        notes=(
            *(
                [f"stored as {split}_NAME, as another split has scenes of these names: {len(renamed)}"]
                if renamed
                else ()
            ),
            *class_hints(classes),
            *_angle_hints(labelled, convention),
            *summarize_notes(notes, num_items=len(written)),
        ),
    )


def _hint(held: np.ndarray) -> str:
    """A warning about the numbers of points in the boxes of `_alternatives`."""
    best = int(held.argmax())
    if not held.any():
        return "no box holds a point: check units, frame and convention"
    if held[best] > 1.15 * held[0]:
        better = ("", "the other direction of yaw", "cz as the bottom of the box", "cz as the top of the box")[best]
        return f"boxes hold {held[0]:.0f} points as given, but {held[best]:.0f} with {better}; check the convention"
    return ""


def _angle_hints(labelled: Mapping[str, LabelledBoxes], convention: Convention | None) -> tuple[str, ...]:
    """A sentence if all angles that are said to be degrees could be radians."""
    largest = max((float(np.abs(boxes.boxes[:, 6]).max(initial=0)) for boxes in labelled.values()), default=0.0)
    if convention is None or convention.angle == "radians" or not 0 < np.rad2deg(largest) <= 2 * np.pi:
        return ()
    return (f"the largest yaw is {np.rad2deg(largest):.3g} degrees: are these radians?",)


def _alternatives(boxes: np.ndarray) -> list[np.ndarray]:
    """The boxes as given, with yaw negated, and moved up and down by half their height."""
    turned, raised, lowered = boxes.copy(), boxes.copy(), boxes.copy()
    turned[:, 6] *= -1
    raised[:, 2] += boxes[:, 5] / 2
    lowered[:, 2] -= boxes[:, 5] / 2
    return [boxes, turned, raised, lowered]


def _by_name(
    scans: str | Path, labels: str | Path | None, failed: list[tuple[str, str]]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Clouds and boxes by the names of their files; a .txt beside a cloud of its name holds boxes."""
    for folder in (scans, labels or scans):
        if not Path(folder).is_dir():
            raise NotADirectoryError(f"{folder} is not a folder; expected one with clouds NAME.ply and boxes NAME.csv")
    clouds: dict[str, Path] = {}
    paths = files_in(scans)
    for path in paths:
        if has_ending(path, CLOUD_FILES) and not has_ending(path, BOX_FILES):
            _keep(path.stem, path, clouds, failed)
    named = {_plain(name) for name in clouds}
    texts = [path for path in paths if has_ending(path, (".txt",)) and _plain(path.stem) not in named]
    for path in filter(begins_with_rows, texts):
        _keep(path.stem, path, clouds, failed)
    alike: dict[str, list[str]] = {}
    for name in clouds:
        alike.setdefault(_plain(name), []).append(name)
    tables: dict[str, Path] = {}
    beside = [path for path in paths if clouds.get(path.stem) != path]
    others = {path.stem: path for path in beside if not has_ending(path, BOX_FILES)}
    boxes = beside if labels is None else files_in(labels)
    for path in sorted(boxes, key=lambda path: has_ending(path, (".txt",))):
        if has_ending(path, BOX_FILES) and path.name != _LABELCLOUD_CLASSES:
            same = alike.get(_plain(path.stem), [])
            # Names may differ by case or by the form of their accents if nothing else has them.
            _keep(path.stem if path.stem in same or len(same) != 1 else same[0], path, tables, failed)
    for name, path in tables.items():
        if name not in clouds:
            unread = f"; {others[name].name} is of no kind that is read" if name in others else ""
            failed.append((str(path), f"has no cloud of the same name{unread}"))
    failed += [(str(path), "has no boxes of the same name") for name, path in clouds.items() if name not in tables]
    return clouds, tables


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _keep(name: str, path: Path, found: dict[str, Path], failed: list[tuple[str, str]]) -> None:
    if found.setdefault(name, path) != path:
        failed.append((str(path), f"has the same name as {found[name].name}, which is used"))


def _existing_classes(out: str | Path) -> tuple[str, ...]:
    return read_classes(out) if (Path(out) / "set.json").exists() else ()
