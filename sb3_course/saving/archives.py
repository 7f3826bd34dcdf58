"""Zip archives from elsewhere: what is in them is known to be small and named before any of it is read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from sb3_course.config.errors import InputError

#: What reading a damaged archive, array or JSON raises.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, IndexError, NotImplementedError, MemoryError, OverflowError,
    RecursionError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# Weights and rows hardly shrink; zeros do, a thousandfold, which is what a bomb is made of.
_RATIO, _FREE = 8, 4 << 20
_MAX_JSON, _MAX_VALUES = 16 << 20, 1_000_000


def require_small(zipped: zipfile.ZipFile, size: int, field: str, ratio: int = _RATIO) -> None:
    """Refuse an archive whose members are twice there, lie elsewhere, or unpack to far more than the file.

    :param zipped: the archive; nothing of it is read but the table of contents
    :param size: of the whole file in bytes
    :param field: the name to report
    :param ratio: how many times the file's size its members may have together
    :raises InputError: naming the member
    """
    seen: set[str] = set()
    for info in zipped.infolist():
        name = info.filename
        path = PurePosixPath(name.replace("\\", "/"))
        if name in seen:
            raise InputError(field, "has a member twice", name, "a file that save wrote")
        if path.is_absolute() or ".." in path.parts or ":" in name or stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(field, "has a member that lies elsewhere", name, "a file that save wrote")
        if info.flag_bits & 1:
            raise InputError(field, "has an encrypted member", name, "a file that save wrote")
        seen.add(name)
    unpacked = sum(info.file_size for info in zipped.infolist())
    allowed = ratio * size + (_FREE if ratio > 1 else 0)
    if unpacked > allowed:
        raise InputError(field, "unpacks to far more than it is", f"{unpacked} bytes", f"at most {allowed}")


def require_members(zipped: zipfile.ZipFile, allowed: Iterable[str], field: str) -> None:
    """Refuse an archive with members that are not on a list.

    :raises InputError: naming the first one
    """
    for name in sorted(set(zipped.namelist()) - set(allowed)):
        raise InputError(field, "has a member that no model has", name, "a file that save wrote")


def read_json(raw: bytes, field: str) -> Any:
    """Return the JSON in `raw`, whose size as Python objects is bounded before it is parsed.

    :raises InputError: when it is too large or no JSON, and for a name that stands twice in a mapping
    """
    if len(raw) > _MAX_JSON or sum(map(raw.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise InputError(field, "is larger than anything that save writes", f"{len(raw)} bytes", f"{_MAX_JSON} at most")
    try:
        return json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError(field, f"is no JSON: {error}", want="a file that save wrote") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def size_of(file: BinaryIO | io.BufferedIOBase) -> int:
    """Return the size of an open file in bytes; it is then at its beginning.

    :raises ValueError: for a device or a pipe, which has none
    """
    with contextlib.suppress(OSError, AttributeError):  # no file of the system's: bytes in memory
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is no plain file")
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def first_words(error: BaseException) -> str:
    """Return the beginning of an error's message in one line, or its type where there is none."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
