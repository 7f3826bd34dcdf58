"""Wrappers, normalisation and keyword arguments as people write them in files and on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.named_classes import allow_module
from sb3_course.config.text import read_value, read_values

# Constructor arguments that a run sets itself.
OWN = {
    "env": "--env", "policy": "one of the policy aliases", "seed": "--seed", "device": "--device",
    "verbose": "--verbose", "n_envs": "--n-envs", "tensorboard_log": "--tensorboard-log",
    "monitor_wrapper": "nothing (always on)", "_init_setup_model": "nothing (always on)",
}  # fmt: skip
_NORMALIZE: dict[str, type] = {
    "norm_obs": bool, "norm_reward": bool, "clip_obs": float, "clip_reward": float, "gamma": float, "epsilon": float,
    "norm_obs_keys": list,
}  # fmt: skip
_MONITOR: dict[str, type] = {"allow_early_resets": bool, "info_keywords": tuple, "override_existing": bool}
_NOT_FOR_A_MONITOR = {
    "filename": "is the run folder's own", "reset_keywords": "no vectorised environment passes any at a reset",
}  # fmt: skip


@dataclass(frozen=True)
class Wrapper:
    """A class of a wrapper or of a callback by its importable name, with its keyword arguments.

    :param name: `package.module:Class`
    :param kwargs: what it is called with, besides the environment that it wraps
    """

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_pairs(pairs: Iterable[str], flag: str) -> dict[str, str]:
    """Return `{k: v}` for words of the form `k:v`, the values still as text.

    :raises InputError: for a word without a colon, an empty or a repeated key
    """
    result: dict[str, str] = {}
    for pair in pairs:
        key, colon, value = pair.partition(":")
        if not colon or not key.isidentifier() or not value.strip():
            raise InputError(flag, "malformed pair", pair, "key:value, such as learning_rate:1e-3")
        if key in result:
            raise InputError(flag, f"{key} is given twice", pair, "each key once")
        result[key] = value
    return result


def read_wrappers(value: Any, field: str = "env_wrapper") -> tuple[Wrapper, ...]:
    """Return the wrappers or callbacks that a config file or the command line names.

    :param value: `package.module.Class`, `package.module:Class`, `...Class(key=value)`, `{name: kwargs}`, the class
        itself, or a list; a name's module is a library that files may name, or one that `--import` names
    :param field: the key that names them
    :raises InputError: for any other form
    """
    want = "package.module:Class or package.module:Class(key=value)"
    if value is None or value == "":
        return ()
    if isinstance(value, list | tuple):
        return tuple(wrapper for item in value for wrapper in read_wrappers(item, field))
    if isinstance(value, Wrapper):
        return (value,)
    if isinstance(value, type):  # from Python
        allow_module(value.__module__)
        value = f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, Mapping):
        kwargs = [(name, read_values(item or {}, f"{field}.{name}")) for name, item in value.items()]
        if not all(isinstance(name, str) and isinstance(item, dict) for name, item in kwargs):
            raise InputError(field, "malformed", value, "{package.module.Class: {key: value}}")
        return tuple(Wrapper(_wrapper_name(name, field, want), item) for name, item in kwargs)
    match = re.fullmatch(r"([\w.:]+)\s*(?:\((.*)\))?", value, re.DOTALL) if isinstance(value, str) else None
    if match is None:
        raise InputError(field, "malformed", value, want)
    arguments = read_value(f"dict({match[2]})", field) if match[2] else {}
    return (Wrapper(_wrapper_name(match[1], field, want), arguments),)


def _wrapper_name(name: str, field: str, want: str) -> str:
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(field, "malformed", name, want)
    return f"{module}:{attribute}"


def read_normalize(value: Any) -> dict[str, Any] | None:
    """Return the arguments of `VecNormalize` for `True`, `False`, a mapping or `dict(norm_reward=False)`."""
    value = read_values(value, "normalize")
    if value is None or isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, Mapping):
        raise InputError("normalize", "malformed", value, "True, False or dict(norm_obs=True, norm_reward=False)")
    return dict(value)


def read_kwargs(value: Any, field: str = "env_kwargs") -> Any:
    """Return the arguments of an environment or a monitor, words read as values."""
    value = read_values(value, field)
    return {} if value is None else value


def check_normalize(value: Mapping[str, Any] | None) -> None:
    """Refuse arguments that `VecNormalize` does not take.

    :raises InputError: naming the key
    """
    for key, item in (value or {}).items():
        kind = _NORMALIZE.get(key)
        if kind is None:
            raise InputError("normalize", f"unknown key{did_you_mean(key, _NORMALIZE)}", key, ", ".join(_NORMALIZE))
        if kind is float and (isinstance(item, bool) or not isinstance(item, int | float) or not item > 0):
            raise InputError(f"normalize.{key}", "is not a positive number", item, "a number > 0")
        if kind is not float and not isinstance(item, kind):
            raise InputError(f"normalize.{key}", "has the wrong type", item, kind.__name__)


def check_env_kwargs(value: Any, field: str = "env_kwargs") -> None:
    """Refuse arguments of an environment that a file of settings cannot hold.

    :raises InputError: naming them
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key.isidentifier() for key in value):
        raise InputError(field, "malformed", value, "names and values, such as slip:0.2")
    if "id" in value:
        raise InputError(field, "cannot set id", value["id"], "--env")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError):
        raise InputError(field, "has a value that JSON cannot hold", dict(value), "numbers, words, lists") from None


def check_monitor_kwargs(value: Any) -> dict[str, Any]:
    """Return the arguments of SB3's `Monitor` with tuples where it wants them, or refuse them.

    :raises InputError: naming the key
    """
    if not isinstance(value, Mapping):
        raise InputError("monitor_kwargs", "malformed", value, "dict(info_keywords=('is_success',))")
    found = dict(value)
    for key, item in found.items():
        if key not in _MONITOR:
            reason = _NOT_FOR_A_MONITOR.get(str(key), f"unknown key{did_you_mean(str(key), _MONITOR)}")
            raise InputError(f"monitor_kwargs.{key}", reason, item, ", ".join(_MONITOR))
        if isinstance(item, list):
            found[key] = item = tuple(item)
        words = all(isinstance(word, str) for word in item) if isinstance(item, tuple) else True
        if not (isinstance(item, _MONITOR[key]) and words):
            want = "names, such as ('is_success',)" if _MONITOR[key] is tuple else "True or False"
            raise InputError(f"monitor_kwargs.{key}", "has the wrong type", item, want)
    return found


def check_classes(value: Any, field: str = "") -> None:
    """Refuse the name of a class where only a class would do, left as text because its module was not imported.

    :raises InputError: naming the key
    """
    for key, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, str) and "." in item and str(key).endswith(("_class", "_fn")):
            want = f"--import {item.partition('.')[0]}, and a class in it"
            raise InputError(f"{field}{key}", "names no class of a module that was imported", item, want)
        check_classes(item, f"{field}{key}.")
