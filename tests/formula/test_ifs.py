import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.formula.csv_io import format_ifs, read_ifs
from pcfdsl.formula.ifs import IFS, determinant_probabilities, effective_maps
from pcfdsl.formula.moments import moments
from pcfdsl.formula.sample import contractive, filtered, perturbed, uniform
from pcfdsl.rng import stream

HALF = np.eye(3) / 2


def similarity(ratio: float, num_maps: int = 3, dim: int = 3) -> IFS:
    return IFS.from_maps(np.stack([np.eye(dim) * ratio] * num_maps), np.arange(num_maps * dim).reshape(num_maps, dim))


def test_analysis_of_a_similarity_is_exact():
    ifs = similarity(0.25)
    np.testing.assert_allclose(ifs.spectral_radii(), 0.25)
    np.testing.assert_allclose(ifs.probabilities, 1 / 3)


@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_probabilities_are_in_proportion_to_volumes(seed, dim):
    ifs = uniform(stream(seed), 1, dim=dim)[0]
    np.testing.assert_allclose(
        ifs.probabilities * np.abs(np.linalg.det(ifs.matrices)).sum(), np.abs(np.linalg.det(ifs.matrices)), atol=1e-12
    )


def test_maps_that_all_flatten_are_equally_likely():
    np.testing.assert_array_equal(determinant_probabilities(np.zeros((4, 3, 3))), 0.25)


@pytest.mark.parametrize(
    ("matrices", "offsets", "probabilities", "message"),
    [
        (np.zeros((0, 3, 3)), np.zeros((0, 3)), np.zeros(0), "K >= 1"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4)), [1], "D = 2 or 3"),
        (np.zeros((1, 2, 3)), np.zeros((1, 3)), [1], "D = 2 or 3"),
        (HALF, np.zeros((1, 3)), [1], "must be"),
        ([HALF], np.zeros((2, 3)), [1], "offsets must be"),
        ([HALF], np.zeros((1, 3)), [0.5, 0.5], "probabilities must be"),
        ([HALF, HALF], np.zeros((2, 3)), [1.5, -0.5], "at least 0"),
        ([HALF, HALF], np.zeros((2, 3)), [0.5, 0.4], "sum to 1"),
        ([HALF * np.nan], np.zeros((1, 3)), [1], "finite"),
    ],
)
def test_invalid_systems_are_rejected_with_a_reason(matrices, offsets, probabilities, message):
    with pytest.raises(ValueError, match=message):
        IFS(matrices, offsets, probabilities)


def test_systems_are_immutable():
    ifs = similarity(0.5)
    with pytest.raises(ValueError, match="read-only"):
        ifs.matrices[0, 0, 0] = 1
    with pytest.raises(AttributeError):
        ifs.matrices = np.zeros((1, 3, 3))


@pytest.mark.parametrize("dim", [2, 3])
def test_published_sampler_draws_as_published(dim):
    batch = uniform(stream(1), 4000, dim=dim)
    counts = np.bincount(batch.num_maps, minlength=8)
    assert counts[:2].sum() == 0
    assert np.abs(counts[2:] - 4000 / 6).max() < 5 * np.sqrt(4000 / 6)
    used = np.arange(7) < batch.num_maps[:, None]
    entries = np.concatenate([batch.matrices[used].ravel(), batch.offsets[used].ravel()])
    assert abs(entries.mean()) < 0.01
    assert abs(entries.std() - 3**-0.5) < 0.01
    assert not batch.matrices[~used].any()
    assert not batch.probabilities[~used].any()
    np.testing.assert_allclose(batch.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(batch[5].probabilities, IFS.from_maps(batch[5].matrices, batch[5].offsets).probabilities)


@pytest.mark.parametrize("dim", [2, 3])
def test_contractive_sampler_meets_the_sigma_factor(dim):
    batch = contractive(stream(2), 2000, dim=dim)
    values = np.linalg.svd(batch.matrices, compute_uv=False)
    assert values.max() <= 1 + 1e-12
    weights = np.arange(1, dim + 1)
    alpha = (values * weights).sum(axis=(1, 2)) * 3 / weights.sum()
    assert (alpha >= (5 + batch.num_maps) / 2 - 1e-9).all()
    assert (alpha <= (6 + batch.num_maps) / 2 + 1e-9).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_filtered_sampler_keeps_its_limits_and_every_number_of_maps(dim):
    batch = filtered(stream(3), 3000, dim=dim)
    counts = np.bincount(batch.num_maps, minlength=8)
    assert counts[:2].sum() == 0
    assert np.abs(counts[2:] - 500).max() < 5 * np.sqrt(500)
    for s in range(0, 3000, 10):
        ifs = batch[s]
        values = np.linalg.svd(ifs.matrices, compute_uv=False)
        assert values.max() < 1
        assert (values[:, 0] / values[:, -1]).max() < 20.001
        assert ifs.probabilities @ (values**2).mean(axis=1) < 0.601
        assert effective_maps(ifs.probabilities) > 0.599 * ifs.num_maps
        assert (values.prod(axis=1) ** (1.3 / dim)).sum() > 0.999
        assert moments(ifs) is not None
    again = filtered(stream(3), 3000, dim=dim)
    np.testing.assert_array_equal(again.matrices, batch.matrices)
    np.testing.assert_array_equal(again.offsets, batch.offsets)


def test_filters_leave_systems_of_many_maps_and_refuse_those_of_one():
    assert filtered(stream(4), 20, min_maps=64, max_maps=64).num_maps.tolist() == [64] * 20
    with pytest.raises(ValueError, match="at least 2 maps"):
        filtered(stream(4), 1, min_maps=1)


def test_perturbed_family_stays_within_delta_of_its_base_and_keeps_its_probabilities():
    base = contractive(stream(3), 1, dim=2)[0]
    batch = perturbed(stream(4), 500, base=base, delta=0.1)
    ratio = batch.matrices / base.matrices
    assert 0.9 <= ratio.min() < 0.91
    assert 1.09 < ratio.max() <= 1.1
    np.testing.assert_array_equal(batch[7].probabilities, base.probabilities)


@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_csv_round_trip_is_exact(tmp_path_factory, seed, dim):
    ifs = uniform(stream(seed), 1, dim=dim)[0]
    path = tmp_path_factory.mktemp("csv") / "000000.csv"
    path.write_text(format_ifs(ifs))
    back = read_ifs(path)
    for name in ("matrices", "offsets", "probabilities"):
        np.testing.assert_array_equal(getattr(back, name), getattr(ifs, name))
    assert path.read_text() == format_ifs(ifs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no map"),
        ("1,2,3\n", "row 1: 3 columns"),
        ("0,0,0,0,0,0,1\n" + "0," * 12 + "1\n", "row 2: 13 columns, but the rows above have 7"),
        ("0,0,x,0,0,0,1\n", "row 1, column 3: 'x' is not a number"),
        ("0,0,0,0,0,nan,1\n", "row 1, column 6: nan is not finite"),
        ("0,0,0,0,0,0,0.4\n", "sum to 1"),
    ],
)
def test_csv_errors_name_file_row_and_column(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.csv.*" + message):
        read_ifs(path)


@given(st.text(alphabet="0123456789.,-e\nnaif x", max_size=300))
def test_csv_parser_returns_a_system_or_names_the_error_for_any_text(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    path.write_text(text)
    try:
        ifs, message = read_ifs(path), ""
    except ValueError as error:
        ifs, message = None, str(error)
    assert (ifs is not None and ifs.num_maps >= 1) or "x.csv" in message


@pytest.mark.parametrize("dim", [2, 3])
def test_single_maps_of_the_contractive_sampler_do_not_expand(dim):
    batch = contractive(stream(2), 200, dim=dim, min_maps=1, max_maps=1)
    assert max(np.linalg.svd(batch[i].matrices, compute_uv=False).max() for i in range(200)) <= 1 + 1e-9
