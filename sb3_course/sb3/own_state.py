"""Environments that say where they are, and go back there, without their episode being played again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class OwnState(NamedTuple):
    """How an environment's state is read and put back.

    `whole` is whether that is all there is to say in the middle of an episode; else it is at its beginning only.
    """

    read: Callable[[], Any]
    put_back: Callable[[Any], None]
    whole: bool


def own_state_of(env: Any) -> OwnState | None:
    """Return how the state of a bare environment is read, or None of one that offers nothing.

    It offers ``get_state`` and ``set_state``; or, as Atari's games do, ``clone_state`` and ``restore_state``. These
    leave out the action before, which sticky actions repeat, but which no episode begins with. Their generator is
    seeded once, so that without its state not even an episode's actions would lead anywhere again.
    """
    if _has(env, "get_state", "set_state"):
        return OwnState(env.get_state, env.set_state, whole=True)
    if _has(env, "clone_state", "restore_state", "ale"):
        sticky = env.ale.getFloat("repeat_action_probability") > 0
        return OwnState(lambda: _cloned(env), lambda state: _restore(env, state), whole=not sticky)
    return None


def _has(env: Any, *names: str) -> bool:
    return all(hasattr(env, name) for name in names)


def _cloned(env: Any) -> np.ndarray:
    return np.frombuffer(env.clone_state(include_rng=True).serialize(), np.uint8).copy()


def _restore(env: Any, state: np.ndarray) -> None:
    kind = type(env.clone_state())
    env.restore_state(kind(state.tobytes()))
