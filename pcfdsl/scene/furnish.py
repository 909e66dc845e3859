"""Objects of a source in a room: drawn, given their sizes, turned, and set down where the layout says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcfdsl.scene.boxes import axis_bounds, points_in_boxes
from pcfdsl.scene.colors import Thing
from pcfdsl.scene.config import SceneConfig, SizeConfig
from pcfdsl.scene.layout import Layout, lay_out
from pcfdsl.scene.objects import ObjectSource, PartSource
from pcfdsl.scene.source_checks import checked_object

__all__ = ["Placed", "draw_objects", "place_objects", "stretch", "turn_about_z"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed:
    """An object that stands in a room.

    Attributes:
        points: [N, 3] float64, metres, in the frame of the room.
        category: What it is.
        yaw: Radians, counter-clockwise from +x about +z.
        thing: The same points as the source gave them, in a frame and size of their own.
    """

    points: np.ndarray
    category: int
    yaw: float
    thing: Thing


def place_objects(
    rng: np.random.Generator, source: ObjectSource, num_objects: int, num_points: int, *, config: SceneConfig
) -> tuple[list[Placed], Layout]:
    """Draw objects and place them in a room.

    Args:
        rng: Source of all randomness.
        source: Where objects come from.
        num_objects: Number of objects.
        num_points: Points of all objects together, about; large ones have more.
        config: What the scene looks like.

    Returns:
        The objects that found a place, and the layout of all.
    """
    limit = max(1, -(-2 * num_points // max(num_objects, 1)))  # a large object may have twice the average
    turned = config.layout.yaw == "axis_aligned"
    things, categories, sizes = draw_objects(rng, source, num_objects, limit, config=config.sizes, turned=turned)
    layout = lay_out(rng, np.maximum(sizes, 1e-3), config=config.layout)

    areas = sizes[:, 0] * sizes[:, 1] + (sizes[:, 0] + sizes[:, 1]) * sizes[:, 2]
    counts = _allot(areas**config.sizes.area_exponent * layout.placed, num_points, limit)
    counts = np.maximum(counts, layout.placed)  # even the smallest has a point, hence a box
    placed: dict[int, Placed] = {}
    for k in layout.order[layout.placed[layout.order]].tolist():
        thing, yaw = things[k].first(counts[k]), float(layout.yaws[k])
        cloud = stretch(thing.points, sizes[k]) - [*sizes[k, :2] / 2, 0]
        cloud = cloud @ turn_about_z(yaw).T
        cloud[:, :2] += layout.positions[k]
        if layout.supports[k] >= 0:
            support = placed[int(layout.supports[k])].points
            cloud[:, 2] += _height_below(support, layout.positions[k], sizes[k], yaw)
        placed[k] = Placed(points=cloud, category=categories[k], yaw=yaw, thing=thing)
    return [placed[k] for k in sorted(placed)], layout


def draw_objects(
    rng: np.random.Generator,
    source: ObjectSource,
    num_objects: int,
    num_points: int,
    *,
    config: SizeConfig,
    turned: bool = False,
) -> tuple[list[Thing], list[int], np.ndarray]:
    """Draw objects, and the sizes that they are to have; `stretch` gives them these sizes.

    Args:
        rng: Source of all randomness.
        source: Where objects come from.
        num_objects: Number of objects.
        num_points: Points of each.
        config: How large they are.
        turned: Rotate each about z by a random angle.

    Returns:
        (objects, categories, sizes): K objects of `num_points` points float64, K categories, full extents [K, 3] in
        metres.

    Raises:
        TypeError, ValueError: As `checked_object`.
    """
    objects, categories = [], []
    has_parts = isinstance(source, PartSource)  # asked once: a protocol answers slowly
    for _ in range(num_objects):
        given = source.sample_in_parts(rng, num_points) if has_parts else source.sample(rng, num_points)
        thing, category = checked_object(source, given, num_points, in_parts=has_parts)
        objects.append(thing)
        categories.append(category)
    if turned:
        objects = [
            replace(thing, points=thing.points @ turn_about_z(rng.uniform(-np.pi, np.pi)).T) for thing in objects
        ]
    return objects, categories, _draw_sizes(rng, [thing.points for thing in objects], config)


def stretch(cloud: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A cloud [N, 3] moved and scaled to span 0 to `size` [3] along each axis; an axis without extent is left flat."""
    low, high = axis_bounds(cloud)
    extent = high - low
    return (cloud - low) * np.where(extent > 1e-9, size / np.maximum(extent, 1e-9), 1)


def _draw_sizes(rng: np.random.Generator, clouds: Sequence[np.ndarray], config: SizeConfig) -> np.ndarray:
    sizes = np.exp(rng.uniform(np.log(config.low), np.log(config.high), (len(clouds), 3)))
    if config.shape == "fill":
        return sizes
    extents = np.array([np.subtract(*axis_bounds(cloud)[::-1]) for cloud in clouds]).reshape(-1, 3)
    if config.shape == "metres":
        return extents
    return extents * (sizes / np.maximum(extents, 1e-9)).min(axis=1, keepdims=True)


def _allot(weights: np.ndarray, total: int, limit: int) -> np.ndarray:
    """Integers proportional to the weights that sum to the total, none above the limit."""
    counts = np.zeros(len(weights), np.int64)
    while (rest := min(total, limit * int((weights > 0).sum())) - int(counts.sum())) > 0:
        free = weights * (counts < limit)
        edges = np.round(np.cumsum(free) / free.sum() * rest).astype(np.int64)
        counts = np.minimum(counts + np.diff(edges, prepend=0), limit)
    return counts


def _height_below(support: np.ndarray, position: np.ndarray, size: np.ndarray, yaw: float) -> float:
    """The height at which a footprint rests on a cloud: its highest point beneath, or its top if there is none."""
    box = np.array([[*position, 0, *size[:2], 1e3, yaw]])
    beneath = support[points_in_boxes(support, box)[0], 2]
    return float(beneath.max() if len(beneath) else support[:, 2].max())


def turn_about_z(yaw: float) -> np.ndarray:
    """The rotation [3, 3] of column vectors by `yaw` radians, counter-clockwise about +z."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
