import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.rng import stream

paths = st.lists(st.one_of(st.integers(), st.text()), max_size=4).map(tuple)


@given(st.integers(), paths, st.integers(), paths)
def test_equal_exactly_when_seed_and_path_are_equal(seed_a, path_a, seed_b, path_b):
    a, b = stream(seed_a, *path_a).integers(2**62), stream(seed_b, *path_b).integers(2**62)
    assert (a == b) == ((seed_a, path_a) == (seed_b, path_b))


def test_numpy_integers_and_python_integers_are_the_same_path():
    assert stream(np.int64(3), np.uint8(4)).random() == stream(3, 4).random()


def test_the_key_of_philox_is_the_hash_of_the_path():
    key = int.from_bytes(hashlib.blake2b(b"i2:42s1:x", digest_size=16).digest(), "little")
    expected = np.random.Generator(np.random.Philox(key=key)).integers(2**62, size=9)
    rng = stream(42, "x")
    copy = pickle.loads(pickle.dumps(rng))
    assert rng.integers(2**62, size=9).tolist() == copy.integers(2**62, size=9).tolist() == expected.tolist()


@pytest.mark.parametrize("item", [1.0, True, None, b"x"])
def test_items_that_could_be_misread_are_refused(item):
    with pytest.raises(TypeError, match="integers and strings"):
        stream(0, item)


def test_streams_of_neighbouring_paths_are_uncorrelated():
    draws = np.stack([stream(0, "x", i).standard_normal(2000) for i in range(50)])
    correlation = np.corrcoef(draws) - np.eye(50)
    assert np.abs(correlation).max() < 0.12  # 5.4 standard deviations of one pair
