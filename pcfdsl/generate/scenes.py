"""Sets of scenes on disk: points, boxes, categories, instance_ids of each scene, and colours if it has any."""

import dataclasses
from pathlib import Path
from typing import Any

from pcfdsl.config import check_argument
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.plan import plan
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig
from pcfdsl.scene.synthesize import FractalScenes, ObjectScenes

__all__ = ["generate_scenes", "plan_scenes", "verify_scenes"]

_Config = FractalScenesConfig | ObjectScenesConfig


def generate_scenes(config: _Config, out: str | Path, *, options: RunOptions = RunOptions()) -> dict[str, Any]:
    """Generate scenes of fractals or of several formulas; resumes a set that is incomplete.

    The categories of fractals are searched first; they are not stored, as those of `generate_pcfractal` are.

    Returns:
        A summary.

    Raises:
        ValueError, OSError: As for `generate`.
    """
    return dataclasses.asdict(generate(_prepared(config), out, options=options))


def verify_scenes(
    config: _Config, out: str | Path, *, num_samples: int | None = None, options: RunOptions = RunOptions()
) -> dict[str, Any]:
    """Regenerate scenes and compare them with the stored ones.

    Raises:
        ValueError: If anything differs; the message names it.
        OSError: If something is missing.
    """
    report = verify(_prepared(config), out, num_samples=num_samples, options=options)
    require_no_mismatches(report.path, report.mismatches)
    return dataclasses.asdict(report)


def plan_scenes(config: _Config, *, workers: int = 1) -> dict[str, Any]:
    """Estimate the cost of `generate_scenes` once the categories are found, which this does first. Writes nothing."""
    return dataclasses.asdict(plan(_prepared(config), workers=workers))


def _prepared(config: _Config) -> FractalScenes | ObjectScenes:
    check_argument("config", config, _Config)
    scenes = FractalScenes(config) if isinstance(config, FractalScenesConfig) else ObjectScenes(config)
    scenes.prepare()  # here, not again in every worker
    return scenes
