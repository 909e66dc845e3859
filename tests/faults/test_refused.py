"""Disks that are full and folders that may not be written: one sentence, nothing lost, and the same command goes on."""

import os
import shutil
import subprocess

import pytest
from folders import content, differences, trained

CASES = [("clouds", {}, content, 9), ("pictures", {}, content, 1), ("training", {"num_steps": 6}, trained, 1)]
IDS = ["clouds", "pictures", "training"]


@pytest.fixture
def small_disk(tmp_path):
    """small_disk(megabytes): a folder on a disk of that size, which a second call makes larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(megabytes: float):
        options = f"{'remount,' if mounted else ''}size={round(megabytes * 1024)}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        mounted.append(True)
        return folder / "out"

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("job", "settings", "look", "megabytes"), CASES, ids=IDS)
def test_a_full_disk(start, tmp_path, small_disk, record_property, job, settings, look, megabytes):
    start(job, tmp_path / "whole", **settings).finish()
    out = small_disk(megabytes)
    message = start(job, out, **settings).message()
    assert message.startswith(f"cannot write {out}")
    assert ": No space left on device; " in message
    assert "run the same command again to resume" in message
    assert [path for path in out.rglob("*") if path.name.endswith(".tmp")] == []
    small_disk(64)
    start(job, out, **settings).finish()
    found = differences(look(out), look(tmp_path / "whole"))
    record_property("runs compared", 1)
    record_property("differences", len(found))
    assert found == []


@pytest.mark.parametrize(("job", "settings", "look", "megabytes"), CASES, ids=IDS)
def test_a_folder_that_may_not_be_written(start, tmp_path_factory, record_property, job, settings, look, megabytes):
    if os.geteuid() != 0:
        pytest.skip("needs the superuser, to become somebody else")
    folder = tmp_path_factory.mktemp("closed")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    whole = folder / "whole"
    start(job, whole, **settings).finish()
    message = start(job, folder / "new", nobody=True, **settings).message()
    assert str(folder / "new") in message
    assert "Permission denied; " in message
    assert not (folder / "new").exists()

    out = folder / "begun"
    shutil.copytree(whole, out)
    before = content(out)
    for path in sorted(out.rglob("*"))[:2]:  # something to do
        path.unlink() if path.is_file() else None
    (out / "resume.pt").unlink(missing_ok=True)
    left = content(out)
    message = start(job, out, nobody=True, **settings).message()
    assert "cannot" in message
    assert "Permission denied" in message
    assert content(out) == left
    start(job, out, **settings).finish()
    found = differences(look(out), look(whole)) + ([] if job == "training" else differences(content(out), before))
    record_property("runs compared", 1)
    record_property("differences", len(found))
    assert found == []
