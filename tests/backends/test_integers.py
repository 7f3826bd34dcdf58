"""Whole numbers drawn by a generator's C function are those of ``integers``, and leave it where that leaves it."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from sb3_course.backends.compiled import integers as module
from sb3_course.backends.compiled.integers import Integers, as_numpy_draws

BITS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


@pytest.mark.parametrize("bits", BITS)
def test_numbers_and_stream_are_numpys(bits: Any) -> None:
    mine, theirs = np.random.Generator(bits(3)), np.random.Generator(bits(3))
    integers, found = Integers(mine), np.empty(33, np.int64)
    for high in [1, 2, 3, 7, 1500, 2**31, 2**31 + 5, 3_000_000_001, 2**32 - 1, 2**32, 2**32 + 1, 2**40] * 5:
        integers.fill(found, high)
        np.testing.assert_array_equal(found, theirs.integers(high, size=33))
    mine.bit_generator.state = theirs.bit_generator.state = bits(5).state
    integers.fill(found, 10)
    np.testing.assert_array_equal(found, theirs.integers(10, size=33))
    assert str(mine.bit_generator.state) == str(theirs.bit_generator.state)


def test_a_generator_of_a_users_own_is_asked_by_its_methods() -> None:
    class Own:
        def integers(self, high: int, size: int) -> np.ndarray:
            return np.full(size, high - 1)

    found = np.empty(4, np.int64)
    Integers(Own()).fill(found, 9)
    assert found.tolist() == [8] * 4


def test_a_numpy_that_draws_otherwise_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(as_numpy_draws, BITS))

    def otherwise(function: int, state: int, high: int, found: np.ndarray) -> None:
        found[:] = 0

    monkeypatch.setattr(module, "fill_below", otherwise)
    as_numpy_draws.cache_clear()
    try:
        found = np.empty(33, np.int64)
        Integers(np.random.default_rng(3)).fill(found, 1500)
    finally:
        as_numpy_draws.cache_clear()
    np.testing.assert_array_equal(found, np.random.default_rng(3).integers(1500, size=33))


def test_of_a_bit_generator_of_a_users_own_nothing_is_supposed() -> None:
    class Mine(np.random.PCG64):
        def __init__(self, seed: int, note: str) -> None:
            super().__init__(seed)

    found = np.empty(33, np.int64)
    Integers(np.random.Generator(Mine(3, "of a paper"))).fill(found, 1500)
    np.testing.assert_array_equal(found, np.random.default_rng(3).integers(1500, size=33))
