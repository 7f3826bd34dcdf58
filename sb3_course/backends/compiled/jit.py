"""How the loops are compiled: each with flags of its own, one left out would be taken over from the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from sb3_course.backends.compiled.cache import SourcesCache

Array = np.ndarray
AnyFunction = Callable[..., Any]


def _compile(function: AnyFunction, flags: Any, inner: bool = False) -> AnyFunction:
    # Python's error model looks for a division by zero at every step, and no loop is vectorised.
    options: dict[str, Any] = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(error_model="numpy", fastmath=flags, **options)(function)
    compiled._cache = SourcesCache(function)
    dispatcher: AnyFunction = compiled
    return dispatcher


def jit(function: AnyFunction) -> AnyFunction:
    """Compile a function at its first call; the result is kept on disk.

    Sums may be reordered and products contracted; NaN and infinity keep their meaning, or a bad loss would go unseen.
    """
    return _compile(function, {"reassoc", "contract", "nsz", "arcp"})


def inner(function: AnyFunction) -> AnyFunction:
    """Compile a function as `jit` does that only compiled ones call.

    It has no way in from Python, which takes a fifth of the time to compile: called from there, it crashes.
    """
    return _compile(function, {"reassoc", "contract", "nsz", "arcp"}, inner=True)


def inner_exact(function: AnyFunction) -> AnyFunction:
    """Compile a function as `exact` does that only compiled ones call: see `inner`."""
    return _compile(function, flags=False, inner=True)


def exact(function: AnyFunction) -> AnyFunction:
    """Compile a function that rounds as NumPy does, wherever it is called."""
    return _compile(function, flags=False)


def numbers(function: AnyFunction) -> AnyFunction:
    """Compile a function whose result may be any number where one of its numbers is NaN."""
    return _compile(function, {"reassoc", "nsz", "nnan"})


def finite(function: AnyFunction) -> AnyFunction:
    """Compile a function none of whose numbers is infinite; roots and quotients are right to 22 of 24 bits."""
    return _compile(function, {"reassoc", "contract", "nsz", "arcp", "afn", "ninf"})
