"""Model files as they are read: attributes from the manifest, tensors as such, nothing unpickled, nothing run.

SB3's `load` builds the model. It is handed a zip of the tensors alone, and the attributes as `custom_objects`, so that
it meets no pickle.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gymnasium.spaces import Space

from sb3_course._old_names import MOVED
from sb3_course.config import parameters
from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.saving.archives import DAMAGE, first_words, read_json, require_members, require_small, size_of
from sb3_course.saving.manifest import MANIFEST, is_tensors, parse_manifest
from sb3_course.saving.space_json import require_small_boxes
from sb3_course.saving.tensors import Allowance, read_tensors
from sb3_course.saving.values import class_name, decode, library_class

FIELD = "model"
_TEXTS = ("_stable_baselines3_version", "system_info.txt")
_MODEL = "a model.zip"
_TRUST = "trust_pickle=True (--trust-pickle), if you trust whoever wrote the file"
# Made anew from the arguments while the model is built, or by a reset; `preset` was no JSON up to version 0.1.
_DISPENSABLE = {"lr_schedule", "exploration_schedule", "preset", "_last_obs", "_last_original_obs"}
# SB3's own list of what no file holds.
_NEVER = {
    "policy", "device", "env", "replay_buffer", "rollout_buffer", "_vec_normalize_env", "_episode_storage", "_logger",
    "_custom_logger",
}  # fmt: skip

_Model = TypeVar("_Model")
Source = str | Path | io.BufferedIOBase


def load_plain(
    cls: type[Any], load: Callable[..., _Model], path: Source, custom_objects: Mapping[str, Any] | None, **rest: Any
) -> _Model:
    """Return the model in a file, built by SB3's `load` without unpickling anything.

    :param cls: the class that loads
    :param load: its `load`, or SB3's
    :param path: of the file, or an open one
    :param custom_objects: attributes in place of the file's, by name, and users' own classes under any name
    :param rest: the other arguments of `load`
    :raises InputError: for a file of another class, one that is damaged, and one that only pickle can read
    :raises FileNotFoundError: as SB3's `load`
    """
    with one_line(path):
        plain, attributes, allowance = _read(cls, path, dict(custom_objects or {}))
        with allowance:
            return load(plain, custom_objects=attributes, **rest)


@contextmanager
def one_line(path: Source, field: str = FIELD, want: str = _MODEL) -> Iterator[None]:
    """Turn whatever a damaged or foreign file makes fail into one clear line.

    :param field: the name to report
    :param want: what is wanted in its place
    :raises InputError: instead of other errors, which are its cause
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except InputError as error:
        if not isinstance(error, RuntimeError):  # as the weights that fit no network are
            raise
        raise InputError(FIELD, f"cannot be loaded: {error}", _shown(path), _MODEL) from error
    except (*DAMAGE, AssertionError, AttributeError, ArithmeticError, ImportError) as error:
        raise InputError(field, f"cannot be loaded: {first_words(error)}", _shown(path), want) from error


def _shown(path: Source) -> str:
    return str(path if isinstance(path, str | Path) else getattr(path, "name", "an open file"))


def read_parameters(path: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights and optimizers in a model file, SB3's too, and its single variables; nothing is unpickled.

    :param path: of the file, or an open one
    :raises InputError: when it is damaged
    :raises FileNotFoundError: as SB3's `load`
    """
    with one_line(path), _opened(path) as file:
        members = _members(file, _shown(path), manifest_needed=False)[1]
        found = {name.removesuffix(".pth"): read_tensors(name, members[name])[0] for name in _tensors_in(members)}
        if not found:
            raise InputError(FIELD, "has no tensors", _shown(path), _MODEL)
        return found, found.pop("pytorch_variables", None) or {}


# ------------------------------------------------------------------------------------------------------- reading


@contextmanager
def _opened(path: Source) -> Iterator[Any]:
    from stable_baselines3.common.save_util import open_path

    file: Any = open_path(path, "r", verbose=0, suffix="zip")
    try:
        yield file
    finally:
        if isinstance(path, str | Path):
            file.close()


def _tensors_in(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.endswith(".pth")]


def _read(cls: type[Any], path: Source, given: dict[str, Any]) -> tuple[io.BytesIO, dict[str, Any], Allowance]:
    """Return a zip of tensors for SB3, all attributes, and what the model may take up while it is built."""
    with _opened(path) as file:
        manifest, members = _members(file, _shown(path))
    _require_class(cls, manifest, path)
    tensors = {name: members[name] for name in _tensors_in(members)}
    elements = sum(read_tensors(name, raw)[1] for name, raw in tensors.items())
    attributes = _attributes(cls, manifest, given)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data", json.dumps(dict.fromkeys(attributes)))  # names; the values are `custom_objects`
        for name, raw in members.items():
            zipped.writestr(name, raw)
    archive.seek(0)
    return archive, attributes, Allowance(elements)


def _members(file: Any, shown: str, manifest_needed: bool = True) -> tuple[dict[str, Any], dict[str, bytes]]:
    size = size_of(file)
    try:
        zipped = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise InputError(FIELD, f"cannot be read: {first_words(error)}", shown, _MODEL) from None
    with zipped:
        require_small(zipped, size, FIELD)
        if not {MANIFEST, "data"} & {*zipped.namelist()}:
            raise InputError(FIELD, "is cut short, or no model", shown, _MODEL)
        if MANIFEST not in zipped.namelist():
            if not manifest_needed:  # of SB3's own class
                names = zipped.namelist()
                require_members(zipped, {"data", *_TEXTS, *(each for each in names if is_tensors(each))}, FIELD)
                return {}, {name: zipped.read(name) for name in _tensors_in(names)}
            what = "has no manifest: only pickle can read it, which may run any code"
            raise InputError(FIELD, what, shown, f"a file of this package; SB3's own class; or {_TRUST}")
        manifest = parse_manifest(zipped.read(MANIFEST))
        digests = manifest["tensors"]
        require_members(zipped, {"data", MANIFEST, *_TEXTS, *digests}, FIELD)
        members = {name: zipped.read(name) for name in (*digests, *_TEXTS) if name in zipped.namelist()}
        _require_same_data(zipped, manifest)
    for name, digest in digests.items():
        if name not in members:
            raise InputError(FIELD, "lacks a member that its manifest names", name, _MODEL)
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise InputError(FIELD, "has other tensors than its manifest says", name, _MODEL)
    return manifest, members


def _require_same_data(zipped: zipfile.ZipFile, manifest: Mapping[str, Any]) -> None:
    """Refuse a file whose pickles, which only SB3 reads, are not those that the manifest was written with."""
    raw = zipped.read("data") if "data" in zipped.namelist() else b""
    digest = hashlib.sha256(raw).hexdigest()
    pickled = read_json(raw, FIELD) if manifest.get("data", digest) == digest else None
    if not isinstance(pickled, dict) or set(pickled) != {*manifest["attributes"], *manifest["opaque"]}:
        raise InputError(FIELD, "has other pickles than its manifest says", "data", _MODEL)


# ---------------------------------------------------------------------------------------------------- attributes


def _require_class(cls: type[Any], manifest: Mapping[str, Any], path: Source) -> None:
    name = manifest["class"]
    if name is None:  # made inside a function: nothing to compare
        return
    module, _, qualname = name.partition(":")
    name = f"{MOVED.get(module, module)}:{qualname}"
    if name in {f"{base.__module__}:{base.__qualname__}" for base in cls.__mro__}:
        return
    known = module.split(".")[0] in ("sb3_course", "stable_baselines3", "sb3_contrib")
    if not (known and issubclass(library_class(name), cls)):
        raise InputError(FIELD, f"holds another algorithm, {name}", _shown(path), f"a file of {cls.__name__}")


def _attributes(cls: type[Any], manifest: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return all attributes, those that were `given` in place of the file's."""
    encoded = manifest["attributes"]
    require_small_boxes(encoded, FIELD)
    find = classes_of(given)
    found = {}
    for name in (*encoded, *manifest["opaque"]):
        if name in _NEVER or callable(getattr(cls, name, None)):
            raise InputError(FIELD, "has an attribute that no model keeps", name, _MODEL)
        if name in given:
            found[name] = given[name]
        elif name in encoded:
            found[name] = _decoded(name, encoded[name], find)
        elif name not in _DISPENSABLE:
            what = f"keeps {name} as pickle, which may run any code"
            raise InputError(FIELD, what, want=f"custom_objects={{{name!r}: ...}}, or {_TRUST}")
    for name in ("observation_space", "action_space"):
        if not isinstance(found.get(name), Space):
            raise InputError(FIELD, f"its {name} is no space", found.get(name), _MODEL)
    # What the caller has given is no file's: rl-baselines3-zoo's `enjoy` says `learning_rate=0.0` for a model that is
    # only to be looked at.
    require_sound({name: value for name, value in found.items() if name not in given}, FIELD)
    return found


def classes_of(given: Mapping[str, Any]) -> Callable[[str], type[Any]]:
    """Return what finds a class by its name: among those that were `given`, or in the libraries."""
    classes = {}
    for value in given.values():
        if isinstance(value, type):
            with suppress(OpaqueError):  # made inside a function; it can only stand for a whole attribute
                classes[class_name(value)] = value
    return lambda name: classes[name] if name in classes else library_class(name)


def _decoded(name: str, value: Any, find: Callable[[str], type[Any]]) -> Any:
    try:
        return decode(value, find)
    except InputError as error:
        if error.what != "names a class of another package":
            raise
        want = f"custom_objects with the class or {name!r}, or {_TRUST}"
        raise InputError(FIELD, f"{name} names a class of another package", error.got, want) from None


def require_sound(found: Mapping[str, Any], field: str) -> None:
    """Refuse attributes of a model that are no numbers of theirs: what no constructor takes, and counts below zero.

    :param found: attributes by name
    :param field: the name to report for a count
    :raises InputError: naming the attribute
    """
    parameters.check({name: value for name, value in found.items() if type(value) in (int, float, bool, str)})
    for name in ("num_timesteps", "_total_timesteps", "_n_updates", "_episode_num"):
        if name in found and not (type(found[name]) is int and found[name] >= 0):
            raise InputError(field, f"its {name} is no count", found[name], "an integer >= 0")
