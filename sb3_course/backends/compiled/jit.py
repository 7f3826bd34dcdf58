"""How the loops are compiled: each with flags of its own, one left out would be taken over from the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from sb3_course.backends.compiled.cache import SourcesCache, Unkept

Array = np.ndarray
AnyFunction = Callable[..., Any]

_LOOSE = {"reassoc", "contract", "nsz", "arcp"}
#: The versions of Numba with which `linking` has been tried; with others, what it is for is compiled as all the rest.
TRIED = ("0.68.",)
_COMPILERS: dict[str, Any] = {}
_TwoForms: Any = None
if numba.__version__.startswith(TRIED) and not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    from sb3_course.backends.compiled.linking import COMPILERS as _COMPILERS
    from sb3_course.backends.compiled.linking import TwoForms as _TwoForms


def _compile(function: AnyFunction, flags: Any, within: str = "") -> AnyFunction:
    function = getattr(function, "py_func", function)  # `joint` may be given what `jit` has made
    # Python's error model looks for a division by zero at every step, and no loop is vectorised.
    options: dict[str, Any] = {"no_cpython_wrapper": bool(within), "no_cfunc_wrapper": True}
    if known := within in _COMPILERS:
        options["pipeline_class"] = _COMPILERS[within]
    compiled: Any = numba.njit(error_model="numpy", fastmath=flags, **options)(function)
    compiled._cache = Unkept() if known and within else SourcesCache(function, within)
    if known and not within:
        compiled.__class__, compiled.within = _TwoForms, _compile(function, flags, "optimised")
    dispatcher: AnyFunction = compiled
    return dispatcher


def jit(function: AnyFunction) -> AnyFunction:
    """Compile a function at its first call; the result is kept on disk.

    What Python calls and what compiled callers have inside of them are made apart, each when it is needed.
    Sums may be reordered and products contracted; NaN and infinity keep their meaning, or a bad loss would go unseen.
    """
    return _compile(function, _LOOSE)


def inner(function: AnyFunction) -> AnyFunction:
    """Compile a function as `jit` does that only compiled ones call.

    It has no way in from Python, and no machine code of its own: called from there, it crashes.
    """
    return _compile(function, _LOOSE, "optimised")


def joint(function: AnyFunction) -> AnyFunction:
    """Compile a function as `inner` does that mostly calls others: only its callers optimise it.

    One that `jit` has made may be given: compiled callers then have it in this form.
    """
    return _compile(function, _LOOSE, "lowered")


def inner_exact(function: AnyFunction) -> AnyFunction:
    """Compile a function as `exact` does that only compiled ones call: see `inner`."""
    return _compile(function, False, "optimised")


def exact(function: AnyFunction) -> AnyFunction:
    """Compile a function that rounds as NumPy does, wherever it is called."""
    return _compile(function, False)


def numbers(function: AnyFunction) -> AnyFunction:
    """Compile a function whose result may be any number where one of its numbers is NaN."""
    return _compile(function, {"reassoc", "nsz", "nnan"})


def finite(function: AnyFunction) -> AnyFunction:
    """Compile a function none of whose numbers is infinite; roots and quotients are right to 22 of 24 bits."""
    return _compile(function, {"reassoc", "contract", "nsz", "arcp", "afn", "ninf"})
