"""Runs a plan, several trainings at a time; what is finished is never repeated.

out/pretrained/NAME/       a pre-training, or one a seed in NAME/seedN
out/rooms/STUDY/ARM/CASE/  fine-tunings, see pcfdsl.studies.study
out/pictures/              the study of images
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pcfdsl.config import load
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.studies.claims.plan import PLANS, Plan, Pretraining
from pcfdsl.studies.comparison import compare_pretraining
from pcfdsl.studies.study import read_result
from pcfdsl.train.tasks.detection import DetectorConfig
from pcfdsl.train.tasks.table import TASKS

__all__ = ["Results", "plan_of", "read_results", "run_plan"]

Results = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]  # study -> arm -> case -> metrics

_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_plan(
    plan: Plan,
    out: str | Path,
    *,
    workers: int = 1,
    pictures: Sequence[str] = (),
    progress: Callable[[str], object] = print,
) -> list[str]:
    """Run what is not finished yet.

    Args:
        plan: What to run.
        out: Folder of everything.
        workers: Trainings at a time, each with one thread.
        pictures: Folders of real pictures that image networks are fine-tuned on, as `ImageStudyConfig.data`.
        progress: Called with a line after each job.

    Returns:
        One sentence for each job that failed; the others were run all the same. A study goes without the arms whose
        pre-training failed.

    Raises:
        OSError, ValueError: If the folder holds another plan, or cannot be written.
    """
    out = make_folder(out)
    _claim_folder(plan, out)
    first = {f"pre-training {name}": (_pretrain, (plan, name, str(out))) for name in plan.pretrainings}
    if plan.pictures is not None:
        first |= {
            f"pictures {i + 1}/{workers}": (_pictures, (plan, list(pictures), str(out), i, workers))
            for i in range(workers)
        }
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # libraries read these when a new process imports them
    try:
        failures = _run(workers, first, progress)
        made = [name for name in plan.pretrainings if f"pre-training {name}" not in failures]
        second = {
            f"study {name} {i + 1}/{workers}": (_rooms, (plan, name, made, str(out), i, workers))
            for name in plan.rooms
            for i in range(workers)
        }
        return [f"{job}: {error}" for job, error in {**failures, **_run(workers, second, progress)}.items()]
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def read_results(plan: Plan, out: str | Path) -> Results:
    """The metrics of every finished run of a plan, whatever is missing."""
    folders = {name: Path(out) / "rooms" / name for name in plan.rooms} | {"pictures": Path(out) / "pictures"}
    results: dict[str, dict[str, dict[str, Mapping[str, float]]]] = {}
    for study, folder in folders.items():
        for path in sorted(folder.glob("*/*/result.json")):
            content = read_result(path)
            results.setdefault(study, {}).setdefault(content["arm"], {})[content["case"]] = content["metrics"]
    return results


def plan_of(out: str | Path) -> Plan:
    """The plan that the runs of a folder belong to.

    Raises:
        FileNotFoundError: If the folder holds no runs for claims.
        ValueError: If it is not said which plan they are of.
    """
    path = Path(out) / "plan.json"
    if not path.is_file():
        raise FileNotFoundError(f"{out} holds no runs for claims; run this without --report-only first")
    try:
        return PLANS[json.loads(path.read_text())["plan"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} names none of the plans {', '.join(PLANS)} ({error})") from None


def _claim_folder(plan: Plan, out: Path) -> None:
    """Remember which plan a folder is of: its studies would mix runs of several."""
    path = out / "plan.json"
    if path.is_file() and (other := plan_of(out)) is not plan:
        raise ValueError(f"{out} holds runs of another plan, {other.name}; choose another folder")
    write_file(path, json.dumps({"plan": plan.name}).encode())


def _run(workers: int, jobs: Mapping[str, tuple], progress: Callable[[str], object]) -> dict[str, str]:
    """The error of each job that failed, by its name.

    A process that is killed, as for want of memory, takes down those beside it: what they had to do is done once more,
    a job at a time, so that the one which cannot be done fails alone.
    """
    failures, undone = _in_processes(workers, jobs, progress)
    for name in undone:
        alone, killed = _in_processes(1, {name: jobs[name]}, progress)
        failures |= alone | dict.fromkeys(killed, "its process was killed; it may need more memory than there is")
    return failures


def _in_processes(
    workers: int, jobs: Mapping[str, tuple], progress: Callable[[str], object]
) -> tuple[dict[str, str], list[str]]:
    """The error of each job that failed, and the jobs that a killed process left undone."""
    failures, undone = {}, []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures: dict[Future, str] = {pool.submit(call, *arguments): name for name, (call, arguments) in jobs.items()}
        for number, future in enumerate(as_completed(futures), 1):
            name, error = futures[future], future.exception()
            if isinstance(error, BrokenProcessPool):
                undone.append(name)
            elif error is not None:
                failures[name] = f"{type(error).__name__}: {error}"
            said = "a process was killed" if name in undone else failures.get(name, "done")
            progress(f"[{number}/{len(futures)}] {name}: {said}")
    return failures, undone


def _pretrain(plan: Plan, name: str, out: str) -> None:
    pretraining: Pretraining = plan.pretrainings[name]
    config_class, train = TASKS[pretraining.task]()
    config = load(config_class, pretraining.recipe, ("train.num_threads=1", *pretraining.settings))
    train(config, Path(out) / "pretrained" / name, seeds=plan.seeds if plan.each_seed else ())


def _rooms(plan: Plan, name: str, made: list[str], out: str, index: int, count: int) -> None:
    study = plan.rooms[name]
    config = load(DetectorConfig, study.recipe, ("train.num_threads=1", *study.settings))
    starts: dict[str, str | None] = {"scratch": None}
    for arm, pretraining in study.starts.items():
        if pretraining in made:
            starts[arm] = str(Path(out) / "pretrained" / pretraining / ("seed{seed}" if plan.each_seed else ""))
    folder = Path(out) / "rooms" / name
    compare_pretraining(config, starts, folder, seeds=plan.seeds, shard=(index, count), progress=_quiet)


def _pictures(plan: Plan, pictures: list[str], out: str, index: int, count: int) -> None:
    from pcfdsl.studies.images import ImageStudyConfig, run_image_study

    assert plan.pictures is not None
    settings = (*plan.pictures.settings, *([f"data={json.dumps(pictures)}"] if pictures else []))
    config = load(ImageStudyConfig, plan.pictures.recipe, settings)
    folder, how = Path(out) / "pictures", {"arms": plan.pictures.arms, "shard": (index, count), "progress": _quiet}
    run_image_study(config, folder, seeds=plan.pictures.seeds, **how)


def _quiet(line: str) -> None:
    """Runs report through their jobs."""
