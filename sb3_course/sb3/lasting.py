"""What environments keep from one episode to the next: what no seed and no replayed action brings back."""

from __future__ import annotations

import marshal
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import OpaqueError
from sb3_course.saving.attributes import is_plain_object, plain_attributes, set_plain_attributes
from sb3_course.saving.generators import generator_state
from sb3_course.saving.values import encode

#: Attributes that are fixed when they are made, that others keep, or that belong to the run's files and its clock.
FIXED = frozenset({
    "env", "spec", "_cached_spec", "_saved_kwargs", "results_writer", "t_start", "metadata", "_metadata",
    "_action_space", "_observation_space", "action_space", "observation_space", "_reward_range", "failures", "notice",
    "render_mode", "_monitor", "_np_random",
})  # fmt: skip
#: Numbers in an attribute that is written; of a larger array a check sum is.
LARGEST = 100_000
#: Numbers in an attribute that is looked at in every reset.
_GLANCE = 1_000
_SIMPLE = frozenset({bool, int, float, str, type(None)})
_CONTAINERS = (list, tuple, dict, deque)


def layers(outer: gym.Env[Any, Any], inner: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """Yield the wrappers from `outer` to `inner`, which is not among them."""
    while outer is not inner:
        yield outer
        outer = outer.env  # type: ignore[attr-defined]


def note(env: gym.Env[Any, Any]) -> list[dict[str, Any]]:
    """Return copies of what an environment and its wrappers hold, as far as that is small and plain.

    It is taken before every reset, so it has to be quick; `as_written` does the rest.
    """
    noted = []
    for layer in _all_layers(env):
        held = vars(layer).copy()
        for name, value in vars(layer).items():
            if type(value) not in _SIMPLE and (name in FIXED or (copy := _copied(value)) is None):
                del held[name]
            elif type(value) not in _SIMPLE:
                held[name] = copy
        noted.append(held)
    return noted


def as_written(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a note as `save_state` takes it."""
    return [
        {name: kept for name, each in layer.items() if name not in FIXED and (kept := _written(each))}
        for layer in noted
    ]


class Kept(NamedTuple):
    """What an environment and its wrappers hold, a layer each: plain values, check sums of large ones, the rest."""

    plain: list[dict[str, Any]]
    sums: list[dict[str, int]]
    opaque: list[tuple[str, Any]]


def kept_by(env: gym.Env[Any, Any]) -> Kept:
    """Return what an environment and its wrappers hold now."""
    kept = Kept([], [], [])
    for layer in _all_layers(env):
        large = {name for name, value in vars(layer).items() if _is_large(value)}
        aside = {name for name, value in vars(layer).items() if isinstance(value, spaces.Space)}
        attributes = plain_attributes(layer, FIXED | large | aside)
        kept.plain.append(attributes.state)
        sums = {name: _check_sum(vars(layer)[name]) for name in large - FIXED}
        kept.sums.append({name: number for name, number in sums.items() if number is not None})
        kept.opaque.extend(opaque_in(layer, attributes.opaque))
    return kept


def opaque_in(layer: gym.Env[Any, Any], names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield those attributes, by name, that may change: all but functions and classes."""
    for name in names:
        value = vars(layer)[name]
        if not isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType | partial):
            yield f"{type(layer).__name__}.{name}", value


def values_held(env: gym.Env[Any, Any]) -> list[Any]:
    """Return the very objects that an environment and its wrappers hold."""
    return [value for layer in _all_layers(env) for value in vars(layer).values()]


def put_back(env: gym.Env[Any, Any], plain: list[Mapping[str, Any]]) -> None:
    """Put back what is another value now than it was: nothing else is touched, since arrays may share their memory."""
    if not plain:  # of a checkpoint from before it was kept
        return
    arrays = [value for value in values_held(env) if isinstance(value, np.ndarray)]
    owners = Counter(id(_owner(array)) for array in arrays)
    for layer, before, now in zip(_all_layers(env), plain, kept_by(env).plain, strict=True):
        other = {name: kept for name, kept in before.items() if not _same(kept, now.get(name))}
        for name, kept in list(other.items()):
            mine = vars(layer).get(name)
            if "array" in kept and isinstance(mine, np.ndarray) and owners[id(_owner(mine))] > 1:
                mine[...] = other.pop(name)["array"]  # the memory of several attributes stays one
        set_plain_attributes(layer, other)


def _owner(array: Any) -> Any:
    """Return the array whose memory this one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def changed_sums(env: gym.Env[Any, Any], sums: list[Mapping[str, int]]) -> list[str]:
    """Return the names of large values that are others now than they were."""
    pairs = zip(_all_layers(env), sums, kept_by(env).sums, strict=True)
    return [
        f"{type(layer).__name__}.{name}"
        for layer, before, now in pairs
        for name, number in before.items()
        if now.get(name) != number
    ]


def _all_layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    yield from layers(env, env.unwrapped)
    yield env.unwrapped


class _Copy(NamedTuple):
    """A copy of a value, not yet encoded, in a kind of `plain_attributes`."""

    kind: str
    value: Any


def _copied(value: Any, deep: bool = True) -> _Copy | None:
    """Return a copy of what is no number or word, None for what is not small."""
    kind = type(value)
    if kind is np.ndarray:
        return _Copy("array", value.copy()) if value.size <= _GLANCE and not value.dtype.hasobject else None
    if kind in _CONTAINERS:
        inside = value.values() if kind is dict else value
        if len(value) > _GLANCE or not all(type(item) in _SIMPLE for item in inside):
            return None
        return _Copy("json", value if kind is tuple else value.copy())
    if isinstance(value, np.generic):
        return _Copy("json", value)
    if (generator := generator_state(value)) is not None:
        return _Copy(*generator)
    if deep and _is_record(value):
        pairs = vars(value).items()
        inner = {
            name: _Copy("json", each) if type(each) in _SIMPLE else _copied(each, deep=False) for name, each in pairs
        }
        return _Copy("object", inner) if all(inner.values()) else None
    return None


def _written(copy: Any) -> dict[str, Any] | None:
    """Return ``{kind: value}`` as `save_state` takes it, or None where that cannot be."""
    kind, value = copy if type(copy) is _Copy else ("json", copy)
    try:
        if kind == "object":
            inner = {name: _written(each) for name, each in value.items()}
            return {kind: inner} if all(inner.values()) else None
        return {kind: encode(value)} if kind == "json" else {kind: value}
    except OpaqueError:
        return None


def _is_record(value: Any) -> bool:
    """Tell whether a value is a small object of somebody's own, such as running statistics."""
    return is_plain_object(value) and not isinstance(value, spaces.Space | gym.Env) and len(vars(value)) <= 20


def _is_large(value: Any) -> bool:
    return _numbers(value, LARGEST) > LARGEST


def _numbers(value: Any, enough: int, depth: int = 4) -> int:
    """Return how many numbers a value holds, counted no further than beyond `enough`."""
    if isinstance(value, np.ndarray):
        return int(value.size)
    if isinstance(value, str):
        return len(value) // 8
    inside: Any = ()
    if depth == 0:
        return 1
    if isinstance(value, _CONTAINERS):
        inside = value.values() if isinstance(value, dict) else value
        if len(value) > enough:
            return len(value)
    elif _is_record(value):
        inside = vars(value).values()
    counted = 1
    for item in inside:
        counted += 1 if type(item) in _SIMPLE else _numbers(item, enough - counted, depth - 1)
        if counted > enough:
            break
    return counted


def _check_sum(value: Any) -> int | None:
    """Return a check sum of an array or of plain values in containers; None where there is none."""
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else zlib.crc32(np.ascontiguousarray(value).data.cast("B"))
    try:
        return zlib.crc32(marshal.dumps(value, 2))  # without references: equal values are equal bytes
    except ValueError:
        return None


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_same(one[name], two[name]) for name in one)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
    return type(one) is type(two) and bool(one == two)
