import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pcfdsl.evaluate.statistics import paired_difference, summarize

FLOATS = st.floats(-100, 100).map(lambda x: round(x, 3))


@given(st.lists(FLOATS, min_size=2, max_size=9), st.sampled_from([0.5, 0.95, 0.99]))
def test_interval_is_that_of_scipy(values, confidence):
    summary = summarize(values, confidence=confidence)
    assert summary.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert summary.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    if summary.deviation > 1e-6:
        interval = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert (summary.low, summary.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


def test_pairs_are_those_of_scipy():
    generator = np.random.Generator(np.random.PCG64(0))
    baseline = generator.normal(size=6)
    values = baseline + generator.normal(0.3, 0.1, size=6)
    summary = paired_difference(values.tolist(), baseline.tolist())
    interval = stats.ttest_rel(values, baseline).confidence_interval()
    assert (summary.low, summary.high) == pytest.approx((interval.low, interval.high))
    alone = summarize(values.tolist())
    assert alone.high - alone.low > 2 * (summary.high - summary.low)


def test_one_value_has_no_deviation():
    summary = summarize([0.25])
    assert (summary.mean, summary.deviation, summary.low, summary.high) == (0.25, None, None, None)
    assert summary.format(100) == "25.0"


@pytest.mark.parametrize("values", [[], [1, float("nan")], [[1, 2]]])
def test_bad_values_are_named(values):
    with pytest.raises(ValueError, match="finite numbers"):
        summarize(values)


def test_bad_pairs_and_confidence_are_named():
    with pytest.raises(ValueError, match="one of each per seed"):
        paired_difference([1, 2], [1])
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        summarize([1, 2], confidence=95)
