"""PC-FractalDB scenes by the released script's layout, number by number (Yamada et al., CVPR 2022).

The script never seeds its generator; here scene i has `RandomState(s)`, s drawn from (seed, i), and its layout is what
the script draws after `np.random.seed(s)`. The script ends at a list of boxes; how clouds are put into them was not
released. Here each cloud is stretched to its box, as the project's figure suggests. Differences from native scenes, all
kept: 15 m without floor or walls, objects may stick out over the edge, nothing is hidden, and a scene ends at the first
object that finds no place.
"""

from dataclasses import dataclass

import numpy as np

from pcfdsl.config import Settings, option
from pcfdsl.pointcloud.pcfractal import PCFractalDB
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene, SceneSequence
from pcfdsl.scene.furnish import stretch, turn_about_z

__all__ = ["ReleasedObject", "ReleasedScenes", "ReleasedScenesConfig", "draw_layout"]

TRIES = 100
GAP = 0.25
SCENE_SIZE = 15.0


@dataclass(frozen=True, kw_only=True)
class ReleasedScenesConfig(Settings):
    """A set of scenes by the released layout."""

    seed: int = option(0, "all randomness depends on it and on the number of the scene")
    num_scenes: int = option(10_000, "length of the set", minimum=1, maximum=1_000_000_000)
    num_points: int = option(20_000, "points of a scene", minimum=1, maximum=10_000_000)
    num_objects: int = option(
        15, "objects before Poisson(5) more; the released shell script passes 5", minimum=1, maximum=10_000
    )


@dataclass(frozen=True, kw_only=True)
class ReleasedObject:
    """One object of a layout.

    Attributes:
        size: dx, dy, dz, metres.
        position: Centre x, y, z, metres; z is dz / 2, so that it stands on z = 0.
        theta: Heading, radians; it is taken as a counter-clockwise yaw (no released code turns anything by it).
        file_idx: Number of the instance's file among all, sorted by category and instance.
    """

    size: tuple[float, float, float]
    position: tuple[float, float, float]
    theta: float
    file_idx: int


class ReleasedScenes(SceneSequence):
    """Scenes of fractals by the released layout. Scene i is a pure function of (config, seed, i)."""

    def __init__(self, config: ReleasedScenesConfig, database: PCFractalDB):
        self.config, self.database = config, database

    def __len__(self) -> int:
        return self.config.num_scenes

    def scene(self, index: int) -> Scene:
        """Scene `index`: `num_points` points, chosen evenly among those of all its objects."""
        rng = stream(self.config.seed, "released scene", index)
        num_categories, num_instances = self.database.config.num_categories, self.database.config.num_instances
        legacy = np.random.RandomState(int(rng.integers(2**32)))
        objects = draw_layout(legacy, num_categories * num_instances, num_objects=self.config.num_objects)
        clouds, boxes = [], []
        for item in objects:
            cloud = self.database.cloud(*divmod(item.file_idx, num_instances))
            centred = stretch(cloud.points.astype(np.float64), np.array(item.size)) - np.array(item.size) / 2
            clouds.append(centred @ turn_about_z(item.theta).T + item.position)
            boxes.append([*item.position, *item.size, item.theta])
        points = np.concatenate(clouds)
        ids = np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])
        kept = rng.choice(len(points), self.config.num_points, replace=len(points) < self.config.num_points)
        return Scene(
            points=points[kept],
            boxes=np.array(boxes, np.float32),
            categories=np.array([item.file_idx // num_instances for item in objects], np.int32),
            instance_ids=ids[kept],
        )


def draw_layout(
    random: np.random.RandomState,
    num_files: int,
    *,
    num_objects: int = 15,
) -> list[ReleasedObject]:
    """The released layout, number by number.

    Given `np.random.RandomState(s)` this draws what the script draws after `np.random.seed(s)`: the Poisson number,
    then per object base size, two aspects, positions until one is free, theta, file.

    Args:
        random: NumPy's legacy generator; left where the script would leave it.
        num_files: Number of files, one for each instance, that objects are chosen from.
        num_objects: Objects before Poisson(5) more.

    Returns:
        One to `num_objects` + Poisson(5) objects.
    """
    objects: list[ReleasedObject] = []
    for _ in range(num_objects + int(random.poisson(lam=5))):
        base = 0.75 + random.random_sample() * 0.5
        size = np.ones(3, np.float32)
        size[1:] = 0.9 + random.random_sample(2) * 0.2
        size = size * np.float32(base)
        position = _free_position(random, size, objects)
        if position is None:
            break
        theta = (1.0 - random.random_sample() * 2.0) * np.pi
        file_idx = int(random.randint(0, num_files))
        objects.append(
            ReleasedObject(size=_triple(size), position=_triple(position), theta=float(theta), file_idx=file_idx)
        )
    return objects


def _free_position(random, size, objects) -> np.ndarray | None:
    """A place whose distance to every earlier centre is half the sum of the footprint diagonals and 0.25 m more."""
    diagonal = np.linalg.norm(size[:2])
    for _ in range(TRIES):
        position = np.zeros(3, np.float32)
        position[:2] = (1.0 - random.random_sample(2) * 2.0) * SCENE_SIZE * 0.5
        position[2] = size[2] * np.float32(0.5)
        if all(
            np.linalg.norm(position[:2] - np.float32(other.position[:2]))
            >= (diagonal + np.linalg.norm(np.float32(other.size[:2]))) * 0.5 + GAP
            for other in objects
        ):
            return position
    return None


def _triple(values) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
