"""Model files: SB3's zip with a JSON manifest beside the tensors.

Stock SB3 reads such a zip as ever. The manifest says in plain JSON what SB3 keeps in pickles, so that a model can be
rebuilt from it and from the tensors (`weights_only=True`) without running anything that a file contains.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.config.warn import warn_user
from sb3_course.saving.archives import DAMAGE, first_words, read_json, require_small, size_of
from sb3_course.saving.files import atomic_write, require_path
from sb3_course.saving.values import class_name, decode, encode
from sb3_course.saving.versions import versions

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

MANIFEST = "manifest.json"
FORMAT = 1
_PARTS: dict[str, Any] = {"class": str | None, "attributes": dict, "opaque": list, "tensors": dict}
_TENSORS = re.compile(r"[A-Za-z_][\w.]*\.pth")


# ---------------------------------------------------------------------------------------------------- manifest


def manifest_of(
    model: BaseAlgorithm, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return what SB3's `save` keeps of a model besides its tensors, as JSON.

    :param model: any SB3 algorithm
    :param exclude: attributes to leave out, as in `save`
    :param include: attributes to keep although they are left out as a rule, as in `save`
    """
    attributes: dict[str, Any] = {}
    opaque = []
    for name, value in _saved_attributes(model, exclude, include).items():
        try:
            attributes[name] = encode(value)
        except (OpaqueError, RecursionError):
            opaque.append(name)
    policy = model.policy_class
    aliases = [alias for alias, cls in model.policy_aliases.items() if cls is policy]
    return {
        "format": FORMAT,
        "class": _name_of(type(model)),
        "policy": {"class": _name_of(policy), "alias": aliases[0] if aliases else None},
        "versions": versions(),
        "attributes": attributes,
        "opaque": sorted(opaque),
    }


def _saved_attributes(
    model: BaseAlgorithm, exclude: Iterable[str] | None, include: Iterable[str] | None
) -> dict[str, Any]:
    """The attributes that SB3's `save` writes as data, by its own rule."""
    left_out = {*(exclude or ()), *model._excluded_save_params()} - {*(include or ())}
    left_out |= {name.split(".")[0] for names in model._get_torch_save_params() for name in names}
    return {name: value for name, value in vars(model).items() if name not in left_out}


def _name_of(cls: type[Any]) -> str | None:
    try:
        return class_name(cls)
    except OpaqueError:  # made inside a function: only its owner can give it back
        return None


def attributes_of(manifest: Mapping[str, Any], find_class: Callable[[str], type[Any]] | None = None) -> dict[str, Any]:
    """Return the attributes that a manifest describes, without unpickling anything.

    :param manifest: from `read_manifest` or `manifest_of`
    :param find_class: `module:Class` -> class, for classes outside torch, SB3, sb3-contrib and this package
    :raises InputError: when it is damaged or names a class that may not be used
    """
    return {name: decode(value, find_class) for name, value in manifest["attributes"].items()}


# ----------------------------------------------------------------------------------------------------- writing


def save_model(
    model: BaseAlgorithm,
    path: str | Path | io.BufferedIOBase,
    exclude: Iterable[str] | None = None,
    include: Iterable[str] | None = None,
) -> None:
    """Save any SB3 algorithm as SB3 does, with a manifest and so that a crash leaves the old file or the new one.

    An algorithm's own `save` may call this: it goes straight to SB3's `BaseAlgorithm.save`.

    :param model: any SB3 algorithm
    :param path: a path (`.zip` is added where it has no suffix) or an open binary file
    :param exclude: attributes to leave out besides SB3's own list
    :param include: attributes to keep although they are on SB3's list
    :raises OSError: when the file cannot be written
    """
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.save_util import open_path

    require_path(path)
    exclude, include = list(exclude or ()), list(include or ())
    archive = io.BytesIO()
    BaseAlgorithm.save(model, archive, exclude=exclude, include=include)
    _append(archive, manifest_of(model, exclude, include))
    if isinstance(path, str | Path):
        atomic_write(_final_path(Path(path)), archive.getbuffer())
    else:
        open_path(path, "w").write(archive.getbuffer())  # refuses what SB3 refuses


def _final_path(path: Path) -> Path:
    """Where SB3 would write: `.zip` where there is no suffix, `_2` beside a folder, parents made."""
    if not path.suffix:
        path = path.with_name(f"{path.name}.zip")
    if path.is_dir():
        warn_user(f"Path '{path}' is a folder. Will save instead to {path}_2")
        path = path.with_name(f"{path.name}_2")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def add_manifest(path: str | Path, model: BaseAlgorithm) -> None:
    """Add the manifest of `model` to a zip that SB3 wrote, atomically.

    :param path: the zip
    :param model: the model it was saved from
    :raises OSError: when the file cannot be read or written
    """
    archive = io.BytesIO(Path(path).read_bytes())
    _append(archive, manifest_of(model))
    atomic_write(path, archive.getbuffer())


def _append(archive: io.BytesIO, manifest: dict[str, Any]) -> None:
    with zipfile.ZipFile(archive, "a") as zipped:
        if MANIFEST in zipped.namelist():
            raise InputError("model", "already has a manifest", MANIFEST, "a zip as SB3 writes it")
        tensors = [name for name in zipped.namelist() if name.endswith(".pth")]
        digests = {name: hashlib.sha256(zipped.read(name)).hexdigest() for name in tensors}
        # Our `load` leaves SB3's pickles alone; that they are those of this save is all it wants to know.
        whole = {**manifest, "tensors": digests, "data": hashlib.sha256(zipped.read("data")).hexdigest()}
        zipped.writestr(MANIFEST, json.dumps(whole, indent=1, allow_nan=False))


def read_manifest(path: str | Path | BinaryIO) -> dict[str, Any]:
    """Return the manifest of a model file.

    :param path: the zip, or an open binary file
    :raises InputError: when it is no zip, has no manifest, or comes from a newer version
    """
    name = str(getattr(path, "name", path))
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb")) if isinstance(path, str | Path) else path
            size = size_of(file)
            zipped = stack.enter_context(zipfile.ZipFile(file))
            require_small(zipped, size, "model")
            if MANIFEST not in zipped.namelist():
                raise InputError("model", "has no manifest: it was saved without this package", name)
            raw = zipped.read(MANIFEST)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError("model", f"cannot be read: {first_words(error)}", name, "a model.zip") from None
    return parse_manifest(raw)


def parse_manifest(raw: bytes) -> dict[str, Any]:
    """Return the manifest in the bytes of a member, everything in it of the type that it has to have.

    :raises InputError: when it is damaged, or comes from a newer version
    """
    manifest = read_json(raw, "manifest")
    if not isinstance(manifest, dict):
        raise InputError("manifest", "is no mapping", type(manifest).__name__, "a model.zip")
    if manifest.get("format") != FORMAT or type(manifest["format"]) is not int:
        raise InputError("model", "has another format of manifest", manifest.get("format"), f"format {FORMAT}")
    for name, types in _PARTS.items():
        if not isinstance(manifest.get(name), types):
            raise InputError("manifest", f"its {name} is damaged", manifest.get(name), "what save wrote")
    texts = (*manifest["opaque"], *manifest["tensors"].values(), manifest.get("data", ""))
    if not all(isinstance(text, str) for text in texts):
        raise InputError("manifest", "names something that is no text", texts, "what save wrote")
    for name in manifest["tensors"]:
        if not is_tensors(name):
            raise InputError("manifest", "no such name of tensors", name, "what save wrote")
    return manifest


def is_tensors(name: str) -> bool:
    """Return whether a member of this name may hold tensors."""
    return _TENSORS.fullmatch(name) is not None
