"""Strings are of their languages, of any length, and drawn as said."""

from typing import get_args

import numpy as np
import pytest

from pcfdsl.formula.strings import Language, draw_string
from pcfdsl.rng import stream


def test_halves_are_equal():
    for length in (8, 64, 196):
        string = draw_string(stream(0), "ww", length, num_symbols=128)
        assert np.array_equal(string[: length // 2], string[length // 2 :])
        assert len(set(string)) > min(length // 2, 3)


@pytest.mark.parametrize("seed", range(20))
def test_brackets_are_balanced_and_cross_only_where_they_may(seed):
    nested = draw_string(stream(seed), "dyck", 60, num_symbols=10)
    stack = []
    for symbol in nested:
        if symbol % 2:
            assert stack.pop() == symbol - 1
        else:
            stack.append(symbol)
    assert not stack
    crossing = draw_string(stream(seed), "shuffle_dyck", 60, num_symbols=10)
    for kind in range(5):
        depth = np.cumsum((crossing == 2 * kind).astype(int) - (crossing == 2 * kind + 1))
        assert depth.min() >= 0
        assert depth[-1] == 0


def test_crossing_brackets_do_cross():
    def crosses(string):
        stack = []
        for symbol in string:
            if not symbol % 2:
                stack.append(symbol)
            elif stack.pop() != symbol - 1:
                return True
        return False

    assert np.mean([crosses(draw_string(stream(i), "shuffle_dyck", 60, num_symbols=20)) for i in range(50)]) > 0.9


@pytest.mark.parametrize("language", get_args(Language))
def test_any_length_and_the_same_string_again(language):
    for length in (1, 2, 49, 196):
        string = draw_string(stream(3), language, length, num_symbols=128)
        assert string.shape == (length,)
        assert string.min() >= 0
        assert string.max() < 128
        assert np.array_equal(string, draw_string(stream(3), language, length, num_symbols=128))


def test_kinds_are_uniform():
    strings = np.concatenate([draw_string(stream(i), "dyck", 200, num_symbols=8) for i in range(200)])
    counts = np.bincount(strings, minlength=8)
    assert counts.min() > 0.9 * counts.mean()  # 40,000 symbols
