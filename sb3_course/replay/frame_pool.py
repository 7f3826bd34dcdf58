"""Frames by number, each kept once, and used again when nobody refers to it any more."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.saving.elsewhere import Elsewhere, fill

#: A pool that is full grows by this share of its first size: of short episodes each has frames of its own.
_GROWTH = 8


class FramePool:
    """Frames of one shape, and how often each is referred to.

    The system gives memory where a frame is first written, and a frame that is free is written before a new one.

    :param expected: how many frames are kept at once; more are taken in, in parts of an eighth
    :param shape: of a frame
    :param dtype: of its elements
    """

    def __init__(self, expected: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.expected, self._more = expected, max(expected // _GROWTH, 16)
        self._chunks = [np.zeros((expected, *shape), dtype)]
        self._counts = np.zeros(expected, np.int32)
        self._free: list[int] = []
        self._used = 0  # numbers up to here have been given out

    def __getitem__(self, number: int) -> np.ndarray:
        if number < self.expected:
            frame: np.ndarray = self._chunks[0][number]
            return frame
        chunk, place = divmod(number - self.expected, self._more)
        later: np.ndarray = self._chunks[1 + chunk][place]
        return later

    def add(self, frame: np.ndarray) -> int:
        """Keep a copy of a frame and return its number; nobody refers to it yet."""
        if self._free:
            number = self._free.pop()
        else:
            number, self._used = self._used, self._used + 1
            if number == len(self._counts):
                self._grow()
        self[number][...] = frame
        return number

    def _grow(self) -> None:
        first = self._chunks[0]
        self._chunks.append(np.zeros((self._more, *first.shape[1:]), first.dtype))
        self._counts = np.concatenate([self._counts, np.zeros(self._more, np.int32)])

    def refer(self, numbers: np.ndarray) -> None:
        """Count one more reference to each of these."""
        np.add.at(self._counts, numbers, 1)

    def let_go(self, numbers: np.ndarray) -> None:
        """Count one less, and set free whatever nobody refers to."""
        np.subtract.at(self._counts, numbers, 1)
        self._free += set(numbers[self._counts[numbers] == 0].tolist())

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return copies of frames, (…) -> (…, *shape)."""
        if len(self._chunks) == 1 or numbers.max(initial=0) < self.expected:
            taken: np.ndarray = self._chunks[0].take(numbers, axis=0)
            return taken
        taken = self._chunks[0].take(numbers, axis=0, mode="clip")
        for place in np.argwhere(numbers >= self.expected):
            taken[tuple(place)] = self[int(numbers[tuple(place)])]
        return taken

    @property
    def kept(self) -> int:
        """How many frames there are."""
        return self._used - len(self._free)

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, np.ndarray]:
        """Return the frames as far as numbers have been given out, not copied."""
        sizes = [len(chunk) for chunk in self._chunks]
        firsts = [sum(sizes[:index]) for index in range(len(sizes))]
        parts = (chunk[: max(self._used - first, 0)] for chunk, first in zip(self._chunks, firsts, strict=True))
        return {str(index): part for index, part in enumerate(parts) if index == 0 or len(part)}

    def check_state(self, state: dict[str, Any], most: int) -> int:
        """Refuse frames of another kind, or more than there can be, and return how many they are.

        :param most: of them that could be referred to
        """
        shape, dtype = self._chunks[0].shape[1:], self._chunks[0].dtype
        sizes = [self.expected] + [self._more] * (len(state) - 1)
        alike = list(state) == [str(index) for index in range(len(sizes))]
        for part, size in zip(state.values(), sizes, strict=True):
            alike &= part.dtype == dtype and part.shape[1:] == shape and len(part) <= size
        lengths = [len(part) for part in state.values()]
        if not alike or lengths[:-1] != sizes[:-1] or sum(lengths) > most + self._more:
            got, want = f"{lengths} frames", f"frames of {shape} and {dtype}, as many as the buffer holds"
            raise InputError("replay buffer", "the state is of another buffer", got, want)
        for part in state.values():
            if isinstance(part, Elsewhere):
                part.require_whole()
        return sum(lengths)

    def set_state(self, state: dict[str, Any], references: np.ndarray) -> None:
        """Restore checked frames.

        :param references: all of them, repeated ones as often as they are there
        """
        while len(self._chunks) < len(state):
            self._grow()
        for chunk, part in zip(self._chunks, state.values(), strict=False):
            fill(chunk[: len(part)], part)
        self._used = sum(map(len, state.values()))
        self._counts[:] = np.bincount(references, minlength=len(self._counts))
        self._free = np.flatnonzero(self._counts[: self._used] == 0).tolist()
