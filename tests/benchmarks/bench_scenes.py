"""How fast scenes are made, and where the time goes: `python tests/benchmarks/bench_scenes.py`.

One thread. A rate is that of the fastest of five rounds; the target is 40 scenes/s at 20,000 points, 15 objects and
nothing hidden.
"""

import cProfile
import pstats
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.formula.search import SearchConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.samples.detection import DetectionDataset
from pcfdsl.scene.config import CameraConfig, FractalScenesConfig, SceneConfig, SizeConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import FractalScenes, Scenes

ROUND = 20


def rate(items: Sequence) -> float:
    """Items a second, of the fastest of five rounds."""
    items[0]
    seconds = []
    for k in range(5):
        start = time.perf_counter()
        for i in range(k * ROUND, (k + 1) * ROUND):
            items[i]
        seconds.append(time.perf_counter() - start)
    return ROUND / min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    fractals = PCFractalConfig(num_categories=64, search=SearchConfig(variance_threshold=0.05))
    database = PCFractalDB(fractals)
    for category in range(64):
        database.category(category)
    plain = SceneConfig(num_points=20_000, objects=(15, 15), cameras=CameraConfig(number=(0, 0)))
    default = SceneConfig()
    metres = SizeConfig(shape="metres")

    def scenes(settings: SceneConfig) -> FractalScenes:
        return FractalScenes(FractalScenesConfig(scenes=settings, fractals=fractals), database)

    sets = {
        "20k points, 15 fractals, nothing hidden": scenes(plain),
        "40k points, 15 fractals, nothing hidden": scenes(replace(plain, num_points=40_000)),
        "20k points, 6-14 fractals, 2-4 cameras (default)": scenes(default),
        "8k points, 6-14 fractals, 2-4 cameras": scenes(replace(default, num_points=8192)),
        "20k points, 15 pieces of furniture, nothing hidden": Scenes(
            replace(plain, sizes=metres), PrimitiveFurniture()
        ),
        "samples: default scenes, 20k points, augmented": DetectionDataset(
            scenes(default), num_points=20_000, augment=AugmentConfig()
        ),
    }
    for name, items in sets.items():
        print(f"{rate(items):7.1f} /s   {name}")
    for name in list(sets)[:3:2]:
        profile = cProfile.Profile()
        profile.runcall(lambda name=name: sets[name][:ROUND])
        print(f"\n{name}")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(8)


if __name__ == "__main__":
    main()
