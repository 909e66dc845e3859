"""The random draws of VoteNet's two released loaders: the same numbers in the same order from the same generator.

The loaders draw from NumPy's global generator, which they reseed every epoch from the operating system. Given
`np.random.RandomState(s)`, these functions draw what the loaders draw after `np.random.seed(s)`. The quirks:

- If there are too few points, all are drawn with repetition, so some are never seen.
- ScanNet: points first, then the flips, then the angle. SUN RGB-D: flip, angle, changes of colour if used and scale
  first, points last; so colour changes are drawn for points that are then left out.
"""

import numpy as np

from pcfdsl.datasets.augment import AugmentConfig, Draws, Transform, draw_color_change

__all__ = ["check_released", "released_draws"]


def check_released(dataset: str, augment: AugmentConfig | None) -> None:
    """Check that VoteNet's loader of a benchmark has every augmentation that is used.

    Raises:
        ValueError: If it does not; the message names them.
    """
    if augment is None:
        return
    unknown = {"dropout": augment.dropout != 0, "jitter": augment.jitter != 0, "translation": augment.translation != 0}
    if dataset == "scannet":
        unknown |= {"scale": augment.scale != (1.0, 1.0), "color": augment.color}
    else:
        unknown |= {"flip_y": augment.flip_y != 0, "hull": augment.hull}
    if found := [name for name, there in unknown.items() if there]:
        raise ValueError(f"VoteNet's loader of {dataset} has no {', '.join(found)}; turn it off, or use native draws")


def released_draws(
    dataset: str, random: np.random.RandomState, available: int, wanted: int, *, config: AugmentConfig | None
) -> Draws:
    """Draw one sample as VoteNet's loader does.

    Args:
        dataset: "scannet" or "sunrgbd".
        random: The generator.
        available: Points of the scene.
        wanted: Points of the sample.
        config: Augmentation; None: only points are drawn, as in evaluation.
    """
    draw = {"scannet": _scannet, "sunrgbd": _sunrgbd}[dataset]
    return draw(random, available, wanted, config)


def _scannet(random: np.random.RandomState, available: int, wanted: int, config: AugmentConfig | None) -> Draws:
    rows = random.choice(available, wanted, replace=available < wanted)
    if config is None:
        return Draws(rows=rows)
    flip_x, flip_y = (random.random_sample() > 1 - chance for chance in (config.flip_x, config.flip_y))
    angle = _between(random, -np.radians(config.rotation), np.radians(config.rotation))
    return Draws(rows=rows, transform=Transform(flip_x=bool(flip_x), flip_y=bool(flip_y), angle=angle))


def _sunrgbd(random: np.random.RandomState, available: int, wanted: int, config: AugmentConfig | None) -> Draws:
    transform, colors = Transform(), None
    if config is not None:
        flip_x = random.random_sample() > 1 - config.flip_x
        angle = _between(random, -np.radians(config.rotation), np.radians(config.rotation))
        colors = draw_color_change(random, available) if config.color else None
        transform = Transform(flip_x=bool(flip_x), angle=angle, scale=_between(random, *config.scale))
    rows = random.choice(available, wanted, replace=available < wanted)
    return Draws(rows=rows, transform=transform, colors=colors and colors.rows(rows))


def _between(random: np.random.RandomState, low: float, high: float) -> float:
    return float(random.random_sample() * (high - low) + low)
