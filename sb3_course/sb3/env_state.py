"""The state of environments side by side and of the wrappers around them, in this process or in others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from sb3_course.saving.attributes import plain_attributes, set_plain_attributes
from sb3_course.sb3.recorded_env import know_outermost

_LEAVE = {"venv", "class_attributes", "observation_space", "action_space", "render_mode", "metadata", "num_envs"}


def env_state(venv: VecEnv) -> dict[str, Any]:
    """Return the state of environments; ``lost`` says why it is not all there is, where that is so."""
    state: dict[str, Any] = {"wrappers": [], "lost": ""}
    for wrapper in _wrappers(venv):
        kept = plain_attributes(wrapper, _LEAVE | _OWNED.get(type(wrapper), set()))
        stacks = {name: stack.stacked_obs.copy() for name, stack in _stacks(wrapper)}
        state["wrappers"].append({"attributes": kept.state, "stacks": stacks})
        if kept.opaque:
            state["lost"] = f"{type(wrapper).__name__} holds {', '.join(kept.opaque)}"
    know_outermost(venv)  # SB3's own classes put their monitor around a recorder, and tell nobody
    try:
        state["envs"] = venv.unwrapped.env_method("recorded_state")
    except AttributeError:
        state["lost"] = "the environment has no record of its episode: wrap it in sb3_course's EpisodeRecorder"
    return state


def set_env_state(venv: VecEnv, state: Mapping[str, Any]) -> str:
    """Put environments where `env_state` found them, and return why that was not possible, or an empty word.

    Where it was not, whoever asked has to reset them.
    """
    if "envs" not in state:
        return str(state["lost"])
    if len(state["envs"]) != venv.num_envs:
        return f"it had {len(state['envs'])} environments, there are {venv.num_envs}"
    base = venv.unwrapped
    know_outermost(venv)
    answers = [base.env_method("restore_recorded", kept, indices=i)[0] for i, kept in enumerate(state["envs"])]
    wrong = [answer for answer in answers if answer]
    for wrapper, kept in zip(_wrappers(venv), state["wrappers"], strict=True):
        set_plain_attributes(wrapper, kept["attributes"])
        for name, stack in _stacks(wrapper):
            stack.stacked_obs = np.array(kept["stacks"][name])
    # A seed that waits for the next reset would begin another episode than the run did.
    base._reset_seeds()
    base._reset_options()
    return wrong[0] if wrong else str(state["lost"])


#: What is made with the wrapper, or kept in another place.
_OWNED: dict[type[VecEnvWrapper], set[str]] = {
    VecFrameStack: {"stacked_obs"},
    VecNormalize: {"obs_spaces"},
    VecTransposeImage: {"image_space_keys"},
}


def _wrappers(venv: VecEnv) -> Iterator[VecEnvWrapper]:
    while isinstance(venv, VecEnvWrapper):
        yield venv
        venv = venv.venv


def _stacks(wrapper: VecEnvWrapper) -> Iterator[tuple[str, Any]]:
    if isinstance(wrapper, VecFrameStack):
        stacks: StackedObservations[Any] = wrapper.stacked_obs
        named = getattr(stacks, "sub_stacked_observations", None) or {"": stacks}
        yield from named.items()
