from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import (
    NUM_LANES,
    chaos_game,
    chaos_game_reference,
    draw_states,
    play,
    start_point,
    tabulate,
)
from pcfdsl.formula.moments import moments
from pcfdsl.formula.sample import contractive, filtered, uniform
from pcfdsl.rng import stream

systems = st.builds(
    lambda seed, dim, sampler: sampler(stream(seed), 1, dim=dim)[0],
    st.integers(0, 10_000),
    st.sampled_from([2, 3]),
    st.sampled_from([uniform, contractive, filtered]),
)


@given(systems, st.integers(1, 3000), st.sampled_from([np.float32, np.float64]), st.integers(0, 20))
def test_kernel_equals_the_plain_numpy_game_to_the_last_bit(ifs, num_points, dtype, burn_in):
    orbit = chaos_game(ifs, num_points, stream(1), dtype=dtype, burn_in=burn_in)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = chaos_game_reference(ifs, num_points, stream(1), dtype=dtype, burn_in=burn_in)
    assert orbit.points.dtype == dtype
    np.testing.assert_array_equal(orbit.points, expected[: len(orbit.points)])
    assert (len(orbit.points) == num_points) == (orbit.stopped is None)


@given(systems, st.sampled_from(["fixed_point", "origin"]))
def test_every_point_is_an_affine_image_of_its_predecessor(ifs, start):
    points = chaos_game(ifs, 600, stream(2), dtype=np.float64, burn_in=0, start=start).points
    before = np.concatenate(
        [np.tile(start_point(ifs) if start == "fixed_point" else 0 * ifs.offsets[0], (NUM_LANES, 1)), points]
    )[: len(points)]
    images = np.einsum("kij,nj->nki", ifs.matrices, before) + ifs.offsets
    gap = np.abs(images - points[:, None]).max(axis=2).min(axis=1)
    assert (gap <= 1e-12 * (1 + np.abs(points).max(axis=1))).all()


@given(systems, st.integers(1, 500), st.integers(1, 500))
def test_the_first_points_do_not_depend_on_the_number_requested(ifs, few, more):
    short = chaos_game(ifs, few, stream(3)).points
    long = chaos_game(ifs, few + more, stream(3)).points
    np.testing.assert_array_equal(short[: len(long)], long[: len(short)])


def test_threads_do_not_change_the_numbers():
    ifs = contractive(stream(4), 1)[0]
    expected = [chaos_game(ifs, 20_000, stream(4, i)).points for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: chaos_game(ifs, 20_000, stream(4, i)).points, range(8)))
    np.testing.assert_array_equal(threaded, expected)


def choices(probabilities, count, seed=0):
    """Map indices that the kernel draws, read off the constant maps x -> k of a 2D system."""
    constant = IFS(
        np.zeros((len(probabilities), 2, 2)), np.arange(len(probabilities))[:, None] * [1.0, 1.0], probabilities
    )
    return chaos_game(constant, count, stream(seed), burn_in=0).points[:, 0].astype(int)


@pytest.mark.parametrize("probabilities", [[0.5, 0.5], [0.1, 0.2, 0.7], [0.01] * 6 + [0.94], [1 / 7] * 7])
def test_maps_are_chosen_with_their_probabilities(probabilities):
    counts = np.bincount(choices(probabilities, 200_000), minlength=len(probabilities))
    assert stats.chisquare(counts, np.array(probabilities) * 200_000 / np.sum(probabilities)).pvalue > 1e-3


def test_choices_are_independent_within_and_across_lanes():
    drawn = choices([0.5, 0.5], 400_000) - 0.5
    for lag in [1, 2, 3, NUM_LANES, 2 * NUM_LANES, 5 * NUM_LANES, 64 * NUM_LANES]:
        correlation = 4 * np.mean(drawn[:-lag] * drawn[lag:])
        assert abs(correlation) < 4.5 / np.sqrt(len(drawn)), lag
    blocks = drawn.reshape(-1, 20).sum(axis=1) * 2  # sums of 20 fair signs have variance 20
    assert abs(blocks.var() / 20 - 1) < 0.05


@pytest.mark.parametrize("probabilities", [[0.0, 1.0], [1.0, 0.0], [0.5, 0.0, 0.5], [1.0]])
def test_a_map_of_probability_zero_is_never_chosen(probabilities):
    assert set(choices(probabilities, 50_000)) == set(np.flatnonzero(probabilities))


@pytest.mark.parametrize("dim", [2, 3])
def test_sample_moments_converge_to_the_exact_ones(dim):
    checked = 0
    for seed in range(40):
        ifs = (uniform if seed % 2 else contractive)(stream(seed), 1, dim=dim)[0]
        operator = sum(p * np.kron(a, a) for p, a in zip(ifs.probabilities, ifs.matrices, strict=True))
        mixing = np.abs(np.linalg.eigvals(operator)).max()
        exact = moments(ifs)
        assert (exact is None) == (mixing >= 1)
        if mixing > 0.6:  # slower systems need more points for the same accuracy
            continue
        checked += 1
        points = chaos_game(ifs, 400_000, stream(seed, "x"), dtype=np.float64).points
        scale = np.sqrt(np.trace(exact.covariance))
        np.testing.assert_allclose(points.mean(axis=0), exact.mean, atol=0.02 * scale)
        np.testing.assert_allclose(np.cov(points.T, bias=True), exact.covariance, atol=0.03 * scale**2)
    assert checked >= 3


def test_an_expanding_system_stops_early_with_a_reason_and_finite_points():
    ifs = IFS.from_maps(np.stack([np.eye(3) * 3] * 2), [[1, 0, 0], [0, 1, 0]])
    orbit = chaos_game(ifs, 100_000, stream(0))
    assert "diverged" in orbit.stopped
    assert len(orbit.points) < 3000
    assert np.isfinite(orbit.points).all()


def test_kernel_does_not_modify_its_seeds():
    table, thresholds = tabulate(contractive(stream(0), 1)[0], np.float32)
    states = draw_states(stream(0))
    kept = states.copy()
    play(table, thresholds, states, np.zeros((1000, 3), np.float32))
    np.testing.assert_array_equal(states, kept)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_points": 0}, "at least 1"),
        ({"num_points": 5, "burn_in": -1}, "burn_in"),
        ({"num_points": 5, "dtype": np.int32}, "float32 or"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        chaos_game(contractive(stream(0), 1)[0], rng=stream(0), **kwargs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 0}, "num_points must be at least 1 and burn_in at least 0, got 0 and 16"),
        ({"burn_in": -1}, "got 10 and -1"),
        ({"dtype": np.int32}, "dtype must be numpy.float32 or numpy.float64"),
    ],
)
def test_games_that_cannot_be_played_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        chaos_game(contractive(stream(0), 1)[0], **({"num_points": 10} | changes), rng=stream(0))
