import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.plan import plan
from pcfdsl.generate.verify import verify
from pcfdsl.generate.workers import WorkerError, local
from pcfdsl.store.manifest import DifferentSetError, read_manifest
from pcfdsl.store.stored import check, open_set

SCRIPT = Path(__file__).with_name("stand_in_recipe.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}


@pytest.fixture
def stand_in(monkeypatch):
    """Module of the stand-in recipe, where spawned workers find it as well."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import stand_in_recipe

    return stand_in_recipe


def make(recipe, out, **settings):
    """Generate without a progress bar; settings are those of `RunOptions`, with `workers` for its executor."""
    per_shard, workers = settings.pop("samples_per_shard", 4), settings.pop("workers", 1)
    options = RunOptions(executor=local(workers), progress=False, **settings)
    return generate(recipe, out, options=options, samples_per_shard=per_shard)


def shards(out) -> dict[str, str]:
    """Checksum of every shard file by name; records and manifest aside, since they state versions."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.safetensors")
    }


def temporaries(out) -> list[Path]:
    return [path for path in out.rglob("*") if path.name.endswith(".tmp")]


def start(out, *, workers=1, delay=0.0, operation=None, **settings) -> subprocess.Popen:
    command = [
        sys.executable,
        SCRIPT,
        str(out),
        str(workers),
        str(delay),
        *([] if operation is None else [str(operation)]),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **settings
    )


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


@pytest.fixture
def whole(stand_in, tmp_path):
    """Shards of the set as one uninterrupted run makes them."""
    make(stand_in.Noise(), tmp_path / "whole")
    return shards(tmp_path / "whole")


def test_more_processes_than_can_start_are_refused():
    with pytest.raises(ValueError, match="100000 processes are more than this can start; expected at most 1024"):
        local(100_000)


def test_stored_sample_equals_generated_sample_bit_for_bit(stand_in, tmp_path):
    recipe = stand_in.Noise()
    summary = make(recipe, tmp_path / "set")
    stored = open_set(tmp_path / "set")
    assert len(stored) == len(recipe) == summary.num_samples == summary.num_made
    for i in range(len(recipe)):
        made, read = recipe.arrays(i), stored[i]
        assert made.keys() == read.keys()
        for key in made:
            assert made[key].dtype == read[key].dtype
            assert made[key].shape == read[key].shape
            assert made[key].tobytes() == read[key].tobytes()
    assert summary.counters == {"num_tries": sum(int(recipe.arrays(i)["num_tries"]) for i in range(len(recipe)))}
    assert summary.complete
    assert summary.sha256 == check(tmp_path / "set")
    assert summary.digest == stored.manifest.digest == read_manifest(tmp_path / "set").digest


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_make_the_same_files_as_the_whole(stand_in, tmp_path, whole, workers):
    out = tmp_path / "set"
    for part in (2, 0, 1):
        summary = make(stand_in.Noise(), out, shard=(part, 3), workers=workers)
        assert summary.complete == (part == 1)
        assert (summary.sha256 is None) == (part != 1)
    assert shards(out) == whole


def test_a_part_alone_is_not_a_set(stand_in, tmp_path):
    make(stand_in.Noise(), tmp_path / "set", shard=(1, 2))
    with pytest.raises(FileNotFoundError, match="6 of 13 shards are missing, the first is 0"):
        open_set(tmp_path / "set")


def test_running_again_makes_nothing(stand_in, tmp_path):
    make(stand_in.Noise(), tmp_path / "set")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    summary = make(stand_in.Noise(), tmp_path / "set", overwrite=True)
    assert (summary.num_made, summary.num_samples, summary.complete) == (0, 50, True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*.json")}.items() <= times.items()


# Seven operations make the folder and its manifest, then there are eleven to a shard and its record. Killed with
# nothing there, with a manifest not yet named, a shard not yet named, one without a record, a record not yet named:
@pytest.mark.parametrize("operation", [2, 4, 11, 15 + 4 * 11, 16 + 8 * 11])
def test_killed_before_any_operation_and_run_again(stand_in, tmp_path, whole, operation):
    process = start(tmp_path / "set", operation=operation)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    make(stand_in.Noise(), tmp_path / "set")
    assert shards(tmp_path / "set") == whole
    assert temporaries(tmp_path) == []
    check(tmp_path / "set")


@pytest.mark.slow
@pytest.mark.parametrize("operation", range(1, 41))
def test_killed_before_every_operation_and_run_again(stand_in, tmp_path, whole, operation):
    test_killed_before_any_operation_and_run_again(stand_in, tmp_path, whole, operation)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_and_run_again(tmp_path, whole, seed):
    out, rng, workers = tmp_path / "set", random.Random(seed), 1 + seed % 2
    process = start(out, workers=workers, delay=0.01)
    while not list(out.glob("shards-*/*.json")) and process.poll() is None:  # Python itself takes a while to start
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.45 / workers))
    process.kill()
    process.communicate()
    assert json.loads(finish(start(out, workers=workers)))["complete"]
    assert shards(out) == whole


def assert_no_process_left(group: int) -> None:
    for _ in range(200):  # multiprocessing's own tracker takes a moment to notice
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process of the group is left")


def _take_interrupts():
    """A test run that was put into the background ignores them, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_with_ctrl_c(tmp_path, whole):
    out = tmp_path / "set"
    process = start(out, workers=2, delay=0.05, start_new_session=True, preexec_fn=_take_interrupts)
    while not list(out.glob("shards-*/*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "error: interrupted; run the same command again to resume\n"
    assert_no_process_left(process.pid)
    assert shards(out) != whole
    finish(start(out))
    assert shards(out) == whole


def test_two_at_once_do_not_harm_each_other(tmp_path, whole):
    processes = [start(tmp_path / "set", delay=0.002) for _ in range(3)]
    for process in processes:
        finish(process)
    assert shards(tmp_path / "set") == whole
    assert temporaries(tmp_path) == []
    check(tmp_path / "set")


def test_other_settings_are_refused_and_named(stand_in, tmp_path):
    out = tmp_path / "set"
    make(stand_in.Noise(), out)
    before = shards(out)
    other = stand_in.Noise(stand_in.NoiseConfig(seed=7))
    with pytest.raises(DifferentSetError, match=r"config\.seed: 0 -> 7\n.*--overwrite"):
        make(other, out)
    assert shards(out) == before
    with pytest.raises(DifferentSetError, match="samples_per_shard: 4 -> 8"):
        make(stand_in.Noise(), out, samples_per_shard=8)

    make(other, out, overwrite=True)
    assert len(list(out.glob("shards-*"))) == 1
    np.testing.assert_array_equal(open_set(out)[3]["points"], other.arrays(3)["points"])


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "record"])
def test_damaged_shards_are_named_and_made_anew(stand_in, tmp_path, whole, damage):
    out = tmp_path / "set"
    make(stand_in.Noise(), out)
    path = read_manifest(out).shard_path(out, 5)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "truncate":
        path.write_bytes(data[:-10])
        with pytest.raises(ValueError, match=r"00005\.safetensors has \d+ bytes instead of \d+; rerun the command"):
            open_set(out)[20]
    elif damage == "remove":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    with pytest.raises((ValueError, FileNotFoundError), match=r"00005\.safetensors|first is 5"):
        check(out)
    summary = make(stand_in.Noise(), out)
    assert summary.num_made == 4
    assert summary.repaired == ([] if damage == "record" else [str(path)])
    assert shards(out) == whole


def test_disk_full_is_one_sentence_and_loses_nothing(stand_in, tmp_path, whole):
    out = tmp_path / "set"
    make(stand_in.Noise(), out, shard=(0, 2))
    before = shards(out)
    size = next(out.rglob("*.safetensors")).stat().st_size
    full = start(out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)))
    output, errors = full.communicate(timeout=60)
    assert (full.returncode, output) == (1, "")
    assert errors.startswith("error: cannot write ")
    assert ": File too large; " in errors
    assert errors.count("\n") == 1
    assert temporaries(out) == []
    assert shards(out) == before
    finish(start(out))
    assert shards(out) == whole


def test_settings_that_make_nothing_cost_no_set_and_leave_none_in_the_way(stand_in, tmp_path):
    made = make(stand_in.Noise(), tmp_path / "set")
    with pytest.raises(ValueError, match="no luck"):
        make(stand_in.Noise(stand_in.NoiseConfig(seed=1), wrong_at=0, how="value"), tmp_path / "set", overwrite=True)
    assert make(stand_in.Noise(), tmp_path / "set").sha256 == made.sha256
    with pytest.raises(ValueError, match="no luck"):
        make(stand_in.Noise(stand_in.NoiseConfig(seed=1), wrong_at=0, how="value"), tmp_path / "new")
    assert make(stand_in.Noise(), tmp_path / "new").complete


def test_overwriting_may_be_killed_and_done_by_several_at_once(stand_in, tmp_path):
    out = tmp_path / "set"
    make(stand_in.Noise(stand_in.NoiseConfig(seed=1)), out)
    for i in range(500):  # so that removing them takes a while
        (next(out.glob("shards-*")) / f"{i}.more").touch()
    with ThreadPoolExecutor(3) as threads:
        parts = [threads.submit(make, stand_in.Noise(), out, shard=(i, 3), overwrite=True) for i in range(3)]
    assert sum(part.result().num_made for part in parts) == 50
    assert len(list(out.glob("shards-*"))) == 1

    (out / "shards-of-another").mkdir()  # as left by one that was killed after it wrote its manifest
    assert make(stand_in.Noise(), out, overwrite=True).num_made == 0
    assert not (out / "shards-of-another").exists()


@pytest.mark.parametrize("shard", [(4, 4), (-1, 4), (0, 0)])
def test_parts_that_do_not_exist(stand_in, tmp_path, shard):
    with pytest.raises(ValueError, match=r"expected \(i, n\) with 0 <= i < n"):
        make(stand_in.Noise(), tmp_path / "set", shard=shard)
    assert not (tmp_path / "set").exists()


def test_shards_hold_samples(stand_in, tmp_path):
    with pytest.raises(ValueError, match="samples_per_shard is 0; expected at least 1"):
        make(stand_in.Noise(), tmp_path / "set", samples_per_shard=0)


def test_out_must_be_a_folder(stand_in, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match="file is a file; expected a folder"):
        make(stand_in.Noise(), tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="file is a file; expected a folder"):
        make(stand_in.Noise(), tmp_path / "file" / "set")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_that_cannot_be_made_is_named(stand_in, tmp_path, workers):
    with pytest.raises(ValueError, match="noise: sample 13 cannot be made: no luck"):
        make(stand_in.Noise(wrong_at=13, how="value"), tmp_path / "set", workers=workers)
    assert make(stand_in.Noise(), tmp_path / "set").complete


def test_a_bug_keeps_its_traceback_and_names_its_sample(stand_in, tmp_path):
    recipe = stand_in.Noise(wrong_at=13, how="bug")
    with pytest.raises(KeyError) as alone:
        make(recipe, tmp_path / "set")
    assert alone.value.__notes__ == ["while making sample 13 of noise"]
    with pytest.raises(WorkerError, match=r'(?s)KeyError\("oops"\).*while making sample 13 of noise'):
        make(recipe, tmp_path / "set", workers=2)


def test_a_killed_worker_is_an_error_and_the_next_run_goes_on(stand_in, tmp_path, whole):
    with pytest.raises(OSError, match=r"ended with code -9 .* run the same command again"):
        make(stand_in.Noise(wrong_at=30, how="kill"), tmp_path / "set", workers=2)
    summary = make(stand_in.Noise(), tmp_path / "set", workers=2)
    assert 0 < summary.num_made < 50
    assert shards(tmp_path / "set") == whole


def test_verify_finds_a_changed_bit(stand_in, tmp_path):
    make(stand_in.Noise(), tmp_path / "set")
    settings = {"samples_per_shard": 4, "options": RunOptions(executor=local(2), progress=False)}
    assert verify(stand_in.Noise(), tmp_path / "set", **settings).mismatches == []
    changed = stand_in.Noise(wrong_at=13, how="one bit")
    assert verify(changed, tmp_path / "set", **settings).mismatches == ["sample 13: points"]
    assert verify(stand_in.Noise(), tmp_path / "set", num_samples=7, **settings).num_compared == 7
    with pytest.raises(DifferentSetError):
        verify(stand_in.Noise(stand_in.NoiseConfig(seed=1)), tmp_path / "set", **settings)


def test_plan_counts_and_writes_nothing(stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimate = plan(stand_in.Noise(delay=0.001), samples_per_shard=4, seconds=0.05)
    assert (estimate.num_samples, estimate.num_shards) == (50, 13)
    assert 50 * 1200 < estimate.num_bytes < 50 * (1200 + 3 * 56 + 8)
    assert estimate.digest == make(stand_in.Noise(), tmp_path / "set").digest
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
