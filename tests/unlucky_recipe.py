"""A recipe whose makers meet accidents on a cluster, once or on one node: importable by workers."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from stand_in_recipe import Noise


@dataclass(frozen=True)
class Unlucky(Noise):
    """Noise. The first worker that comes to sample `kill_at` is killed; on node `full_node` nothing can be written."""

    kill_at: int = -1
    full_node: str = ""
    log: str = ""

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        import ray

        time.sleep(self.delay)
        if ray.get_runtime_context().get_node_id() == self.full_node:
            (Path(self.log) / "met the full disk").touch()
            os.fsync = _disk_full  # of this worker alone, which stays on its node
        killed = Path(self.log) / "killed"
        if index == self.kill_at and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().arrays(index)


def _disk_full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
