"""Radial contours: polygons that grow outwards from an ellipse, pushed in and out by noise at every step.

Released rule (Kataoka et al., Replacing Labeled Real-Image Datasets with Auto-Generated Contours, CVPR 2022, and its
released script): vertex k lies in direction (cos, sin)(2 pi k / V); from each polygon to the next its x moves by
cos * (step - noise_x) and its y by sin * (step - noise_y), so displacements add up, and the ellipse itself is never
drawn. Adding sinusoids yields VisualAtom (Takashima et al., CVPR 2023).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcfdsl.formula.noise import perlin_1d, perlin_2d
from pcfdsl.jit import kernel

__all__ = ["RadialContour", "contour_noise", "noise_from_arguments", "radial_polygons"]

_RANGE = 10_000.0  # of the arguments of independent noise, as released


@dataclass(frozen=True, kw_only=True)
class RadialContour:
    """A family of nested polygons.

    Attributes:
        num_vertices: V, at least 3.
        num_polygons: L, at least 1.
        noise: Coefficient c of the noise p, in pixels: a polygon is moved inwards by gain * c * p - c, that is outwards
            by c on average.
        step: Further outward move of every polygon, in pixels. (The released scripts call it line width.)
        radius: Radius of the initial circle, in pixels.
        oval: Factors along x and y that stretch it into an ellipse.
        waves: Numbers of periods around the contour of sinusoids of half a pixel, added to every outward move.
        gain: 2, or 1 as in VisualAtom.
    """

    num_vertices: int
    num_polygons: int
    noise: float
    step: float
    radius: float
    oval: tuple[float, float] = (1.0, 1.0)
    waves: tuple[int, int] = (0, 0)
    gain: float = 2.0

    def __post_init__(self):
        if self.num_vertices < 3:
            raise ValueError(f"a contour of {self.num_vertices} vertices encloses nothing; expected at least 3")
        if self.num_polygons < 1:
            raise ValueError(f"a contour of {self.num_polygons} polygons has nothing to draw; expected at least 1")


def contour_noise(
    num_polygons: int,
    num_vertices: int,
    rng: np.random.Generator,
    *,
    kind: Literal["white", "smooth"] = "white",
    cells: int = 8,
) -> np.ndarray:
    """Noise for every vertex of every polygon, float32 [L, 2, V]; its second axis is x, y.

    Args:
        num_polygons, num_vertices: L and V.
        rng: Source of randomness.
        kind: "white", as released: independent for every vertex and axis. "smooth": the noise is continuous around the
            closed contour, and a vertex moves along its ray, since x and y share one value.
        cells: For "smooth": the approximate number of bumps along a contour.
    """
    if kind == "white":
        return noise_from_arguments(rng.random((num_polygons, 2, num_vertices)))
    angles = 2 * np.pi * np.arange(num_vertices) / num_vertices
    reach = cells / (2 * np.pi)  # a circle of this radius crosses that many lattice cells
    centres = rng.random((num_polygons, 2, 1)) * 256
    values = perlin_2d(centres[:, 0] + reach * np.cos(angles), centres[:, 1] + reach * np.sin(angles))
    return np.repeat(values[:, None].astype(np.float32), 2, axis=1)


def noise_from_arguments(uniforms: np.ndarray) -> np.ndarray:
    """Independent noise, as released: one-dimensional Perlin noise at random arguments.

    Args:
        uniforms: In [0, 1), any shape.

    Returns:
        float32 of that shape; mean 0, standard deviation 0.33, within [-0.96, 0.96].
    """
    return perlin_1d(uniforms * _RANGE)


def radial_polygons(
    contour: RadialContour, noise: np.ndarray, *, start: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Vertices of all polygons, float64 [L, V, 2], in the order in which they are drawn.

    Args:
        contour: The family.
        noise: [L, 2, V], as `contour_noise` returns it; between -1 and 1.
        start: Centre (x, y) of the ellipse, in pixels.

    >>> square = RadialContour(num_vertices=4, num_polygons=1, noise=0, step=1, radius=9)
    >>> radial_polygons(square, np.zeros((1, 2, 4))).round(3) + 0
    array([[[ 10.,   0.],
            [  0.,  10.],
            [-10.,   0.],
            [  0., -10.]]])
    """
    num_vertices, num_polygons = contour.num_vertices, contour.num_polygons
    if noise.shape != (num_polygons, 2, num_vertices):
        raise ValueError(f"noise has shape {noise.shape}; expected {(num_polygons, 2, num_vertices)}")
    angle = math.pi * 2 / num_vertices
    # The C library's cosine: NumPy's vectorised one rounds differently on different processors.
    directions = np.array([(math.cos(angle * k), math.sin(angle * k)) for k in range(num_vertices)])
    waves = np.array([[0.5 * math.sin(angle * k * n) for k in range(num_vertices)] for n in contour.waves])
    first = directions * contour.radius * np.array(contour.oval) + np.array(start)
    polygons = np.empty((num_polygons, num_vertices, 2))
    _grow(first, directions, waves, noise, float(contour.noise), float(contour.gain), float(contour.step), polygons)
    return polygons


@kernel
def _grow(first, directions, waves, noise, coefficient, gain, step, polygons):
    """Keeps the released order of operations, so that sums round identically."""
    num_polygons, num_vertices, _ = polygons.shape
    for line in range(num_polygons):
        for k in range(num_vertices):
            for axis in range(2):
                before = first[k, axis] if line == 0 else polygons[line - 1, k, axis]
                inward = np.float64(noise[line, axis, k]) * coefficient * gain - coefficient
                inward = inward - waves[0, k] - waves[1, k]
                polygons[line, k, axis] = before - directions[k, axis] * (inward - step)
