"""The helper that thins out orthogonal choices leaves no two of them apart."""

from itertools import combinations, product

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pairwise import pairwise


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_every_two_values_share_a_row(sizes: list[int]) -> None:
    axes = [[f"{axis}.{value}" for value in range(size)] for axis, size in enumerate(sizes)]
    rows = pairwise(*axes)
    assert all(value in axis for row in rows for value, axis in zip(row, axes, strict=True))
    for one, two in combinations(range(len(axes)), 2):
        assert {(row[one], row[two]) for row in rows} == set(product(axes[one], axes[two]))
    assert rows == pairwise(*axes)
    assert len(rows) == len(set(rows)) <= len(list(product(*axes)))


@pytest.mark.parametrize(("sizes", "at_most"), [((3, 3, 3), 10), ((2,) * 10, 12), ((5, 6, 4), 32), ((4, 4, 3, 2), 18)])
def test_there_are_few_rows(sizes: tuple[int, ...], at_most: int) -> None:
    assert len(pairwise(*map(range, sizes))) <= at_most


def test_one_choice_is_all_its_values() -> None:
    assert pairwise("ab") == [("a",), ("b",)]
