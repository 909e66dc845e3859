import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pcfdsl.train.lock import alone_in

pytest.importorskip("fcntl", reason="needs POSIX file locks")
HOLD = """
    import os, sys, time
    from pathlib import Path
    from pcfdsl.train.lock import alone_in
    with alone_in(Path(sys.argv[1])):
        if os.fork() == 0:  # as a loader worker that outlives its killed parent
            time.sleep(15)
            os._exit(0)
        print("held", flush=True)
        time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_which_one_is_there_and_a_killed_one_is_not_in_the_way(tmp_path):
    holder = hold(tmp_path)
    with (
        pytest.raises(BlockingIOError, match=rf"trained in by process {holder.pid} on .*; wait until it ends"),
        alone_in(tmp_path),
    ):
        pass
    with alone_in(tmp_path, main=False):  # another rank of a training under torchrun
        pass
    holder.kill()
    holder.wait()
    with alone_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_not_locked(tmp_path):
    (tmp_path / "run.lock").mkdir()  # the superuser may write everything else
    with alone_in(tmp_path):
        assert (tmp_path / "run.lock").is_dir()
