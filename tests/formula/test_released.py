"""The published searches against arrays measured from the published code."""

import itertools
import json

import numpy as np
import pytest

from pcfdsl.formula import released
from pcfdsl.formula.csv_io import format_ifs
from pcfdsl.formula.ifs import IFS


@pytest.fixture(scope="module")
def published_2d():
    from tests.conftest import GOLDEN

    return json.loads((GOLDEN / "fractaldb_2d.json").read_text())


def test_3d_orbits_normalisation_and_decisions_are_the_published_ones(golden):
    data = golden("pcfractal_variance.npz")
    for s, num_maps in enumerate(data["num_maps"]):
        rows = data["params"][s, :num_maps]
        ifs = IFS(rows[:, :9].reshape(-1, 3, 3), rows[:, 9:12], rows[:, 12])
        uniforms = np.random.RandomState(data["seed"][s]).uniform(size=10_000)
        np.testing.assert_array_equal(uniforms[:64], data["uniform_head"][s])
        raw = released.orbit(ifs, uniforms)
        assert len(raw) == data["points_generated"][s] == 9999
        np.testing.assert_array_equal(raw[:64].T, data["raw_head"][s])
        with np.errstate(invalid="ignore", over="ignore"):
            points = released.normalize_3d(raw, num_iterations=10_000)
            decisions = [released.accept_3d(points, threshold) for threshold in (0.05, 0.10, 0.15)]
        np.testing.assert_array_equal(points[:64].T, data["norm_head"][s])
        np.testing.assert_array_equal(points[-64:].T, data["norm_tail"][s])
        assert decisions == data["accept_at_0p05_0p10_0p15"][s].tolist()
        if np.isfinite(points).all():
            np.testing.assert_allclose(points.var(axis=0), data["variance"][s], rtol=1e-12)


def regenerate(count):
    return list(itertools.islice(released.search_2d(np.random.RandomState(1)), count))


def check_2d(found, published):
    expected = published["category_search_regeneration"]
    drawn = [category.num_candidates for category in found]
    assert drawn[:8] == expected["candidate_index_of_first_accepts_1based"]
    for number, candidates in expected["cumulative_candidates_at_accept"].items():
        if int(number) <= len(found):
            assert drawn[int(number) - 1] == candidates
    for name, category in published["categories"].items():
        if int(name) < len(found):
            ifs = found[int(name)].ifs
            rows = np.column_stack([ifs.matrices.reshape(-1, 4), ifs.offsets, ifs.probabilities])
            np.testing.assert_array_equal(rows, category["params"])


def test_first_hundred_2d_categories_regenerate_from_seed_1(published_2d):
    check_2d(regenerate(100), published_2d)


@pytest.mark.slow
def test_all_thousand_2d_categories_regenerate_with_the_published_number_of_csv_bytes(published_2d):
    found = regenerate(1000)
    check_2d(found, published_2d)
    size = sum(len(format_ifs(category.ifs)) for category in found)
    assert size == published_2d["category_search_regeneration"]["total_bytes"]
    num_maps = np.bincount([category.ifs.num_maps for category in found])
    assert num_maps[2:].tolist() == [231, 294, 218, 146, 77, 34]


def test_published_3d_search_counts_its_candidates_and_yields_accepted_systems():
    legacy = np.random.RandomState(3)
    first, second = itertools.islice(released.search_3d(legacy, threshold=0.05, num_points=2000), 2)
    assert 0 < first.num_candidates < second.num_candidates
    assert min(first.values) > 0.05


def test_no_map_fires_where_rounding_leaves_the_uniform_above_the_sum():
    ifs = IFS([np.eye(2) / 2] * 2, [[1, 1], [2, 2]], [0.5, 0.4999999])
    points = released.orbit(ifs, np.array([0.2, 0.99999999, 0.6, 0.0]))
    np.testing.assert_array_equal(points[1], points[2])
    assert not np.array_equal(points[2], points[3])


def test_the_hundred_points_before_the_first_nan_are_removed_too():
    points = np.arange(400.0).repeat(2).reshape(-1, 2)
    points[[250, 300], 0] = np.nan
    kept = released.cut_before_nan(points, axis=0)
    np.testing.assert_array_equal(kept[:, 1], np.delete(np.arange(400.0), [*range(150, 251), 300]))
    assert released.cut_before_nan(points, axis=1) is points


def test_the_wrong_count_leaves_part_of_the_mean():
    points = np.ones((7999, 3))
    np.testing.assert_allclose(released.center_by_wrong_count(points, num_iterations=10_000), 0.2001)


def test_only_the_y_axis_is_checked_for_nan():
    points = np.random.default_rng(0).uniform(-1, 1, (100, 3))
    assert released.accept_3d(points, 0.1)
    points[0, 1] = np.nan
    assert not released.accept_3d(points, 0.1)
