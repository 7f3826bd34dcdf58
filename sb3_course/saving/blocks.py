"""Large arrays as files of a few megabytes, named by their contents: what lies there already is linked, not written."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import xxhash

from sb3_course.config.errors import InputError
from sb3_course.saving.archives import first_words
from sb3_course.saving.elsewhere import Elsewhere
from sb3_course.saving.files import sync

#: About as many bytes has a block; an array of fewer than two stays one.
BLOCK_BYTES = 4 << 20
_LARGEST = 64 << 20  # and no more, were a single row larger: that is what a reader makes room for
_THREADS = 2  # one looks at blocks while the other waits for the disk
_DIGESTS, _ROWS, _LENGTH, _LIKE = "$blocks", "rows", "length", "like"
_SUFFIX = ".block"
_NAME = re.compile(rf"[0-9a-f]{{32}}\{_SUFFIX}")


# ------------------------------------------------------------------------------------------------------- writing


def divided(state: Mapping[str, Any], folder: Path, earlier: Iterable[Path] = ()) -> dict[str, Any]:
    """Return a state whose large arrays are described by their blocks, which now lie in a folder.

    Whether a block is new is seen from its contents: whoever changed an array, no block is ever stale.

    :param state: nested dictionaries of arrays, which may be views; no copy is made of a whole one
    :param folder: for the blocks; made where there are any
    :param earlier: folders of blocks that can be linked to
    :raises OSError: when a block cannot be written
    """
    known = {name: path for each in earlier for name, path in _blocks_in(each)}
    with ThreadPoolExecutor(_THREADS) as pool:
        whole = {name: _divided(value, folder, known, pool) for name, value in state.items()}
    if folder.exists():
        sync(folder)
    return whole


def _blocks_in(folder: Path) -> Iterator[tuple[str, Path]]:
    with suppress(OSError):  # none there, or on its way out
        for each in os.scandir(folder):
            if _NAME.fullmatch(each.name):
                yield each.name, Path(each.path)


def _divided(value: Any, folder: Path, known: Mapping[str, Path], pool: Executor) -> Any:
    if isinstance(value, Mapping):
        return {name: _divided(item, folder, known, pool) for name, item in value.items()}
    if not isinstance(value, np.ndarray) or value.dtype.hasobject or value.nbytes < 2 * BLOCK_BYTES:
        return value
    if value.nbytes // len(value) > _LARGEST:
        return value
    rows = max(BLOCK_BYTES * len(value) // value.nbytes, 1)
    folder.mkdir(exist_ok=True)
    parts = (value[first : first + rows] for first in range(0, len(value), rows))
    digests = list(pool.map(lambda part: _put(part, folder, known), parts))
    numbers = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)
    return {_DIGESTS: numbers, _ROWS: rows, _LENGTH: len(value), _LIKE: value[:0]}


def _bytes_of(part: np.ndarray) -> memoryview:
    return part.reshape(-1).view(np.uint8).data


def _put(part: np.ndarray, folder: Path, known: Mapping[str, Path]) -> bytes:
    """Write a block, unless it can be linked to, and return its digest.

    LZ4 looks back 64 kB: a frame that is seen in four stacks, and in both observations of a transition, is kept once.
    """
    content = _bytes_of(np.ascontiguousarray(part))
    digest = xxhash.xxh3_128_digest(content)
    path = folder / f"{digest.hex()}{_SUFFIX}"
    with suppress(OSError):  # no links on this file system, too many of them, or the other one has gone
        if path.name in known:
            os.link(known[path.name], path)
            return digest
    with suppress(FileExistsError), open(path, "xb") as file:  # or it is there twice
        file.write(lz4.block.compress(content, store_size=False))
        file.flush()
        os.fsync(file.fileno())
    return digest


# ------------------------------------------------------------------------------------------------------- reading


def joined(state: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what `divided` was given, with `Blocks` of a folder in place of large arrays.

    :raises InputError: when their description is damaged
    """
    return {name: _joined(value, folder) for name, value in state.items()}


def _joined(value: Any, folder: Path) -> Any:
    if not isinstance(value, Mapping):
        return value
    if _DIGESTS in value:
        return Blocks(value, folder)
    return joined(value, folder)


class Blocks(Elsewhere):
    """An array that lies in blocks, and is read into one that is there.

    :param described: what `divided` says of it
    :param folder: of the blocks
    :raises InputError: when the description is damaged
    """

    def __init__(self, described: Mapping[str, Any], folder: Path) -> None:
        digests, rows, length, like = (described.get(name) for name in (_DIGESTS, _ROWS, _LENGTH, _LIKE))
        if not (isinstance(digests, np.ndarray) and isinstance(like, np.ndarray)):
            raise self._damaged("a description is damaged", str(dict(described))[:80])
        if not (type(rows) is int and type(length) is int and rows > 0 and length > 0):
            raise self._damaged("no such number of rows", (rows, length))
        if digests.dtype != np.uint8 or digests.shape != (-(-length // rows), 16) or like.ndim == 0:
            raise self._damaged("another number of blocks", digests.shape)
        self.folder, self.dtype, self.shape = folder, like.dtype, (length, *like.shape[1:])
        self._names = [f"{digest.tobytes().hex()}{_SUFFIX}" for digest in digests]
        self._rows, self._whole = rows, False
        if max(self._sizes()) > _LARGEST:
            raise self._damaged("a block is larger than any that save writes", max(self._sizes()))

    def require_whole(self) -> None:
        """Read every block once.

        :raises InputError: when one is missing or damaged
        """
        if not self._whole:
            for name, size in dict(zip(self._names, self._sizes(), strict=True)).items():
                self._read(name, size)
        self._whole = True

    def read_into(self, target: np.ndarray) -> None:
        """Give the array's contents to another one of the same shape, block by block.

        :raises InputError: when it has another shape or type, and when a block is missing or damaged
        """
        if target.dtype != self.dtype or target.shape != self.shape:
            raise self._damaged("an array of another kind", f"{self.shape} of {self.dtype}")
        for index, name in enumerate(self._names):
            part = target[index * self._rows : (index + 1) * self._rows]
            part[...] = np.frombuffer(self._read(name, part.nbytes), self.dtype).reshape(part.shape)

    def _sizes(self) -> Iterator[int]:
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        for first in range(0, len(self), self._rows):
            yield min(self._rows, len(self) - first) * row

    def _read(self, name: str, size: int) -> bytes:
        """Return what is in a block, of so many bytes; the file's size is looked at first."""
        try:
            with open(self.folder / name, "rb", opener=_no_link) as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_size > size + size // 255 + 16:  # LZ4's own bound
                    raise self._damaged("a block has another size", f"{about.st_size} bytes in {name}")
                content: bytes = lz4.block.decompress(file.read(), uncompressed_size=size)
        except InputError:
            raise
        except (OSError, MemoryError, OverflowError, ValueError, lz4.block.LZ4BlockError) as error:
            raise self._damaged(f"a block cannot be read: {first_words(error)}", name) from None
        if len(content) != size or f"{xxhash.xxh3_128_hexdigest(content)}{_SUFFIX}" != name:
            raise self._damaged("a block is damaged", name)
        return content

    def _damaged(self, what: str, got: object) -> InputError:
        return InputError("checkpoint", f"{what} in the replay memory", got, "what save wrote")


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
