"""Every two values of orthogonal choices together, in far fewer rows than all with all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any


def pairwise(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return rows with one value of each axis, such that any two values of different axes share a row.

    The same rows each time: each begins with the first pair that no row before has, and every other axis takes the
    value that adds most pairs, the first of them where several do.
    """
    if len(axes) < 2:
        return [(value,) for axis in axes for value in axis]
    missing = dict.fromkeys(
        (one, two) for one, two in combinations([(a, i) for a, axis in enumerate(axes) for i in range(len(axis))], 2)
        if one[0] != two[0]
    )  # fmt: skip
    rows = []
    while missing:
        row = dict(next(iter(missing)))
        for a, axis in enumerate(axes):
            if a not in row:
                row[a] = max(range(len(axis)), key=lambda i: sum(pair in missing for pair in _pairs({**row, a: i})))
        for pair in _pairs(row):
            missing.pop(pair, None)
        rows.append(tuple(axes[a][row[a]] for a in range(len(axes))))
    return rows


def _pairs(row: dict[int, int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield every two choices of a row, (axis, index) each."""
    return combinations(sorted(row.items()), 2)
