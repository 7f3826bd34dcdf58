"""What an algorithm can be used with, found out by building it: the tables "Can I use?" cannot go stale."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import registry

SPACES: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "Box": spaces.Box(-1.0, 1.0, (2,)),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(2),
    "Dict": spaces.Dict({"place": spaces.Box(-1.0, 1.0, (2,)), "room": spaces.Discrete(3)}),
}
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


class Use(NamedTuple):
    """What an algorithm can be used with."""

    actions: dict[str, bool]  # by the kind of space
    observations: dict[str, bool]
    images: bool
    recurrent: bool
    several_envs: bool
    masks: bool
    backends: tuple[str, ...]  # who can do the arithmetic; none: the algorithm has no such choice


class Still(gym.Env[Any, Any]):
    """An environment of given spaces, in which nobody takes a step."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


def can_i_use(name: str) -> Use:
    """Return what an algorithm can be used with.

    :param name: in the registry
    """
    cls = registry.find(name).load()
    observation = next(seen for seen in (SPACES["Box"], SPACES["Discrete"]) if _builds(name, seen, _some_action(name)))
    actions = {kind: _builds(name, observation, space) for kind, space in SPACES.items()}
    action = _some_action(name)
    observations = {kind: _builds(name, space, action) for kind, space in SPACES.items()}
    choice = "backend" in registry.constructor_arguments(name)
    return Use(
        actions,
        observations,
        _builds(name, IMAGE, action),
        any("Lstm" in alias for alias in cls.policy_aliases),
        _builds(name, observation, action, n_envs=2),
        "action_masks" in inspect.signature(cls.predict).parameters,
        tuple(word for word in ("numpy", "torch") if choice and _builds(name, observation, action, backend=word)),
    )


def _some_action(name: str) -> spaces.Space[Any]:
    return SPACES["Discrete" if "Discrete" in registry.find(name).action_spaces else "Box"]


def _builds(
    name: str, observation: spaces.Space[Any], action: spaces.Space[Any], n_envs: int = 1, **options: Any
) -> bool:
    """Tell whether the algorithm's constructor takes an environment of these spaces."""
    arguments = registry.constructor_arguments(name)
    small = {"buffer_size": 1000, "device": "cpu", **options}
    policy = "MlpPolicy"
    if isinstance(observation, spaces.Dict):
        policy = "MultiInputPolicy"
    elif observation is IMAGE:
        policy = "CnnPolicy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            env = make_vec_env(lambda: Still(observation, action), n_envs)
            registry.find(name).load()(policy, env, **{key: small[key] for key in small if key in arguments})
        except (AssertionError, ValueError, NotImplementedError):
            return False
    return True


def table(name: str) -> str:
    """Return what `can_i_use` found as Markdown, in the form of SB3's documentation."""
    use = can_i_use(name)
    rows = [f"| {kind} | {_mark(use.actions[kind])} | {_mark(use.observations[kind])} |" for kind in SPACES]
    lines = [
        "| Space | Action | Observation |", "|---|:---:|:---:|", *rows, "",
        f"* Images (`CnnPolicy`): {_mark(use.images)}",
        f"* Several environments at once, in one process or in many: {_mark(use.several_envs)}",
        f"* Action masks: {_mark(use.masks)}",
        f"* Recurrent policies: {_mark(use.recurrent)}",
    ]  # fmt: skip
    if use.backends:
        lines.append(f"* Backends: {', '.join(f'`{backend}`' for backend in use.backends)}")
    return "\n".join(lines)


def _mark(yes: bool) -> str:
    return "✔️" if yes else "❌"
