"""Growth: tubes branch as their rule says, and points are uniform on their skins."""

import numpy as np
import pytest

from pcfdsl.formula.growth import Growth, draw_growth, perturb_growth, sample_growth, segments
from pcfdsl.formula.surface import circle
from pcfdsl.rng import stream


def shapes(number=12, variation=0.1):
    for k in range(number):
        rng = stream(20, k)
        yield perturb_growth(rng, draw_growth(rng), variation=variation)


def turned(vector, axis, angle):
    """By Rodrigues' formula."""
    return (
        vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + axis * (axis @ vector) * (1 - np.cos(angle))
    )


def naive(shape: Growth):
    """Ends and radii of all pieces of tubes, generation by generation, as the rule says it."""
    found = []
    generation = [(np.zeros(3), np.array([0.0, 0, 1]), np.array([1.0, 0, 0]), 1.0, shape.radius)]
    for level in range(shape.depth + 1):
        following = []
        for place, heading, side, length, radius in generation:
            for step in range(3):
                bent = heading + np.array([0, 0, shape.tropism / 3])
                heading = bent / np.linalg.norm(bent)
                side = side - heading * (heading @ side)
                side = side / np.linalg.norm(side)
                end = place + heading * length / 3
                radii = [radius * (1 - (1 - shape.rule[:, 3].max()) * s / 3) for s in (step, step + 1)]
                found.append((*place, *end, *radii))
                place = end
            for lean, around, shorter, thinner in shape.rule if level < shape.depth else ():
                out = turned(side, heading, around)  # away from the tube
                axis = np.cross(heading, out)
                branch = turned(heading, axis, lean), turned(out, axis, lean)
                following.append((place, *branch, length * shorter, radius * thinner))
        generation = following
    return np.array(found)


def test_tubes_branch_as_the_rule_says():
    for shape in shapes():
        rows, expected = segments(shape), naive(shape)
        found = np.concatenate([rows[:, :3], rows[:, :3] + rows[:, 3:6], rows[:, 12:]], axis=1)
        assert len(rows) == 3 * sum(len(shape.rule) ** level for level in range(shape.depth + 1)) <= 1200
        np.testing.assert_allclose(found, expected, atol=2e-5)
        frames = np.stack(
            [rows[:, 3:6] / np.linalg.norm(rows[:, 3:6], axis=1)[:, None], rows[:, 6:9], rows[:, 9:12]], 1
        )
        np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.tile(np.eye(3), (len(rows), 1, 1)), atol=1e-5)


def test_points_lie_on_the_tubes():
    for shape in shapes():
        points, rows = sample_growth(stream(21), shape, 3000).astype(np.float64), segments(shape).astype(np.float64)
        length = np.linalg.norm(rows[:, 3:6], axis=1)
        heading = rows[:, 3:6] / length[:, None]
        relative = points[:, None] - rows[None, :, :3]
        along = (relative * heading).sum(2)
        out = np.linalg.norm(relative - along[..., None] * heading, axis=2)
        share = along / length
        off = np.abs(out - (rows[:, 12] + share * (rows[:, 13] - rows[:, 12])))
        off[(share < -1e-4) | (share > 1 + 1e-4)] = np.inf
        assert off.min(1).max() < 1e-5


def test_points_are_uniform_over_the_skin():
    tube = Growth(
        depth=1, rule=np.array([[np.pi / 2, 0.0, 0.5, 0.4], [np.pi / 2, np.pi, 0.8, 0.2]]), radius=0.1, tropism=0.0
    )
    points = sample_growth(stream(22), tube, 200_000).astype(np.float64)
    trunk = np.hypot(points[:, 0], points[:, 1]) < 0.1001
    trunk &= points[:, 2] < 1 - 0.04
    areas = [
        (0.1 + 0.04) * np.hypot(1, 0.06),
        (0.04 + 0.016) * np.hypot(0.5, 0.024),
        (0.02 + 0.008) * np.hypot(0.8, 0.012),
    ]
    beyond = (0.0352 + 0.016) * 0.4 / (0.056 * 0.5)  # of the first branch, which is 0.0352 thick there
    assert (points[:, 0] > 0.1).mean() == pytest.approx(areas[1] * beyond / sum(areas), abs=0.01)
    height = points[trunk, 2]
    edges = np.linspace(0, 0.95, 20)
    radii = 0.1 - 0.06 * edges
    expected = (radii[:-1] + radii[1:]) / (radii[:-1] + radii[1:]).sum()
    counts = np.histogram(height, edges)[0]
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.003)
    angles = np.arctan2(points[trunk, 1], points[trunk, 0])
    np.testing.assert_allclose(np.histogram(angles, 16, (-np.pi, np.pi))[0] / len(angles), 1 / 16, atol=0.003)


def test_circles_are_round():
    v = np.linspace(0, 1, 1001).astype(np.float32)
    found = np.array([circle(value) for value in v])
    assert np.abs(np.hypot(*found.T) - 1).max() < 1e-4
    angle = np.arctan2(found[:, 1], found[:, 0])[1:-1]
    np.testing.assert_allclose(angle, 2 * np.pi * v[1:-1].astype(np.float64) - np.pi, atol=0.004)


def test_growth_varies_in_numbers_and_stays_finite():
    for k, shape in enumerate(shapes(20, variation=0.0)):
        assert (perturb_growth(stream(k), shape, variation=0.0).rule == shape.rule).all()
        other = perturb_growth(stream(k), shape, variation=0.01)
        assert other.depth == shape.depth
        assert 0 < np.abs(other.rule - shape.rule).max() < 0.1
    for shape in shapes(50, variation=3.0):
        assert np.isfinite(sample_growth(stream(23), shape, 100)).all()


def test_tubes_without_skin_are_refused():
    rule = np.array([[0.5, 0.0, 0.7, 0.6], [0.5, 3.0, 0.7, 0.6]])
    for radius in (0.0, np.nan):
        with pytest.raises(ValueError, match="these tubes have no skin to draw from; give a radius"):
            sample_growth(stream(0), Growth(depth=1, rule=rule, radius=radius, tropism=0.0), 1000)
