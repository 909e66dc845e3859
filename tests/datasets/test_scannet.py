import csv
import json
import re
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.datasets.scannet import find_scannet, label_objects, prepare_scannet, read_scan
from pcfdsl.datasets.spec import SCANNET, SCANNET200, split_names
from pcfdsl.readers import scannet as files
from pcfdsl.readers.scannet import Group
from pcfdsl.scene.boxes import points_in_boxes

ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "tests" / "golden" / "scannet_raw_synthetic"
TABLE = {"wall": 1, "chair": 5, "office chair": 5, "table": 7, "toilet": 33, "lamp": 35}
NAMES = (split_names(SCANNET, "train")[0], split_names(SCANNET, "val")[0])


def copy_scan(folder: Path, name: str) -> Path:
    """The synthetic scan under another name."""
    (folder / name).mkdir(parents=True)
    for path in RAW.iterdir():
        shutil.copyfile(path, folder / name / path.name.replace("scene9999_00", name))
    return folder / name


def write_table(folder: Path) -> None:
    rows = ["id\traw_category\tcategory\tnyu40id", *(f"1\t{name}\t{name}\t{i}" for name, i in TABLE.items())]
    (folder / "scannetv2-labels.combined.tsv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def download(tmp_path) -> Path:
    """A training and a validation scan."""
    for name in NAMES:
        copy_scan(tmp_path / "download" / "scans", name)
    write_table(tmp_path / "download")
    return tmp_path / "download"


@pytest.fixture
def scan(tmp_path) -> Path:
    return copy_scan(tmp_path, "scene9999_00")


def edit_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_scan_equals_that_of_votenets_preparation(golden, scan):
    measured = golden("votenet_scannet_labels.npz")
    prepared = read_scan(scan, TABLE)
    assert prepared.problems == ()
    scene = prepared.scene
    np.testing.assert_array_equal(scene.points, measured["export/out_vertices"][:, :3])
    assert scene.colors is not None
    np.testing.assert_array_equal(scene.colors * 255, measured["export/out_vertices"][:, 3:])
    kept = measured["item/bbox_kept"]
    np.testing.assert_array_equal(scene.boxes[:, :6], kept[:, :6].astype(np.float32))
    assert not scene.boxes[:, 6].any()
    np.testing.assert_array_equal(np.array(SCANNET.source_ids)[scene.categories], kept[:, 6])
    # the same points belong to the same objects, all others to none
    instance, semantic = measured["export/out_instance"], measured["export/out_semantic"]
    wanted = np.isin(semantic, SCANNET.source_ids) & (instance > 0)
    np.testing.assert_array_equal(scene.instance_ids >= 0, wanted)
    np.testing.assert_array_equal(np.array(SCANNET.source_ids)[scene.point_categories[wanted]], semantic[wanted])
    pairs = set(zip(instance[wanted].tolist(), scene.instance_ids[wanted].tolist(), strict=True))
    assert len(pairs) == len({theirs for theirs, _ in pairs}) == len({ours for _, ours in pairs}) == len(kept)
    held = points_in_boxes(scene.points, scene.boxes, margin=1e-5)
    assert held[scene.instance_ids[wanted], np.flatnonzero(wanted)].all()


def test_as_scanned(golden, scan):
    raw = golden("votenet_scannet_labels.npz")["export/in_vertices"]
    (scan / "scene9999_00.txt").write_text("no matrix\n")
    np.testing.assert_array_equal(read_scan(scan, TABLE, alignment="none").scene.points, raw)
    with pytest.raises(ValueError, match=r"scene9999_00\.txt has no line axisAlignment"):
        read_scan(scan, TABLE)


def test_a_download_becomes_a_set_with_the_official_splits(download, tmp_path):
    copy_scan(download / "scans", "scene9999_00")
    found = find_scannet(download)
    report = prepare_scannet(found, tmp_path / "set")
    assert report.exit_code == 0
    assert not report.complete
    assert report.written == {"train": 1, "val": 1, "other": 1}
    assert len(report.missing) == 1511
    assert {name: count for name, count in report.boxes.items() if count} == {"chair": 9, "table": 3, "toilet": 3}
    expected = read_scan(download / "scans" / NAMES[0], TABLE).scene
    for split, name in zip(("train", "val", "other"), (*NAMES, "scene9999_00"), strict=True):
        stored = DetectionSet(tmp_path / "set", split)
        assert stored.names == (name,)
        assert stored.classes == SCANNET.classes
        for field, array in expected.arrays().items():
            np.testing.assert_array_equal(stored[0].arrays()[field], array)
    again = prepare_scannet(found, tmp_path / "set", workers=2)
    assert (again.reused, again.digest) == (3, report.digest)
    with pytest.raises(ValueError, match="prepared with other settings: settings differ"):
        prepare_scannet(found, tmp_path / "set", alignment="none")
    # two people who compare one line
    other = prepare_scannet(find_scannet(download / "scans"), tmp_path / "other")
    assert other.digest == report.digest


def test_a_choice_of_points_depends_on_seed_and_name_and_keeps_labels(download, tmp_path):
    found = find_scannet(download)
    reports = [
        prepare_scannet(found, tmp_path / str(i), max_points=500, seed=seed, workers=1)
        for i, seed in enumerate((1, 1, 2))
    ]
    assert reports[0].digest == reports[1].digest != reports[2].digest
    assert reports[0].settings["max_points"] == 500
    whole = read_scan(download / "scans" / NAMES[0], TABLE).scene
    row_of = {point.tobytes(): row for row, point in enumerate(whole.points)}
    train, val = (DetectionSet(tmp_path / "0", split)[0] for split in ("train", "val"))
    rows = np.array([row_of[point.tobytes()] for point in train.points])
    assert len(set(rows.tolist())) == 500
    np.testing.assert_array_equal(train.instance_ids, whole.instance_ids[rows])
    np.testing.assert_array_equal(train.boxes, whole.boxes)
    assert not np.array_equal(train.points, val.points)


def test_shared_segments_are_treated_as_in_votenets_preparation():
    def group(object_id, label, segments):
        return Group(object_id=object_id, label=label, segments=np.array(segments))

    segments = np.array([10, 10, 20, 30, 40])
    groups = (group(0, "chair", [10]), group(1, "table", [20]), group(2, "chair", [20, 30]), group(3, "lamp", []))
    instances, nyu40 = label_objects(segments, groups, TABLE)
    np.testing.assert_array_equal(instances, [0, 0, 2, 2, -1])
    assert nyu40 == {0: 5, 1: 7, 2: 7}
    with pytest.raises(ValueError, match=r"object 7 \(chair\) has segment 41, which no vertex has"):
        label_objects(segments, (group(7, "chair", [41]),), TABLE)


def damages():
    """Name -> (function that damages a scan's folder, message that the report must have)."""

    def cut_ply(scan):
        path = scan / f"{scan.name}_vh_clean_2.ply"
        path.write_bytes(path.read_bytes()[:-100])

    def nan_ply(scan):
        path = scan / f"{scan.name}_vh_clean_2.ply"
        content = path.read_bytes()
        start = content.index(b"end_header\n") + 11
        path.write_bytes(content[:start] + struct.pack("<f", np.nan) + content[start + 4 :])

    def ascii_ply(scan):
        path = scan / f"{scan.name}_vh_clean_2.ply"
        path.write_bytes(path.read_bytes().replace(b"binary_little_endian", b"ascii"))

    def no_alignment(scan):
        (scan / f"{scan.name}.txt").write_text("colorHeight = 968\n")

    def sheared(scan):
        (scan / f"{scan.name}.txt").write_text("axisAlignment = 1 1 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n")

    def few_numbers(scan):
        (scan / f"{scan.name}.txt").write_text("axisAlignment = 1 0 0\n")

    def unknown_segment(scan):
        edit_json(scan / f"{scan.name}.aggregation.json", lambda c: c["segGroups"][1]["segments"].append(777))

    def twice(scan):
        edit_json(scan / f"{scan.name}.aggregation.json", lambda c: c["segGroups"].append(c["segGroups"][0]))

    def cut_json(scan):
        path = scan / f"{scan.name}_vh_clean_2.0.010000.segs.json"
        path.write_text(path.read_text()[:-40])

    def too_few(scan):
        edit_json(scan / f"{scan.name}_vh_clean_2.0.010000.segs.json", lambda c: c["segIndices"].pop())

    def fractional(scan):
        edit_json(scan / f"{scan.name}_vh_clean_2.0.010000.segs.json", lambda c: c["segIndices"].__setitem__(3, 100.5))

    def absent(scan):
        (scan / f"{scan.name}.aggregation.json").unlink()

    return {
        "cut_ply": (cut_ply, "_vh_clean_2.ply is truncated: its header declares 2520 vertices, but it holds 2513"),
        "nan_ply": (nan_ply, "_vh_clean_2.ply: 1 of 2520 vertices are not finite"),
        "ascii_ply": (ascii_ply, "expected format binary_little_endian"),
        "no_alignment": (no_alignment, ".txt has no line axisAlignment"),
        "sheared": (sheared, "axisAlignment is not a rotation and a shift"),
        "few_numbers": (few_numbers, "axisAlignment has 3 numbers; expected 16"),
        "unknown_segment": (unknown_segment, "aggregation.json: object 1 (table) has segment 777, which no vertex has"),
        "twice": (twice, "object 0 appears twice"),
        "cut_json": (cut_json, "segs.json is not JSON"),
        "too_few": (too_few, "is for 2519 vertices, but"),
        "fractional": (fractional, "segIndices is not a list of integers"),
        "absent": (absent, "aggregation.json; download the scan again"),
    }


@pytest.mark.parametrize("name", damages())
def test_a_damaged_scan_is_reported_and_does_not_stop_the_others(download, tmp_path, name):
    damage, message = damages()[name]
    damage(download / "scans" / NAMES[0])
    report = prepare_scannet(find_scannet(download), tmp_path / "set")
    assert report.written == {"train": 0, "val": 1}
    assert report.exit_code == 1
    ((scan, reason),) = report.failed
    assert scan == NAMES[0]
    assert message in reason
    assert NAMES[0] in reason
    assert len(list(DetectionSet(tmp_path / "set", "val"))) == 1
    assert json.loads((tmp_path / "set" / "report.json").read_text())["failed"] == [[scan, reason]]


@pytest.mark.parametrize("name", ["new\nline", " lead", "trail "])
def test_a_scan_whose_name_cannot_be_listed_is_reported(download, tmp_path, name):
    copy_scan(download / "scans", name)
    report = prepare_scannet(find_scannet(download), tmp_path / "set")
    assert report.written == {"train": 1, "val": 1, "other": 0}
    assert report.failed == ((name, f"{name!r} cannot be a scene's name; expected a plain file name"),)


def test_unusable_labels_are_left_out_and_reported(scan):
    groups = scan / "scene9999_00.aggregation.json"
    edit_json(groups, lambda c: c["segGroups"][6].update(label="space toilet"))
    prepared = read_scan(scan, TABLE)
    assert prepared.problems == (f"{groups.name}: label 'space toilet' (object 6) is not in the label table",)
    assert len(prepared.scene.boxes) == 4
    # an object of a single vertex has no extent
    segments = scan / "scene9999_00_vh_clean_2.0.010000.segs.json"
    edit_json(segments, lambda c: c["segIndices"].__setitem__(0, 999))
    edit_json(groups, lambda c: c["segGroups"].append({"objectId": 7, "label": "chair", "segments": [999]}))
    prepared = read_scan(scan, TABLE)
    assert prepared.problems[1:] == (f"{groups.name}: the box of object 7 has no extent",)
    assert prepared.scene.instance_ids[0] == -1


def test_missing_files_are_named(tmp_path):
    with pytest.raises(OSError, match="there is no folder"):
        find_scannet(tmp_path / "absent")
    (tmp_path / "scans").mkdir()
    with pytest.raises(OSError, match="the label table that ScanNet's"):
        find_scannet(tmp_path)
    write_table(tmp_path)
    with pytest.raises(ValueError, match="none of its scenes is in the download"):
        prepare_scannet(find_scannet(tmp_path), tmp_path / "set")
    (tmp_path / "scannetv2-labels.combined.tsv").write_text("raw_category\tnyu40id\nwall\t1\nchair\tfive\n")
    with pytest.raises(ValueError, match="line 3: nyu40id is missing"):
        prepare_scannet(find_scannet(tmp_path), tmp_path / "set")


def test_the_official_table_can_be_read(shared_dir):
    path = shared_dir / "data" / "scannet" / "meta_scannetv2-labels.combined.tsv"
    table = files.read_label_table(path)
    assert len(table) == 607
    assert {name: table[name] for name in TABLE} == TABLE
    # ScanNet200's names are the table's categories of these numbers
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    named = {(int(row["id"]), row["category"]) for row in rows}
    assert set(zip(SCANNET200.source_ids, SCANNET200.classes, strict=True)) <= named
    numbers = files.read_label_table(path, column="id")
    assert (numbers["wall"], numbers["chair"], numbers["office chair"]) == (1, 2, 10)


def test_the_classes_of_scannet200(download, tmp_path):
    numbers = {"wall": 1, "chair": 2, "table": 4, "office chair": 10, "toilet": 17, "lamp": 28}
    rows = ["id\traw_category\tnyu40id", *(f"{numbers[name]}\t{name}\t{i}" for name, i in TABLE.items())]
    (download / "scannetv2-labels.combined.tsv").write_text("\n".join(rows) + "\n")
    report = prepare_scannet(find_scannet(download), tmp_path / "set", spec=SCANNET200)
    assert (report.written, report.exit_code) == ({"train": 1, "val": 1}, 0)
    found = {name: count for name, count in report.boxes.items() if count}
    assert found == {"chair": 4, "table": 2, "office chair": 2, "toilet": 2, "lamp": 2}
    stored = DetectionSet(tmp_path / "set", "train")
    assert stored.classes == SCANNET200.classes
    few, many = read_scan(download / "scans" / NAMES[0], TABLE).scene, stored[0]
    lamp = SCANNET200.classes.index("lamp")
    np.testing.assert_array_equal(many.boxes[many.categories != lamp], few.boxes)
    with pytest.raises(ValueError, match="prepared with other settings: dataset, classes, settings differ"):
        prepare_scannet(find_scannet(download), tmp_path / "set")


READERS = (
    (files.read_vertices, RAW / "scene9999_00_vh_clean_2.ply"),
    (files.read_segments, RAW / "scene9999_00_vh_clean_2.0.010000.segs.json"),
    (files.read_groups, RAW / "scene9999_00.aggregation.json"),
    (files.read_alignment, RAW / "scene9999_00.txt"),
    (files.read_label_table, None),
)


@pytest.mark.parametrize(("read", "sample"), READERS, ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_files_are_read_or_refused_with_a_message(read, sample, tmp_path_factory):
    whole = sample.read_bytes()[:1500] if sample else b"raw_category\tnyu40id\nwall\t1\nchair\t5\n"
    path = tmp_path_factory.mktemp("fuzz") / "file"

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(ValueError):
            read(path)

    @given(st.data())
    def damaged(data):
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
        attempt(bytes(content[: data.draw(st.integers(0, len(content)))]))

    @given(st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
    def anything(content):
        attempt(content)

    damaged()
    anything()
    for nested in (b"[" * 200_000, b'{"segGroups":' * 100_000, b'{"segIndices": [' + b"9" * 10_000 + b"]}"):
        attempt(nested)


@given(st.integers(0, 10**12), st.integers(0, 40))
def test_headers_are_not_trusted(tmp_path_factory, count, length):
    header = RAW.joinpath("scene9999_00_vh_clean_2.ply").read_bytes().split(b"end_header")[0]
    path = tmp_path_factory.mktemp("ply") / "scan.ply"
    path.write_bytes(header.replace(b"2520", str(count).encode()) + b"end_header\n" + bytes(16 * length))
    if 0 < count <= length:
        assert files.read_vertices(path)[0].shape == (count, 3)
    else:
        with pytest.raises(ValueError, match=r"is truncated|has no vertices|expected a vertex count"):
            files.read_vertices(path)


def test_the_tool_prints_what_it_made_and_what_failed(download, tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "prepare_scannet.py"), str(download)]

    def prepare(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)

    done = prepare("--out", str(tmp_path / "set"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["written"] == {"train": 1, "val": 1}
    assert re.search(r"ScanNetV2: train 1 of 1201, val 1 of 312 scenes, 10 boxes, digest [0-9a-f]{32}", done.stderr)
    (download / "scans" / NAMES[0] / f"{NAMES[0]}.txt").unlink()
    done = prepare("--out", str(tmp_path / "other"))
    assert done.returncode == 1
    assert f"failed: {NAMES[0]}: " in done.stderr
    done = prepare("--out", str(tmp_path / "set"), "--max-points", "100")
    assert done.returncode == 1
    assert "prepared with other settings" in done.stderr
    assert "Traceback" not in done.stderr
