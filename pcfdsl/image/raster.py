"""The rasteriser: 2D points -> a picture.

Points are framed (stretched to the picture, or scaled uniformly), drawn as tones into a plane of bytes where 0 is the
background, and the tones are coloured. Every drawing style is one short kernel that releases the GIL. Row 0 is the top,
and y points up.
"""

import colorsys
import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.jit import kernel

__all__ = ["DrawConfig", "average_down", "coloured", "count_ink", "fit_frame", "released_hues", "rasterize"]

NUM_HUES = 128
_WIDTH = 32  # inner loops of whole vector registers
_EMPTY = np.zeros(0, np.uint32)


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How points become a picture."""

    style: Literal["dot", "patch", "image_patch", "density"] = option(
        "patch",
        "dot: a pixel per point; patch: a random 3x3 mask per point, drawn over earlier ones, as released; "
        "image_patch: one random 3x3 mask for the whole picture; density: the more points, the brighter",
    )
    color: bool = option(False, "hue by point number (128 hues in turn, as released), or by density; else grey")
    ink: int = option(127, "grey level of the ink; density runs from it to 255", minimum=1, maximum=255)
    pad: int = option(6, "free pixels on each side", minimum=0, maximum=16_384)
    keep_aspect: bool = option(False, "scale both axes alike; the released pictures stretch each by itself")
    supersample: int = option(1, "draw this many times larger, then average", minimum=1, maximum=8)

    def __post_init__(self):
        validate(self)


def rasterize(
    points: np.ndarray, height: int, width: int, config: DrawConfig, *, rng: np.random.Generator | None = None
) -> np.ndarray | None:
    """Picture of one point set, or None if it cannot be framed: a point is not finite, or all coincide.

    Args:
        points: [N, 2] float32, x to the right and y up.
        height, width: Size of the picture, in pixels.
        config: Style, colours and framing.
        rng: For the masks of the two patch styles; unused by the others.

    Returns:
        uint8 [height, width], or [height, width, 3] RGB in colour.

    Raises:
        ValueError: If the padding leaves no room in the picture, or masks are needed and `rng` is None.

    >>> rasterize(np.array([[0, 0], [1, 1], [1, 0]], np.float32), 2, 2, DrawConfig(style="dot", pad=0))
    array([[  0, 127],
           [127, 127]], dtype=uint8)
    """
    s = config.supersample
    frame = fit_frame(points, height * s, width * s, pad=config.pad * s, keep_aspect=config.keep_aspect)
    if frame is None:
        return None
    if rng is None and config.style in ("patch", "image_patch"):
        raise ValueError(f"the style {config.style!r} draws random masks; pass rng=stream(seed, ...)")
    plane = np.zeros((height * s + 2, width * s + 2), np.uint8)  # a margin for the patches
    num_tones = NUM_HUES if config.color else 1
    first = 1 if config.color else config.ink
    if config.style == "patch":
        _patches(points, frame, _patch_key(rng), first, num_tones, plane)
    elif config.style == "image_patch":
        _dots(points, frame, first, num_tones, plane)
        plane = _spread(plane, int(rng.integers(1, 512)))  # type: ignore[union-attr]
    elif config.style == "density":
        counts = np.zeros(plane.shape, np.uint32)
        _counts(points, frame, counts)
        _tone_of_density(counts, 1 if config.color else config.ink, plane)
    else:
        _dots(points, frame, first, num_tones, plane)
    image = np.ascontiguousarray(plane[1:-1, 1:-1])
    if config.color:
        image = coloured(image, _density_hues() if config.style == "density" else _index_hues())
    return average_down(image, s)


def fit_frame(
    points: np.ndarray, height: int, width: int, *, pad: int = 0, keep_aspect: bool = False
) -> np.ndarray | None:
    """The mapping from points to pixels: column = int((x - f0) f1 + f2), row = int((y - f3) f4 + f5), float32.

    None if a point is not finite, or all coincide.

    The bounding box fills the picture up to `pad` pixels from each side; with the aspect ratio kept it is centred. A
    set without extent on one axis is centred on that axis.

    Raises:
        ValueError: If the padding leaves no pixel.
    """
    if height <= 2 * pad or width <= 2 * pad:
        raise ValueError(f"a picture of {height} x {width} pixels has no room inside a padding of {pad} on each side")
    if len(points) == 0:
        return None
    low, high = np.empty(2, np.float32), np.empty(2, np.float32)
    _bounds(points, low, high)
    (x_low, y_low), (x_high, y_high) = low.tolist(), high.tolist()  # numbers, as small arrays take twenty times as long
    across, along = x_high - x_low, y_high - y_low
    if not (math.isfinite(across) and math.isfinite(along) and max(across, along) > 0):
        return None
    part = 1 - 1e-5  # the largest coordinate stays inside its pixel
    x_scale = (width - 2 * pad) * part / across if across > 0 else 0.0
    y_scale = (height - 2 * pad) * part / along if along > 0 else 0.0
    if keep_aspect:
        x_scale = y_scale = min(scale for scale in (x_scale, y_scale) if scale > 0)
    left, top = (width - x_scale * across) / 2, (height - y_scale * along) / 2
    return np.array([x_low, x_scale, left, y_high, -y_scale, top], np.float32)


def average_down(image: np.ndarray, times: int) -> np.ndarray:
    """Shrink uint8 [H, W] or [H, W, 3] by an integer factor; rounded means of blocks."""
    if times == 1:
        return image
    rows, columns, channels = image.shape[0] // times, image.shape[1] // times, image[0, 0].size
    smaller = np.empty((rows, columns, channels), np.uint8)
    _average(image.reshape(*image.shape[:2], channels), times, smaller)
    return smaller.reshape(rows, columns, *image.shape[2:])


@kernel
def _average(image, times, smaller):
    rows, columns, channels = smaller.shape
    area = times * times
    totals = np.empty((columns, channels), np.int64)
    for row in range(rows):
        totals[:] = area // 2
        for y in range(row * times, (row + 1) * times):
            for column in range(columns):
                for x in range(column * times, (column + 1) * times):
                    for channel in range(channels):
                        totals[column, channel] += image[y, x, channel]
        for column in range(columns):
            for channel in range(channels):
                smaller[row, column, channel] = totals[column, channel] // area


def count_ink(image: np.ndarray) -> int:
    """Number of pixels of a grey or colour picture that are not black."""
    return int(np.count_nonzero(image)) if image.ndim == 2 else _count_colored(image)


def released_hues() -> np.ndarray:
    """FractalDB's colours: hue n / 128 at saturation and value 0.75, red and blue swapped, uint8 [128, 3]."""
    colors = [colorsys.hsv_to_rgb(n / NUM_HUES, 0.75, 0.75)[::-1] for n in range(NUM_HUES)]
    return (np.array(colors) * 255).astype(np.uint8)


@cache
def _index_hues() -> np.ndarray:
    return np.concatenate([np.zeros((1, 3), np.uint8), released_hues()])


@cache
def _density_hues() -> np.ndarray:
    """From violet for few points to bright red for many."""
    colors = [colorsys.hsv_to_rgb(0.75 * (1 - t / 255), 0.9, 0.5 + 0.5 * t / 255) for t in range(256)]
    return np.concatenate([np.zeros((1, 3)), np.array(colors)[1:] * 255]).round().astype(np.uint8)


def _patch_key(rng: np.random.Generator | None) -> np.ndarray:
    return _EMPTY if rng is None else rng.integers(2**32, size=2, dtype=np.uint32)


@kernel
def _bounds(points, low, high):
    """Minimum and maximum of x and y of float32 [N, 2]; NaN if a coordinate is not finite."""
    flat = points.reshape(points.size)
    smallest, largest = np.empty(_WIDTH, np.float32), np.empty(_WIDTH, np.float32)
    total = np.zeros(_WIDTH, np.float32)  # 0 * x is NaN if x is not finite; comparisons would hide NaN
    for j in range(_WIDTH):
        smallest[j] = largest[j] = flat[j % 2]
    for block in range(np.uintp(len(flat) // _WIDTH)):
        first = block * np.uintp(_WIDTH)
        for j in range(np.uintp(_WIDTH)):
            value = flat[first + j]
            smallest[j] = value if value < smallest[j] else smallest[j]
            largest[j] = value if value > largest[j] else largest[j]
            total[j] += np.float32(0) * value
    for i in range(len(flat) // _WIDTH * _WIDTH, len(flat)):
        smallest[i % 2], largest[i % 2] = min(smallest[i % 2], flat[i]), max(largest[i % 2], flat[i])
        total[i % 2] += np.float32(0) * flat[i]
    for d in range(2):
        low[d], high[d] = smallest[d], largest[d]
    for j in range(_WIDTH):
        low[j % 2] = min(low[j % 2], smallest[j]) + total[j]
        high[j % 2] = max(high[j % 2], largest[j]) + total[j]


@kernel
def _dots(points, frame, first, num_tones, plane):
    """plane[row + 1, column + 1] = first + i % num_tones; points outside the picture are left out."""
    height, width = np.uint64(plane.shape[0] - 2), np.uint64(plane.shape[1] - 2)
    x_low, x_scale, left, y_high, y_scale, top = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    tone, last = first, first + num_tones - 1
    for i in range(np.uintp(len(points))):
        column = np.uint64(np.int64(np.floor((points[i, 0] - x_low) * x_scale + left)))
        row = np.uint64(np.int64(np.floor((points[i, 1] - y_high) * y_scale + top)))
        if column < width and row < height:
            plane[row + np.uint64(1), column + np.uint64(1)] = tone
        tone = tone + 1 if tone < last else first


@kernel
def _patches(points, frame, key, first, num_tones, plane):
    """A 3x3 mask around each point, whose ink and background both overwrite earlier pixels.

    Masks are uniform in 1..511; mask i is a hash of (key, i), independent of the others.
    """
    height, width = np.uint64(plane.shape[0] - 2), np.uint64(plane.shape[1] - 2)
    x_low, x_scale, left, y_high, y_scale, top = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    tone, last = first, first + num_tones - 1
    for i in range(np.uintp(len(points))):
        column = np.uint64(np.int64(np.floor((points[i, 0] - x_low) * x_scale + left)))
        row = np.uint64(np.int64(np.floor((points[i, 1] - y_high) * y_scale + top)))
        if column < width and row < height:
            word = np.uint32(np.uint32(i) * np.uint32(0x9E3779B9) + key[0])
            word = np.uint32((word ^ (word >> np.uint32(16))) * np.uint32(0x7FEB352D) + key[1])
            word = np.uint32((word ^ (word >> np.uint32(15))) * np.uint32(0x846CA68B))
            word = word ^ (word >> np.uint32(16))
            mask = np.uint64(1) + ((np.uint64(word) * np.uint64(511)) >> np.uint64(32))
            for r in range(np.uint64(3)):
                for c in range(np.uint64(3)):
                    plane[row + r, column + c] = tone if mask & np.uint64(1) else 0
                    mask >>= np.uint64(1)
        tone = tone + 1 if tone < last else first


@kernel
def _counts(points, frame, counts):
    height, width = np.uint64(counts.shape[0] - 2), np.uint64(counts.shape[1] - 2)
    x_low, x_scale, left, y_high, y_scale, top = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    for i in range(np.uintp(len(points))):
        column = np.uint64(np.int64(np.floor((points[i, 0] - x_low) * x_scale + left)))
        row = np.uint64(np.int64(np.floor((points[i, 1] - y_high) * y_scale + top)))
        if column < width and row < height:
            counts[row + np.uint64(1), column + np.uint64(1)] += np.uint32(1)


@kernel
def _tone_of_density(counts, first, plane):
    """From `first` for one point to 255 for the largest count, by the logarithm of the count."""
    tones = np.zeros(counts.max() + 1, np.uint8)
    most = np.log(np.float32(counts.max()))
    step = np.float32(255 - first) / most if most > 0 else np.float32(0)
    for count in range(1, len(tones)):
        tones[count] = np.uint8(first + step * np.log(np.float32(count)) + np.float32(0.5))
    for r in range(np.uintp(counts.shape[0])):
        for c in range(np.uintp(counts.shape[1])):
            plane[r, c] = tones[counts[r, c]]


@kernel
def _spread(plane, mask):
    """The plane with the mask applied around each inked pixel; where masks overlap, the higher tone wins."""
    out = np.zeros_like(plane)
    for r in range(3):
        for c in range(3):
            if mask >> (3 * r + c) & 1:
                for row in range(1, plane.shape[0] - 1):
                    for column in range(1, plane.shape[1] - 1):
                        out[row - 1 + r, column - 1 + c] = max(out[row - 1 + r, column - 1 + c], plane[row, column])
    return out


def coloured(tones: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """RGB picture [H, W, 3] of tones.

    Args:
        tones: uint8 [H, W].
        palette: uint8 [P, 3], a colour for each tone below P.
    """
    image = np.empty((*tones.shape, 3), np.uint8)
    _color(tones, palette, image)
    return image


@kernel
def _color(tones, palette, image):
    for row in range(np.uintp(tones.shape[0])):
        for column in range(np.uintp(tones.shape[1])):
            for channel in range(3):
                image[row, column, channel] = palette[tones[row, column], channel]


@kernel
def _count_colored(image):
    count = 0
    for row in range(np.uintp(image.shape[0])):
        for column in range(np.uintp(image.shape[1])):
            count += (image[row, column, 0] | image[row, column, 1] | image[row, column, 2]) != 0
    return count
