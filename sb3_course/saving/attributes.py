"""What an object's attributes hold, as far as that is plain: what a checkpoint keeps of objects that others wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.saving.generators import GENERATORS, generator_state, set_generator_state
from sb3_course.saving.values import decode, encode, is_library_object

_DEPTH = 3  # how far a state looks into objects that an object owns


class Attributes(NamedTuple):
    """The attributes of one object: what `save_state` takes, and the names of those that are not in it."""

    state: dict[str, Any]
    opaque: tuple[str, ...]


def plain_attributes(owner: object, leave: Collection[str] = (), depth: int = _DEPTH) -> Attributes:
    """Return the attributes of an object: numbers, words, arrays, generators, and objects that are made of them.

    :param owner: any object
    :param leave: names to leave out
    :param depth: how far to look into objects that it owns
    """
    state: dict[str, Any] = {}
    opaque = []
    for name, value in vars(owner).items():
        if name in leave:
            continue
        try:
            state[name] = _plain(value, depth)
        except (OpaqueError, RecursionError):
            opaque.append(name)
    return Attributes(state, tuple(opaque))


def set_plain_attributes(owner: Any, state: Mapping[str, Any]) -> None:
    """Put back what `plain_attributes` returned; objects and generators that the owner has are changed in place.

    :raises InputError: for a name that is a method's
    """
    for name, kept in state.items():
        if name.startswith("__") or callable(getattr(type(owner), name, None)):
            raise InputError("checkpoint", "has an attribute that nobody keeps", name, "what a run wrote")
        setattr(owner, name, _put_back(kept, getattr(owner, name, None)))


def _put_back(kept: Mapping[str, Any], mine: Any) -> Any:
    """Return a value from its ``{kind: value}``: a new one, or `mine` changed in place."""
    ((kind, value),) = kept.items()
    if kind == "json":
        new = decode(value)
        if not (is_library_object(new) and type(new) is type(mine)):
            return new
        vars(mine).update(vars(new))  # in place: a rollout that has begun holds the action noise by itself
        return mine
    if kind == "array":
        return np.array(value)
    if kind == "mapping":
        mine.update({key: _put_back(item, mine.get(key)) for key, item in value.items()})
    elif kind in GENERATORS:
        set_generator_state(mine, kind, value)
    else:
        set_plain_attributes(mine, value)
    return mine


def _plain(value: Any, depth: int) -> dict[str, Any]:
    """Return ``{kind: value}``; an array stays one, so that it need not go through JSON."""
    if (generator := generator_state(value)) is not None:
        return dict([generator])
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return {"array": value.copy()}
    try:
        return {"json": encode(value)}
    except OpaqueError:
        if depth == 0 or not (is_plain_object(value) or type(value) is dict):
            raise
    if type(value) is dict:
        return {"mapping": {str(key): _plain(item, depth - 1) for key, item in value.items()}}
    inner = plain_attributes(value, depth=depth - 1)
    if inner.opaque:
        raise OpaqueError(f"{type(value).__name__} holds {', '.join(inner.opaque)}")
    return {"object": inner.state}


class _Plain:
    """An object with nothing but attributes."""


def is_plain_object(value: object) -> bool:
    """Tell whether all that an object holds are its attributes: no slots, no container's or C library's memory."""
    kind = type(value)
    if kind.__basicsize__ > _Plain.__basicsize__ or kind.__itemsize__:
        return False
    return hasattr(value, "__dict__") and not callable(value) and not isinstance(value, type)
