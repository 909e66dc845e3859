"""Sets of clouds of formulas on disk: points, category, instance, num_redraws of each cloud."""

import dataclasses
from pathlib import Path
from typing import Any

from pcfdsl.config import check_argument
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.plan import plan
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig

__all__ = ["generate_objects", "plan_objects", "verify_objects"]


def generate_objects(config: ObjectsConfig, out: str | Path, *, options: RunOptions = RunOptions()) -> dict[str, Any]:
    """Generate the clouds of one or more formulas; resumes a set that is incomplete.

    The categories of fractals are searched first; they are not stored, as those of `generate_pcfractal` are.

    Returns:
        A summary.

    Raises:
        ValueError, OSError: As for `generate`.
    """
    check_argument("config", config, ObjectsConfig)
    return dataclasses.asdict(generate(_prepared(config), out, options=options))


def verify_objects(
    config: ObjectsConfig, out: str | Path, *, num_samples: int | None = None, options: RunOptions = RunOptions()
) -> dict[str, Any]:
    """Regenerate clouds and compare them with the stored ones.

    Raises:
        ValueError: If anything differs; the message names it.
        OSError: If something is missing.
    """
    report = verify(_prepared(config), out, num_samples=num_samples, options=options)
    require_no_mismatches(report.path, report.mismatches)
    return dataclasses.asdict(report)


def plan_objects(config: ObjectsConfig, *, workers: int = 1) -> dict[str, Any]:
    """Estimate the cost of `generate_objects`. Writes nothing."""
    return dataclasses.asdict(plan(ObjectClouds(config), workers=workers))


def _prepared(config: ObjectsConfig) -> ObjectClouds:
    clouds = ObjectClouds(config)
    clouds.prepare()  # here, not again in every worker
    return clouds
