"""Which library an array belongs to, so that one formula serves NumPy and torch."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

#: A NumPy array or a torch tensor; the functions of this package return what they were given.
Array: TypeAlias = Any


def namespace(array: Array) -> Any:
    """Return the module (``numpy`` or ``torch``) whose functions take `array`."""
    # torch is looked up, never imported: an array of it cannot exist before it was imported.
    return np if isinstance(array, np.ndarray | np.generic) else sys.modules["torch"]


def rows(array: Array) -> Array:
    """Return ``0 … B - 1`` in the library and on the device of `array` (B, …), to index one column a row."""
    if isinstance(array, np.ndarray):
        return np.arange(len(array))
    return namespace(array).arange(len(array), device=array.device)
