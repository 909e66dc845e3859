"""What is random about a sample: which points are drawn, and how they are flipped, rotated, scaled and jittered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pcfdsl.config import option, validate

__all__ = [
    "AugmentConfig",
    "ColorChange",
    "Draws",
    "Transform",
    "axis_aligned_hull",
    "choose_rows",
    "draw_color_change",
    "draw_sample",
    "draw_transform",
    "drop_and_jitter",
]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of training scenes.

    VoteNet's settings: on ScanNet both flips, 5 degrees, hull; on SUN RGB-D flip x, 30 degrees, scale 0.85 to 1.15.
    """

    flip_x: float = option(0.5, "probability of x -> -x", minimum=0.0, maximum=1.0)
    flip_y: float = option(0.5, "probability of y -> -y", minimum=0.0, maximum=1.0)
    rotation: float = option(5.0, "rotation about z, up to this many degrees either way", minimum=0.0, maximum=180.0)
    scale: tuple[float, float] = option((1.0, 1.0), "range of the scale factor", minimum=0.01)
    translation: float = option(0.0, "standard deviation of a shift along each axis, metres", minimum=0.0)
    hull: bool = option(False, "replace rotated boxes by their axis-aligned hulls (for sets without yaw)")
    dropout: float = option(
        0.0, "replace up to this share of the points by copies of others", minimum=0.0, maximum=0.99
    )
    jitter: float = option(0.0, "standard deviation of noise on each coordinate, metres", minimum=0.0)
    color: bool = option(False, "change colours, where used, as VoteNet does on SUN RGB-D: see ColorChange")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        if self.scale[0] > self.scale[1]:
            yield "scale", f"from {self.scale[0]} to {self.scale[1]} is empty"


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Flip, then rotate about z, then scale, all about the origin, then shift.

    Attributes:
        flip_x: Whether x -> -x.
        flip_y: Whether y -> -y.
        angle: Radians, counter-clockwise seen from above.
        scale: Factor of all coordinates.
        shift: Metres.
    """

    flip_x: bool = False
    flip_y: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Transform [..., 3] positions; the dtype is kept."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        sign_x, sign_y = (-1 if flip else 1 for flip in (self.flip_x, self.flip_y))
        matrix = (
            np.array([[cosine * sign_x, -sine * sign_y, 0], [sine * sign_x, cosine * sign_y, 0], [0, 0, 1]])
            * self.scale
        )
        return (np.asarray(points, np.float64) @ matrix.T + self.shift).astype(np.asarray(points).dtype)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Transform [K, 7] boxes so that they hold exactly the transformed points; yaw in [-pi, pi)."""
        yaw = boxes[:, 6].astype(np.float64)
        yaw = np.pi - yaw if self.flip_x else yaw
        yaw = (-yaw if self.flip_y else yaw) + self.angle
        yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
        return np.concatenate([self.points(boxes[:, :3]), boxes[:, 3:6] * self.scale, yaw[:, None]], axis=1).astype(
            boxes.dtype
        )

    def inverse(self) -> "Transform":
        """The transform that undoes this one: a single mirror turns the other way round."""
        mirrored = self.flip_x != self.flip_y
        linear = Transform(
            flip_x=self.flip_x, flip_y=self.flip_y, angle=self.angle if mirrored else -self.angle, scale=1 / self.scale
        )
        return replace(linear, shift=tuple((-linear.points(np.array(self.shift))).tolist()))


@dataclass(frozen=True, eq=False, kw_only=True)
class ColorChange:
    """A change of the colours of N points (VoteNet's released code, SUN RGB-D).

    Attributes:
        gain: [3] factor of each channel, 0.8 to 1.2.
        shift: [3] added to each channel, -0.05 to 0.05.
        noise: [N] added to all channels of a point, -0.025 to 0.025.
        kept: [N] bool; the other points, 30 %, turn black.
    """

    gain: np.ndarray
    shift: np.ndarray
    noise: np.ndarray
    kept: np.ndarray

    def __call__(self, colors: np.ndarray) -> np.ndarray:
        """Change [N, 3] float32 colours in 0..1."""
        changed = (colors * self.gain + self.shift + self.noise[:, None]).clip(0, 1) * self.kept[:, None]
        return changed.astype(np.float32)

    def rows(self, rows: np.ndarray) -> "ColorChange":
        """The change of a selection of the points."""
        return ColorChange(gain=self.gain, shift=self.shift, noise=self.noise[rows], kept=self.kept[rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class Draws:
    """Everything random about one sample of a scene with M points.

    Attributes:
        rows: [N] int64 into the M points.
        transform: Transform of points and boxes.
        offsets: [N, 3] float32 metres, added to the transformed points; None for none.
        colors: Change of the N colours; None for none.
    """

    rows: np.ndarray
    transform: Transform = Transform()
    offsets: np.ndarray | None = None
    colors: ColorChange | None = None


def draw_sample(rng: np.random.Generator, available: int, wanted: int, *, config: AugmentConfig | None) -> Draws:
    """Draw a sample: its points as by `choose_rows`, and its augmentation as `config` says (None: none)."""
    rows = choose_rows(rng, available, wanted)
    if config is None:
        return Draws(rows=rows)
    transform = draw_transform(rng, config)
    kept, offsets = drop_and_jitter(rng, wanted, config=config)
    colors = draw_color_change(rng, wanted) if config.color else None
    return Draws(rows=rows[kept], transform=transform, offsets=offsets, colors=colors)


def choose_rows(rng: np.random.Generator, available: int, wanted: int) -> np.ndarray:
    """[wanted] int64 rows in random order: without repetition if enough are available, otherwise all and repeats."""
    if wanted <= available:
        return rng.choice(available, wanted, replace=False)
    return rng.permutation(np.concatenate([np.arange(available), rng.integers(available, size=wanted - available)]))


def draw_color_change(rng: np.random.Generator | np.random.RandomState, num_points: int) -> ColorChange:
    """Draw a change of colours, in the order of VoteNet's released code."""
    return ColorChange(
        gain=1 + 0.4 * rng.random(3) - 0.2,
        shift=0.1 * rng.random(3) - 0.05,
        noise=0.05 * rng.random(num_points) - 0.025,
        kept=rng.random(num_points) > 0.3,
    )


def draw_transform(rng: np.random.Generator, config: AugmentConfig) -> Transform:
    """Draw a transform as the settings say."""
    flip_x, flip_y = rng.random(2) < (config.flip_x, config.flip_y)
    angle = np.radians(rng.uniform(-config.rotation, config.rotation))
    transform = Transform(
        flip_x=bool(flip_x), flip_y=bool(flip_y), angle=float(angle), scale=float(rng.uniform(*config.scale))
    )
    if not config.translation:
        return transform
    return replace(transform, shift=tuple(rng.normal(0, config.translation, 3).tolist()))


def axis_aligned_hull(boxes: np.ndarray) -> np.ndarray:
    """The smallest boxes with yaw 0 that hold the given ones, [K, 7]."""
    cosine, sine = np.abs(np.cos(boxes[:, 6])), np.abs(np.sin(boxes[:, 6]))
    hulls = boxes.copy()
    hulls[:, 3] = cosine * boxes[:, 3] + sine * boxes[:, 4]
    hulls[:, 4] = sine * boxes[:, 3] + cosine * boxes[:, 4]
    hulls[:, 6] = 0
    return hulls


def drop_and_jitter(
    rng: np.random.Generator, num_points: int, *, config: AugmentConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Draw which points are dropped and how far each point is moved.

    Returns:
        (rows, offsets): [N] int64 into the points, dropped ones replaced by kept ones; [N, 3] float32 metres.
    """
    rows = np.arange(num_points)
    if config.dropout and num_points > 1:
        dropped = rng.random(num_points) < rng.uniform(0, config.dropout)
        dropped[rng.integers(num_points)] = False
        rows[dropped] = rng.choice(np.flatnonzero(~dropped), int(dropped.sum()))
    offsets = np.zeros((num_points, 3), np.float32)
    if config.jitter:
        offsets = rng.normal(0, config.jitter, (num_points, 3)).astype(np.float32)
    return rows, offsets
