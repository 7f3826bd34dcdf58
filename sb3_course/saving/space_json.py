"""Gymnasium spaces as plain JSON that a person can read, infinities included, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import InputError, OpaqueError

_KINDS = "Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple"
_MAX_ELEMENTS = 1 << 23
_BOUNDS = ("low", "high", "bounded_below", "bounded_above")


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return a space as plain JSON; its random generator is not part of it.

    :raises OpaqueError: for a space outside Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple
    """
    # A subclass may mean something else, so the exact classes count.
    if type(space) is spaces.Box:
        bounds = {name: _numbers(getattr(space, name)) for name in _BOUNDS}
        return {"space": "Box", "shape": list(space.shape), "dtype": np.dtype(space.dtype).str, **bounds}
    if type(space) is spaces.Discrete:
        dtype = np.dtype(space.dtype).str
        return {"space": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": dtype}
    if type(space) is spaces.MultiDiscrete:
        nvec, start = space.nvec.tolist(), space.start.tolist()
        return {"space": "MultiDiscrete", "nvec": nvec, "start": start, "dtype": np.dtype(space.dtype).str}
    if type(space) is spaces.MultiBinary:
        return {"space": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if type(space) is spaces.Dict and all(isinstance(key, str) for key in space.spaces):
        return {"space": "Dict", "spaces": [[key, space_to_json(item)] for key, item in space.spaces.items()]}
    if type(space) is spaces.Tuple:
        return {"space": "Tuple", "spaces": [space_to_json(item) for item in space.spaces]}
    raise OpaqueError(f"the space {space} is none of {_KINDS}")


def space_from_json(value: dict[str, Any]) -> spaces.Space[Any]:
    """Return the space that `space_to_json` described.

    :raises InputError: for an unknown kind of space
    """
    kind = value["space"]
    if kind == "Box":
        return _box(value)
    if kind == "Discrete":
        return spaces.Discrete(value["n"], start=value["start"], dtype=value["dtype"])
    if kind == "MultiDiscrete":
        nvec, start = np.array(value["nvec"], dtype=value["dtype"]), np.array(value["start"], dtype=value["dtype"])
        return spaces.MultiDiscrete(nvec, dtype=value["dtype"], start=start)
    if kind == "MultiBinary":
        return spaces.MultiBinary(value["n"])
    if kind == "Dict":
        return spaces.Dict([(key, space_from_json(item)) for key, item in value["spaces"]])
    if kind == "Tuple":
        return spaces.Tuple([space_from_json(item) for item in value["spaces"]])
    raise InputError("manifest", "unknown kind of space", kind, _KINDS)


def require_small_boxes(value: Any, field: str) -> None:
    """Refuse JSON whose boxes have more elements together than anything that learns from them.

    A few letters can ask for any shape.

    :raises InputError: naming their number
    """
    stack, elements = [value], 0
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
            if item.get("space") == "Box" and isinstance(item.get("shape"), list):
                sides = [side for side in item["shape"] if isinstance(side, int)]
                elements += math.prod(max(side, 1) for side in sides)
        elif isinstance(item, list):
            stack += item
    if elements > _MAX_ELEMENTS:
        raise InputError(field, "has spaces of too many numbers", elements, f"at most {_MAX_ELEMENTS}")


def _numbers(array: np.ndarray[Any, Any]) -> Any:
    """Nested lists of numbers with infinities as words; one number where all are equal (an image's 0 and 255)."""
    same = array.size > 0 and bool((array == array.flat[0]).all())
    return _words(array.flat[0].item() if same else array.tolist())


def _words(value: Any) -> Any:
    if isinstance(value, list):
        return [_words(item) for item in value]
    return str(value) if value in (float("inf"), float("-inf")) else value


def _unwords(value: Any) -> Any:
    if isinstance(value, list):
        return [_unwords(item) for item in value]
    return float(value) if isinstance(value, str) else value


def _box(value: dict[str, Any]) -> spaces.Box:
    shape, dtype = tuple(value["shape"]), np.dtype(value["dtype"])
    kinds = {"low": dtype, "high": dtype, "bounded_below": np.dtype(bool), "bounded_above": np.dtype(bool)}
    # A box of integers without bounds keeps the ends of its type, which the constructor would refuse: set them after.
    box = spaces.Box(0, 1, shape, dtype.type)
    for name, kind in kinds.items():
        setattr(box, name, np.broadcast_to(np.array(_unwords(value[name]), dtype=kind), shape).copy())
    return box
