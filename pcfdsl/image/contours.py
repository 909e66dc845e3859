"""Drawing of contours, common to all contour sets: scale, noise, inks, breaks, colour and supersampling."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.contour import RadialContour, contour_noise, radial_polygons
from pcfdsl.image.lines import draw_polygons
from pcfdsl.image.raster import average_down
from pcfdsl.jit import kernel

__all__ = [
    "ContourDrawConfig",
    "background_ink",
    "blank",
    "contour_polygons",
    "descending_ranges",
    "draw_contour",
    "draw_inks",
    "draw_vertices",
    "finish",
    "unlikely_vertices",
]


_LEAST_SHARE = 1e-6  # of draws that hit a range; fewer take seconds for each category


@dataclass(frozen=True, kw_only=True)
class ContourDrawConfig:
    """How contours are drawn."""

    color: bool = option(False, "a random RGB colour per polygon instead of a random grey")
    background: int = option(255, "grey of the background", minimum=0, maximum=255)
    ink: tuple[int, int] = option((0, 255), "range of greys, or of each channel", minimum=0, maximum=255)
    canvas: int = option(
        512, "image size, in pixels, that all lengths refer to; scaled for other sizes", minimum=1, maximum=16_384
    )
    supersample: int = option(
        1, "draw at this multiple of the size, then average; thinner lines in small images", minimum=1, maximum=8
    )
    noise_kind: Literal["white", "smooth"] = option("white", "independent at every vertex (released), or smooth")
    noise_cells: int = option(8, "with smooth noise: bumps along a contour", minimum=1, maximum=16_384)
    break_fraction: float = option(
        0.0, "share of sides drawn in the background's colour, which breaks contours", minimum=0, maximum=1
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for settings that are inconsistent with one another."""
        yield from descending_ranges(self, "ink")


def descending_ranges(config: Any, *names: str) -> Iterator[tuple[str, str]]:
    """(field, message) for each of these fields whose lower bound exceeds its upper bound."""
    for name in names:
        low, high = getattr(config, name)
        if low > high:
            yield name, f"is a range from {low} down to {high}; expected the lower bound first"


def unlikely_vertices(config: Any, *, redrawn: bool = False) -> Iterator[tuple[str, str]]:
    """(field, message) if the range of vertices lies where its exponential has next to nothing.

    Args:
        config: With `vertices` and `mean_vertices`.
        redrawn: Whether numbers outside the range are drawn again, as released, which has to end.
    """
    (low, high), mean = config.vertices, config.mean_vertices
    if low > 100 * mean:
        yield "vertices", f"begins at {low}, of which an exponential of mean {mean:g} has none"
    elif redrawn and low <= high and math.exp(-low / mean) - math.exp(-(high + 1) / mean) < _LEAST_SHARE:
        yield (
            "vertices",
            f"from {low} to {high} are less than {_LEAST_SHARE:g} of an exponential of mean {mean:g}, from which the "
            "released script draws until one is there; widen the range, or use variant=native",
        )


def draw_vertices(rng: np.random.Generator, low: int, high: int, *, mean: float) -> int:
    """Integer part of an exponential variate truncated to the range; by inversion, from a single random number."""
    u = rng.random()
    first, beyond = math.exp(-low / mean), math.exp(-(high + 1) / mean)
    return min(high, max(low, math.floor(-mean * math.log(first - u * (first - beyond)))))


def canvas_pixels(draw: ContourDrawConfig, size: int) -> int:
    """Side of the supersampled image."""
    return size * draw.supersample


def blank(draw: ContourDrawConfig, size: int) -> np.ndarray:
    """An empty picture to draw into: uint8 [S, S] of greys, or uint32 [S, S] of packed colours."""
    pixels = canvas_pixels(draw, size)
    return np.full((pixels, pixels), background_ink(draw), np.uint32 if draw.color else np.uint8)


def background_ink(draw: ContourDrawConfig) -> int:
    """The background as an ink."""
    return draw.background * (0x010101 if draw.color else 1)


def draw_inks(draw: ContourDrawConfig, num_polygons: int, rng: np.random.Generator) -> np.ndarray:
    """One random ink per polygon, in the format of `blank`'s picture."""
    low, high = draw.ink
    if draw.color:
        return pack(rng.integers(low, high, (num_polygons, 3), dtype=np.uint8, endpoint=True))
    return rng.integers(low, high, num_polygons, dtype=np.uint8, endpoint=True)


def pack(colors: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] -> uint32 [...]; red in the lowest byte."""
    channels = colors.astype(np.uint32)
    return channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16


def contour_polygons(
    contour: RadialContour, draw: ContourDrawConfig, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Polygons around the origin, float64 [L, V, 2] in pixels of the supersampled picture.

    Args:
        contour: Lengths are in pixels of the canvas.
        draw: Kind of noise, canvas and supersampling.
        size: Side of the finished image.
        rng: Randomness of the noise.
    """
    noise = contour_noise(contour.num_polygons, contour.num_vertices, rng, kind=draw.noise_kind, cells=draw.noise_cells)
    return radial_polygons(contour, noise) * (canvas_pixels(draw, size) / draw.canvas)


def draw_contour(
    contour: RadialContour,
    draw: ContourDrawConfig,
    size: int,
    *,
    centre: tuple[float, float],
    rng: np.random.Generator,
    break_rng: np.random.Generator,
) -> np.ndarray:
    """One contour: uint8 [size, size] or [size, size, 3].

    Args:
        contour: Lengths are in pixels of the canvas.
        draw: How to draw it.
        size: Side of the image.
        centre: Centre (x, y) of the contour, in pixels of the canvas.
        rng: Randomness of noise and inks.
        break_rng: Randomness of the breaks; separate, so that breaks change nothing else.
    """
    picture = blank(draw, size)
    polygons = contour_polygons(contour, draw, size, rng)
    inks = draw_inks(draw, contour.num_polygons, rng)
    broken = None
    if draw.break_fraction > 0:
        broken = break_rng.random(polygons.shape[:2]) < draw.break_fraction
    scale = len(picture) / draw.canvas
    origin = (centre[0] * scale, centre[1] * scale)
    draw_polygons(picture, polygons, inks, origin=origin, broken=broken, background=background_ink(draw))
    return finish(picture, draw.supersample)


def finish(picture: np.ndarray, supersample: int = 1) -> np.ndarray:
    """The finished image: colours unpacked, supersampling averaged."""
    return average_down(picture if picture.dtype == np.uint8 else unpack(picture), supersample)


def unpack(picture: np.ndarray) -> np.ndarray:
    """uint32 [H, W] -> uint8 [H, W, 3], the inverse of `pack`."""
    channels = np.empty((*picture.shape, 3), np.uint8)
    _unpack(picture.reshape(-1), channels.reshape(-1))
    return channels


@kernel
def _unpack(packed, channels):
    for i in range(np.uintp(len(packed))):
        channels[3 * i] = packed[i] & 0xFF
        channels[3 * i + 1] = packed[i] >> 8 & 0xFF
        channels[3 * i + 2] = packed[i] >> 16 & 0xFF
