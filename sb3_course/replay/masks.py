"""A storage around another one, that keeps which actions were valid."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import InputError
from sb3_course.replay.parts import MakeStorage, Storage, Transitions

#: Where `put` finds the masks of an observation and of the next one in an env's info, (2, A).
IN_INFO = "action_masks"
_STATE = "action_masks"


class Masked:
    """Transitions with masks of the observation's and the next observation's valid actions.

    :param storage: keeps all else
    :param n_actions: A
    """

    def __init__(self, storage: Storage, n_actions: int) -> None:
        self._storage = storage
        self.masks = np.ones((*storage.rewards.shape, 2, n_actions), dtype=bool)

    def __getattr__(self, name: str) -> Any:
        if name == "_storage" or name.startswith("__"):  # asked for by whoever copies, before it is there
            raise AttributeError(name)
        return getattr(self._storage, name)

    def put(self, slot: int, *transition: Any, infos: list[dict[str, Any]]) -> None:
        """Write one transition of every env; an info that says nothing of masks has no invalid action."""
        self._storage.put(slot, *transition, infos=infos)
        for env, info in enumerate(infos):
            self.masks[slot, env] = info.get(IN_INFO, True)

    def take(self, first: np.ndarray, last: np.ndarray) -> Transitions:
        """Return the windows from flat indices `first` (B,) to `last` (B,)."""
        read = self._storage.take(first, last)
        flat = self.masks.reshape(-1, 2, self.masks.shape[-1])
        return Transitions(*read[:5], flat[first, 0], flat[last, 1])

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return the first `slots` slots, not copied."""
        return {**self._storage.get_state(slots), _STATE: self.masks[:slots]}

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse the state of another storage, or of another number of filled slots."""
        self._storage.check_state(state, slots)
        masks, shape = state.get(_STATE), (slots, *self.masks.shape[1:])
        if not (isinstance(masks, np.ndarray) and (masks.dtype, masks.shape) == (self.masks.dtype, shape)):
            got = getattr(masks, "shape", None)
            raise InputError("replay buffer", "the state has other action masks", got, f"masks of {shape}")

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a checked state."""
        self._storage.set_state(state)
        self.masks[: len(state[_STATE])] = state[_STATE]


def masked(storage: MakeStorage) -> MakeStorage:
    """Return what makes the same storage with masks of discrete actions around it."""
    return partial(_make, storage)


def _make(
    storage: MakeStorage,
    slots: int,
    n_envs: int,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
) -> Storage:
    if not isinstance(action_space, spaces.Discrete):
        raise InputError("masked", "only discrete actions can be invalid", action_space, "Discrete, or masked=False")
    made: Any = Masked(storage(slots, n_envs, observation_space, action_space), int(action_space.n))
    return made  # type: ignore[no-any-return]
