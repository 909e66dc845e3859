"""Formulas of surfaces: points lie on the surface, as many on each part as its area says."""

import numpy as np
import pytest
from scipy.special import sph_harm_y

from pcfdsl.formula import composites, superquadrics
from pcfdsl.formula import spherical_harmonics as harmonics
from pcfdsl.formula.composite_cells import mesh
from pcfdsl.formula.composite_meshes import NUM_VERTICES, ROW, meshes
from pcfdsl.formula.composite_points import sample_cells
from pcfdsl.formula.composite_solids import frames
from pcfdsl.formula.composites import KINDS, Composite
from pcfdsl.formula.superquadrics import Superquadric
from pcfdsl.formula.surface import choose_cells, draw_key, position_in_cell, word
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


def test_places_in_cells_are_uniform():
    uv = np.array([position_in_cell(np.uint64(word(np.uint64(1), i))) for i in range(20_000)])
    assert 0 < uv.min() < 0.001 < 0.999 < uv.max() < 1
    assert np.abs(uv.mean(0) - 0.5).max() < 0.01
    assert abs(np.corrcoef(uv.T)[0, 1]) < 0.03


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
def test_surfaces_without_area_have_no_cells_to_choose(bad):
    total = choose_cells(np.array(bad, np.float32), np.uint64(1), np.empty(5, np.uint32))
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


def test_superquadrics_without_area_are_refused():
    for axes in ((0.0, 0.0, 1.0), (np.nan, 1.0, 1.0)):
        with pytest.raises(ValueError, match="has no surface to draw from; give exponents and axes"):
            superquadrics.sample_superquadric(stream(0), Superquadric(exponents=(1.0, 1.0), axes=axes), 1000)


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


SOLID, CUTTER, WIRES = 0, 1, 2


def composite(*parts):
    """Of (kind, role, parent, place, size, ratio, waves) each, unturned; waves are (amplitude, degree, axis)."""
    numbers = np.zeros((len(parts), 26))
    for row, (_, _, _, place, size, ratio, waves) in zip(numbers, parts, strict=True):
        row[:11] = *place, 1, 0, 0, 0, *size, ratio
        for w, (amplitude, degree, axis) in enumerate((*waves, *[(0, 1, (0, 0, 1))] * (3 - len(waves)))):
            row[11 + 5 * w : 16 + 5 * w] = amplitude, degree, *axis
    kinds, roles, parents = (np.array([part[k] for part in parts], np.int64) for k in range(3))
    return Composite(kinds=kinds, roles=roles, parents=parents, numbers=numbers)


def primitive(kind, size=(1.0, 1.0, 1.0), ratio=1.0, waves=(), role=SOLID):
    return composite((KINDS.index(kind), role, 0, (0, 0, 1), size, ratio, waves))


def sampled(shape, num_points=50_000, seed=8):
    points = composites.sample_composite(stream(seed), shape, num_points)
    assert points.shape == (num_points, 3)
    return points.astype(np.float64)


def test_a_box_has_as_many_points_on_each_face_as_its_area_says():
    points = sampled(primitive("box", (1, 0.5, 0.25)))
    on = np.isclose(np.abs(points), (1, 0.5, 0.25), atol=1e-6)
    assert on.any(1).all()
    np.testing.assert_allclose(on.mean(0), np.array([0.125, 0.25, 0.5]) / 0.875, atol=0.01)
    inside = points[on[:, 2], :2] / (1, 0.5)
    np.testing.assert_allclose(np.cov(inside.T), np.eye(2) / 3, atol=0.01)


def test_round_primitives_have_as_many_points_everywhere_as_the_area_says():
    ball = sampled(primitive("ellipsoid"))
    assert np.abs(np.linalg.norm(ball, axis=1) - 1).max() < 0.006
    np.testing.assert_allclose(np.cov(ball.T), np.eye(3) / 3, atol=0.01)
    can = sampled(primitive("cylinder", (0.5, 0.5, 1)))
    assert (np.abs(can[:, 2]) > 0.99999).mean() == pytest.approx(0.2, abs=0.01)  # caps of 0.5 pi, a side of 2 pi
    cone = sampled(primitive("cone", ratio=0.0))
    foot = cone[:, 2] < -0.99999
    assert foot.mean() == pytest.approx(1 / (1 + np.sqrt(5)), abs=0.01)
    assert cone[~foot, 2].mean() == pytest.approx(-1 / 3, abs=0.01)  # the centroid of a triangle
    frustum = sampled(primitive("cone", ratio=0.5))
    top, side = np.pi / 4, 1.5 * np.pi * np.hypot(2, 0.5)
    assert (frustum[:, 2] > 0.99999).mean() == pytest.approx(top / (top + np.pi + side), abs=0.01)
    torus = sampled(primitive("torus", ratio=0.4))
    out = np.linalg.norm(torus[:, :2], axis=1) - 0.6
    assert np.abs(np.hypot(out, torus[:, 2]) / 0.4 - 1).max() < 0.02
    assert (out / 0.4).mean() == pytest.approx(0.4 / 1.2, abs=0.01)  # the tube's outer half is longer


def test_balls_that_overlap_or_cut_have_the_areas_of_their_caps():
    """A sphere of radius 1 and one of radius 0.6 about a place on it."""
    large, small = np.pi * 0.6**2, 2 * np.pi * 0.6 * 0.42  # what of the one is in the other
    for role, areas in ((SOLID, (4 * np.pi - large, 4 * np.pi * 0.36 - small)), (CUTTER, (4 * np.pi - large, small))):
        ball = KINDS.index("ellipsoid")
        points = sampled(
            composite((ball, SOLID, 0, (0, 0, 1), (1, 1, 1), 1, ()), (ball, role, 0, (0, 0, 1), (0.6, 0.6, 0.6), 1, ()))
        )
        first = np.abs(np.linalg.norm(points, axis=1) - 1) < 0.006
        second = np.abs(np.linalg.norm(points - (0, 0, 1), axis=1) - 0.6) < 0.006
        assert (first | second).all()
        assert first.mean() == pytest.approx(areas[0] / sum(areas), abs=0.01)
        assert not (np.linalg.norm(points[first] - (0, 0, 1), axis=1) < 0.59).any()


def test_height_fields_move_the_surface_and_its_area():
    size, waves = np.array([0.5, 0.8, 1.0]), ((0.12, 3, (0.6, 0.0, 0.8)), (-0.08, 6, (0.0, 1.0, 0.0)))

    def surface(theta, phi):
        d = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
        height = sum(a * np.cos(n * np.arccos((d @ axis).clip(-1, 1))) for a, n, axis in waves)
        return d * (1 + height)[..., None] * size

    shape = primitive("ellipsoid", tuple(size), waves=waves)
    points = sampled(shape, 200_000)
    assert np.abs(composites.measure(shape, points) - 1).max() < 0.03
    exact = surface(*np.array([[0.3, 1.5, 2.5], [0.1, 4.0, 2.0]]))
    np.testing.assert_allclose(composites.measure(shape, exact), 1, atol=1e-5)
    areas = areas_of_parts(surface, np.linspace(0, np.pi, 401), np.linspace(0, 2 * np.pi, 801))
    assert assert_uniform(points, areas, 0.05) < 0.03  # counting alone makes 0.012


def test_wires_are_tubes_about_the_edges_of_their_grid():
    size = np.array([1.0, 0.5, 0.25])
    for num_meshes in (1, 2, 3):
        points = sampled(primitive("box", tuple(size), role=WIRES + num_meshes - 1)) / size
        lines = np.linspace(-1, 1, num_meshes + 1)
        near = np.abs(points[:, :, None] - lines).argmin(2)
        rest = (points - lines[near]) * size
        radius = 0.04 * np.cbrt(size.prod())
        # Off a line along an axis by the radius; what is along it is free.
        off = np.stack([np.hypot(rest[:, (a + 1) % 3], rest[:, (a + 2) % 3]) for a in range(3)], axis=1)
        along = np.abs(off - radius) < 1e-5
        assert along.any(1).all()
        lengths = size * 4 * num_meshes
        alone = along[along.sum(1) == 1]
        np.testing.assert_allclose(alone.mean(0), lengths / lengths.sum(), atol=0.02)
    for kind in KINDS:
        shape = primitive(kind, (0.6, 1.0, 0.8), 0.4, role=WIRES + 2)
        assert np.abs(composites.measure(shape, sampled(shape, 5000)) - 1).max() < 0.25


def drawn_composites(number, seed=9, variation=0.1):
    for k in range(number):
        rng = stream(seed, k)
        shape = composites.draw_composite(rng, max_primitives=9, heights=0.3, cuts=0.4, wires=0.3)
        yield composites.perturb_composite(rng, shape, variation=variation)


def test_points_of_composites_are_on_a_part_and_within_no_other():
    seen = np.zeros(5, np.int64)
    for shape in drawn_composites(60):
        points = sampled(shape, 2000)
        far = composites.measure(shape, points)
        coarse = (shape.kinds == KINDS.index("torus")) | shape.numbers[:, 11].astype(bool)
        tolerance = np.where(coarse, 0.08, 0.02)[:, None]
        on, within = np.abs(far - 1) < tolerance, far < 1 - tolerance
        solid, cutter, wires = shape.roles == SOLID, shape.roles == CUTTER, (shape.roles >= WIRES).any()
        on_cutter = on[cutter].any(0)
        assert not within[cutter].any()
        assert not (within[solid].any(0) & ~on_cutter).any()
        # Flat cells are a little inside their own part, but no point is inside two.
        assert ((far[solid] < 1 - 1e-5).sum(0)[~on_cutter] <= 1).all()
        assert wires or (on[solid].any(0) | on_cutter & within[solid].any(0)).all()
        seen += [len(shape.roles) > 1, wires, on_cutter.any(), shape.numbers[:, 11].any(), len(shape.roles) > 6]
    assert (seen > 5).all()


def area_of_cells(part):
    """Of a shape of one solid part."""
    world, _, centers, waves, least = frames(part.kinds, part.parents, part.numbers)
    vertices, work = np.empty((3, NUM_VERTICES), np.float32), np.empty((7, NUM_VERTICES), np.float32)
    grid, valid = meshes()
    mesh(0, part.kinds[0], np.float32(part.numbers[0, 10]), least[0] < 1, waves, world, centers, grid, work, vertices)
    v = np.flatnonzero(valid[0, 0, 0])
    a, b, c, d = (vertices.T[v + step].astype(np.float64) for step in (0, 1, ROW + 1, ROW))
    return sum(np.linalg.norm(np.cross(side - a, c - a), axis=1).sum() / 2 for side in (b, d))


def test_points_of_composites_are_those_of_all_parts_that_no_other_hides():
    """As the slow way has it: points of each part alone, tested with all the others."""
    for k in range(15):
        rng = stream(13, k)
        shape = composites.draw_composite(rng, heights=0.3, cuts=0.4)
        centers, sums, total = frames(shape.kinds, shape.parents, shape.numbers)[2], np.zeros((2, 3)), 0.0
        for i in range(len(shape.kinds)):
            own = slice(i, i + 1)
            part = Composite(
                kinds=shape.kinds[own], roles=np.zeros(1, int), parents=np.zeros(1, int), numbers=shape.numbers[own]
            )
            points = sampled(part, 20_000, seed=100 * k + i)
            points += centers[i] - frames(part.kinds, part.parents, part.numbers)[2][0]
            inside = composites.measure(shape, points) < 1
            inside[i] = False
            hidden, within = inside[shape.roles == CUTTER].any(0), inside[shape.roles == SOLID].any(0)
            left = points[~hidden & (within == (shape.roles[i] == CUTTER))]
            share = area_of_cells(part) / len(points)
            sums += share * np.stack([left.sum(0), (left**2).sum(0)])
            total += share * len(left)
        points = sampled(shape, 100_000)
        found = np.stack([points.mean(0), (points**2).mean(0)])
        assert np.abs(found - sums / total).max() < 0.005 * points.std()


def test_composites_vary_in_numbers_and_stay_together():
    for k, shape in enumerate(drawn_composites(30)):
        same = composites.perturb_composite(stream(k), shape, variation=0.0)
        np.testing.assert_array_equal(same.numbers, shape.numbers)
        changes = []
        for variation in (1e-4, 1e-2):
            other = composites.perturb_composite(stream(k), shape, variation=variation)
            assert (other.kinds == shape.kinds).all()
            assert (other.roles == shape.roles).all()
            assert (other.numbers[:, 12::5] == shape.numbers[:, 12::5]).all()  # degrees
            changes.append(np.abs(other.numbers - shape.numbers).max())
        assert 50 < changes[1] / changes[0] < 200


def test_cutters_that_leave_nothing_are_left_out():
    ball = KINDS.index("ellipsoid")
    whole = composite((ball, SOLID, 0, (0, 0, 1), (1, 1, 1), 1, ()))
    eaten = composite((ball, SOLID, 0, (0, 0, 1), (1, 1, 1), 1, ()), (ball, CUTTER, 0, (0, 0, 1), (3, 3, 3), 1, ()))
    assert (sampled(eaten, 100) == sampled(whole, 100)).all()
    for shape in drawn_composites(300, seed=10, variation=1.0):
        sampled(shape, 10)


@pytest.mark.parametrize("extent", [0, -1, np.nan])
def test_composites_without_extent_are_refused(extent):
    with pytest.raises(ValueError, match="a composite's half extents must be positive, got"):
        sampled(primitive("box", (extent, 1, 1)))


def test_composites_without_surface_are_refused():
    with pytest.raises(
        ValueError, match="a composite of 1 parts has no surface to draw from; its numbers must be finite"
    ):
        sampled(primitive("box", (np.inf, 1, 1)))


@pytest.mark.parametrize("degree", [0, 7, 1e9, np.nan])
def test_waves_of_composites_have_known_degrees(degree):
    shape = next(drawn_composites(1))
    shape.numbers[0, 12] = degree
    with pytest.raises(ValueError, match="the degree of a composite's wave must be a number from 1 to 6"):
        sampled(shape)


def test_no_points_of_a_composite_are_none_and_nothing_is_written_beside_them():
    shape = next(drawn_composites(1))
    kinds, roles, parents, numbers = shape.kinds, shape.roles, shape.parents, shape.numbers
    beside = np.full((1, 3), np.nan, np.float32)
    assert sample_cells(kinds, roles, parents, numbers, *meshes(), draw_key(stream(0)), beside[:0]) == 0
    assert np.isnan(beside).all()
