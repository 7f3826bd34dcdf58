"""Which library an array belongs to, so that one formula serves NumPy and torch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

#: A NumPy array or a torch tensor; the functions of this package return what they were given.
Array: TypeAlias = Any

_NUMPY = np.ndarray, np.generic
_Function = TypeVar("_Function", bound=Callable[..., Array])


def namespace(array: Array) -> Any:
    """Return the module (``numpy`` or ``torch``) whose functions take `array`."""
    # torch is looked up, never imported: an array of it cannot exist before it was imported.
    return np if isinstance(array, _NUMPY) else sys.modules["torch"]


def rows(array: Array) -> Array:
    """Return ``0 … B - 1`` in the library and on the device of `array` (B, …), to index one column a row."""
    if isinstance(array, np.ndarray):
        return np.arange(len(array))
    return namespace(array).arange(len(array), device=array.device)


def steps(n: int, like: Array) -> Array:
    """Return ``0 … n - 1`` in the library, precision and on the device of `like`."""
    if isinstance(like, np.ndarray):
        return np.arange(n, dtype=like.dtype)
    return namespace(like).arange(n, dtype=like.dtype, device=like.device)


def midpoints(n: int, like: Array) -> Array:
    """Return ``(i + ½)/N``, the middles of N equal parts of (0, 1), (N,), in the library of `like`."""
    return (steps(n, like) + 0.5) / n


def as_like(values: np.ndarray, like: Array) -> Array:
    """Return a NumPy array in the library, precision and on the device of `like`."""
    if isinstance(like, np.ndarray):
        return values.astype(like.dtype, copy=False)
    return namespace(like).as_tensor(values, dtype=like.dtype, device=like.device)


def zeros_like(array: Array) -> Array:
    """Return zeros in the shape, library and precision of `array`."""
    return namespace(array).zeros_like(array)


def cast(array: Array, dtype: Any) -> Array:
    """Return `array` with the elements' type `dtype`, one of its own library."""
    return array.astype(dtype) if isinstance(array, np.ndarray) else array.to(dtype)


def in_numpy(function: _Function) -> _Function:
    """Let NumPy do the work for tensors that lie in main memory and want no gradient, in place and without a copy.

    Worth it for many operations on little data: each costs torch several times what it costs NumPy.
    """

    @functools.wraps(function)
    def wrapper(*args: Any) -> Array:
        tensors = [arg for arg in args if hasattr(arg, "requires_grad")]
        if not tensors or any(tensor.requires_grad or tensor.device.type != "cpu" for tensor in tensors):
            return function(*args)
        torch = sys.modules["torch"]
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # which would take what NumPy does for constants
            return function(*args)
        result = function(*(arg.numpy() if hasattr(arg, "requires_grad") else arg for arg in args))
        return torch.as_tensor(result)

    return wrapper  # type: ignore[return-value]
