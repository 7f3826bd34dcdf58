"""Small seeded envs for every kind of space, and one way to build every registered algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from pairwise import pairwise

from sb3_course.registry import ALGORITHMS, constructor_arguments, find

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-1, 1, (3,)),
    "Discrete": spaces.Discrete(5),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "MultiBinary": spaces.MultiBinary(4),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "Dict": spaces.Dict({"vector": spaces.Box(-1, 1, (2,)), "number": spaces.Discrete(3)}),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(2),
    "Box": spaces.Box(-1, 1, (2,)),
    "spread": spaces.Box(-1, 1, (2,)),  # for a policy whose spread depends on the state
}
POLICY = {"image": "CnnPolicy", "Dict": "MultiInputPolicy"}
SPREAD = "GaussianMlpPolicy"
# What makes a model learn within a few steps, for whoever has such an argument.
QUICK: dict[str, Any] = {
    "learning_starts": 8, "batch_size": 8, "buffer_size": 200, "train_freq": 4, "gradient_steps": 1, "n_epochs": 2,
    "target_update_interval": 8, "n_delta": 2, "n_workers": 1,
}  # fmt: skip


class Env(gym.Env[Any, Any]):
    """Observations at random, episodes of at most seven steps, some of them truncated."""

    def __init__(self, observation: str = "Box", action: str = "Discrete") -> None:
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]

    def _observe(self) -> Any:
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.steps += 1
        ended = bool(self.np_random.random() < 0.2)
        return self._observe(), float(np.sum(action)), ended, self.steps >= 7 and not ended, {}


def observations_of(name: str) -> list[str]:
    """Return the kinds of observation that a policy of the algorithm serves."""
    aliases = find(name).load().policy_aliases
    kinds = [kind for kind in OBSERVATIONS if POLICY.get(kind, "MlpPolicy") in aliases]
    return ["Discrete"] if name == "q_table" else kinds  # one row a state: nothing else has rows


OURS = [name for name, row in ALGORITHMS.items() if row.source == "sb3_course"]
THEIRS = [name for name in ALGORITHMS if name not in OURS]


def cases() -> list[tuple[str, str, str]]:
    """Return rows of (name, observation, action) such that any two that are possible together share one.

    And one for each algorithm with a policy whose spread depends on the state.
    """
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for name in OURS:
        alike.setdefault((tuple(observations_of(name)), ALGORITHMS[name].action_spaces), []).append(name)
    spread = [(name, "Box", "spread") for name in OURS if SPREAD in find(name).load().policy_aliases]
    both = ((names, *kinds) for kinds, names in alike.items())
    return [*(row for each in both for row in pairwise(*each)), *spread]


def make(name: str, observation: str | None = None, action: str | None = None, env: Any = None, **changes: Any) -> Any:
    """Return a small model of the algorithm that learns within a few steps."""
    observation = observation or observations_of(name)[0]
    action = action or find(name).action_spaces[0]
    known = constructor_arguments(name)
    arguments = {key: value for key, value in QUICK.items() if key in known}
    if "n_steps" in known and {"rollout_buffer_class", "q_lambda"} & known.keys():
        arguments |= {"n_steps": 16}  # of a rollout; of a return it stays what it is
    if name in ("q_table", "neural_q"):  # which learn from each single transition
        arguments = {}
    if name != "q_table":
        arguments["policy_kwargs"] = {"net_arch": [8]}
    policy = SPREAD if action == "spread" else POLICY.get(observation, "MlpPolicy")
    arguments = {"seed": 0, **arguments, **changes}
    return find(name).load()(policy, env or Env(observation, action), device="cpu", **arguments)


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """Return `make`."""
    return make


@pytest.fixture(scope="session")
def env_class() -> type[Env]:
    """Return the class of the small env."""
    return Env


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `name` every algorithm of ours, `case` each with every space, `row` every algorithm, `theirs` the rest."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases(), ids="-".join)
    for asked, names in (("name", OURS), ("row", list(ALGORITHMS)), ("theirs", THEIRS)):
        if asked in metafunc.fixturenames:
            metafunc.parametrize(asked, names)
