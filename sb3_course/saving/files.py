"""Files that are whole or not there: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sb3_course.config.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that becomes `path` when the block ends, and vanishes if it raises.

    A crash at any moment leaves the old file or the new one, never half of it.

    :param path: the file to write; its folder must exist
    :raises OSError: when the file cannot be written, naming it; the old one is then untouched
    """
    final = Path(os.path.realpath(path))  # a link stays a link
    # The suffix is kept: np.savez, savefig and SB3 read it.
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}.tmp{final.suffix}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, final)
    except BaseException as error:
        with suppress(OSError):  # its folder may have gone; the first error says more
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(temporary)):
            # A full disk is told of without a name, and nobody knows the temporary one.
            raise type(error)(error.errno, error.strerror, str(final)) from error
        raise
    with suppress(OSError):  # some file systems, and Windows, cannot sync a folder; the file itself is synced
        sync(final.parent)


def atomic_write(path: str | Path, data: bytes | bytearray | memoryview | str) -> None:
    """Write a whole file atomically; text is written as UTF-8.

    :raises OSError: when the file cannot be written; the old one is then untouched
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def replace_folder(new: Path, path: Path) -> None:
    """Put a whole folder in the place of another, if there is one, so that a crash leaves the one or the other.

    :param new: beside `path`, under a hidden name; gone afterwards
    :raises OSError: when it cannot be put there
    """
    if not path.exists():
        os.replace(new, path)
        return
    if _exchanged(new, path):
        shutil.rmtree(new)
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")  # systems without an exchange: a moment's gap
    os.replace(path, aside)
    os.replace(new, path)
    shutil.rmtree(aside)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step, where the system can: a rename replaces no folder that has files in it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def sync(path: Path) -> None:
    """Bring a file, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_path(path: Any) -> None:
    """Refuse what is neither a path nor an open file.

    :raises InputError: naming it
    """
    if not isinstance(path, str | os.PathLike) and not hasattr(path, "read") and not hasattr(path, "write"):
        raise InputError("path", "is none", path, "a path, or an open file")
