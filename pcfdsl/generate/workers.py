"""Executors: tasks on worker processes that never fail silently, be it an exception, a killed worker or Ctrl-C."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

__all__ = ["Executor", "WorkerError", "attempt", "local", "outcome"]

T = TypeVar("T")

# (job, tasks) -> job(task) for every task, in the order in which they finish. `local` makes one, `ray.on_ray` is one.
Executor = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


class WorkerError(RuntimeError):
    """A worker met a bug; the message holds its traceback."""


def local(workers: int = 1) -> Executor:
    """Executor that runs tasks on this machine, in so many processes.

    With one worker everything happens in the calling process. Otherwise each worker is a fresh process (spawned, so a
    script that gets here needs the usual `if __name__ == "__main__"`) that keeps one copy of the job for all its tasks.
    If the calling process dies, its workers finish their current task and stop; if the iteration is left early, by an
    exception or Ctrl-C, they are terminated at once. The iteration raises

    - ValueError: A worker's ValueError or OSError, with its message; with a single worker, the exception itself.
    - WorkerError: Any other exception of a worker.
    - OSError: If a worker was killed.
    """
    return partial(_run, workers)


def _run(workers: int, job: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
    if workers <= 1:
        yield from map(job, tasks)
        return
    tasks = list(tasks)
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection, Any] = {}
    try:
        for _ in range(min(workers, len(tasks))):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, job), daemon=True)
            process.start()
            there.close()  # the worker's copy is now the only one: the pipe closes when either side dies
            processes[here] = process
            _send(here, tasks.pop(0))
        busy = set(processes)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                yield _receive(connection, processes[connection])
                if tasks:
                    _send(connection, tasks.pop(0))
                else:
                    busy.remove(connection)
    finally:
        for process in processes.values():
            process.terminate()  # also when all is done: an idle worker takes a second to shut down in good order
        for connection, process in processes.items():
            connection.close()
            process.join()


def _send(connection: Connection, task: Any) -> None:
    with suppress(ConnectionError):  # a worker that has died is noticed when its answer is read
        connection.send(task)


def _receive(connection: Connection, process: Any) -> Any:
    try:
        kind, value = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise OSError(
            f"a worker process ended with code {process.exitcode} (killed, or out of memory?); "
            "what is finished is kept: run the same command again, perhaps with fewer --workers"
        ) from None
    return outcome(kind, value)


def attempt(job: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
    """What came of a task, in a form that pickles whatever was raised: for `outcome`, in another process.

    Returns:
        "done" and what the job gave; or a message, after "failed here" for an OSError, which another machine may not
        meet, "failed" for a ValueError, and "bug", with the traceback, for anything else.
    """
    try:
        return "done", job(task)
    except OSError as error:
        return "failed here", str(error)
    except ValueError as error:
        return "failed", str(error)
    except Exception:
        return "bug", traceback.format_exc()


def outcome(kind: str, value: Any) -> Any:
    """What the job of an `attempt` gave.

    Raises:
        ValueError: If it failed.
        WorkerError: If it met a bug.
    """
    if kind == "bug":
        raise WorkerError(f"in a worker process:\n{value}")
    if kind != "done":
        raise ValueError(value)
    return value


def _serve(connection: Connection, job: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent decides what becomes of it
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        answer = attempt(job, task)
        try:
            connection.send(answer)
        except ConnectionError:  # the parent is gone
            return
