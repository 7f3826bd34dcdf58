"""Nested dictionaries of arrays, numbers and strings as one file that holds no code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.saving.files import atomic_path

_PLAIN = "plain.json"
_ARRAY = "$array"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what `get_state` returned, atomically: arrays as arrays, everything else as JSON.

    :param path: ends in `.npz`
    :param state: nested dictionaries with names for keys
    :raises TypeError: when the state holds something that JSON cannot
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plain = _take_arrays(state, "", arrays)
    text = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{_PLAIN: text, **arrays})


def load_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote.

    :raises InputError: when the file is damaged
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        plain = json.loads(arrays.pop(_PLAIN).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(path.name, f"cannot be read: {error}", str(path), "a file that a run wrote") from None
    return dict(_put_arrays(plain, arrays))


def _take_arrays(value: Any, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _take_arrays(item, f"{name}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError(f"{name} is an array of objects")
        arrays[name.strip("/")] = value
        return {_ARRAY: name.strip("/")}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_take_arrays(item, f"{name}/{index}", arrays) for index, item in enumerate(value)]
    return value


def _put_arrays(value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _put_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_arrays(item, arrays) for item in value]
    return value
