"""The random draws of VoteNet's two loaders: the same numbers in the same order from the same generator.

The published loaders draw from NumPy's global generator, which they seed anew every epoch from the operating system.
Given `np.random.RandomState(s)` these functions draw what they draw after `np.random.seed(s)`. The quirks:

- Points are drawn with repetition as soon as there are too few, so some are never seen.
- ScanNet: points first, then the flips, then the angle. SUN RGB-D: flip, angle, changes of colour where asked for and
  scale first, points last; so colours are drawn for points that are then left out.
"""

import numpy as np

from pcfdsl.datasets.augment import AugmentConfig, Draws, Transform, draw_color_change

__all__ = ["check_published", "published_draws"]


def check_published(dataset: str, augment: AugmentConfig | None) -> None:
    """See that an augmentation has nothing that the published loader of a data set does not know.

    Raises:
        ValueError: Naming what it has.
    """
    if augment is None:
        return
    unknown = {"dropout": augment.dropout != 0, "jitter": augment.jitter != 0}
    if dataset == "scannet":
        unknown |= {"scale": augment.scale != (1.0, 1.0), "color": augment.color}
    else:
        unknown |= {"flip_y": augment.flip_y != 0, "hull": augment.hull}
    if found := [name for name, there in unknown.items() if there]:
        raise ValueError(f"the published loader of {dataset} has no {', '.join(found)}; turn it off, or draw natively")


def published_draws(
    dataset: str, random: np.random.RandomState, available: int, wanted: int, *, config: AugmentConfig | None
) -> Draws:
    """What the published loader draws for one sample.

    Args:
        dataset: "scannet" or "sunrgbd".
        random: The generator.
        available: Points of the scene.
        wanted: Points of the sample.
        config: How far things go; None: only points are drawn, as in evaluation.
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
