"""Arrays that lie elsewhere, and are read part by part into ones that are there: no second memory is needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np


class Elsewhere(ABC):
    """An array on disk."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read_into(self, target: np.ndarray) -> None:
        """Give the array's contents to another one of the same shape.

        :raises InputError: when it has another shape or type, and when what lies on disk is missing or damaged
        """

    @abstractmethod
    def require_whole(self) -> None:
        """Read all of it once, before anything is changed by what comes of it.

        :raises InputError: when it is missing or damaged
        """


def fill(target: np.ndarray, source: np.ndarray | Elsewhere) -> None:
    """Give an array the contents of another one, wherever that lies."""
    if isinstance(source, Elsewhere):
        source.read_into(target)
    else:
        target[...] = source


def here(state: Any) -> Any:
    """Return nested dictionaries with all their arrays in memory."""
    if isinstance(state, Elsewhere):
        state.read_into(read := np.empty(state.shape, state.dtype))
        return read
    if isinstance(state, Mapping):
        return {name: here(value) for name, value in state.items()}
    return state


def require_whole(state: Any) -> None:
    """Read everything once that lies elsewhere.

    :raises InputError: when something is missing or damaged
    """
    if isinstance(state, Elsewhere):
        state.require_whole()
    elif isinstance(state, Mapping):
        for value in state.values():
            require_whole(value)
