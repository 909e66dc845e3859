"""Tasks on a Ray cluster, whose nodes all have pcfdsl installed and share the output folder.

Ray retries a task whose worker or node is lost. A task that raises OSError, for example because a disk is full, is
retried on another node. So tasks may run more than once; those of `pcfdsl.generate.driver` then find their work done.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from typing import Any, TypeVar

from pcfdsl.generate.workers import attempt, outcome

__all__ = ["on_ray"]

T = TypeVar("T")

_TASKS_PER_CPU = 2  # submitted at a time: leaves work for nodes that join later, and few results in the driver
_LOST_WORKERS = 10  # retries of a task that loses its worker or node; bounds a task that kills its workers


def on_ray(job: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
    """`job(task)` for every task, in order of completion, on the cluster that `ray.init` finds.

    That is the one this process is connected to, else that of RAY_ADDRESS, else a local one for the duration of the
    iteration.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: A task's ValueError, or its OSError if no other node is left to retry on.
        pcfdsl.generate.workers.WorkerError: Any other exception of a task.
        OSError: If a task lost its worker or its node too often.
    """
    with redirect_stdout(sys.stderr):  # Ray prints about lost workers to stdout, which is for results
        yield from _run(_import_ray(), job, tasks)


def _run(ray: Any, job: Callable[[Any], T], tasks: Iterable[Any]) -> Iterator[T]:
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, include_dashboard=False)
    running: dict[Any, tuple[int, Any]] = {}
    failed_on: dict[int, list[str]] = defaultdict(list)
    try:
        remote_attempt = ray.remote(max_retries=_LOST_WORKERS)(_attempt_on_node)
        shared_job, numbered = ray.put(job), enumerate(tasks)

        def submit(number: int, task: Any) -> None:
            strategy = _elsewhere(ray, failed_on[number]) if failed_on[number] else "DEFAULT"
            running[remote_attempt.options(scheduling_strategy=strategy).remote(shared_job, task)] = number, task

        while True:
            limit = max(1, int(ray.cluster_resources().get("CPU", 1))) * _TASKS_PER_CPU
            while len(running) < limit and (following := next(numbered, None)) is not None:
                submit(*following)
            if not running:
                return
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            number, task = running.pop(done)
            try:
                kind, value, node = ray.get(done)
            except ray.exceptions.RayError as error:
                raise OSError(
                    f"a Ray task failed after losing its worker or node {_LOST_WORKERS} times ({error}); "
                    "finished files are kept: run the same command again to resume"
                ) from error
            if kind == "failed here":
                failed_on[number].append(node)
                if _others(ray, failed_on[number]):
                    submit(number, task)
                    continue
            yield outcome(kind, value)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if own:
            ray.shutdown()


def _attempt_on_node(job: Callable[[Any], Any], task: Any) -> tuple[str, Any, str]:
    import ray

    return *attempt(job, task), ray.get_runtime_context().get_node_id()


def _others(ray: Any, nodes: list[str]) -> list[str]:
    """Live nodes with CPUs, other than these."""
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return [node["NodeID"] for node in alive if node["NodeID"] not in nodes]


def _elsewhere(ray: Any, nodes: list[str]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    others = _others(ray, nodes)
    return NodeAffinitySchedulingStrategy(node_id=others[len(nodes) % len(others)], soft=True)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ImportError("engine ray needs Ray: pip install 'pcfdsl[ray]'") from error
    return ray
