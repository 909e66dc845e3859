"""Contours as pictures: scale, noise, inks, breaks, colour and supersampling, the same for every contour set."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.config import option, validate
from pcfdsl.formula.contour import RadialContour, contour_noise, radial_polygons
from pcfdsl.image.lines import draw_polygons

__all__ = ["ContourDrawing", "average_down", "blank", "contour_polygons", "draw_contour", "draw_inks", "finish"]


@dataclass(frozen=True, kw_only=True)
class ContourDrawing:
    """How contours are drawn."""

    color: Literal["grey", "color"] = option("grey", "One random grey per polygon, or one random RGB colour.")
    background: int = option(255, "Grey of the background.", minimum=0, maximum=255)
    ink: tuple[int, int] = option((0, 255), "Range of greys, or of each channel.", minimum=0, maximum=255)
    canvas: int = option(512, "Image size, in pixels, that all lengths are meant for; others are scaled.", minimum=1)
    supersample: int = option(1, "Draw so many times larger and average; thinner lines in small images.", minimum=1)
    noise_kind: Literal["white", "smooth"] = option("white", "Independent at every vertex (published), or smooth.")
    noise_cells: int = option(8, "With smooth noise: bumps along a contour.", minimum=1)
    break_fraction: float = option(
        0.0, "Share of sides drawn in the background's colour, which breaks contours.", minimum=0, maximum=1
    )

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yield (field, message) for what no field shows alone."""
        if self.ink[0] > self.ink[1]:
            yield "ink", f"is a range from {self.ink[0]} down to {self.ink[1]}; expected low, high"


def canvas_pixels(drawing: ContourDrawing, size: int) -> int:
    """Side of the image that is drawn into."""
    return size * drawing.supersample


def blank(drawing: ContourDrawing, size: int) -> np.ndarray:
    """An empty picture to draw into: uint8 [S, S] of greys, or uint32 [S, S] of packed colours."""
    pixels = canvas_pixels(drawing, size)
    if drawing.color == "grey":
        return np.full((pixels, pixels), drawing.background, np.uint8)
    return np.full((pixels, pixels), drawing.background * 0x010101, np.uint32)


def draw_inks(drawing: ContourDrawing, num_polygons: int, rng: np.random.Generator) -> np.ndarray:
    """One random ink per polygon, as `blank`'s picture takes them."""
    low, high = drawing.ink
    if drawing.color == "grey":
        return rng.integers(low, high, num_polygons, dtype=np.uint8, endpoint=True)
    return pack(rng.integers(low, high, (num_polygons, 3), dtype=np.uint8, endpoint=True))


def pack(colors: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] -> uint32 [...]; red in the lowest byte."""
    channels = colors.astype(np.uint32)
    return channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16


def contour_polygons(
    contour: RadialContour, drawing: ContourDrawing, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Polygons around the origin, float64 [L, V, 2] in pixels of the picture that is drawn into.

    Args:
        contour: Its lengths in pixels of the canvas.
        drawing: How noise is made and what a length means.
        size: Of the finished image.
        rng: Of the noise.
    """
    noise = contour_noise(
        contour.num_polygons, contour.num_vertices, rng, kind=drawing.noise_kind, cells=drawing.noise_cells
    )
    return radial_polygons(contour, noise) * (canvas_pixels(drawing, size) / drawing.canvas)


def draw_contour(
    contour: RadialContour,
    drawing: ContourDrawing,
    size: int,
    *,
    centre: tuple[float, float],
    rng: np.random.Generator,
    break_rng: np.random.Generator,
) -> np.ndarray:
    """One contour: uint8 [size, size] or [size, size, 3].

    Args:
        contour: Its lengths in pixels of the canvas.
        drawing: How to draw it.
        size: Of the image.
        centre: Of the contour (x, y), in pixels of the canvas.
        rng: Of noise and inks.
        break_rng: Of the breaks, so that a broken contour is the whole one but for them.
    """
    picture = blank(drawing, size)
    inks = draw_inks(drawing, contour.num_polygons, rng)
    polygons = contour_polygons(contour, drawing, size, rng)
    broken = None
    if drawing.break_fraction > 0:
        broken = break_rng.random(polygons.shape[:2]) < drawing.break_fraction
    scale = len(picture) / drawing.canvas
    origin = (centre[0] * scale, centre[1] * scale)
    background = drawing.background * (1 if drawing.color == "grey" else 0x010101)
    draw_polygons(picture, polygons, inks, origin=origin, broken=broken, background=background)
    return finish(picture, drawing.supersample)


def finish(picture: np.ndarray, supersample: int = 1) -> np.ndarray:
    """The image of a picture that was drawn into: colours unpacked, averaged down."""
    return average_down(picture if picture.dtype == np.uint8 else unpack(picture), supersample)


def average_down(image: np.ndarray, times: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] -> the same, so many times smaller; means of blocks, rounded."""
    if times == 1:
        return image
    rows, columns = image.shape[0] // times, image.shape[1] // times
    blocks = image.reshape(rows, times, columns, times, *image.shape[2:])
    total = blocks.sum(axis=3, dtype=np.uint32).sum(axis=1, dtype=np.uint32)
    return ((total + times**2 // 2) // times**2).astype(np.uint8)


def unpack(picture: np.ndarray) -> np.ndarray:
    """uint32 [...] -> uint8 [..., 3], the inverse of `pack`."""
    channels = picture.astype("<u4", copy=False).view(np.uint8).reshape(*picture.shape, 4)
    return np.ascontiguousarray(channels[..., :3])
