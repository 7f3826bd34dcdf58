"""An environment that can be put back into the middle of an episode: its actions are recorded, and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.saving.attributes import plain_attributes, set_plain_attributes
from sb3_course.saving.generators import plain_state, rng_state, set_rng_state
from sb3_course.saving.values import decode, encode

_OWN = {"env", "outermost", "actions", "_began", "_last"}
#: Attributes of wrappers that are fixed when they are made, or belong to the run's files and its clock.
_FIXED = {
    "env", "spec", "_cached_spec", "_saved_kwargs", "results_writer", "t_start", "metadata", "_metadata",
    "_action_space", "_observation_space", "action_space", "observation_space", "_reward_range", "failures", "notice",
    "render_mode",
}  # fmt: skip

#: Steps of an episode that are recorded. One that is longer, or never ends, would fill the memory.
LONGEST = 100_000


class EpisodeRecorder(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the generators' states at the episode's start and its actions; stands directly around an environment.

    Where the environment offers ``get_state`` and ``set_state``, these are used and nothing is recorded. What wrappers
    outside of it hold is kept as far as it is plain.

    :param env: the environment, with the wrappers that `gym.make` puts around it
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.outermost: gym.Env[Any, Any] = self
        self.actions: list[Any] = []
        self._began: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._last: Any = None
        self._offers = all(callable(getattr(env.unwrapped, name, None)) for name in ("get_state", "set_state"))

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and its record."""
        if not self._offers:
            self._began, self.actions = ({name: each.bit_generator.state for name, each in self._drawing()}, kwargs), []
        observation, info = _answer("reset", self.env.reset(**kwargs), 2)
        self._last = observation
        return observation, info

    def step(self, action: Any) -> Any:
        """Step the environment and record the action."""
        if not self._offers and len(self.actions) <= LONGEST:
            self.actions.append(action.copy() if isinstance(action, np.ndarray) else action)
        answer = _answer("step", self.env.step(action), 5)
        self._last = answer[0]
        return answer

    def recorded_state(self) -> dict[str, Any]:
        """Return what `restore_recorded` needs."""
        state: dict[str, Any] = {"generators": self._generators(), "chain": [], "opaque": []}
        for layer in _layers(self.outermost, self):
            kept = plain_attributes(layer, _FIXED)
            state["chain"].append(kept.state)
            state["opaque"] += [f"{type(layer).__name__}.{name}" for name in kept.opaque]
        if self._offers:
            inner = [plain_attributes(layer, _FIXED).state for layer in _layers(self.env, self.env.unwrapped)]
            return {**state, "own": encode(self.env.unwrapped.get_state()), "inner": inner}  # type: ignore[attr-defined]
        if len(self.actions) > LONGEST:
            state["opaque"].append(f"an episode of more than {LONGEST:,} steps")
        elif self._began is not None:
            began, kwargs = self._began
            state |= {
                "began": {name: plain_state(each) for name, each in began.items()},
                "kwargs": encode(kwargs),
                "actions": _packed(self.actions),
            }
            state["last"] = encode(deepcopy(self._last))
        return state

    def restore_recorded(self, state: Mapping[str, Any]) -> str:
        """Put the environment where `recorded_state` found it, and return what could not be, or an empty word."""
        if "own" in state:
            self.env.reset()
            self.env.unwrapped.set_state(decode(state["own"]))  # type: ignore[attr-defined]
            for layer, kept in zip(_layers(self.env, self.env.unwrapped), state["inner"], strict=True):
                set_plain_attributes(layer, kept)
        elif "began" in state and (why := self._replay(state)):
            return why
        self._set_generators(state["generators"])
        for layer, kept in zip(_layers(self.outermost, self), state["chain"], strict=True):
            set_plain_attributes(layer, kept)
        return f"{', '.join(state['opaque'])} cannot be kept" if state["opaque"] else ""

    def _replay(self, state: Mapping[str, Any]) -> str:
        self._set_generators(state["began"])
        self.reset(**decode(state["kwargs"]))
        self._began = (state["began"], decode(state["kwargs"]))
        actions = state["actions"]
        for action in actions if isinstance(actions, np.ndarray) else decode(actions):
            self.step(action)
        same = encode(self._last) == state["last"]
        return "" if same else "its actions, played again, lead elsewhere"

    def _generators(self) -> dict[str, Any]:
        """Return the states of the generators that exist, by their owner's place."""
        return {name: rng_state(generator) for name, generator in self._drawing()}

    def _set_generators(self, states: Mapping[str, Any]) -> None:
        named = dict(self._drawing(make=states.__contains__))
        for name, state in states.items():
            if name not in named:
                raise InputError("environment", "has no such generator", name, "the environment of the checkpoint")
            set_rng_state(named[name], state)

    def _drawing(self, make: Callable[[str], bool] | None = None) -> Iterator[tuple[str, np.random.Generator]]:
        bare = self.env.unwrapped
        owners: dict[str, Any] = {
            "env": bare,
            "action_space": bare.action_space,
            "observation_space": bare.observation_space,
        }
        for name, owner in owners.items():
            there = getattr(owner, "_np_random", None)
            if make is not None and make(name):
                there = owner.np_random
            if isinstance(there, np.random.Generator):
                yield name, there


def _answer(method: str, answer: Any, parts: int) -> Any:
    """Return what an environment answered, if it has as many parts as Gymnasium says.

    :raises InputError: naming the method
    """
    if isinstance(answer, tuple) and len(answer) == parts:
        return answer
    got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
    raise InputError(f"env.{method}", "answers otherwise than Gymnasium's API says", got, _ANSWERS[method])


_ANSWERS = {
    "reset": "a tuple (observation, info)",
    "step": "a tuple (observation, reward, terminated, truncated, info)",
}


def _packed(actions: list[Any]) -> Any:
    """Return actions as one array where they are numbers or arrays alike, else as JSON: files limit how much of it."""
    kinds = {(type(action), getattr(action, "dtype", None), getattr(action, "shape", None)) for action in actions}
    alike = len(kinds) == 1 and isinstance(actions[0], np.ndarray | np.generic)
    return np.array(actions) if alike else encode(list(actions))


def recorded(env: Any) -> Any:
    """Return a single environment with a recorder around it, unless there is one; anything else as it is."""
    if not isinstance(env, gym.Env) or env.has_wrapper_attr("recorded_state"):
        return env
    return EpisodeRecorder(env)


def know_outermost(venv: VecEnv) -> None:
    """Tell the recorders which wrappers SB3 has put around them."""
    for env in getattr(venv.unwrapped, "envs", ()):
        if isinstance(env, gym.Env) and isinstance(getattr(env, "env", None), EpisodeRecorder):
            env.env.outermost = env  # type: ignore[attr-defined]


def _layers(outer: gym.Env[Any, Any], inner: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """Yield the wrappers from `outer` to `inner`, which is not among them."""
    while outer is not inner:
        yield outer
        outer = outer.env  # type: ignore[attr-defined]
