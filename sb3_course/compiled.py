"""Loops that Numba compiles, where the extra `fast` has installed it: what NumPy says in ten passes they do in one.

Each stands in for a function in NumPy of the same formula, which remains what is read, taught and used without Numba;
the tests hold them against each other. The first use compiles, which takes seconds; the result is kept on disk.
``SB3_COURSE_COMPILED=0`` leaves them out.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
#: Sums may be reordered and products contracted; NaN and infinity keep their meaning, or a bad loss would go unseen.
_MATHS = {"reassoc", "contract", "nsz", "arcp"}


def available() -> bool:
    """Return whether compiled loops are to be used."""
    return os.environ.get("SB3_COURSE_COMPILED", "1") != "0" and importlib.util.find_spec("numba") is not None


def _compiled(function: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
    """Turn a function into one that returns it compiled; Numba is imported when that is asked for."""

    @functools.cache
    def get() -> Callable[..., Any]:
        import numba

        # Python's error model looks for a division by zero at every step, and no loop is vectorised.
        compiled: Callable[..., Any] = numba.njit(cache=True, error_model="numpy", fastmath=_MATHS)(function)
        return compiled

    return get


@_compiled
def adam(
    values: Array,
    grads: Array,
    mean: Array,
    square: Array,
    share1: Any,
    beta2: Any,
    share2: Any,
    rate: Any,
    root: Any,
    eps: Any,
) -> None:
    """``m += (1 − β1)(g − m)``, ``v = β2·v + (1 − β2)·g²``, ``θ −= rate·m / (root·√v + ε)``, in place.

    :param share1: ``1 − β1``; taken from a β1 in float32 it would be wrong in the fifth digit
    :param share2: ``1 − β2``
    :param rate: ``lr / (1 − β1^n)``
    :param root: ``1 / √(1 − β2^n)``
    """  # fmt: skip
    for i in range(values.size):
        m = mean[i] + share1 * (grads[i] - mean[i])
        v = beta2 * square[i] + share2 * grads[i] * grads[i]
        mean[i] = m
        square[i] = v
        values[i] -= rate * m / (np.sqrt(v) * root + eps)


@_compiled
def rmsprop(
    values: Array, grads: Array, square: Array, alpha: Any, share: Any, rate: Any, eps: Any, inside: bool
) -> None:
    """``s = α·s + (1 − α)·g²``, ``θ −= rate·g / (√s + ε)``, or ``/ √(s + ε)`` with `inside`; `share` is ``1 − α``."""
    for i in range(values.size):
        s = alpha * square[i] + share * grads[i] * grads[i]
        square[i] = s
        values[i] -= rate * grads[i] / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)
