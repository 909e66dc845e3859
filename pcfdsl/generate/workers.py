"""Executors: tasks on worker processes that never fail silently, whether by an exception, a killed worker or Ctrl-C."""

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

_MAX_WORKERS = 1024

# (job, tasks) -> job(task) for every task, in order of completion. `local` makes one, `ray.on_ray` is one.
Executor = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


class WorkerError(RuntimeError):
    """An unexpected exception in a worker; the message contains its traceback."""


def local(workers: int = 1) -> Executor:
    """Executor that runs tasks in this many local processes.

    With one worker everything runs in the calling process. Otherwise each worker is a spawned process (so a calling
    script needs the usual `if __name__ == "__main__"`) that keeps one copy of the job for all its tasks. If the calling
    process dies, its workers finish their current task and stop; if the iteration ends early, by an exception or
    Ctrl-C, they are terminated at once. The iteration raises

    - ValueError: A worker's ValueError or OSError, with its message; with a single worker, the exception itself.
    - WorkerError: Any other exception of a worker.
    - OSError: If a worker was killed.

    Raises:
        ValueError: If there are more workers than any machine has processors.
    """
    if workers > _MAX_WORKERS:
        raise ValueError(f"{workers} processes are more than this can start; expected at most {_MAX_WORKERS}")
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
            process.terminate()  # even when all is done: an idle worker takes a second to shut down cleanly
        for connection, process in processes.items():
            connection.close()
            process.join()


def _send(connection: Connection, task: Any) -> None:
    with suppress(ConnectionError):  # a dead worker is detected when its answer is read
        connection.send(task)


def _receive(connection: Connection, process: Any) -> Any:
    try:
        kind, value = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise OSError(
            f"a worker process ended with code {process.exitcode} (killed, or out of memory?); "
            "finished files are kept: run the same command again to resume, perhaps with fewer --workers"
        ) from None
    return outcome(kind, value)


def attempt(job: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
    """Run a task and return its outcome in picklable form, for `outcome` in another process.

    Returns:
        "done" and the result; "failed here" and the message of an OSError, which may not occur on another machine;
        "failed" and the message of a ValueError; or "bug" and the traceback of any other exception.
    """
    try:
        return "done", job(task)
    except OSError as error:
        return "failed here", str(error)
    except ValueError as error:
        return "failed", str(error)
    except Exception:  # not swallowed: it cannot be pickled in general, so `outcome` raises its traceback
        return "bug", traceback.format_exc()


def outcome(kind: str, value: Any) -> Any:
    """The result of an `attempt`.

    Raises:
        ValueError: If it raised OSError or ValueError.
        WorkerError: If it raised anything else.
    """
    if kind == "bug":
        raise WorkerError(f"in a worker process:\n{value}")
    if kind != "done":
        raise ValueError(value)
    return value


def _serve(connection: Connection, job: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent handles it
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
