"""Pictures per second on one core, in memory, and where the time goes.

python tests/benchmarks/bench_images.py
"""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
from numba import njit

from pcfdsl.formula.contour import contour_noise, radial_polygons
from pcfdsl.formula.search import FillingSearchConfig, search_by_filling
from pcfdsl.image.baselines import Bezier, BezierConfig, Perlin, PerlinConfig
from pcfdsl.image.contours import ContourDrawConfig, blank
from pcfdsl.image.dead_leaves import DeadLeaves, DeadLeavesConfig
from pcfdsl.image.exfractaldb import ExFractalDB, ExFractalDBConfig
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig, open_fractaldb
from pcfdsl.image.labelled import ImageSet
from pcfdsl.image.lines import draw_polygons
from pcfdsl.image.moire import Moire, MoireConfig
from pcfdsl.image.multi_fractal import MultiFractal, MultiFractalConfig
from pcfdsl.image.raster import DrawConfig, rasterize
from pcfdsl.image.rcdb import RCDB, RCDBConfig, open_rcdb
from pcfdsl.image.segrcdb import SegRCDB, SegRCDBConfig
from pcfdsl.image.spectrum import Spectrum, SpectrumConfig
from pcfdsl.image.visualatom import VisualAtom, VisualAtomConfig
from pcfdsl.pointcloud.mix import mix
from pcfdsl.rng import stream

NUM_CATEGORIES = 10


def seconds(run: Callable[[], object], repeats: int = 21, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of several runs after one that warms up."""
    run()
    taken = []
    for _ in range(repeats):
        start = clock()
        run()
        taken.append(clock() - start)
    return statistics.median(taken)


@njit
def straightforward(matrices, offsets, cumulative, num_points, size, image):
    """One float64 orbit with numba's own generator, its bounding box, dots: what one writes first."""
    points = np.empty((num_points, 2))
    x = y = 0.0
    for i in range(num_points):
        u = np.random.random()  # noqa: NPY002
        k = 0
        while u > cumulative[k]:
            k += 1
        m = matrices[k]
        x, y = m[0, 0] * x + m[0, 1] * y + offsets[k, 0], m[1, 0] * x + m[1, 1] * y + offsets[k, 1]
        points[i, 0], points[i, 1] = x, y
    low_x, high_x, low_y, high_y = points[:, 0].min(), points[:, 0].max(), points[:, 1].min(), points[:, 1].max()
    image[:] = 0
    for i in range(num_points):
        column = int((points[i, 0] - low_x) / (high_x - low_x) * (size - 1))
        row = int((points[i, 1] - low_y) / (high_y - low_y) * (size - 1))
        image[row, column] = 127


def rate(db: ImageSet, count: int = 200) -> float:
    """Pictures per second by the median time of one, of pictures spread over the set; categories are known by then.

    The median of many short times is what the machine does when nobody else has the core.
    """
    chosen = np.linspace(0, len(db) - 1, count).astype(int).tolist()
    taken = []
    for _ in range(2):  # the first one compiles, and makes systems ready
        taken = []
        for i in chosen:
            start = time.perf_counter()
            db[i]
            taken.append(time.perf_counter() - start)
    return 1 / statistics.median(taken)


def fractal_db(size: int, num_points: int, draw: DrawConfig) -> FractalDB:
    return FractalDB(
        FractalDBConfig(num_categories=NUM_CATEGORIES, image_size=size, num_points=num_points, draw=draw), SYSTEMS
    )


def fractaldb() -> None:
    print("FractalDB [pictures/s]                 ours  straightforward   ratio   game / drawing [ms]")
    for size, num_points in ((256, 100_000), (362, 200_000)):
        image = np.zeros((size, size), np.uint8)
        ifs = SYSTEMS[0]
        cumulative = np.append(np.cumsum(ifs.probabilities)[:-1], 2.0)
        plain = 1 / seconds(
            lambda: straightforward(ifs.matrices, ifs.offsets, cumulative, num_points, size, image)  # noqa: B023
        )
        for style in get_args(get_type_hints(DrawConfig)["style"]):
            for color in (False, True):
                draw = DrawConfig(style=style, color=color)
                db = fractal_db(size, num_points, draw)
                ready = db.ready(0, 2, 0)
                points = db._orbit(ready, stream(0))
                game = seconds(lambda: db._orbit(ready, stream(0)))  # noqa: B023
                drawing = seconds(lambda: rasterize(points, size, size, draw, rng=stream(0)))  # noqa: B023
                ours, label = rate(db), f"{size} px, {num_points // 1000}k, {style}{', colour' * color}"
                print(
                    f"  {label:36s} {ours:5.0f} {plain:12.0f} {ours / plain:10.1f} "
                    f"{1e3 * game:10.2f} / {1e3 * drawing:.2f}"
                )


def released() -> None:
    for draw, num_patches in ((DrawConfig(style="dot"), 1), (DrawConfig(style="patch"), 10)):
        config = FractalDBConfig(
            variant="released",
            degenerate="keep",
            num_categories=NUM_CATEGORIES,
            num_instances=100 * num_patches,
            num_patches=num_patches,
            image_size=256,
            num_points=100_000,
            draw=draw,
        )
        ours = rate(open_fractaldb(config, SYSTEMS), 20)
        print(f"released FractalDB, 256 px, 100k, {draw.style}: {ours:.0f} pictures/s")


def exfractaldb() -> None:
    for num_points in (10_000, 50_000):
        for shaded in (False, True):
            db = ExFractalDB(
                ExFractalDBConfig(num_categories=NUM_CATEGORIES, num_points=num_points, shade_by_depth=shaded)
            )
            ready = db.ready(0, 0, 0)
            cloud = seconds(lambda: mix(ready, ready, num_points, stream(0), noise_ratio=0.0))  # noqa: B023
            print(
                f"ExFractalDB, 224 px, {num_points // 1000}k points{', shaded' * shaded}: {rate(db, 400):.0f} "
                f"pictures/s; a cloud takes {1e3 * cloud:.2f} ms"
            )


def contours() -> None:
    """RCDB, VisualAtom and SegRCDB with the published parameters, 512 px, and where an image's time goes."""
    draw = ContourDrawConfig()
    for label, db in (
        ("RCDB", RCDB(RCDBConfig())),
        ("RCDB, colour", RCDB(RCDBConfig(draw=ContourDrawConfig(color=True)))),
        ("RCDB, smooth noise", RCDB(RCDBConfig(draw=ContourDrawConfig(noise_kind="smooth")))),
        ("RCDB, 64 px of 256", RCDB(RCDBConfig(image_size=64, draw=ContourDrawConfig(supersample=4)))),
        ("RCDB, official", open_rcdb(RCDBConfig(variant="released", num_categories=100, num_instances=2))),
        ("VisualAtom", VisualAtom(VisualAtomConfig())),
        ("Bezier, 256 px", Bezier(BezierConfig())),
        ("Perlin, 256 px", Perlin(PerlinConfig())),
        ("dead leaves, 256 px", DeadLeaves(DeadLeavesConfig())),
        ("spectrum, 256 px", Spectrum(SpectrumConfig())),
        ("moire, 256 px", Moire(MoireConfig())),
    ):
        print(f"{label:20s} {mean_rate(db):6.0f} pictures/s")
    fractals = replace(MultiFractalConfig().fractals, num_categories=NUM_CATEGORIES)
    several = MultiFractal(MultiFractalConfig(fractals=fractals), SYSTEMS)
    taken = seconds(lambda: [several.arrays(i) for i in range(400)], 5, time.thread_time)
    print(f"multi_fractal, 256 px {400 / taken:5.0f} pictures/s")
    pairs = SegRCDB(SegRCDBConfig())
    print(f"SegRCDB, M1          {1 / seconds(lambda: pairs[0]):6.1f} pairs/s")
    db, parts = RCDB(RCDBConfig()), np.zeros(4)
    for k in range(0, 1000, 10):
        contour, centre = db.contour(k, 0)
        values = contour_noise(contour.num_polygons, contour.num_vertices, stream(0))
        polygons, inks = radial_polygons(contour, values), np.zeros(contour.num_polygons, np.uint8)
        parts += [
            seconds(lambda: db.contour(k, 0), 3),  # noqa: B023
            seconds(lambda: contour_noise(contour.num_polygons, contour.num_vertices, stream(0)), 3),  # noqa: B023
            seconds(lambda: radial_polygons(contour, values), 3),  # noqa: B023
            seconds(lambda: draw_polygons(blank(draw, 512), polygons, inks, origin=centre), 3),  # noqa: B023
        ]
    text = ", ".join(
        f"{n} {10 * t:.2f}" for n, t in zip(("parameters", "noise", "growth", "lines"), parts, strict=True)
    )
    print(f"RCDB [ms an image]: {text}")


def mean_rate(db: ImageSet, count: int = 200) -> float:
    """Pictures per second by the mean time of pictures spread over the set: of contours, some take a hundred times as
    long as others. By the thread's own time, which says what a free core would do even if the machine is busy.
    """
    chosen = np.linspace(0, len(db) - 1, count).astype(int).tolist()
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        for i in chosen:
            db[i]
        best = min(best, time.thread_time() - start)
    return count / best


def threads() -> None:
    db = fractal_db(256, 100_000, DrawConfig(style="dot"))
    chosen = range(0, len(db), 25)

    def make(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            chunks = [chosen[w::workers] for w in range(workers)]
            return seconds(lambda: list(pool.map(lambda chunk: [db[i].category for i in chunk], chunks)), 5)

    print(f"FractalDB 256 px, two threads: {make(1) / make(2):.2f} times one")


def search() -> None:
    start = time.perf_counter()
    draws = sum(search_by_filling(FillingSearchConfig(), 1, k).num_draws for k in range(40))
    taken = time.perf_counter() - start
    print(f"search by filling rate 0.2 (512 px, 100k): {draws / taken:.0f} draws/s, ", end="")
    print(f"1 of {draws / 40:.0f} accepted, {1e3 * taken / 40:.0f} ms a category")


if __name__ == "__main__":
    SYSTEMS = [search_by_filling(FillingSearchConfig(), 0, k).ifs for k in range(NUM_CATEGORIES)]
    fractaldb()
    exfractaldb()
    contours()
    released()
    threads()
    search()
