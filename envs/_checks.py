"""Checks of constructor arguments: every refusal is one line of the form ``field: what (got X, want Y)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def refusal(field: str, what: str, got: object, want: str) -> ValueError:
    """Return (not raise) the error ``field: what (got X, want Y)``."""
    return ValueError(f"{field}: {what} (got {got!r}, want {want})")


def real(field: str, value: Any, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False) -> float:
    """Return ``value`` as a finite Python float in [low, high], or in (low, high] with ``open_low``."""
    want = _interval(low, high, open_low)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise refusal(field, "is not a number", value, want)
    number = float(value)
    if not math.isfinite(number):
        raise refusal(field, "is not finite", value, want)
    if not low <= number <= high or (open_low and number == low):
        raise refusal(field, "is out of bounds", value, want)
    return number


def flag(field: str, value: Any) -> bool:
    """Return ``value`` as a Python bool; 0, 1 and strings are refused, since "false" is true in Python."""
    if not isinstance(value, (bool, np.bool_)):
        raise refusal(field, "is not a switch", value, "True or False")
    return bool(value)


def whole(field: str, value: Any, *, low: int) -> int:
    """Return ``value`` as a Python int of at least ``low``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < low:
        raise refusal(field, "is not a valid whole number", value, f"a whole number of at least {low}")
    return int(value)


def choice(field: str, value: Any, options: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``options``."""
    if not isinstance(value, str) or value not in options:
        raise refusal(field, "is not a known choice", value, "one of " + ", ".join(options))
    return value


def reals(field: str, value: Any, *, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Return ``value``, a list, tuple or flat array, as a list of finite floats in [low, high]."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise refusal(field, "is not a list", value, "a list of numbers")
    return [real(f"{field}[{index}]", item, low=low, high=high) for index, item in enumerate(value)]


def interval(field: str, value: Any) -> tuple[float, float]:
    """Return ``value`` as (low, high) with low < high."""
    ends = reals(field, value)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise refusal(field, "is not an interval", value, "[low, high] with low < high")
    return ends[0], ends[1]


def _interval(low: float, high: float, open_low: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "a finite number"
    if high == math.inf:
        return f"a finite number {'>' if open_low else '>='} {low:g}"
    return f"a number in {'(' if open_low else '['}{low:g}, {high:g}]"
