from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcfdsl.config import ConfigError
from pcfdsl.formula.iterate import draw_states
from pcfdsl.formula.measures import filling_rate, scaled_variances
from pcfdsl.formula.moments import moments
from pcfdsl.formula.normalize import (
    center,
    center_min_max_joint,
    min_max_joint,
)
from pcfdsl.formula.sample import uniform
from pcfdsl.formula.search import (
    FillingSearchConfig,
    SearchConfig,
    checked_orbit,
    screen,
    search_by_filling,
    search_category,
)
from pcfdsl.rng import stream

clouds = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 60), st.just(3)), elements=st.floats(-100, 100, width=32)
).filter(lambda p: np.ptp(p, axis=0).min() > 1e-3)


@given(clouds)
def test_joint_scaling_spans_the_range_and_keeps_proportions(points):
    joint = min_max_joint(points)
    np.testing.assert_allclose([joint.min(), joint.max()], [-1, 1])
    np.testing.assert_allclose(
        np.ptp(joint, axis=0) / np.ptp(joint), np.ptp(points, axis=0) / np.ptp(points), rtol=1e-9
    )


@given(clouds)
def test_fused_kernel_equals_the_two_steps(points):
    fused = np.empty(points.shape, np.float32)
    assert center_min_max_joint(points.astype(np.float32), fused)
    np.testing.assert_allclose(fused, center(min_max_joint(points)), atol=2e-5)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((0, 3)), "at least one"), (np.ones((5, 3)), "no extent"), (np.full((5, 3), np.nan), "finite")],
)
def test_points_that_cannot_be_normalised_are_rejected(points, message):
    with pytest.raises(ValueError, match=message), np.errstate(invalid="ignore"):
        min_max_joint(points)
    points = points.astype(np.float32)
    assert not len(points) or not center_min_max_joint(points, np.empty_like(points))


@given(clouds, st.floats(0.1, 10))
def test_variances_do_not_depend_on_scale_and_position(points, scale):
    first = scaled_variances(points)
    np.testing.assert_allclose(scaled_variances(points * scale + scale), first, rtol=1e-6)
    np.testing.assert_allclose(first, min_max_joint(points).var(axis=0), rtol=1e-9)


def test_points_without_extent_or_not_finite_have_no_variance():
    for points in (np.ones((5, 3)), np.array([[0.0, 1, 2], [np.inf, 0, 0]]), np.array([[0.0, 1, 2], [np.nan, 0, 0]])):
        assert scaled_variances(points) == (0.0, 0.0, 0.0)


def test_filling_rate_counts_pixels():
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2)
    assert filling_rate(grid, size=100, pad=5) == 100 / 100**2
    assert filling_rate(np.array([[0.0, np.nan]])) == 0
    assert filling_rate(np.array([[0.0, 0], [1, 0]])) == 0


def test_a_category_depends_on_config_seed_and_number_alone():
    config = SearchConfig(variance_threshold=0.05)
    later = search_category(config, 7, 3)
    for k in range(3):
        search_category(config, 7, k)
    again = search_category(config, 7, 3)
    np.testing.assert_array_equal(later.ifs.matrices, again.ifs.matrices)
    assert later.num_draws == again.num_draws == 1 + sum(later.rejected.values())
    assert (search_category(config, 8, 3).ifs.offsets.flat[0]) != later.ifs.offsets.flat[0]
    assert min(later.variances) > 0.05


@pytest.mark.parametrize("threshold", [0.02, 0.05])
def test_screening_never_rejects_what_the_full_check_accepts(threshold):
    rng = stream(5, "screen", int(threshold * 100))
    batch = uniform(rng, 4000)
    states = draw_states(rng, len(batch))
    codes = screen(batch, states, threshold)
    accepted = 0
    for s in range(len(batch)):
        if moments(batch[s]) is None:  # rejected by rule, not by the bound
            assert codes[s] == 1
            continue
        passes = min(scaled_variances(checked_orbit(batch[s], states[s], 10_000))) > threshold
        accepted += passes
        assert codes[s] == 0 or not passes
    assert accepted > 20


def test_contractive_sampler_needs_far_fewer_draws():
    found = [search_category(SearchConfig(sampler="contractive"), 0, k).num_draws for k in range(5)]
    assert np.mean(found) < 2000


@pytest.mark.parametrize("threshold", [0.05, 0.15])
def test_filtered_categories_have_every_number_of_maps_at_any_threshold(threshold):
    config = SearchConfig(sampler="filtered", variance_threshold=threshold)
    found = [search_category(config, 0, k) for k in range(60)]
    assert min(min(category.variances) for category in found) > threshold
    assert np.bincount([category.ifs.num_maps for category in found], minlength=8)[2:].min() >= 3
    assert np.mean([category.num_draws for category in found]) < (2.5 if threshold < 0.1 else 120)
    again = search_category(config, 0, 7)
    np.testing.assert_array_equal(again.ifs.matrices, found[7].ifs.matrices)
    assert again.num_draws == found[7].num_draws == 1 + sum(again.rejected.values())


def test_filtered_pictures():
    config = FillingSearchConfig(sampler="filtered", image_size=128, num_points=20_000, filling_threshold=0.3)
    maps = {search_by_filling(config, 7, k).ifs.num_maps for k in range(12)}
    assert len(maps) > 2


def test_an_unreachable_threshold_raises_an_error_that_says_why():
    with pytest.raises(ConfigError, match=r"none of 5000 systems passed at 0\.9 .*contract.*lower it"):
        search_category(SearchConfig(variance_threshold=0.9, max_draws=5000), 0, 0)


def test_inconsistent_settings():
    with pytest.raises(ConfigError, match="min_maps: is 5, more than max_maps = 3"):
        SearchConfig(min_maps=5, max_maps=3)
    with pytest.raises(ConfigError, match="min_maps: is 1, but sampler=filtered needs at least 2"):
        SearchConfig(sampler="filtered", min_maps=1)


def test_a_filled_category_depends_on_config_seed_and_number_alone():
    config = FillingSearchConfig(image_size=128, num_points=20_000, filling_threshold=0.3)
    later = search_by_filling(config, 7, 3)
    for k in range(3):
        search_by_filling(config, 7, k)
    again = search_by_filling(config, 7, 3)
    np.testing.assert_array_equal(later.ifs.matrices, again.ifs.matrices)
    assert later.num_draws == again.num_draws > 1
    assert later.filling_rate == again.filling_rate >= 0.3
    assert search_by_filling(config, 8, 3).ifs.offsets.flat[0] != later.ifs.offsets.flat[0]
    contractive = replace(config, sampler="contractive")
    assert np.linalg.norm(search_by_filling(contractive, 7, 3).ifs.matrices, 2, axis=(1, 2)).max() <= 1 + 1e-9


def test_one_draw_in_about_forty_fills_a_fifth_of_the_released_picture():
    draws = [search_by_filling(FillingSearchConfig(), 0, k).num_draws for k in range(30)]
    assert 25 < np.mean(draws) < 75  # 42.7 in the published search


def test_an_impossible_or_unreached_filling_rate_raises_an_error():
    with pytest.raises(ConfigError, match=r"filling_threshold: 0.5 of 512 x 512 pixels is more than num_points"):
        FillingSearchConfig(filling_threshold=0.5)
    with pytest.raises(ConfigError, match=r"none of 5 systems filled 0.9 of 64 x 64 pixels with 9000 points; lower it"):
        search_by_filling(FillingSearchConfig(filling_threshold=0.9, image_size=64, num_points=9000, max_draws=5), 0, 0)
