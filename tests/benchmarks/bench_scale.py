"""What the sets of the papers cost: processor time and bytes, from a run of a thousandth of each.

python tests/benchmarks/bench_scale.py

Times are processor seconds of this one process, which other work on the machine changes little. Minutes on many cores
take for granted that the parts of a set do not wait for one another, as they need not.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pcfdsl.config import load
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.config import FractalScenesConfig, SceneConfig
from pcfdsl.scene.synthesize import FractalScenes
from pcfdsl.store.pictures import encode_png
from pcfdsl.store.shards import encode
from pcfdsl.train.tasks.detection import DetectorConfig

SHARE = 1000
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PATCHES = CONFIGS / "image" / "fractaldb.yaml"
DOTS = ("fractaldb.image_size=256", "fractaldb.num_points=100000", "fractaldb.draw.style=dot")
AS_RELEASED = load(DetectorConfig, CONFIGS / "votenet" / "paper_pretrain.yaml").data.scenes


@dataclass(frozen=True)
class Work:
    """A set: how many categories and samples it has in all, and how to make and store one of each."""

    name: str
    num_categories: int
    num_samples: int
    search: Callable[[int], object]
    make: Callable[[int], object]
    store: Callable[[object], bytes]


def images(name: str, num_categories: int, *overrides: str, path: Path | None = None) -> Work:
    """An image set with 1,000 instances of each category, stored as PNG."""
    dataset = name.split("-")[0].lower()
    config = load(
        ImageSetConfig, path, (f"dataset={dataset}", f"{dataset}.num_categories={num_categories}", *overrides)
    )
    drawn = open_images(config)
    return Work(
        name=f"{name}, {config.chosen.image_size} px, {config.chosen.num_points:,} points",  # type: ignore[union-attr]
        num_categories=num_categories,
        num_samples=len(drawn),
        search=drawn.category_parameters,
        make=drawn.__getitem__,
        store=lambda item: encode_png(item.image),  # type: ignore[attr-defined]
    )


def scenes(name: str, config: SceneConfig) -> Work:
    """A million scenes of 1,000 fractal categories, stored as shards."""
    fractals = PCFractalConfig(num_categories=1000)
    made = FractalScenes(FractalScenesConfig(scenes=replace(config, num_scenes=1_000_000), fractals=fractals))
    return Work(
        name=name,
        num_categories=1000,
        num_samples=len(made),
        search=made.source.database.category,  # type: ignore[attr-defined]
        make=made.__getitem__,
        store=lambda scene: encode([scene.arrays()], first_sample=0, digest=""),  # type: ignore[attr-defined]
    )


def processor_seconds(run: Callable[[int], object], over: Sequence[int]) -> float:
    """Of one call, on average."""
    start = time.process_time()
    for index in over:
        run(index)
    return (time.process_time() - start) / len(over)


def row(work: Work) -> str:
    """Measure a thousandth of a set; one line of the table."""
    work.store(work.make(0))  # compiles, and searches the first category
    whole_search = work.num_categories <= 1000  # a scene has objects of any category
    categories = range(1, 1 + (work.num_categories if whole_search else work.num_categories // SHARE))
    search = processor_seconds(work.search, [c % work.num_categories for c in categories])
    per_category = work.num_samples // work.num_categories
    samples = np.arange(work.num_samples // SHARE)
    samples = samples if whole_search else samples + per_category  # those of the categories that were found
    made = processor_seconds(work.make, samples.tolist())
    kept = [work.make(int(index)) for index in samples[:: max(1, len(samples) // 200)]]
    num_bytes: list[int] = []
    stored = processor_seconds(lambda i: num_bytes.append(len(work.store(kept[i]))), range(len(kept)))

    hours = (work.num_categories * search + work.num_samples * made) / 3600
    hours_stored = hours + work.num_samples * stored / 3600
    cells = [
        work.name,
        f"{len(categories):,} categories, {len(samples):,} samples",
        f"{1e3 * search:.1f} ms",
        f"{1e3 * made:.2f} ms",
        f"{1e3 * stored:.2f} ms, {np.mean(num_bytes) / 1e3:.1f} kB",
        f"{hours:.2f}",
        f"{hours_stored:.2f}, {np.mean(num_bytes) * work.num_samples / 1e9:,.0f} GB",
        f"{60 * hours_stored / 64:.1f} min",
        f"{60 * hours_stored / 1000:.1f} min",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print(f"{platform.machine()}, {platform.processor() or 'processor not named'}, one process\n")
    titles = "a category, a sample, storing it, core-hours on the fly, core-hours and bytes stored, stored on 64 cores"
    print(f"| set | measured | {titles.replace(', ', ' | ')} | on 1,000 cores |\n| --- | --- |" + " ---: |" * 7)
    print(row(images("FractalDB-10k", 10_000, path=PATCHES)), flush=True)
    print(row(images("FractalDB-10k", 10_000, *DOTS, path=PATCHES)), flush=True)
    print(row(images("ExFractalDB-21k", 21_000)), flush=True)
    print(row(scenes("1,000,000 scenes as released, 20,000 points", AS_RELEASED)), flush=True)
    print(row(scenes("1,000,000 rooms as scanned, 40,000 points", SceneConfig(num_points=40_000))), flush=True)


if __name__ == "__main__":
    main()
