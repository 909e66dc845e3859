"""PC-FractalDB scenes as published: the layout rule with its random numbers, and its JSON files (Yamada et al., 2022).

What the authors released ends at the JSON: how clouds are put into the boxes is not published. `assemble` therefore
offers the two readings there are. Differences from native scenes, all kept as they are: 15 m without floor or walls,
objects may stick out over the edge, nothing is hidden, and a scene ends at the first object that finds no place.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcfdsl.scene.boxes import Scene

__all__ = ["ReleasedObject", "assemble", "draw_scene", "read_scene", "write_scene"]

TRIES = 100
GAP = 0.25
SCENE_SIZE = 15.0


@dataclass(frozen=True, kw_only=True)
class ReleasedObject:
    """One entry of a published scene file.

    Attributes:
        size: dx, dy, dz, metres.
        position: Centre x, y, z, metres; z is dz / 2, so that it stands on z = 0.
        theta: Heading, radians; it is taken as a counter-clockwise yaw (no published code turns anything by it).
        category: Number of the fractal category; `class_name` in the file, with six digits.
        file_name: Name of the instance's PLY file.
    """

    size: tuple[float, float, float]
    position: tuple[float, float, float]
    theta: float
    category: int
    file_name: str


def draw_scene(
    random: np.random.RandomState,
    files: Sequence[tuple[int, str]],
    *,
    num_objects: int = 15,
    scene_size: float = SCENE_SIZE,
) -> list[ReleasedObject]:
    """The published layout, number by number.

    The published script never seeds its generator. Given `np.random.RandomState(s)` this draws what the script draws
    after `np.random.seed(s)`: the Poisson number, then per object base size, two aspects, positions until one is free,
    theta, file.

    Args:
        random: NumPy's legacy generator; left where the script would leave it.
        files: (category, file name) of every instance, in the order of the sorted folders and files.
        num_objects: Objects before Poisson(5) more; 15 is the script's default, its shell wrapper passes 5.
        scene_size: Side of the square that centres are drawn from, metres.

    Returns:
        Up to `num_objects` + Poisson(5) objects.

    Raises:
        ValueError: If there are no files.
    """
    if not files:
        raise ValueError("there are no instances to put into the scene; expected (category, file name) pairs")
    objects: list[ReleasedObject] = []
    for _ in range(num_objects + int(random.poisson(lam=5))):
        base = 0.75 + random.random_sample() * 0.5
        size = np.ones(3, np.float32)
        size[1:] = 0.9 + random.random_sample(2) * 0.2
        size = size * np.float32(base)
        position = _free_position(random, size, objects, scene_size)
        if position is None:
            break
        theta = (1.0 - random.random_sample() * 2.0) * np.pi
        category, file_name = files[int(random.randint(0, len(files)))]
        objects.append(
            ReleasedObject(
                size=_triple(size),
                position=_triple(position),
                theta=float(theta),
                category=category,
                file_name=file_name,
            )
        )
    return objects


def _free_position(random, size, objects, scene_size) -> np.ndarray | None:
    """A place whose distance to every earlier centre is half the sum of the footprint diagonals and 0.25 m more."""
    diagonal = np.linalg.norm(size[:2])
    for _ in range(TRIES):
        position = np.zeros(3, np.float32)
        position[:2] = (1.0 - random.random_sample(2) * 2.0) * scene_size * 0.5
        position[2] = size[2] * np.float32(0.5)
        if all(
            np.linalg.norm(position[:2] - np.float32(other.position[:2]))
            >= (diagonal + np.linalg.norm(np.float32(other.size[:2]))) * 0.5 + GAP
            for other in objects
        ):
            return position
    return None


def assemble(
    objects: Sequence[ReleasedObject],
    cloud: Callable[[int, str], np.ndarray],
    *,
    fit: str = "tight",
    num_points: int | None = None,
) -> Scene:
    """Put clouds into the boxes of a published scene.

    Args:
        objects: The scene.
        cloud: (category, file name) -> [N, 3] points about the origin.
        fit: "tight" stretches each cloud's own extent to the box, as the project's figure suggests (box and centroid
            of the mixed cloud); "scaled" multiplies the points by the size, as third-party loaders do, so that a
            cloud in [-1, 1] fills twice its labelled box.
        num_points: An even selection of the points in this number; None keeps all.

    Returns:
        The scene; categories are those of the objects.

    Raises:
        ValueError: If `fit` is neither.
    """
    if fit not in ("tight", "scaled"):
        raise ValueError(f"fit={fit!r} is not known; expected 'tight' or 'scaled'")
    clouds, boxes = [], []
    for item in objects:
        points = np.asarray(cloud(item.category, item.file_name), np.float64)
        if fit == "tight":
            low, high = points.min(axis=0), points.max(axis=0)
            points = (points - (low + high) / 2) / np.maximum(high - low, 1e-9)
        points = points * item.size
        cosine, sine = np.cos(item.theta), np.sin(item.theta)
        turned = points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        clouds.append(turned + item.position)
        boxes.append([*item.position, *item.size, item.theta])
    points = np.concatenate(clouds) if clouds else np.zeros((0, 3))
    ids = np.repeat(np.arange(len(clouds)), [len(part) for part in clouds])
    if num_points is not None and len(points) > num_points:
        kept = np.linspace(0, len(points) - 1, num_points).round().astype(int)
        points, ids = points[kept], ids[kept]
    categories = np.array([item.category for item in objects], np.int32)
    return Scene(points=points, boxes=np.array(boxes, np.float32), categories=categories, instance_ids=ids)


def write_scene(path: str | Path, objects: Sequence[ReleasedObject]) -> None:
    """Write a scene file of the published form."""
    entries = [
        {
            "size": list(item.size),
            "c_pos": list(item.position),
            "theta": item.theta,
            "class_name": f"{item.category:06d}",
            "file_name": item.file_name,
        }
        for item in objects
    ]
    Path(path).write_text(json.dumps(entries), encoding="utf-8")


def read_scene(path: str | Path) -> list[ReleasedObject]:
    """Read a scene file of the published form.

    Raises:
        OSError: If it cannot be read.
        ValueError: Naming the file and the entry, if it is not of that form.
    """
    try:
        entries: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; it may be truncated") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path} holds a {type(entries).__name__}; expected a list of objects")
    objects = []
    for number, entry in enumerate(entries):
        try:
            objects.append(
                ReleasedObject(
                    size=_triple(entry["size"]),
                    position=_triple(entry["c_pos"]),
                    theta=float(entry["theta"]),
                    category=int(entry["class_name"]),
                    file_name=str(entry["file_name"]),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}, object {number}: {type(error).__name__} {error}; "
                "expected size[3], c_pos[3], theta, class_name (a number) and file_name"
            ) from None
        if not min(objects[-1].size) > 0 or not np.isfinite([*objects[-1].position, objects[-1].theta]).all():
            raise ValueError(f"{path}, object {number}: size must be positive and every number finite")
    return objects


def _triple(values) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
