"""Whole numbers as ``Generator.integers`` draws them, to the bit and from the same stream, without its preparations."""

from __future__ import annotations

import ctypes
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.core.cgutils import ir  # type: ignore[attr-defined]
from numba.extending import intrinsic

from sb3_course.backends.compiled.jit import Array, exact


@intrinsic
def _next_uint32(_: Any, function: Any, state: Any) -> Any:
    """Call a bit generator's C function at its address."""

    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        of_c = ir.FunctionType(ir.IntType(32), [pointer]).as_pointer()
        return builder.call(builder.inttoptr(args[0], of_c), [builder.inttoptr(args[1], pointer)])

    return types.uint32(types.int64, types.int64), call


next_uint32: Any = _next_uint32  # compiled callers leave the first argument out


@exact
def fill_below(function: int, state: int, high: int, found: Array) -> None:
    """Write whole numbers from 0 to ``high − 1`` (Lemire 2019, as NumPy has it for ranges of less than 2^32)."""
    n = np.uint64(high)
    below = np.uint64((np.uint64(1 << 32) - n) % n)
    for b in range(found.size):
        wide = np.uint64(next_uint32(function, state)) * n
        while (wide & np.uint64(0xFFFFFFFF)) < below:
            wide = np.uint64(next_uint32(function, state)) * n
        found[b] = np.int64(wide >> np.uint64(32))


class Integers:
    """Draws of one generator, whose C functions are looked up once: it keeps its bit generator as long as it lives."""

    def __init__(self, rng: Any) -> None:
        self.rng, self._places = rng, (0, 0)  # of the function and of its state; none for a user's own generator
        if type(rng) is np.random.Generator and as_numpy_draws(type(rng.bit_generator)):
            self._lock, self._places = rng.bit_generator.lock, places_of(rng.bit_generator)

    def fill(self, found: Array, high: int) -> None:
        """Write ``rng.integers(high, size=len(found))`` into `found`."""
        if self._places[0] and 1 < high < 1 << 32:
            with self._lock:
                fill_below(*self._places, high, found)
        else:
            found[:] = self.rng.integers(high, size=len(found))


def places_of(bits: Any) -> tuple[int, int]:
    """Return the addresses of a bit generator's C function and of its state."""
    c: Any = bits.ctypes
    return ctypes.cast(c.next_uint32, ctypes.c_void_p).value or 0, c.state_address


@cache
def as_numpy_draws(kind: Any) -> bool:
    """Tell whether the installed NumPy draws so with this kind of bit generator: it may change how between versions.

    Of kinds that are not NumPy's own nothing is known, not even how one is made.
    """
    if not kind.__module__.startswith("numpy.random."):
        return False
    one = np.random.Generator(kind(0))
    two, mine = deepcopy(one), np.empty(64, np.int64)
    theirs = []
    for high in 3, 1_000, 3_000_000_001:  # the last one has to draw again a quarter of the time
        fill_below(*places_of(one.bit_generator), high, mine)
        theirs.append(np.array_equal(mine, two.integers(high, size=64)))
    return all(theirs) and str(one.bit_generator.state) == str(two.bit_generator.state)
