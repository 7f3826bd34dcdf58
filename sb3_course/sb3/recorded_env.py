"""An environment that can be put back into the middle of an episode: its actions are recorded, and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.saving.attributes import plain_attributes, set_plain_attributes
from sb3_course.saving.generators import plain_state, rng_state, set_rng_state
from sb3_course.saving.values import decode, encode
from sb3_course.sb3.lasting import (
    FIXED,
    as_written,
    changed_sums,
    kept_by,
    layers,
    note,
    opaque_in,
    put_back,
    values_held,
)
from sb3_course.sb3.own_state import OwnState, own_state_of

#: Steps of an episode that are recorded. One that is longer, or never ends, would fill the memory.
LONGEST = 108_000  # as long as a game of Atari's lasts

#: Packages whose environments forget every episode, though their simulators are one object throughout.
_FORGETFUL = "gymnasium.", "ale_py.", "sb3_course."


class EpisodeRecorder(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what an environment held and its generators' states at the episode's start, and the actions since then.

    It stands directly around the environment, or around the wrappers that a user has put there. Where the environment
    can say all of where it is (`own_state`), it is asked, and nothing is recorded. Otherwise what is plain is put back
    as well, such as a counter that outlives episodes. What wrappers outside of it hold is kept as far as it is plain.

    :param env: the environment, with the wrappers that `gym.make` puts around it
    :param between: whether it is only asked between two episodes, as in evaluations: no action is then recorded
    :raises InputError: for an environment that answers otherwise than Gymnasium's API says, or is another one than the
        checkpoint's
    """

    def __init__(self, env: gym.Env[Any, Any], between: bool = False) -> None:
        super().__init__(env)
        self.outermost: gym.Env[Any, Any] = self
        self.between = between
        self.actions: list[Any] = []
        self._began: dict[str, Any] | None = None
        self._held: list[Any] = []
        self._last: Any = None
        self._own: OwnState | None = own_state_of(env.unwrapped)
        self._offers = self._own is not None and self._own.whole
        self._records = not (self._offers or between)
        self._beginning: Any = None  # what the environment said of itself when the episode began

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and its record."""
        if self._records:
            states = {name: each.bit_generator.state for name, each in self._drawing()}
            self._began, self.actions = {"generators": states, "kwargs": kwargs, "note": note(self.env)}, []
        elif not self._offers:
            self._held = values_held(self.env)
        observation, info = _answer("reset", self.env.reset(**kwargs), 2)
        self._last = observation
        if self._records and self._own is not None:
            self._beginning = self._own.read()
        return observation, info

    def step(self, action: Any) -> Any:
        """Step the environment and record the action."""
        if self._records and len(self.actions) <= LONGEST:
            self.actions.append(action.copy() if isinstance(action, np.ndarray) else action)
        answer = _answer("step", self.env.step(action), 5)
        self._last = answer[0]
        return answer

    def recorded_state(self) -> dict[str, Any]:
        """Return what `restore_recorded` needs."""
        state: dict[str, Any] = {"generators": self._generators(), "chain": [], "opaque": []}
        for layer in layers(self.outermost, self):
            kept = plain_attributes(layer, FIXED)
            state["chain"].append(kept.state)
            state["opaque"] += [name for name, _ in opaque_in(layer, kept.opaque)]
        if self._own is not None and self._own.whole:
            inner = [plain_attributes(layer, FIXED).state for layer in layers(self.env, self.env.unwrapped)]
            return {**state, "own": encode(self._own.read()), "inner": inner}
        lasting = kept_by(self.env)
        state |= {"lasting": lasting.plain, "sums": lasting.sums}
        if self.between:
            state["opaque"] += self._surviving(lasting.opaque)
        elif len(self.actions) > LONGEST:
            state["opaque"].append(f"an episode of more than {LONGEST:,} steps")
        elif self._began is not None:
            state |= {
                "began": {name: plain_state(each) for name, each in self._began["generators"].items()},
                "kwargs": encode(self._began["kwargs"]),
                "before": as_written(self._began["note"]),
                "actions": _packed(self.actions),
                "last": encode(deepcopy(self._last)),
            }
            if self._beginning is not None:
                state["beginning"] = encode(self._beginning)
        return state

    def _surviving(self, opaque: Iterable[tuple[str, Any]]) -> list[str]:
        """Return the names of what cannot be kept and outlives episodes: a reset has not made it anew."""
        if type(self.env.unwrapped).__module__.startswith(_FORGETFUL):
            return []
        return [name for name, value in opaque if any(value is each for each in self._held)]

    def restore_recorded(self, state: Mapping[str, Any]) -> str:
        """Put the environment where `recorded_state` found it, and return what could not be, or an empty word."""
        if "own" in state and self._own is not None:
            self.env.reset()
            self._own.put_back(decode(state["own"]))
            for layer, kept in zip(layers(self.env, self.env.unwrapped), state["inner"], strict=True):
                set_plain_attributes(layer, kept)
        elif "began" in state and (why := self._replay(state)):
            return why
        if "lasting" in state:
            put_back(self.env, state["lasting"])
        self._set_generators(state["generators"])
        for layer, kept in zip(layers(self.outermost, self), state["chain"], strict=True):
            set_plain_attributes(layer, kept)
        lost = [*state["opaque"], *(changed_sums(self.env, state["sums"]) if "sums" in state else ())]
        return f"{', '.join(lost)} cannot be kept" if lost else ""

    def _replay(self, state: Mapping[str, Any]) -> str:
        self._set_generators(state["began"])
        put_back(self.env, state.get("before", []))
        self.reset(**decode(state["kwargs"]))
        assert self._began is not None
        self._began["generators"] = state["began"]
        if "beginning" in state and self._own is not None:
            self._beginning = decode(state["beginning"])
            self._own.put_back(self._beginning)
        actions = state["actions"]
        for action in actions if isinstance(actions, np.ndarray) else decode(actions):
            self.step(action)
        same = encode(self._last) == state["last"] or not self.actions
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
    """Tell the recorders which wrappers are around them, SB3's and ours."""
    for env in getattr(venv.unwrapped, "envs", ()):
        layer = env
        while isinstance(layer, gym.Wrapper) and not isinstance(layer, EpisodeRecorder):
            layer = layer.env
        if isinstance(layer, EpisodeRecorder):
            layer.outermost = env
