"""Jobs that the tests start, kill and hinder: importable by the processes that do them."""

import os
import time
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pcfdsl.config import load
from pcfdsl.generate.driver import RunOptions
from pcfdsl.generate.images import ImageFormat, generate_images
from pcfdsl.generate.pcfractal import generate_pcfractal
from pcfdsl.generate.workers import local
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NOBODY = 65534

QUIET = RunOptions(progress=False)


def cloud_settings(seed: int = 0) -> PCFractalConfig:
    """1,280 clouds in 5 shards of 3 MB."""
    settings = ("num_categories=4", "num_instances=320", "num_points=1000", "search.variance_threshold=0.02")
    return load(PCFractalConfig, None, [*settings, f"seed={seed}"])


def clouds(out: str, *, seed: int = 0, workers: int = 1, overwrite: bool = False) -> dict[str, Any]:
    """Make clouds."""
    return generate_pcfractal(
        cloud_settings(seed), out, options=replace(QUIET, executor=local(workers), overwrite=overwrite)
    )


def picture_settings(num_instances: int = 300) -> ImageSetConfig:
    """1,200 contours, of which a block holds 1,000."""
    sizes = f"rcdb={{num_categories: 4, num_instances: {num_instances}, image_size: 32}}"
    return load(ImageSetConfig, None, ["dataset=rcdb", sizes])


def pictures(
    out: str, *, image_format: ImageFormat = "folder", num_instances: int = 300, overwrite: bool = False
) -> dict[str, Any]:
    """Draw contours."""
    settings = picture_settings(num_instances)
    return generate_images(settings, out, image_format=image_format, options=replace(QUIET, overwrite=overwrite))


def training(out: str, *, num_steps: int = 16, seed: int = 0, overwrite: bool = False) -> dict[str, Any]:
    """Train a tiny VoteNet on rooms made on the fly, with evaluations and a moving average."""
    import torch

    from pcfdsl.train.tasks.detection import DetectorConfig, train_detector

    torch.set_num_threads(1)
    config = load(
        DetectorConfig,
        CONFIGS / "votenet" / "smoke_pretrain.yaml",
        [
            "data.scenes.num_scenes=8",
            "validation={kind: fractals, scenes: {num_scenes: 2, num_points: 2048, objects: [2, 4]}, "
            "fractals: {num_categories: 4, num_instances: 8, search: {variance_threshold: 0.05}}}",
            "train={batch_size: 2, log_every: 1, checkpoint_every: 2, evaluations: 4, average: 0.9, "
            f"sinks: [], device: cpu, seed: {seed}, num_steps: {num_steps}}}",
        ],
    )
    return train_detector(config, out, overwrite=overwrite).to_dict()


JOBS = {"clouds": clouds, "pictures": pictures, "training": training}


def perform(
    job: str, out: str, settings: dict[str, Any], answer: Connection, nobody: bool = False, clock: bool = False
) -> None:
    """Do a job and answer ("done", what came of it) or ("failed", the message).

    Args:
        job, out, settings: What to do.
        answer: Where to.
        nobody: Do it as a user without any rights.
        clock: Let the clock jump to and fro, backwards more than forwards.
    """
    if nobody:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if clock:
        jumps, real = count(), time.time
        time.time = lambda: real() + (1000 if next(jumps) % 3 == 0 else -5000 * next(jumps))
        time.time_ns = lambda: int(time.time() * 1e9)
    try:
        answer.send(("done", JOBS[job](out, **settings)))
    except (OSError, ValueError) as error:
        answer.send(("failed", str(error)))
