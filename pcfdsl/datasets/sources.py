"""Which scenes a detector is trained or judged on, made on the fly or read from a folder, and what it sees of them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm import tqdm

from pcfdsl.config import ConfigError, option, validate
from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.datasets.mmdetection3d import open_mmdetection3d
from pcfdsl.datasets.scene_shards import SceneShards
from pcfdsl.datasets.votenet import open_votenet
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, open_pcfractal
from pcfdsl.samples.detection import DetectionDataset, PointDraws, VoteTargets
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import SceneConfig
from pcfdsl.scene.objects import FractalObjects, MeshFolder
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import Scenes

__all__ = ["PointsConfig", "SceneSet", "SourceConfig", "mean_box_sizes", "open_scenes", "scene_samples"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """A set of labelled scenes."""

    kind: Literal["fractals", "furniture", "meshes", "stored", "generated", "votenet", "mmdetection3d", "none"] = (
        option(
            "fractals",
            "scenes of fractals, of furniture of primitives, or of the meshes in a folder; a stored detection set; "
            "scenes that were generated before; a folder prepared by VoteNet's or mmdetection3d's scripts; or none",
        )
    )
    folder: str | None = option(None, "folder of the meshes or of the set")
    split: str | None = option(
        None,
        "train, val or another split of a set; of furniture, which proportions; of meshes, which of them (val: one in "
        "five of each class); null: all meshes, else train",
    )
    scenes: SceneConfig = option(SceneConfig(), "what scenes that are made look like; not for those in a folder")
    fractals: PCFractalConfig = option(PCFractalConfig(), "the fractals, where the scenes are of fractals")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if self.kind not in ("fractals", "furniture", "none") and self.folder is None:
            yield "folder", f"is needed where kind is {self.kind}"
        if self.kind in ("furniture", "meshes") and self.split not in ("train", "val", None):
            yield "split", f"is {self.split!r}; {self.kind} has train and val"


@dataclass(frozen=True, kw_only=True)
class PointsConfig:
    """What the network sees of a scene, and what it is asked for."""

    num_points: int = option(20_000, "points of a sample", minimum=1)
    use_height: bool = option(True, "height above the floor as a feature")
    use_color: bool = option(False, "colours as features")
    votes: VoteTargets = option("box", "where points vote to: see pcfdsl.samples.detection")
    class_agnostic: bool = option(False, "one class, object")
    draws: PointDraws = option(
        "native", "how points and augmentations are drawn; or as VoteNet's loader of a data set does"
    )

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Scenes and the names of their categories, in order."""

    scenes: Sequence[Scene]
    classes: tuple[str, ...]


def open_scenes(config: SourceConfig) -> SceneSet:
    """The scenes of a configuration. Fractal categories are searched now, which may take a minute for a thousand.

    Raises:
        OSError, ValueError: If a folder cannot be used.
        ConfigError: If kind is none.
    """
    if config.kind == "stored":
        stored = DetectionSet(config.folder or "", config.split or "train")
        return SceneSet(stored, stored.classes)
    if config.kind == "generated":
        generated = SceneShards(config.folder or "")
        return SceneSet(generated, generated.classes)
    if config.kind in ("votenet", "mmdetection3d"):
        open_prepared = open_votenet if config.kind == "votenet" else open_mmdetection3d
        prepared = open_prepared(config.folder or "", config.split or "train")
        if prepared.missing:
            print(
                f"{config.folder}: {len(prepared.missing)} scenes of {config.split or 'train'} are not there",
                file=sys.stderr,
            )
        return SceneSet(prepared, prepared.classes)
    if config.kind == "none":
        raise ConfigError([("kind", "is none: these settings name no scenes; choose one of the other kinds")])
    if config.kind == "fractals":
        database = open_pcfractal(config.fractals)
        for category in tqdm(range(config.fractals.num_categories), desc="categories", leave=False, disable=None):
            database.category(category)  # now, not once more in every loader worker
        source = FractalObjects(database)
        classes = tuple(f"{category:06d}" for category in range(source.num_categories))
    elif config.kind == "furniture":
        source = PrimitiveFurniture(config.split or "train")
        classes = tuple(source.classes)
    else:
        source = MeshFolder(config.folder or "", split=config.split)
        classes = tuple(source.classes)
        if source.skipped:
            print(source.report(), file=sys.stderr)
    return SceneSet(Scenes(config.scenes, source), classes)


def scene_samples(
    scenes: Sequence[Scene], config: PointsConfig, *, seed: int, augment: AugmentConfig | None = None
) -> DetectionDataset:
    """Samples of scenes as the network sees them."""
    return DetectionDataset(
        scenes,
        num_points=config.num_points,
        use_height=config.use_height,
        use_color=config.use_color,
        votes=config.votes,
        class_agnostic=config.class_agnostic,
        draws=config.draws,
        augment=augment,
        seed=seed,
    )


def mean_box_sizes(
    scenes: Sequence[Scene], num_classes: int, *, per_class: bool, max_scenes: int = 200
) -> tuple[tuple[float, float, float], ...]:
    """Mean full extents of the boxes, over all or for each class, in metres to the millimetre.

    Looks at `max_scenes` scenes, evenly spread. A class without boxes there gets the mean of all.

    Raises:
        ValueError: If there is no box at all.
    """
    chosen = np.unique(np.linspace(0, len(scenes) - 1, min(len(scenes), max_scenes)).astype(int))
    looked_at = [scenes[int(i)] for i in chosen]
    sizes = np.concatenate([scene.boxes[:, 3:6] for scene in looked_at])
    categories = np.concatenate([scene.categories for scene in looked_at])
    if not len(sizes):
        raise ValueError(f"the {len(chosen)} training scenes looked at have no boxes; there is nothing to detect")
    groups = [sizes[categories == k] for k in range(num_classes)] if per_class else [sizes]
    means = np.array([(group if len(group) else sizes).mean(0, dtype=np.float64) for group in groups])
    return tuple((x, y, z) for x, y, z in means.clip(min=0.01).round(3).tolist())
