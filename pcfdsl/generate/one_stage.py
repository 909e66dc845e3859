"""Sets on disk that are made in one stage: clouds of formulas, and scenes of fractals or of several formulas.

The categories of fractals are searched first; they are not stored, as those of `pcfdsl.generate.two_stage` are. A cloud
is points, category, instance, num_redraws; a scene points, boxes, categories, instance_ids, and colours if it has any.
"""

import dataclasses
from pathlib import Path
from typing import Any

from pcfdsl.config import check_argument
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.plan import plan
from pcfdsl.generate.verify import require_no_mismatches, verify
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig
from pcfdsl.scene.synthesize import FractalScenes, ObjectScenes

__all__ = ["generate_set", "plan_set", "verify_set"]

_Config = ObjectsConfig | FractalScenesConfig | ObjectScenesConfig


def generate_set(config: _Config, out: str | Path, *, options: RunOptions = RunOptions()) -> dict[str, Any]:
    """Generate clouds or scenes; resumes a set that is incomplete.

    Returns:
        A summary.

    Raises:
        ValueError, OSError: As for `generate`.
    """
    return dataclasses.asdict(generate(_prepared(config), out, options=options))


def verify_set(
    config: _Config, out: str | Path, *, num_samples: int | None = None, options: RunOptions = RunOptions()
) -> dict[str, Any]:
    """Regenerate clouds or scenes and compare them with the stored ones.

    Raises:
        ValueError: If anything differs; the message names it.
        OSError: If something is missing.
    """
    report = verify(_prepared(config), out, num_samples=num_samples, options=options)
    require_no_mismatches(report.path, report.mismatches)
    return dataclasses.asdict(report)


def plan_set(config: _Config, *, workers: int = 1) -> dict[str, Any]:
    """Estimate the cost of `generate_set`. Writes nothing.

    A scene draws from many categories at once, so these are found before scenes are timed.
    """
    recipe = ObjectClouds(config) if isinstance(config, ObjectsConfig) else _prepared(config)
    return dataclasses.asdict(plan(recipe, workers=workers))


def _prepared(config: _Config) -> ObjectClouds | FractalScenes | ObjectScenes:
    check_argument("config", config, _Config)
    match config:
        case ObjectsConfig():
            recipe = ObjectClouds(config)
        case FractalScenesConfig():
            recipe = FractalScenes(config)
        case _:
            recipe = ObjectScenes(config)
    recipe.prepare()  # here, not again in every worker
    return recipe
