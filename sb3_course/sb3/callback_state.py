"""What callbacks count, and the environments that they evaluate on, for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.saving.attributes import plain_attributes, set_plain_attributes
from sb3_course.sb3.env_state import env_state, set_env_state

#: What SB3 gives every callback anew.
GIVEN = {"model", "locals", "globals", "parent", "verbose", "num_timesteps"}


class Counters:
    """The state of a callback that offers none: its attributes, as far as they are plain.

    :param callback: a user's or SB3's
    """

    def __init__(self, callback: object) -> None:
        self.callback = callback

    @property
    def lost(self) -> str:
        """Which attributes are in no state, in words, or an empty word."""
        opaque = plain_attributes(self.callback, GIVEN).opaque
        return f"{type(self.callback).__name__}.{', '.join(opaque)}" if opaque else ""

    def get_state(self) -> dict[str, Any]:
        """Return the attributes."""
        return plain_attributes(self.callback, GIVEN).state

    def set_state(self, state: dict[str, Any]) -> None:
        """Put the attributes back."""
        set_plain_attributes(self.callback, state)


def callback_states(callbacks: Iterable[object]) -> list[dict[str, Any]]:
    """Return the states of callbacks, and of the environments that one evaluates on, as SB3's `EvalCallback` does."""
    return [
        {"counters": Counters(each).get_state(), **({} if (env := _env_of(each)) is None else {"env": env_state(env)})}
        for each in callbacks
    ]


def set_callback_states(callbacks: Sequence[object], states: Sequence[dict[str, Any]], envs: bool = True) -> list[str]:
    """Put back what `callback_states` returned, and return what could not be.

    :param callbacks: as many as there were, or none
    :param envs: whether the environments are put back too
    :raises InputError: for another number of callbacks
    """
    if not callbacks:
        return []
    if len(callbacks) != len(states):
        raise InputError("callbacks", "are others than the checkpoint's", len(callbacks), f"{len(states)} of them")
    lost = []
    for callback, state in zip(callbacks, states, strict=True):
        Counters(callback).set_state(state["counters"])
        if envs and "env" in state and (env := _env_of(callback)) is not None:
            lost.append(set_env_state(env, state["env"]))
    return [f"in the evaluation environment {each}" for each in lost if each]


def _env_of(callback: object) -> VecEnv | None:
    env = getattr(callback, "eval_env", None)
    return env if isinstance(env, VecEnv) else None
