import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.datasets.detection_set import DetectionSet, write_info
from pcfdsl.datasets.preparation import PreparedScene, prepare_set, take_points
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene

SPLITS = {"train": ["a", "b", "c"], "val": ["d"]}
CLASSES = ("chair", "bed")


@dataclass(frozen=True)
class Make:
    """Makes scenes drawn from their names; picklable."""

    broken: tuple[str, ...] = ()
    kill_at: str = ""

    def __call__(self, name: str) -> PreparedScene:
        if name in self.broken:
            raise ValueError(f"{name}.png has the wrong size")
        if name == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        random = stream(0, name)
        scene = Scene(
            points=random.normal(size=(20, 3)),
            boxes=np.tile([0, 0, 0, 1, 1, 1, 0.5], (2, 1)),
            categories=np.array([0, 1]) if name != "c" else np.array([1, 1]),
            instance_ids=np.full(20, -1),
            colors=random.random((20, 3)),
        )
        return PreparedScene(scene=scene, problems=("box 3 has no extent",) if name == "b" else ())


def prepare(out: Path, make=Make(), *, splits=SPLITS, **settings):
    settings = {"settings": {"labels": "v1"}, "expected": {"train": 3, "val": 1}, **settings}
    return prepare_set(make, splits, out, dataset="Toy", classes=CLASSES, **settings)


def test_the_report_accounts_for_everything(tmp_path):
    report = prepare(tmp_path / "set", missing=["e"], failed=[("f", "K is zero")])
    assert report.written == {"train": 3, "val": 1}
    assert report.boxes == {"chair": 3, "bed": 5}
    assert (report.complete, report.exit_code) == (True, 1)
    assert report.problems == (("b", "box 3 has no extent"),)
    text = str(report)
    for line in ("train 3 of 3, val 1 of 1 scenes, 8 boxes", "not in the download: 1 (e)", "failed: f: K is zero"):
        assert line in text
    assert "left out: b: box 3 has no extent" in text
    assert json.loads(report.to_json()) == json.loads((tmp_path / "set" / "report.json").read_text())
    manifest = json.loads((tmp_path / "set" / "preparation.json").read_text())
    assert manifest["splits"] == SPLITS
    assert manifest["digest"] == report.digest
    assert manifest["scenes"].keys() == {"a", "b", "c", "d"}
    scene = DetectionSet(tmp_path / "set", "train")[0]
    expected = Make()("a").scene
    assert all(np.array_equal(scene.arrays()[key], value) for key, value in expected.arrays().items())


def test_the_digest_does_not_depend_on_workers_or_order(tmp_path):
    digests = {
        prepare(tmp_path / "one").digest,
        prepare(tmp_path / "two", workers=2).digest,
        prepare(tmp_path / "back", splits={"train": ["c", "b", "a"], "val": ["d"]}).digest,
    }
    assert len(digests) == 1
    assert prepare(tmp_path / "part", splits={"train": ["a"], "val": []}, expected={"train": 1}).digest not in digests


def test_a_failed_scene_is_left_out_and_made_once_it_is_fixed(tmp_path):
    report = prepare(tmp_path / "set", Make(broken=("a", "d")))
    assert report.failed == (("a", "a.png has the wrong size"), ("d", "d.png has the wrong size"))
    assert report.written == {"train": 2, "val": 0}
    assert DetectionSet(tmp_path / "set", "train").names == ("b", "c")
    with pytest.raises(FileNotFoundError, match="has no split 'val'"):
        DetectionSet(tmp_path / "set", "val")
    mended = prepare(tmp_path / "set")
    assert (mended.written, mended.reused) == ({"train": 3, "val": 1}, 2)
    assert mended.digest == prepare(tmp_path / "fresh").digest
    with pytest.raises(ValueError, match=r"nothing of Toy could be prepared: 4 failed\n  a: a.png has the wrong size"):
        prepare(tmp_path / "none", Make(broken=("a", "b", "c", "d")))
    with pytest.raises(ValueError, match="none of its scenes is in the download"):
        prepare(tmp_path / "empty", splits={"train": [], "val": []})


@pytest.mark.parametrize("file", ["points.npy", "boxes.csv", "instances.npy", "record.json"])
@pytest.mark.parametrize("damage", ["removed", "cut off", "changed"])
def test_a_damaged_scene_is_made_again(tmp_path, file, damage):
    digest = prepare(tmp_path / "set").digest
    path = tmp_path / "set" / "scenes" / "b" / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut off" else content)
    report = prepare(tmp_path / "set")
    assert (report.digest, report.problems) == (digest, (("b", "box 3 has no extent"),))
    assert report.reused in (3, 4)  # the changed byte of the record may be white space
    assert json.loads((tmp_path / "set" / "preparation.json").read_text())["digest"] == digest


def test_other_sets_are_not_overwritten(tmp_path):
    prepare(tmp_path / "set")
    for change in ({"settings": {"labels": "v2"}}, {"settings": {}}):
        with pytest.raises(ValueError, match=r"holds a set prepared with other settings: settings differ"):
            prepare(tmp_path / "set", **change)
    assert prepare(tmp_path / "set", settings={"labels": "v2"}, overwrite=True).reused == 0
    write_info(tmp_path / "own", ["throne"])
    with pytest.raises(ValueError, match=r"holds a set that was not prepared from Toy; use another folder"):
        prepare(tmp_path / "own")
    (tmp_path / "set" / "preparation.json").write_text("{")
    with pytest.raises(ValueError, match=r"prepared with other settings: format, dataset, classes, settings differ"):
        prepare(tmp_path / "set")


def test_a_killed_run_resumes(tmp_path):
    """Killed in the third scene: the first two are kept, and the result is that of an uninterrupted run."""
    command = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_preparation import Make, prepare
prepare(Path({str(tmp_path / "set")!r}), Make(kill_at="c"))
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", command], env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "set" / "report.json").exists()
    report = prepare(tmp_path / "set")
    assert (report.reused, report.digest) == (2, prepare(tmp_path / "whole").digest)


def test_kept_points_depend_on_seed_and_name():
    assert take_points(5, None, seed=0, name="a").tolist() == [0, 1, 2, 3, 4]
    assert take_points(5, 7, seed=0, name="a").tolist() == [0, 1, 2, 3, 4]
    kept = take_points(1000, 100, seed=0, name="a")
    assert len(set(kept.tolist())) == 100
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(kept, take_points(1000, 100, seed=0, name="a"))
    others = [take_points(1000, 100, seed=1, name="a"), take_points(1000, 100, seed=0, name="b")]
    assert not any(np.array_equal(kept, other) for other in others)
    counts = np.bincount(np.concatenate([take_points(10, 5, seed=s, name="") for s in range(400)]))
    assert counts.min() > 150
    assert counts.max() < 250
