"""A recipe for tests of the driver: importable by spawned workers, a script of its own, and wrong on request.

As a script: OUT WORKERS DELAY [N]. With N it kills itself just before its N-th operation on a file or folder below OUT.
"""

import errno
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pcfdsl.command_line import run
from pcfdsl.config import option
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.workers import local
from pcfdsl.rng import stream


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    seed: int = option(0, "Root of every random decision.")
    num_samples: int = option(50, "Samples.")
    num_points: int = option(100, "Points per sample.")


@dataclass(frozen=True)
class Noise:
    """Samples of noise. `wrong_at` and `how` make one of them fail or differ, `delay` seconds make all of them slow."""

    config: NoiseConfig = NoiseConfig()
    delay: float = 0.0
    wrong_at: int = -1
    how: str = ""
    name: str = "noise"

    def __len__(self) -> int:
        return self.config.num_samples

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        time.sleep(self.delay)
        rng = stream(self.config.seed, "noise", index)
        points = rng.standard_normal((self.config.num_points, 3), dtype=np.float32)
        if index == self.wrong_at:
            if self.how == "value":
                raise ValueError("no luck")
            if self.how == "bug":
                raise KeyError("oops")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            points[0, 0] = np.nextafter(points[0, 0], np.float32(np.inf))
        return {
            "points": points,
            "boxes": rng.standard_normal((int(rng.integers(4)), 7)),
            "num_tries": np.array(rng.integers(10), np.int64),
        }


@dataclass(frozen=True)
class Unlucky(Noise):
    """Noise on a Ray cluster: the first worker at sample `kill_at` is killed; node `full_node` has a full disk."""

    kill_at: int = -1
    full_node: str = ""
    log: str = ""

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        import ray

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


def kill_before_operation(number: int, out: str) -> None:
    """Kill this process just before its `number`-th opening, renaming, linking, removing or making of a file there."""
    left = [number]

    def count(event: str, arguments: tuple) -> None:
        if event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir") and str(arguments[0]).startswith(out):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


if __name__ == "__main__":
    out, workers, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = RunOptions(executor=local(workers), progress=False)
    for number in sys.argv[4:]:
        kill_before_operation(int(number), out)
    run(lambda: asdict(generate(Noise(delay=delay), out, options=options, samples_per_shard=4)))
