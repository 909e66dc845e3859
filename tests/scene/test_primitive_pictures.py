"""Pictures of furniture: rays meet surfaces where sampled points lie, and pictures depend on their number alone."""

import numpy as np
import pytest

from pcfdsl.scene.primitive_pictures import _INTERSECTIONS, PrimitivePictures
from pcfdsl.scene.primitives import CLASSES, Part, sample_parts


@pytest.mark.parametrize("kind", ["block", "ellipsoid", "cylinder", "wider", "cone"])
def test_rays_towards_points_of_a_surface_meet_it_there_or_earlier_on_the_surface(kind):
    rng = np.random.default_rng(0)
    top = {"wider": 1.5, "cone": 0.3}.get(kind, 1.0)
    solid = kind if kind in ("block", "ellipsoid") else "cylinder"
    part = Part(kind=solid, center=(0, 0, 0), size=(0.6, 0.9, 1.4), top=top)
    points = sample_parts(rng, [part], num_points=2000)[0].astype(np.float64)
    origin = np.array([2.0, -3.0, 1.5])
    rays = points - origin
    hit = _INTERSECTIONS[solid](origin, rays * 0.999999, part)
    met = np.isfinite(hit.distance)
    assert met.mean() > 0.99  # rays that graze it may miss
    assert (hit.distance[met] <= 1.001).all()
    normal = hit.normal[met]
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-6)
    assert ((normal * rays[met]).sum(1) < 1e-6).all()  # seen from outside
    seen = hit.distance > 0.999
    assert 0.1 < seen.mean() < 0.7  # the rest of the sampled points is on the far side
    entered = origin + hit.distance[met, None] * rays[met]
    nearest = np.linalg.norm(entered[:200, None] - points[None], axis=2).min(1)
    assert np.percentile(nearest, 95) < 0.1


@pytest.mark.parametrize("top", [0.0, 0.4, 1.5])
def test_steep_rays_from_above_and_below_meet_the_side_of_a_cone(top):
    part = Part(kind="cylinder", center=(0, 0, 0), size=(0.5, 0.5, 0.25), top=top)
    target = np.random.default_rng(0).uniform([-0.5, -0.5, 0], [0.5, 0.5, 0], (200, 3))
    steps = np.linspace(0, 2, 20_001)
    for height in (-2.0, 2.0):
        origin = np.array([0.05, 0.0, height])
        rays = target - origin
        places = origin + steps[:, None, None] * rays
        radius = 0.25 * (1 + (top - 1) * (places[..., 2] + 0.125) / 0.25)
        inside = (np.abs(places[..., 2]) <= 0.125) & (np.hypot(places[..., 0], places[..., 1]) <= radius)
        expected = np.where(inside.any(0), steps[inside.argmax(0)], np.inf)
        found = _INTERSECTIONS["cylinder"](origin, rays, part).distance
        met = np.isfinite(expected)
        assert 20 < met.sum() < 180
        assert (np.isfinite(found) == met).mean() > 0.98  # rays that graze it may miss
        both = met & np.isfinite(found)
        np.testing.assert_allclose(found[both], expected[both], atol=2e-4)


def test_rays_that_pass_by_miss():
    origin, rays = np.array([0.0, -5.0, 0.0]), np.array([[0.0, 1, 1], [0.0, -1, 0]])
    for kind, intersect in _INTERSECTIONS.items():
        part = Part(kind=kind, center=(0, 0, 0), size=(1, 1, 1))
        assert not np.isfinite(intersect(origin, rays, part).distance).any(), kind


def test_pictures_depend_on_split_size_and_number_alone():
    pictures = PrimitivePictures("train", size=16, num_per_class=3)
    assert pictures.classes == tuple(CLASSES)
    assert np.bincount(pictures.labels).tolist() == [3] * 10
    chosen = (0, 4, 29)
    first = [pictures.picture(i) for i in chosen]
    again = [PrimitivePictures("train", size=16, num_per_class=3).picture(i) for i in reversed(chosen)]
    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == (16, 16, 3)
        assert one.dtype == np.uint8
    more = PrimitivePictures("train", size=16, num_per_class=5)
    np.testing.assert_array_equal(more.picture(5), pictures.picture(3))  # number 0 of class 1 in both
    assert (PrimitivePictures("val", size=16, num_per_class=3).picture(0) != first[0]).any()


def test_an_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="unknown split 'test'"):
        PrimitivePictures("test", size=16, num_per_class=1)
