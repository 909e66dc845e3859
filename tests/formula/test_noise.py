import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.formula.noise import fractal_noise_2d, perlin_1d, perlin_2d
from tests.conftest import GOLDEN

PLACES = st.floats(-300, 300, allow_nan=False)


def test_1d_noise_equals_the_librarys_bit_for_bit():
    measured = json.loads((GOLDEN / "contours.json").read_text())["noise"]
    made = perlin_1d(np.array(measured["arguments"]))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made.astype(np.float64), measured["values"])


def test_1d_noise_has_the_measured_spread():
    values = perlin_1d(np.random.default_rng(0).random((4, 50_000)) * 10_000)
    assert values.shape == (4, 50_000)
    assert abs(values.mean()) < 0.005
    assert values.std() == pytest.approx(0.329, abs=0.005)
    assert np.abs(values).max() < 0.96
    assert not perlin_1d(np.arange(-20.0, 20)).any()


@given(PLACES, PLACES, st.integers(0, 2**16 - 1))
def test_2d_noise_is_smooth_bounded_and_periodic(x, y, salt):
    def at(x, y):
        return float(perlin_2d(np.array([x]), np.array([y]), salt=salt)[0])

    value = at(x, y)
    assert abs(value) <= 0.7072
    assert abs(at(x + 1e-6, y) - value) < 1e-5
    assert abs(at(x, y + 1e-6) - value) < 1e-5
    assert abs(at(x + 256, y - 256) - value) < 1e-9
    assert at(np.floor(x), np.floor(y)) == 0


def test_salts_yield_unrelated_noise_and_no_axis_is_favoured():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 40_000)) * 250
    a, b = perlin_2d(x, y, salt=1), perlin_2d(x, y, salt=2)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    step = 0.1
    along_x, along_y = (a - perlin_2d(x + step, y, salt=1)).std(), (a - perlin_2d(x, y + step, salt=1)).std()
    assert along_x == pytest.approx(along_y, rel=0.03)


def test_a_picture_of_noise_is_the_noise_at_its_pixels():
    made = fractal_noise_2d((5, 7), frequency=(2, 3), origin=(1.5, 2.25), octaves=2, gain=0.25, salt=9)
    rows, columns = np.meshgrid((np.arange(5) + 0.5) * 2 / 5 + 1.5, (np.arange(7) + 0.5) * 3 / 7 + 2.25, indexing="ij")
    first, second = perlin_2d(columns, rows, salt=9), perlin_2d(2 * columns, 2 * rows, salt=10)
    np.testing.assert_allclose(made, (first + 0.25 * second) / 1.25, atol=1e-6)
