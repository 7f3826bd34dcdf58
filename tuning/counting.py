"""Flags that are a number of something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sb3_course.config.errors import InputError


def count(options: Mapping[str, Any], name: str, default: int, low: int = 1) -> int:
    """Return the integer that a flag was given.

    :raises InputError: for anything else, and for less than `low`
    """
    value = options.get(name, default)
    flag = f"--{name.replace('_', '-')}"
    try:
        number = float(value)
        if number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(flag, "is not an integer", value, f"an integer >= {low}") from None
    if not low <= number < 2**31:
        raise InputError(flag, "is out of bounds", value, f"an integer >= {low}")
    return int(number)
