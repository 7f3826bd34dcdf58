"""Whether somebody has put methods of his own in place of ours."""

from __future__ import annotations

from functools import cache
from typing import Any


def as_written(one: Any, base: Any, names: frozenset[str]) -> bool:
    """Tell whether neither an object nor its class has other methods of these names than the class `base`.

    It is asked at each ``train``: a frozen set knows its hash, and a class is looked at once, before it first trains.
    """
    kind: Any = type(one)
    return vars(one).keys().isdisjoint(names) and _inherits(kind, base, names)


@cache
def _inherits(kind: Any, base: Any, names: frozenset[str]) -> bool:
    return all(getattr(kind, name) is getattr(base, name) for name in names)
