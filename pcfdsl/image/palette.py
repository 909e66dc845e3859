"""Colours for planes of tones."""

import colorsys

import numpy as np

__all__ = ["coloured", "draw_palette"]


def draw_palette(rng: np.random.Generator) -> np.ndarray:
    """256 colours on a line from a dark one to a bright one of another hue, uint8 [256, 3]."""
    dark, bright = rng.random((2, 3))
    first = colorsys.hsv_to_rgb(dark[0], dark[1], 0.3 * dark[2])
    last = colorsys.hsv_to_rgb(bright[0], bright[1], 0.7 + 0.3 * bright[2])
    return (255 * np.linspace(first, last, 256)).round().astype(np.uint8)


def coloured(tones: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The colour of each tone, uint8 [H, W, 3].

    Args:
        tones: uint8 [H, W].
        palette: uint8 [256, 3].
    """
    return np.take(palette, tones, axis=0)
