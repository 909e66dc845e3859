"""Scans and their boxes belong together whatever system named them, and what is neither is not called a scan."""

import numpy as np
import pytest

from pcfdsl.datasets.custom import prepare_folder
from pcfdsl.readers.boxes import Convention

TABLE = "class,cx,cy,cz,dx,dy,dz,yaw\nbed,0,0,0,1,1,1,0.5\n"


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(-2, 2, (1500, 3)).astype(np.float32)


def test_names_that_differ_by_case_or_accents_alone(tmp_path, points):
    np.save(tmp_path / "Bu\u0308ro.npy", points)  # as macOS stores it
    (tmp_path / "B\xfcro.csv").write_text(TABLE)
    (tmp_path / "ROOM.PLY.npy").write_bytes((tmp_path / "Bu\u0308ro.npy").read_bytes())
    (tmp_path / "room.ply.csv").write_text(TABLE)
    for name in ("a", "A"):  # two scans where case counts
        np.save(tmp_path / f"{name}.npy", points)
        (tmp_path / f"{name}.csv").write_text(TABLE)
    report = prepare_folder(tmp_path, tmp_path / "set")
    assert set(report.written) == {"Bu\u0308ro", "ROOM.PLY", "a", "A"}
    assert report.failed == ()


def test_text_files_that_are_no_scans(tmp_path, points):
    np.savetxt(tmp_path / "scan.txt", points)
    (tmp_path / "scan.csv").write_text(TABLE)
    (tmp_path / "README.txt").write_text("1 room of 2\n")
    (tmp_path / "_classes.json").write_text("{}")
    report = prepare_folder(tmp_path, tmp_path / "set")
    assert report.written == ("scan",)
    assert report.failed == ((str(tmp_path / "README.txt"), "has no cloud of the same name"),)


def test_classes_are_named_once_and_angles_doubted(tmp_path, points):
    np.save(tmp_path / "a.npy", points)
    (tmp_path / "a.csv").write_text(TABLE)
    with pytest.raises(ValueError, match="classes name bed twice"):
        prepare_folder(tmp_path, tmp_path / "set", classes=["bed", "bed"])
    report = prepare_folder(tmp_path, tmp_path / "set", convention=Convention(angle="degrees"))
    assert report.notes == ("the largest yaw is 0.5 degrees: are these radians?",)
