"""Environments that say where they are, and go back there, without their episode being played again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class OwnState(NamedTuple):
    """How an environment's state is read and put back."""

    read: Callable[[], Any]
    put_back: Callable[[Any], None]


def own_state_of(env: Any) -> OwnState | None:
    """Return how the state of a bare environment is read, or None of one that offers nothing.

    It offers ``get_state`` and ``set_state``; or, as Atari's games do, ``clone_state`` and ``restore_state``. Atari's
    own generator, which repeats actions, is never seeded again after the first episode: its episodes cannot be played
    again from their beginning.
    """
    if _has(env, "get_state", "set_state"):
        return OwnState(env.get_state, env.set_state)
    if _has(env, "clone_state", "restore_state", "ale"):
        return OwnState(lambda: _clone(env), lambda state: env.restore_state(_state_class(env)(state.tobytes())))
    return None


def _has(env: Any, *names: str) -> bool:
    return all(hasattr(env, name) for name in names)


def _clone(env: Any) -> np.ndarray:
    return np.frombuffer(env.clone_state(include_rng=True).serialize(), np.uint8).copy()


def _state_class(env: Any) -> Any:
    return type(env.clone_state())
