"""Python values as JSON and back, exactly and without pickle: what a model's manifest is made of.

JSON's own values stay as they are; everything else is an object `{"$": kind, ...}`. Decoding calls no code that a file
names: classes are looked up only in a few libraries, and only those that a policy or a buffer is built from.
"""

from __future__ import annotations

import base64
import math
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.config.text import LinearRate
from sb3_course.saving.space_json import space_from_json, space_to_json

TAG = "$"
_LIBRARIES = ("torch.nn.modules", "torch.optim", "stable_baselines3", "sb3_contrib", "sb3_course")
_SCHEDULES = "stable_baselines3.common.utils"
_NOISE = "stable_baselines3.common.noise"
# SB3's small value objects: their attributes are their state. Class name -> module.
_OBJECTS = {
    "ConstantSchedule": _SCHEDULES,
    "FloatSchedule": _SCHEDULES,
    "LinearSchedule": _SCHEDULES,
    "NormalActionNoise": _NOISE,
    "OrnsteinUhlenbeckActionNoise": _NOISE,
    "VectorizedActionNoise": _NOISE,
}
_ENUMS = {
    "TrainFrequencyUnit": "stable_baselines3.common.type_aliases",
    "GoalSelectionStrategy": "stable_baselines3.her.goal_selection_strategy",
}


def is_library_object(value: object) -> bool:
    """Tell whether a value is a schedule or a noise of SB3's, whose attributes are its state."""
    return _OBJECTS.get(type(value).__name__) == type(value).__module__


# Classes of rooms above this one: `module:Class` -> its methods that give plain values, and take them.
_handed_in: dict[str, tuple[str, str]] = {}


def hand_in_class(name: str, write: str, read: str) -> None:
    """Let models keep values of a class that lies above this room.

    :param name: `module:Class`; imported when a file has such a value
    :param write: the method that returns plain values
    :param read: the class method that takes them
    """
    _handed_in[name] = write, read


def encode(value: Any) -> Any:
    """Return `value` as JSON.

    :raises OpaqueError: when it, or something in it, cannot be expressed
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "value": str(value)}
    if kind is list:
        return [encode(item) for item in value]
    if kind is dict:
        if all(type(key) is str for key in value) and TAG not in value:
            return {key: encode(item) for key, item in value.items()}
        return {TAG: "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    return {TAG: _name(kind), **_fields(value, kind)}


def _name(kind: type[Any]) -> str:
    if issubclass(kind, spaces.Space):
        return "space"
    if issubclass(kind, np.generic):
        return "scalar"
    if issubclass(kind, type):
        return "class"
    if issubclass(kind, np.dtype):
        return "dtype"
    return "path" if issubclass(kind, Path) else kind.__name__.lstrip("_")


def _fields(value: Any, kind: type[Any]) -> dict[str, Any]:
    """What a tagged object carries besides its kind."""
    if kind is tuple:
        return {"items": [encode(item) for item in value]}
    if kind is OrderedDict:
        return {"items": [[encode(key), encode(item)] for key, item in value.items()]}
    if kind is deque:
        return {"items": [encode(item) for item in value], "maxlen": value.maxlen}
    if kind is np.ndarray or isinstance(value, np.generic):
        return _array(np.asarray(value))
    if isinstance(value, np.dtype):
        return {"value": _dtype(value)}
    if kind is LinearRate:
        return {"initial": encode(value.initial)}
    if isinstance(value, Path):
        return {"value": str(value)}
    if isinstance(value, type):
        return {"name": class_name(value)}
    if isinstance(value, spaces.Space):
        return {"value": space_to_json(value)}
    return _library_fields(value, kind)


def _library_fields(value: Any, kind: type[Any]) -> dict[str, Any]:
    """Objects of torch and SB3, recognised by name so that neither is imported to find out."""
    full = f"{kind.__module__}.{kind.__qualname__}"
    if full == "torch.Tensor":
        flat = value.detach().cpu().contiguous().reshape(-1)
        data = flat.view(sys.modules["torch"].uint8).numpy().tobytes()
        shape = list(value.shape)
        return {"dtype": str(value.dtype).removeprefix("torch."), "shape": shape, "data": _base64(data)}
    if full == "torch.device":
        return {"value": str(value)}
    if full == "stable_baselines3.common.type_aliases.TrainFreq":
        return {"frequency": encode(value.frequency), "unit": encode(value.unit)}
    if kind.__name__ in _ENUMS and isinstance(value, Enum) and kind.__module__ == _ENUMS[kind.__name__]:
        return {"name": value.name}
    if is_library_object(value):
        return {"state": encode(vars(value))}
    name = f"{kind.__module__}:{kind.__qualname__}"
    if name in _handed_in:
        return {"class": name, "state": encode(getattr(value, _handed_in[name][0])())}
    raise OpaqueError(f"{full} is no plain value")


def decode(value: Any, find_class: Callable[[str], type[Any]] | None = None) -> Any:
    """Return what `encode` was given.

    :param value: JSON
    :param find_class: `module:Class` -> class (default: `library_class`, which refuses all but a few libraries)
    :raises InputError: when the JSON is no encoding, or names a class that may not be used
    """
    try:
        return _decode(value, find_class or library_class)
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("manifest", f"damaged: {type(error).__name__}: {error}", want="what save wrote") from None


def _decode(value: Any, find: Callable[[str], type[Any]]) -> Any:
    if isinstance(value, list):
        return [_decode(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: _decode(item, find) for key, item in value.items()}
    kind = value[TAG]
    items = [_decode(item, find) for item in value.get("items", ())]
    if kind in _SIMPLE:
        return _SIMPLE[kind](value, items)
    if kind == "class":
        return find(value["name"])
    if kind == "Tensor":
        return _tensor(value)
    if kind == "device":
        return import_module("torch").device(value["value"])
    if kind == "TrainFreq":
        cls = import_module("stable_baselines3.common.type_aliases").TrainFreq
        return cls(value["frequency"], _decode(value["unit"], find))
    if kind in _ENUMS:
        return getattr(import_module(_ENUMS[kind]), kind)[value["name"]]
    if kind in _OBJECTS:
        cls = getattr(import_module(_OBJECTS[kind]), kind)
        result = cls.__new__(cls)
        vars(result).update(_decode(value["state"], find))
        return result
    if value.get("class") in _handed_in:
        module, _, name = value["class"].partition(":")
        return getattr(getattr(import_module(module), name), _handed_in[value["class"]][1])(
            _decode(value["state"], find)
        )
    raise InputError("manifest", "unknown kind of value", kind, "what this version of save writes")


_SIMPLE: dict[str, Callable[[dict[str, Any], list[Any]], Any]] = {
    "float": lambda value, _: float(value["value"]),
    "dict": lambda _, items: dict(items),
    "OrderedDict": lambda _, items: OrderedDict(items),
    "tuple": lambda _, items: tuple(items),
    "deque": lambda value, items: deque(items, value["maxlen"]),
    "ndarray": lambda value, _: _from_array(value),
    "scalar": lambda value, _: _from_array(value)[()],
    "dtype": lambda value, _: np.dtype(value["value"]),
    "LinearRate": lambda value, _: LinearRate(value["initial"]),
    "path": lambda value, _: Path(value["value"]),
    "space": lambda value, _: space_from_json(value["value"]),
}


# ---------------------------------------------------------------------------------------------------- classes


def class_name(cls: type[Any]) -> str:
    """Return `module:qualname` for a class that can be imported under that name.

    :raises OpaqueError: for a class made inside a function, or under another name
    """
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise OpaqueError(f"{cls.__qualname__} cannot be imported by its name")
    return f"{cls.__module__}:{cls.__qualname__}"


def library_class(name: str) -> type[Any]:
    """Import a class of torch, SB3, sb3-contrib or this package that a policy or a buffer is built from.

    :param name: `module:qualname`
    :raises InputError: for any other name; nothing is then imported
    """
    module, _, qualname = name.partition(":")
    if module == "numpy" and qualname in np.sctypeDict:
        return np.sctypeDict[qualname]
    if not f"{module}.".startswith(tuple(f"{library}." for library in _LIBRARIES)):
        raise InputError("manifest", "names a class of another package", name, "it in custom_objects")
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import BaseBuffer
    from torch import nn, optim

    try:
        found: Any = import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise InputError("manifest", "names a class that does not exist", name, "the same versions") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module | optim.Optimizer | BaseBuffer | BaseAlgorithm)):
        raise InputError("manifest", "names no network, optimizer, buffer or algorithm", name, "what save wrote")
    return found


# ----------------------------------------------------------------------------------------------------- arrays


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in "biufcSUMm":
        raise OpaqueError(f"an array of {dtype} holds objects")
    return dtype.str


def _array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"dtype": _dtype(array.dtype), "shape": list(array.shape), "data": _base64(array.tobytes())}


def _from_array(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(value["dtype"])
    if dtype.hasobject:
        raise InputError("manifest", "an array of objects", value["dtype"], "numbers")
    # A copy: frombuffer's own memory is read-only.
    return np.frombuffer(base64.b64decode(value["data"]), dtype).reshape(value["shape"]).copy()


def _tensor(value: dict[str, Any]) -> Any:
    torch = import_module("torch")
    dtype = getattr(torch, value["dtype"])
    data = bytearray(base64.b64decode(value["data"]))
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return flat.reshape(value["shape"]).clone()
