"""Formulas of surfaces: points lie on the surface, as many on each part as its area says."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from pcfdsl.formula import spherical_harmonics as harmonics
from pcfdsl.formula import superquadrics
from pcfdsl.formula.superquadrics import Superquadric
from pcfdsl.formula.surface import choose_cells, draw_key, find_cell, position_in_cell, tabulate_cells, word
from pcfdsl.rng import stream


def unit(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def parts(points, bands=6, sectors=8):
    """Number of the part of the sphere of directions that each point is in."""
    z, around = unit(points)[:, 2], np.arctan2(points[:, 1], points[:, 0])
    band = np.minimum((z + 1) / 2 * bands, bands - 1).astype(int)
    return band * sectors + np.minimum((around / (2 * np.pi) + 0.5) * sectors, sectors - 1).astype(int)


def areas_of_parts(surface, rows, columns):
    """Exact up to the mesh: areas of triangles of a fine grid over a function of two parameters, by part."""
    u, v = np.meshgrid(rows, columns, indexing="ij")
    grid = surface(u, v)
    corners = [grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]]
    found = np.zeros(48)
    for a, b, c in ((0, 1, 2), (0, 2, 3)):
        area = np.linalg.norm(np.cross(corners[b] - corners[a], corners[c] - corners[a]), axis=-1) / 2
        middle = (corners[a] + corners[b] + corners[c]) / 3
        np.add.at(found, parts(middle.reshape(-1, 3)), area.ravel())
    return found


def assert_uniform(points, areas, tolerance):
    """Counts agree with areas to the tolerance and five standard deviations of counting."""
    counts, expected = np.bincount(parts(points), minlength=48), areas / areas.sum() * len(points)
    assert (np.abs(counts - expected) <= tolerance * expected + 5 * np.sqrt(expected) + 1e-4 * len(points)).all()
    return np.abs(counts - expected).sum() / len(points)


def test_cells_are_found_in_proportion_to_their_areas():
    areas = np.array([0, 0, 3, 0, 1, 1e-4, 0, 4, 0], np.float32)
    cumulative, guide = np.empty(9), np.empty(9, np.int32)
    assert tabulate_cells(areas, cumulative, guide) == pytest.approx(8.0001)
    words = [np.uint64(word(np.uint64(1), i)) for i in range(20_000)]
    counts = np.bincount([find_cell(cumulative, guide, random) for random in words], minlength=9)
    assert not counts[areas == 0].any()
    assert np.abs(counts / 20_000 - areas / areas.sum()).max() < 0.012
    uv = np.array([position_in_cell(random) for random in words])
    assert 0 < uv.min() < 0.001 < 0.999 < uv.max() < 1
    assert np.abs(uv.mean(0) - 0.5).max() < 0.01
    assert abs(np.corrcoef(uv.T)[0, 1]) < 0.03
    for extreme in (0, 2**64 - 1):
        assert areas[find_cell(cumulative, guide, np.uint64(extreme))] > 0


@pytest.mark.parametrize("num_points", [1, 2, 10, 999, 10_000, 10_007])
def test_cells_have_as_many_points_as_their_areas_say(num_points):
    areas = np.abs(stream(8, num_points).standard_normal(300)).astype(np.float32) ** 3
    areas[[0, 5, 6, 299]] = 0
    expected, mean = areas / areas.sum() * num_points, np.zeros(300)
    cells = np.empty(num_points, np.uint32)
    for k in range(200):
        assert choose_cells(areas, draw_key(stream(8, k)), cells) == pytest.approx(areas.sum(), rel=1e-4)
        counts = np.bincount(cells, minlength=300)
        assert (np.abs(counts - expected) < 1 + 1e-5 * num_points).all()
        assert not counts[areas == 0].any()
        mean += counts / 200
    assert np.abs(mean - expected).max() < 5 * 0.5 / np.sqrt(200)  # rounding by chance is right on average


def test_any_part_of_a_cloud_is_spread_over_the_cells():
    cells = np.empty(10_000, np.uint32)
    choose_cells(np.ones(100, np.float32), np.uint64(9), cells)
    for part in (cells[:1000], cells[3210:4210], cells[::10], cells[7::100]):
        share = len(part) / 100
        assert np.abs(np.bincount(part, minlength=100) - share).max() <= 0.3 * share + 2


@pytest.mark.parametrize("bad", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_surfaces_without_area_are_not_tabulated(bad):
    for total in (
        tabulate_cells(np.array(bad, np.float32), np.empty(2), np.empty(2, np.int32)),
        choose_cells(np.array(bad, np.float32), np.uint64(1), np.empty(5, np.uint32)),
    ):
        assert not (total > 0 and np.isfinite(total))


@pytest.mark.parametrize("degree", [2, 5, harmonics.MAX_DEGREE])
def test_radius_is_the_sum_of_spherical_harmonics(degree):
    coefficients = harmonics.draw_harmonics(stream(1, degree), degree=degree)
    directions = unit(stream(2).normal(size=(50, 3)))
    theta, phi = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    expected = sum(
        (coefficients[l, m] * sph_harm_y(l, m, theta, phi)).real * (-1) ** m * (np.sqrt(2) if m else 1)
        for l in range(degree + 1)  # noqa: E741
        for m in range(l + 1)
    )
    np.testing.assert_allclose(harmonics.radius(coefficients, directions), np.abs(expected), atol=1e-9)


@pytest.mark.parametrize("degree", [2, 4, 8, harmonics.MAX_DEGREE])
def test_harmonics_lie_on_the_surface_by_area(degree):
    for k in range(4):
        rng = stream(3, degree, k)
        coefficients = harmonics.perturb_harmonics(rng, harmonics.draw_harmonics(rng, degree=degree), variation=0.2)
        points = harmonics.sample_harmonics(rng, coefficients, 200_000).astype(np.float64)
        far = np.linalg.norm(points, axis=1)
        on_it = np.abs(harmonics.radius(coefficients, points / far[:, None]) - far)
        assert on_it.max() < 2e-5 * far.max()

        def surface(theta, phi, coefficients=coefficients):
            sphere = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
            return sphere * harmonics.radius(coefficients, sphere.reshape(-1, 3)).reshape(theta.shape)[..., None]

        areas = areas_of_parts(surface, np.linspace(0, np.pi, 401), np.linspace(0, 2 * np.pi, 801))
        assert assert_uniform(points, areas, 0.03) < 0.02  # counting alone makes 0.012


def test_harmonics_without_area_are_refused():
    with pytest.raises(ValueError, match="surface without area; give some that are finite and not all zero"):
        harmonics.sample_harmonics(stream(0), np.zeros((5, 5), complex), 100)


def spread_shapes():
    drawn = [superquadrics.draw_superquadric(stream(4, k)) for k in range(40)]
    assert {shape.hole > 0 for shape in drawn} == {True, False}
    extreme = [
        Superquadric(exponents=(a, b), axes=(1.0, 0.4, 0.7), hole=hole)
        for a in (0.1, 2.5)
        for b in (0.1, 2.5)
        for hole in (0.0, 1.05)
    ]
    return drawn + extreme


def test_superquadrics_lie_on_the_surface():
    for shape in spread_shapes():
        points = superquadrics.sample_superquadric(stream(5), shape, 5000)
        assert np.abs(superquadrics.implicit(shape, points) - 1).max() < 0.004
        reach = np.array(shape.axes) * (1 + shape.hole, 1 + shape.hole, 1)
        assert (np.abs(points).max(0) <= reach * 1.0001).all()
        assert (np.abs(points).max(0) > reach * 0.75).all()


def test_superquadrics_are_uniform_by_area():
    for shape in spread_shapes()[::3]:
        points = superquadrics.sample_superquadric(stream(6), shape, 200_000).astype(np.float64)
        e1, e2 = shape.exponents

        def surface(eta, omega, shape=shape, e1=e1, e2=e2):
            def power(x, e):
                return np.sign(x) * np.abs(x) ** e

            around = shape.hole + power(np.cos(eta), e1)
            x, y = around * power(np.cos(omega), e2), around * power(np.sin(omega), e2)
            return np.stack([x, y, power(np.sin(eta), e1)], axis=-1) * shape.axes

        half = np.pi if shape.hole else np.pi / 2
        # Steps that shrink towards the multiples of 90 degrees, where small exponents have most of their surface.
        half_quarter = np.linspace(0, 1, 81) ** 4 * np.pi / 4
        quarter = np.concatenate([half_quarter, np.pi / 2 - half_quarter])
        steps = np.unique(np.add.outer(np.arange(-2, 2) * np.pi / 2, quarter))
        rows = steps[np.abs(steps) <= half + 1e-12]
        assert assert_uniform(points, areas_of_parts(surface, rows, steps), 0.03) < 0.03  # counting alone makes 0.012


def test_a_sphere_is_a_sphere():
    points = superquadrics.sample_superquadric(
        stream(7), Superquadric(exponents=(1.0, 1.0), axes=(1.0, 1.0, 1.0)), 100_000
    )
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.001
    np.testing.assert_allclose(points.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(points.T), np.eye(3) / 3, atol=0.01)  # by Archimedes, each axis is uniform
