"""A walk through everything that two objects hold, which names what is not the same in both."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

#: What holds no state: functions, classes, modules, files.
_STATELESS = (
    type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, partial, th.device,
    th.dtype, np.dtype, property,
)  # fmt: skip
_SCALARS = (bool, int, float, str, bytes, type(None))


def unlike(one: Any, two: Any, leave: Mapping[str, set[str]], path: str = "") -> Iterator[str]:
    """Yield the places where two objects, and all that they hold, are not the same.

    :param leave: class name -> attributes to leave out, of it and of what inherits from it; "*" for all of them
    """
    yield from _Walk(leave).compare(one, two, path)


class _Walk:
    def __init__(self, leave: Mapping[str, set[str]]) -> None:
        self.leave = leave
        self.seen: set[tuple[int, int]] = set()
        self.held: list[Any] = []  # so that no id is given twice

    def compare(self, one: Any, two: Any, path: str) -> Iterator[str]:
        if (id(one), id(two)) in self.seen or isinstance(one, _STATELESS):
            return
        self.seen.add((id(one), id(two)))
        self.held += [one, two]
        if type(one) is not type(two):
            yield f"{path}: {type(one).__name__} and {type(two).__name__}"
        elif type(one) in _SCALARS:  # of which there are many, and NumPy takes its time for each
            if one != two and not (one != one and two != two):  # NaN is like NaN
                yield f"{path}: {str(one)[:60]} and {str(two)[:60]}"
        elif (plain := self._plain(one)) is not None:
            if not np.array_equal(plain, self._plain(two), equal_nan=np.asarray(plain).dtype.kind in "fc"):
                yield f"{path}: {str(plain)[:60]} and {str(self._plain(two))[:60]}"
        elif isinstance(one, list | tuple | deque):
            if len(one) != len(two):
                yield f"{path}: {len(one)} and {len(two)} items"
            for index, pair in enumerate(zip(one, two, strict=False)):
                yield from self.compare(*pair, f"{path}[{index}]")
        else:
            yield from self._named(*self._members(one, two), path)

    def _plain(self, value: Any) -> Any:
        """Return the value as NumPy can compare it, or None."""
        if isinstance(value, th.Tensor):
            return value.detach().cpu().numpy()
        if isinstance(value, np.ndarray) and value.dtype.names:
            return np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        if isinstance(value, np.random.Generator):
            return str(value.bit_generator.state)
        if isinstance(value, np.ndarray | np.generic | bool | int | float | str | bytes):
            return value
        return repr(value) if isinstance(value, set | frozenset | spaces.Space | PurePath) else None

    def _members(self, one: Any, two: Any) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
        if isinstance(one, Mapping):
            return one, two
        if isinstance(one, th.optim.Optimizer):  # whose keys are tensors
            return one.state_dict(), two.state_dict()
        leave = {name for cls in type(one).__mro__ for name in self.leave.get(cls.__name__, ())}
        if "*" in leave:
            return {}, {}
        mine, other = _attributes(one), _attributes(two)
        for name in leave:
            mine.pop(name, None)
            other.pop(name, None)
        return mine, other

    def _named(self, one: Mapping[Any, Any], two: Mapping[Any, Any], path: str) -> Iterator[str]:
        for name in sorted({*one} ^ {*two}, key=str):
            yield f"{path}.{name}: only in {'one' if name in one else 'the other'}"
        for name in one:
            if name in two:
                yield from self.compare(one[name], two[name], f"{path}.{name}")


def _attributes(value: Any) -> dict[str, Any]:
    slots = (name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()))
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held = getattr(value, "__dict__", None)
    return found | (held if isinstance(held, dict) else {})
