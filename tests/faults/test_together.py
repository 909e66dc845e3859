"""Several at once in one folder, and clocks that jump."""

import os
import signal
import time

import jobs
import pytest
from folders import content, differences, trained

from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.pcfractal import StoredPCFractalDB, verify_pcfractal

QUIET = RunOptions(progress=False)


def test_two_with_the_same_settings_make_one_set(start, tmp_path, record_property):
    start("clouds", tmp_path / "whole").finish()
    whole, found = content(tmp_path / "whole"), []
    for trial in range(5):
        runs = [start("clouds", tmp_path / str(trial)) for _ in range(3)]
        for run in runs:
            run.finish()
        found += differences(content(tmp_path / str(trial)), whole)
    record_property("races tried", 5)
    record_property("runs compared", 5)
    record_property("differences", len(found))
    assert found == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_with_different_settings_one_wins_and_the_other_says_so(start, tmp_path, record_property, overwrite):
    for trial in range(8):
        out = tmp_path / str(trial)
        runs = []
        for seed in (1, 2):
            runs.append(start("clouds", out, seed=seed, overwrite=overwrite))
            time.sleep(0.03 * trial)
        outcomes = {seed: run.outcome() for seed, run in zip((1, 2), runs, strict=True)}
        done = [seed for seed, (kind, _) in outcomes.items() if kind == "done"]
        failed = [value for kind, value in outcomes.values() if kind == "failed"]
        if overwrite and len(done) == 2:  # one after the other: the later one replaced what the earlier had finished
            assert StoredPCFractalDB(out).config.seed in (1, 2)
            done = [StoredPCFractalDB(out).config.seed]
        else:
            assert len(done) == 1, outcomes
            assert "made from other settings" in failed[0]
            assert "--out" in failed[0]
        verify_pcfractal(jobs.cloud_settings(done[0]), out, num_samples=50, options=QUIET)
    record_property("races tried", 8)
    record_property("runs compared", 8)
    record_property("differences", 0)


def test_a_second_training_in_a_folder_is_refused(start, tmp_path, record_property):
    start("training", tmp_path / "whole", num_steps=6).finish()
    out = tmp_path / "both"
    first = start("training", out, num_steps=6)
    while not (out / "run.lock").exists():
        time.sleep(0.01)
    time.sleep(0.05)  # the lock is written just after it is taken
    os.kill(first.process.pid, signal.SIGSTOP)  # so that it cannot be done too soon
    for settings in ({"num_steps": 6}, {"num_steps": 6, "seed": 1}, {"num_steps": 6, "overwrite": True}):
        message = start("training", out, **settings).message()
        assert f"{out} is being trained in by process {first.process.pid} on " in message
    os.kill(first.process.pid, signal.SIGCONT)
    first.finish()
    found = differences(trained(out), trained(tmp_path / "whole"))
    record_property("races tried", 3)
    record_property("runs compared", 1)
    record_property("differences", len(found))
    assert found == []
    assert "other settings" in start("training", out, num_steps=6, seed=1).message()


@pytest.mark.parametrize(
    ("job", "settings", "look"),
    [("clouds", {}, content), ("pictures", {}, content), ("training", {"num_steps": 6}, trained)],
    ids=["clouds", "pictures", "training"],
)
def test_clocks_that_jump_change_nothing(start, tmp_path, record_property, job, settings, look):
    start(job, tmp_path / "whole", **settings).finish()
    out = tmp_path / "jumping"
    start(job, out, clock=True, **settings).kill(0.5)
    for path in out.rglob("*"):
        os.utime(path, (4e9, 4e9))  # of the year 2096
    start(job, out, clock=True, **settings).finish()
    found = differences(look(out), look(tmp_path / "whole"))
    record_property("runs compared", 1)
    record_property("differences", len(found))
    assert found == []
