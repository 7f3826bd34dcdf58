"""Nested dictionaries of arrays, numbers and strings as one file that holds no code."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.saving.archives import DAMAGE, first_words, read_json, require_members, require_small, size_of
from sb3_course.saving.files import atomic_path
from sb3_course.saving.members import member_of

_PLAIN = "plain.json"
_ARRAY = "$array"


def save_state(path: str | Path | BinaryIO, state: Mapping[str, Any]) -> None:
    """Write what `get_state` returned, atomically: arrays as arrays, everything else as JSON.

    :param path: where to write, or an open file, which is written as it is
    :param state: nested dictionaries with names for keys
    :raises TypeError: when the state holds something that JSON cannot
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plain = _take_arrays(state, "", arrays)
    text = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    with contextlib.ExitStack() as stack:
        if isinstance(path, str | Path):
            file: Any = stack.enter_context(open(stack.enter_context(atomic_path(path)), "wb"))
        else:
            file = path
        np.savez(file, allow_pickle=False, **{_PLAIN: text, **arrays})


def load_state(path: str | Path | BinaryIO, field: str | None = None, keep: bool = False) -> dict[str, Any]:
    """Return what `save_state` wrote; nothing is unpickled, and nothing is read that is larger than the file.

    :param path: of the file, or an open one
    :param field: the name to report; by default the file's
    :param keep: leave large arrays in the open file, as `Elsewhere`, for as long as it stays open
    :raises InputError: when the file is damaged
    """
    shown = str(path if isinstance(path, str | Path) else getattr(path, "name", "an open file"))
    field = field or Path(shown).name
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb")) if isinstance(path, str | Path) else path
            size = size_of(file)
            with zipfile.ZipFile(file) as zipped:
                require_small(zipped, size, field)
                require_members(zipped, [name for name in zipped.namelist() if name.endswith(".npy")], field)
            file.seek(0)
            kept = zipfile.ZipFile(file) if keep else None
            arrays = _read_arrays(stack.enter_context(np.load(file, allow_pickle=False)), kept)
        plain = read_json(arrays.pop(_PLAIN).tobytes(), field)
        return dict(_put_arrays(plain, arrays))
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(field, f"cannot be read: {first_words(error)}", shown, "a file that save wrote") from None


def _read_arrays(file: Any, kept: zipfile.ZipFile | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in file.files:
        large = None if kept is None or name == _PLAIN else member_of(kept, f"{name}.npy")
        if large is not None:
            arrays[name] = large
            continue
        arrays[name] = array = file[name]
        if array.dtype.itemsize == 0 and array.size > 0:  # any number of nothings fits into any file
            raise ValueError(f"{name} is an array of nothing")
    return arrays


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


def _put_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _put_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_arrays(item, arrays) for item in value]
    return value
