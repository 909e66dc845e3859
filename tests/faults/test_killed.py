"""Kill -9 at random moments, again and again in one folder, until the job is done."""

import random
import time

import pytest
from folders import content, differences, trained

CASES = [
    ("clouds", {}, content, 20),
    ("clouds", {"workers": 2}, content, 6),
    ("pictures", {"image_format": "folder"}, content, 20),
    ("pictures", {"image_format": "webdataset"}, content, 20),
    ("training", {}, trained, 20),
]


@pytest.mark.parametrize(
    ("job", "settings", "look", "num_kills"), CASES, ids=["clouds", "two_workers", "folder", "webdataset", "training"]
)
def test_killed_at_random_moments_and_run_again(start, tmp_path, record_property, job, settings, look, num_kills):
    rng = random.Random(f"{job} {settings}")
    start(job, tmp_path / "compiled", **settings).finish()
    begin = time.monotonic()
    start(job, tmp_path / "whole", **settings).finish()
    seconds = time.monotonic() - begin
    whole = look(tmp_path / "whole")

    killed, finished, found = 0, 0, []
    while killed < num_kills:
        out = tmp_path / f"killed {finished}"
        while start(job, out, **settings).kill(rng.uniform(0, seconds)):
            killed += 1
            if killed == num_kills:
                start(job, out, **settings).finish()
                break
        finished += 1
        found += differences(look(out), whole)
    record_property("moments tried", killed)
    record_property("runs compared", finished)
    record_property("differences", len(found))
    assert found == []
    assert [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".lock"))] == []
