"""How the loops are compiled.

Numba takes a loop from the disk as long as the loop's own module is what it was: after a change here, or in a module
that another one imports loops from, the caches, ``__pycache__/*.nb?``, have to be deleted by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

Array = np.ndarray
Function = Callable[..., Any]

# Python's error model looks for a division by zero at every step, and no loop is vectorised.
_options = functools.partial(numba.njit, cache=True, error_model="numpy")


def jit(function: Function) -> Function:
    """Compile a function at its first call; the result is kept on disk.

    Sums may be reordered and products contracted; NaN and infinity keep their meaning, or a bad loss would go unseen.
    """
    compiled: Function = _options(fastmath={"reassoc", "contract", "nsz", "arcp"})(function)
    return compiled


def exact(function: Function) -> Function:
    """Compile a function that rounds as NumPy does, wherever it is called."""
    compiled: Function = _options(fastmath=False)(function)  # left out, it would be the caller's
    return compiled


def numbers(function: Function) -> Function:
    """Compile a function whose result may be any number where one of its numbers is NaN."""
    compiled: Function = _options(fastmath={"reassoc", "nsz", "nnan"})(function)
    return compiled


def finite(function: Function) -> Function:
    """Compile a function none of whose numbers is infinite; roots and quotients are right to 22 of 24 bits."""
    compiled: Function = _options(fastmath={"reassoc", "contract", "nsz", "arcp", "afn", "ninf"})(function)
    return compiled
