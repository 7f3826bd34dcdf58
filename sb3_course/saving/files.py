"""Files that are whole or not there: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
        _sync(temporary)
        os.replace(temporary, final)
    except BaseException as error:
        with suppress(OSError):  # its folder may have gone; the first error says more
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(temporary)):
            # A full disk is told of without a name, and nobody knows the temporary one.
            raise type(error)(error.errno, error.strerror, str(final)) from error
        raise
    with suppress(OSError):  # some file systems, and Windows, cannot sync a folder; the file itself is synced
        _sync(final.parent)


def atomic_write(path: str | Path, data: bytes | bytearray | memoryview | str) -> None:
    """Write a whole file atomically; text is written as UTF-8.

    :raises OSError: when the file cannot be written; the old one is then untouched
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
