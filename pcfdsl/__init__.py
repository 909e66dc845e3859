"""Formula-driven supervised learning in 3D: fractal point clouds, scenes of them, and detectors pre-trained on them.

The names below, and the operators of `pcfdsl.ops`, are the public interface. They are imported when they are first
used, so `import pcfdsl` is quick and needs no torch; everything else in the package is internal and may change between
versions.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from pcfdsl.config import ConfigError, load
    from pcfdsl.datasets.detection_set import DetectionSet
    from pcfdsl.datasets.sources import SceneSet, open_scenes
    from pcfdsl.formula.ifs import IFS
    from pcfdsl.formula.iterate import chaos_game
    from pcfdsl.formula.moments import moments
    from pcfdsl.formula.search import SearchConfig
    from pcfdsl.generate.images import generate_images
    from pcfdsl.generate.pcfractal import generate_pcfractal
    from pcfdsl.image.sets import ImageSetConfig, open_images
    from pcfdsl.infer.detector import detect_in_file, load_detector
    from pcfdsl.infer.features import load_backbone
    from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
    from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB, open_pcfractal
    from pcfdsl.rng import stream
    from pcfdsl.samples.detection import PointsConfig, collate, scene_samples
    from pcfdsl.scene.boxes import Scene
    from pcfdsl.scene.config import FractalScenesConfig, SceneConfig
    from pcfdsl.scene.synthesize import FractalScenes, Scenes
    from pcfdsl.train.tasks.detection import DetectorConfig, detection_task, train_detector
    from pcfdsl.view.inline import plot, show

__all__ = [
    "IFS",
    "ConfigError",
    "DetectionSet",
    "DetectorConfig",
    "FractalScenes",
    "FractalScenesConfig",
    "ImageSetConfig",
    "ObjectClouds",
    "ObjectsConfig",
    "PCFractalConfig",
    "PCFractalDB",
    "PointsConfig",
    "Scene",
    "SceneConfig",
    "SceneSet",
    "Scenes",
    "SearchConfig",
    "chaos_game",
    "collate",
    "detect_in_file",
    "detection_task",
    "generate_images",
    "generate_pcfractal",
    "load",
    "load_backbone",
    "load_detector",
    "moments",
    "open_images",
    "open_pcfractal",
    "open_scenes",
    "plot",
    "scene_samples",
    "show",
    "stream",
    "train_detector",
]

_HOMES = {
    "config": ("ConfigError", "load"),
    "datasets.detection_set": ("DetectionSet",),
    "datasets.sources": ("SceneSet", "open_scenes"),
    "formula.ifs": ("IFS",),
    "formula.iterate": ("chaos_game",),
    "formula.moments": ("moments",),
    "formula.search": ("SearchConfig",),
    "generate.images": ("generate_images",),
    "generate.pcfractal": ("generate_pcfractal",),
    "image.sets": ("ImageSetConfig", "open_images"),
    "infer.detector": ("detect_in_file", "load_detector"),
    "infer.features": ("load_backbone",),
    "pointcloud.objects": ("ObjectClouds", "ObjectsConfig"),
    "pointcloud.pcfractal": ("PCFractalConfig", "PCFractalDB", "open_pcfractal"),
    "rng": ("stream",),
    "samples.detection": ("PointsConfig", "collate", "scene_samples"),
    "scene.boxes": ("Scene",),
    "scene.config": ("FractalScenesConfig", "SceneConfig"),
    "scene.synthesize": ("FractalScenes", "Scenes"),
    "train.tasks.detection": ("DetectorConfig", "detection_task", "train_detector"),
    "view.inline": ("plot", "show"),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "ops":  # the operators, importable alone
        return importlib.import_module("pcfdsl.ops")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
