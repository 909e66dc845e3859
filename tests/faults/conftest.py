"""Processes that do jobs and may be killed, and what the whole suite came to, printed at its end."""

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

JOBS = Path(__file__).parent
sys.path.insert(0, str(JOBS))  # also of the processes started from here
COUNTS = ("moments tried", "damages tried", "races tried", "runs compared", "differences")


def pytest_collection_modifyitems(items):
    for item in items:
        if JOBS in Path(item.path).parents:
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter):
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name in COUNTS and report.when == "call":
                    total[name] += value
    if total:
        said = ", ".join(f"{name} {total[name]}" for name in COUNTS)
        terminalreporter.write_line(f"faults: {said}")


@dataclass(frozen=True)
class Run:
    """A job under way in a process of its own."""

    process: BaseProcess
    answer: Any

    def kill(self, after: float) -> bool:
        """Kill -9 after so many seconds; whether it was still at work then."""
        self.process.join(after)
        was_alive = self.process.exitcode is None
        self.process.kill()
        self.process.join()
        return was_alive

    def outcome(self) -> tuple[str, Any]:
        """("done", what came of it) or ("failed", the message)."""
        try:
            return self.answer.recv()
        except EOFError:
            raise AssertionError("the process ended without an answer; its traceback is on stderr") from None
        finally:
            self.process.join(60)

    def finish(self) -> Any:
        """What came of it."""
        kind, value = self.outcome()
        assert kind == "done", value
        return value

    def message(self) -> str:
        """What it says failed; one sentence or a few, which say what to do."""
        kind, value = self.outcome()
        assert kind == "failed", value
        return value


@pytest.fixture(scope="session")
def start() -> Callable[..., Run]:
    """start(job, out, nobody=..., clock=..., **settings): begin a job in a process forked from one that has all the
    modules, so that it is at work at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs", "pcfdsl.train.tasks.detection", "torch._dynamo"])

    def begin(job: str, out: Path, *, nobody: bool = False, clock: bool = False, **settings) -> Run:
        import jobs

        here, there = context.Pipe(duplex=False)
        process = context.Process(target=jobs.perform, args=(job, str(out), settings, there, nobody, clock))
        process.start()
        there.close()
        return Run(process, here)

    return begin
