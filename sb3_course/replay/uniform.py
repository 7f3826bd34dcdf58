"""Uniform draws: each transition equally likely."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.replay.parts import Best


class UniformDraw:
    """A draw from all stored transitions.

    :param capacity: the largest number of transitions
    """

    wants_priorities: ClassVar[bool] = False

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def stored(self, first: int, count: int) -> None:
        """Take notice of new transitions: how many there are is told at each draw."""

    def draw(self, batch_size: int, rng: np.random.Generator, stored: int) -> np.ndarray:
        """Return the flat indices of a batch, (B,)."""
        return rng.integers(stored, size=batch_size)

    numbers = draw  # which is all that such a draw depends on

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights of drawn transitions, (B,) -> (B,): 1 each, because the draw was uniform."""
        weights = np.empty(len(indices), dtype=np.float32)
        weights.fill(1)  # in half the time of `np.ones`
        return weights

    def update(self, indices: np.ndarray | None, priorities: np.ndarray, stored: int) -> None:
        """Take notice of new priorities (B,): there is no use for them."""

    def progress(self, remaining: float) -> None:
        """Take notice of the training's progress: nothing depends on it."""

    def logs(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def connect(self, best: Best | None = None, beta0: float | None = None) -> None:
        """Take notice of functions and of β: there is no use for them."""

    def reset(self) -> None:
        """Forget all transitions."""

    def inherit(self, other: Any) -> None:
        """Take over nothing: there are no priorities."""

    def get_state(self) -> dict[str, Any]:
        """Return nothing: the draws depend on the generator alone."""
        return {}

    def set_state(self, state: dict[str, Any], drawable: int) -> None:
        """Restore nothing.

        :raises InputError: for the state of prioritized draws, which would be lost
        """
        if "alpha" in state:
            raise InputError("replay buffer", "the state has priorities", f"alpha={state['alpha']}", "uniform replay")


class SubsetDraw(UniformDraw):
    """A draw from those of the stored transitions that were included."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.reset()

    def reset(self) -> None:
        """Forget all transitions."""
        self._mask = np.zeros(self.capacity, dtype=bool)
        self._among: np.ndarray | None = None  # the flat indices in the mask, once they are asked for

    def include(self, indices: np.ndarray) -> None:
        """Draw from the transitions at flat `indices`, too."""
        self._mask[indices] = True
        self._among = None

    def exclude(self, indices: np.ndarray) -> None:
        """Draw from the transitions at flat `indices` no longer."""
        self._mask[indices] = False
        self._among = None

    def draw(self, batch_size: int, rng: np.random.Generator, stored: int) -> np.ndarray:
        """Return the flat indices of a batch, (B,)."""
        if self._among is None:
            self._among = np.flatnonzero(self._mask)
        return self._among[rng.integers(len(self._among), size=batch_size)]

    def get_state(self) -> dict[str, Any]:
        """Return which transitions are drawn from."""
        return {"drawable": self._mask.copy()}

    def set_state(self, state: dict[str, Any], drawable: int) -> None:
        """Restore what `get_state` returned."""
        mask = np.asarray(state.get("drawable", ()), dtype=bool)
        if mask.shape != self._mask.shape or np.count_nonzero(mask) != drawable:
            got, want = f"{np.count_nonzero(mask)} of {mask.size}", f"{drawable} of {self.capacity}"
            raise InputError("replay buffer", "the state draws from other transitions", got=got, want=want)
        self._mask, self._among = mask.copy(), None
