"""Speed of the generator layer, as ratios of things measured in one run.

python tests/benchmarks/bench_generator.py
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
from numba import njit

from pcfdsl.config import load
from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import NUM_LANES, draw_states, play, tabulate
from pcfdsl.formula.released import filling_rate_2d
from pcfdsl.formula.search import SearchConfig, search_category
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.rng import stream

NUM_POINTS = 10_000_000
FORMULAS = ("ifs", "spherical_harmonics", "superquadrics", "composites", "growth")


def seconds(run: Callable[[], object], repeats: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of several runs after one that warms up."""
    run()
    taken = []
    for _ in range(repeats):
        start = clock()
        run()
        taken.append(clock() - start)
    return statistics.median(taken)


@njit(nogil=True)
def straightforward(table, cumulative, points):
    """One orbit, numba's own generator, search through the running sum: what one writes first."""
    position = np.zeros(points.shape[1], points.dtype)
    for i in range(len(points)):
        u = np.random.random()  # noqa: NPY002
        k = 0
        while u > cumulative[k]:
            k += 1
        for d in range(points.shape[1]):
            value = table[k, d, points.shape[1]]
            for e in range(points.shape[1]):
                value += table[k, d, e] * position[e]
            points[i, d] = value
        for d in range(points.shape[1]):
            position[d] = points[i, d]


@njit
def fill(points):
    flat = points.reshape(points.size)
    for i in range(flat.size):
        flat[i] = 1


def python_loop(ifs: IFS, points: np.ndarray) -> None:
    """As the published generators do it."""
    position, cumulative = np.zeros(ifs.dim), np.cumsum(ifs.probabilities)
    for i, u in enumerate(np.random.default_rng(0).random(len(points))):
        k = min(int(np.searchsorted(cumulative, u)), ifs.num_maps - 1)
        position = ifs.matrices[k] @ position + ifs.offsets[k]
        points[i] = position


def chaos_games() -> None:
    print(f"chaos game, float32, {NUM_POINTS:.0e} points, one core [million points/s]")
    print("  D  K   ours   straightforward   ratio   Python loop   ratio   fill   ours/fill")
    for dim in (2, 3):
        for num_maps in (2, 4, 7):
            rng = stream(0, dim, num_maps)
            maps = rng.uniform(-0.5, 0.5, (num_maps, dim, dim)), rng.uniform(-1, 1, (num_maps, dim))
            ifs = IFS(*maps, np.full(num_maps, 1 / num_maps))
            table, thresholds = tabulate(ifs, np.float32)
            points = np.zeros((NUM_POINTS, dim), np.float32)
            states, cumulative = draw_states(rng), np.append(np.cumsum(ifs.probabilities)[:-1], 2.0)
            rates = [
                NUM_POINTS / 1e6 / seconds(lambda: play(table, thresholds, states, points)),  # noqa: B023
                NUM_POINTS / 1e6 / seconds(lambda: straightforward(table, cumulative, points), 3),  # noqa: B023
                0.02 / seconds(lambda: python_loop(ifs, points[:20_000]), 1),  # noqa: B023
                NUM_POINTS / 1e6 / seconds(lambda: fill(points)),  # noqa: B023
            ]
            print(
                f"  {dim}  {num_maps} {rates[0]:6.0f} {rates[1]:17.1f} {rates[0] / rates[1]:7.1f} {rates[2]:13.2f}"
                f" {rates[0] / rates[2]:7.0f} {rates[3]:6.0f} {rates[0] / rates[3]:11.2f}"
            )


def clouds() -> None:
    db = PCFractalDB(PCFractalConfig(num_categories=20, num_instances=1000))
    for k in range(20):
        db.cloud(k, 0)
    indices = range(0, len(db), 5)

    def make(workers: int) -> float:
        chunks = [indices[w::workers] for w in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            return seconds(lambda: list(pool.map(lambda chunk: [db[i].category for i in chunk], chunks)), 3)

    one, two = make(1), make(2)
    print(f"mixed, normalised, centred clouds of 10,000 points: {len(indices) / one:.0f}/s on one core, ", end="")
    print(f"two threads {one / two:.2f}x")


def formulas() -> None:
    """Clouds of each formula of objects, with categories drawn; every cloud is of another instance.

    By the thread's own time, which says what a free core would do even if the machine is busy.
    """
    settings = "{formula: %s, num_categories: 20, num_instances: 1000, num_points: %d}"
    print("clouds of formulas on one core [clouds/s]\n  points", *(f"{name:>20}" for name in FORMULAS))
    for num_points in (1000, 2048, 10_000):
        rates = []
        for name in FORMULAS:
            clouds = ObjectClouds(load(ObjectsConfig, None, [f"objects=[{settings % (name, num_points)}]"]))
            indices = range(0, len(clouds), 10)
            taken = seconds(lambda: [clouds[i].category for i in indices], 5, time.thread_time)  # noqa: B023
            rates.append(len(indices) / taken)
        print(f"  {num_points:6}", *(f"{rate:10.0f} ({rate / rates[0]:6.2f}x)" for rate in rates))


def _num_draws(category: int) -> int:
    return search_category(SearchConfig(), 1, category).num_draws


def search() -> None:
    count = int(os.environ.get("BENCH_CATEGORIES", "100"))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_num_draws, (10_001, 10_002)))  # start both workers
        start = time.perf_counter()
        draws = sum(pool.map(_num_draws, range(count), chunksize=5))
        taken = time.perf_counter() - start
    print(f"category search at 0.15, two processes: {count} categories in {taken:.1f} s, ", end="")
    print(
        f"{draws / taken:.0f} draws/s, 1 of {draws / count:.0f} accepted, 1,000 would take {taken * 1000 / count:.0f} s"
    )


def released() -> None:
    ifs = IFS.from_maps(*(stream(1).uniform(-0.5, 0.5, shape) for shape in ((4, 2, 2), (4, 2))))
    uniforms = stream(2).random(100_000)
    taken = seconds(lambda: filling_rate_2d(ifs, uniforms), 20)
    print(f"published 2D search: {1 / taken:.0f} candidates/s on one core, without drawing them")


def start_up() -> None:
    def run(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), 5)

    bare = run("pass")
    first = (
        "from pcfdsl.pointcloud.pcfractal import *; PCFractalDB(PCFractalConfig(num_categories=2, num_instances=1))[0]"
    )
    print(f"import pcfdsl: {run('import pcfdsl') - bare:.3f} s; to the first cloud: {run(first) - bare:.2f} s", end="")
    print(f" (of which numba and NumPy: {run('import numba') - bare:.2f} s)")


if __name__ == "__main__":
    assert NUM_POINTS % NUM_LANES == 0
    chaos_games()
    clouds()
    formulas()
    search()
    released()
    start_up()
