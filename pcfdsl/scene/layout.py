"""Where objects stand in a room: yaw, against a wall or free, on the floor or stacked, without collisions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.jit import kernel

__all__ = ["Layout", "LayoutConfig", "lay_out"]

CENTER_DISTANCE_GAP = 0.25  # metres, of the released rule
WALL_GAP = 0.02
HIGHEST_SUPPORT = 1.3  # metres; nothing is stacked on wardrobes


@dataclass(frozen=True, kw_only=True)
class LayoutConfig:
    """How objects are arranged."""

    room: tuple[float, float] | None = option(None, "length and width of the room, metres; null: fitted to the objects")
    coverage: tuple[float, float] = option(
        (0.08, 0.3), "range of the share of the floor that objects cover in a fitted room", minimum=0.02, maximum=0.8
    )
    max_room_aspect: float = option(2.0, "longest over shortest side of a fitted room, at most", minimum=1.0)
    yaw: Literal["free", "quarter", "axis_aligned"] = option(
        "free",
        "orientation of boxes: any angle, multiples of 90 degrees, or axis-aligned boxes with rotated content",
    )
    rule: Literal["separate", "center_distance", "none"] = option(
        "separate",
        "what keeps objects apart: their oriented footprints, the released distance of centres, or nothing",
    )
    gap: float = option(0.05, "metres kept between footprints under the rule separate", minimum=0.0)
    against_wall: float = option(
        0.5, "probability that an object stands with its back to a wall", minimum=0.0, maximum=1.0
    )
    stacking: float = option(0.15, "probability that an object is put on top of a larger one", minimum=0.0, maximum=1.0)
    tries: int = option(60, "positions tried before an object is left out", minimum=1, maximum=1_000_000)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        if self.coverage[0] > self.coverage[1]:
            yield "coverage", f"the range from {self.coverage[0]} to {self.coverage[1]} is empty"
        if self.room is not None and min(self.room) <= 0:
            yield "room", f"sides must be positive, got {self.room}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """An arrangement of K objects in a room centred on the origin.

    Attributes:
        room: [2] float64, length (x) and width (y), metres.
        positions: [K, 2] float64, middle of each footprint.
        yaws: [K] float64, radians, counter-clockwise.
        supports: [K] int64, the object it is stacked on; -1 for the floor.
        placed: [K] bool; false where no free position was found.
        order: [K] int64, an order in which supports come before what is stacked on them.
    """

    room: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray
    supports: np.ndarray
    placed: np.ndarray
    order: np.ndarray


def lay_out(rng: np.random.Generator, sizes: np.ndarray, *, config: LayoutConfig) -> Layout:
    """Arrange objects, large ones first.

    Args:
        rng: Source of all randomness.
        sizes: [K, 3] full extents, metres.
        config: The rules.

    Returns:
        The layout; under the rule "separate" footprints of floor objects are at least `config.gap` apart.
    """
    sizes = np.asarray(sizes, np.float64).reshape(-1, 3)
    num_objects = len(sizes)
    order = np.argsort(-sizes[:, 0] * sizes[:, 1], kind="stable")
    supports = _choose_supports(rng, sizes, order, config.stacking)
    sides = np.where(rng.random(num_objects) < config.against_wall, rng.integers(0, 4, num_objects), -1)
    sides[supports >= 0] = -1
    yaws = _choose_yaws(rng, sides, config.yaw)
    on_floor = order[supports[order] < 0]
    room = np.array(config.room) if config.room else _fitted_room(rng, sizes[on_floor], config)

    positions, placed = np.zeros((num_objects, 2)), np.zeros(num_objects, bool)
    positions[on_floor], placed[on_floor] = _place(
        sizes[on_floor, :2] / 2,
        yaws[on_floor],
        sides[on_floor],
        room / 2,
        ("separate", "center_distance", "none").index(config.rule),
        config.gap,
        rng.random((len(on_floor), config.tries, 2)),
    )
    for k in order[supports[order] >= 0]:
        below = supports[k]
        reach = (sizes[below, :2] - np.hypot(*sizes[k, :2])) / 2
        x, y = rng.uniform(-1, 1, 2) * reach
        cosine, sine = np.cos(yaws[below]), np.sin(yaws[below])
        positions[k] = positions[below] + (cosine * x - sine * y, sine * x + cosine * y)
        placed[k] = placed[below]
    return Layout(
        room=room,
        positions=positions,
        yaws=yaws,
        supports=supports,
        placed=placed,
        order=np.concatenate([on_floor, order[supports[order] >= 0]]),
    )


def _choose_supports(rng, sizes, order, probability):
    """At most one smaller object on each larger one that stands on the floor and is not too high."""
    supports = np.full(len(sizes), -1)
    wants = rng.random(len(sizes)) < probability
    for rank, k in enumerate(order):
        if not wants[k]:
            continue
        larger = order[:rank]
        free = larger[
            (supports[larger] < 0)
            & ~np.isin(larger, supports)
            & (sizes[larger, :2].min(axis=1) >= np.hypot(*sizes[k, :2]))  # at any yaw
            & (sizes[larger, 2] <= HIGHEST_SUPPORT)
        ]
        if len(free):
            supports[k] = rng.choice(free)
    return supports


def _choose_yaws(rng, sides, kind):
    """Backs (+y of an object) face the wall: side 0 is +y, then counter-clockwise."""
    free = rng.uniform(-np.pi, np.pi, len(sides))
    quarters = (np.where(sides >= 0, sides, rng.integers(0, 4, len(sides))) * (np.pi / 2) + np.pi) % (2 * np.pi) - np.pi
    if kind == "axis_aligned":
        return np.zeros(len(sides))
    return quarters if kind == "quarter" else np.where(sides >= 0, quarters, free)


def _fitted_room(rng, sizes, config):
    area = (sizes[:, 0] * sizes[:, 1]).sum() / rng.uniform(*config.coverage)
    aspect = rng.uniform(1, config.max_room_aspect)
    longest = np.hypot(sizes[:, 0], sizes[:, 1]).max(initial=1.0)
    room = np.maximum(np.sqrt(area * np.array([aspect, 1 / aspect])), longest + 2 * config.gap + 0.5)
    return room if rng.random() < 0.5 else room[::-1].copy()


@kernel
def _place(half_sizes, yaws, sides, half_room, rule, gap, uniforms):
    """First position of each object that fits; `uniforms` [K, tries, 2] are the positions to try."""
    num_objects, tries, _ = uniforms.shape
    positions = np.zeros((num_objects, 2))
    placed = np.zeros(num_objects, np.bool_)
    for k in range(num_objects):
        cosine, sine = abs(np.cos(yaws[k])), abs(np.sin(yaws[k]))
        free_x = half_room[0] - (cosine * half_sizes[k, 0] + sine * half_sizes[k, 1]) - WALL_GAP
        free_y = half_room[1] - (sine * half_sizes[k, 0] + cosine * half_sizes[k, 1]) - WALL_GAP
        if free_x < 0 or free_y < 0:
            continue
        for t in range(tries):
            x, y = (2 * uniforms[k, t, 0] - 1) * free_x, (2 * uniforms[k, t, 1] - 1) * free_y
            if sides[k] == 0 or sides[k] == 2:
                y = free_y if sides[k] == 0 else -free_y
            elif sides[k] == 1 or sides[k] == 3:
                x = -free_x if sides[k] == 1 else free_x
            fits = True
            for other in range(k):
                if placed[other] and _collide(
                    x, y, half_sizes[k], yaws[k], positions[other], half_sizes[other], yaws[other], rule, gap
                ):
                    fits = False
                    break
            if fits:
                positions[k] = x, y
                placed[k] = True
                break
    return positions, placed


@kernel
def _collide(x, y, half_a, yaw_a, position_b, half_b, yaw_b, rule, gap):
    if rule == 2:
        return False
    dx, dy = x - position_b[0], y - position_b[1]
    if rule == 1:
        return np.hypot(dx, dy) < np.hypot(half_a[0], half_a[1]) + np.hypot(half_b[0], half_b[1]) + CENTER_DISTANCE_GAP
    # Two rectangles are disjoint exactly when a side of one of them separates them.
    for yaw in (yaw_a, yaw_b):
        for quarter in range(2):
            axis_x, axis_y = np.cos(yaw + quarter * np.pi / 2), np.sin(yaw + quarter * np.pi / 2)
            reach = gap
            for half, turn in ((half_a, yaw_a), (half_b, yaw_b)):
                cosine, sine = np.cos(turn), np.sin(turn)
                reach += half[0] * abs(axis_x * cosine + axis_y * sine) + half[1] * abs(axis_y * cosine - axis_x * sine)
            if abs(axis_x * dx + axis_y * dy) >= reach:
                return False
    return True
