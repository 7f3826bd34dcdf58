"""Large arrays in a file of arrays: members that are read a few megabytes at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sb3_course.saving.elsewhere import Elsewhere

#: From so many bytes on an array stays in its file.
LARGE = 8 << 20
_AT_ONCE = 4 << 20
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Member(Elsewhere):
    """An array in an archive that is open for as long as it is read.

    :param zipped: the archive
    :param name: of the member
    :param start: bytes before the array's own
    """

    def __init__(
        self, zipped: zipfile.ZipFile, name: str, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._zipped, self._name, self._start = zipped, name, start
        self.shape, self.dtype = shape, dtype

    def _parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the array's rows a few megabytes at a time, with the number of the first of them."""
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        rows = max(_AT_ONCE // row, 1)
        with self._zipped.open(self._name) as file:
            file.read(self._start)
            for first in range(0, len(self), rows):
                n = min(rows, len(self) - first)
                content = file.read(n * row)
                yield first, np.frombuffer(content, self.dtype).reshape(n, *self.shape[1:])
            file.read(1)  # its end, where zipfile compares the check sum

    def read_into(self, target: np.ndarray) -> None:
        """Give the array's contents to another one, whose owner drops it where they prove to be damaged.

        :raises ValueError: when it has another shape or type, and where the file is cut short
        :raises zipfile.BadZipFile: when the contents are damaged
        """
        if (target.dtype, target.shape) != (self.dtype, self.shape):
            raise ValueError(f"{self._name} holds {self.shape} of {self.dtype}, not {target.shape} of {target.dtype}")
        for first, part in self._parts():
            target[first : first + len(part)] = part

    def require_whole(self) -> None:
        """Read all of it once; see `read_into`."""
        for _ in self._parts():
            pass


def member_of(zipped: zipfile.ZipFile, name: str) -> Member | None:
    """Return a large array in an archive, and None for what is small or has to be read by NumPy."""
    size = zipped.getinfo(name).file_size
    if size < LARGE:
        return None
    with zipped.open(name) as file:
        header = _HEADERS.get(np.lib.format.read_magic(file))
        if header is None:
            return None
        shape, columns_first, dtype = header(file)
        start = file.tell()
    needed = dtype.itemsize * int(np.prod(shape, dtype=object))
    if columns_first or dtype.hasobject or not shape or needed != size - start:
        return None
    return Member(zipped, name, start, shape, dtype)
