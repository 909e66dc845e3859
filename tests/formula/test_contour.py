import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.formula.bezier import bezier_curves
from pcfdsl.formula.contour import RadialContour, contour_noise, radial_polygons
from pcfdsl.rng import stream

CONTOUR = RadialContour(
    num_vertices=12, num_polygons=5, noise=1.5, step=0.05, radius=20, oval=(1.25, 1.5), waves=(3, 5), gain=1.0
)


def published(contour, noise, start):
    """The published rule, literally: one vertex after another."""
    angle, result = 2 * math.pi / contour.num_vertices, []
    x = [math.cos(angle * k) * contour.radius * contour.oval[0] + start[0] for k in range(contour.num_vertices)]
    y = [math.sin(angle * k) * contour.radius * contour.oval[1] + start[1] for k in range(contour.num_vertices)]
    for line in noise.astype(float):
        for k in range(contour.num_vertices):
            wave = sum(0.5 * math.sin(angle * k * n) for n in contour.waves)
            inward = line[:, k] * contour.noise * contour.gain - contour.noise - wave - contour.step
            x[k] -= math.cos(angle * k) * inward[0]
            y[k] -= math.sin(angle * k) * inward[1]
        result.append(list(zip(x, y, strict=True)))
    return np.array(result)


@settings(max_examples=30)
@given(st.integers(3, 60), st.integers(1, 20), st.floats(0, 5), st.integers(0, 4), st.integers(0, 4))
def test_polygons_follow_the_published_rule(num_vertices, num_polygons, noise, first, second):
    contour = dataclasses.replace(
        CONTOUR, num_vertices=num_vertices, num_polygons=num_polygons, noise=noise, waves=(first, second)
    )
    values = contour_noise(num_polygons, num_vertices, stream(num_vertices))
    made = radial_polygons(contour, values, start=(3.5, -7.0))
    np.testing.assert_allclose(made, published(contour, values, (3.5, -7.0)), atol=1e-9)


def test_without_noise_ellipses_grow_by_the_step():
    contour = dataclasses.replace(CONTOUR, noise=0.0, step=2.0, waves=(0, 0), oval=(1.0, 1.0))
    radii = np.linalg.norm(radial_polygons(contour, np.zeros((5, 2, 12))), axis=2)
    np.testing.assert_allclose(radii, np.repeat([[22], [24], [26], [28], [30]], 12, axis=1))


def test_contours_grow_by_the_coefficient_on_average():
    contour = RadialContour(num_vertices=400, num_polygons=100, noise=2.0, step=0.1, radius=0)
    radii = np.linalg.norm(radial_polygons(contour, contour_noise(100, 400, stream(0))), axis=2)
    assert radii[-1].mean() == pytest.approx(100 * 2.1, rel=0.02)


def test_white_noise_is_independent_and_smooth_noise_is_not():
    white = contour_noise(40, 300, stream(0))
    smooth = contour_noise(40, 300, stream(0), kind="smooth", cells=6)
    assert white.shape == smooth.shape == (40, 2, 300)

    def correlation(noise):
        return np.corrcoef(noise[:, 0].ravel(), np.roll(noise[:, 0], 1, axis=1).ravel())[0, 1]

    assert abs(correlation(white)) < 0.05
    assert correlation(smooth) > 0.99
    np.testing.assert_array_equal(smooth[:, 0], smooth[:, 1])
    steps = np.abs(np.diff(smooth[:, 0], axis=1, append=smooth[:, 0, :1]))
    assert steps[:, -1].max() <= steps[:, :-1].max()  # it closes like it goes on


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_vertices": 2}, "2 vertices encloses nothing"), ({"num_polygons": 0}, "0 polygons has nothing to draw")],
)
def test_invalid_contours(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONTOUR, **change)


def test_noise_of_another_shape_is_rejected():
    with pytest.raises(ValueError, match=r"noise has shape \(5, 2, 11\); expected \(5, 2, 12\)"):
        radial_polygons(CONTOUR, np.zeros((5, 2, 11)))


@given(st.integers(2, 30), st.integers(2, 20), st.integers(0, 9))
def test_bezier_curves_equal_bernstein_sums(num_controls, num_points, seed):
    controls = np.random.default_rng(seed).normal(size=(3, num_controls, 2))
    t = np.linspace(0, 1, num_points)[:, None]
    degree = num_controls - 1
    weights = np.stack([math.comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(num_controls)], axis=1)
    np.testing.assert_allclose(
        bezier_curves(controls, num_points), np.einsum("pnk,cnd->cpd", weights, controls), atol=1e-9
    )


def test_bezier_curves_need_two_control_points():
    with pytest.raises(ValueError, match="with N at least 2"):
        bezier_curves(np.zeros((1, 1, 2)), 10)
