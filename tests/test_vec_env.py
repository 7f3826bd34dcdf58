"""The lean vec env returns what SB3's returns, in memory of its own, and is only put around what SB3 wrapped."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecTransposeImage

from sb3_course import DoubleDQN, ReinforceBaseline
from sb3_course.sb3.vec_env import LeanVecEnv, make_lean


class Reusing(gym.Wrapper[Any, Any, Any, Any]):
    """Hands out one dictionary again and again, with a list in it that grows."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1", max_episode_steps=7))
        self.info: dict[str, Any] = {"seen": [], "array": np.zeros(2), "word": "a", "count": 0}

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        self.info["seen"].append(1)
        self.info["array"] += 1
        self.info["count"] += 1
        return observation, reward, terminated, truncated, self.info


def images() -> Any:
    return gym.make("sb3_course/GridWorld-v0", observation="image", max_episode_steps=9)


class Dictionaries(gym.ObservationWrapper[Any, Any, Any]):
    """Observations in two parts."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1", max_episode_steps=7))
        self.observation_space = spaces.Dict({"cart": spaces.Box(-9, 9, (2,)), "left": spaces.Discrete(2)})

    def observation(self, observation: Any) -> Any:
        return {"cart": observation[:2], "left": int(observation[0] < 0)}


def same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert list(one) == list(two)
        for key in one:
            same(one[key], two[key])
    elif isinstance(one, list):
        for mine, theirs in zip(one, two, strict=True):
            same(mine, theirs)
    else:
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("make", [lambda: Monitor(gym.make("CartPole-v1")), Reusing, images, Dictionaries])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_it_is_dummy_vec_env(make: Any, n_envs: int) -> None:
    envs = [cls([make] * n_envs) for cls in (LeanVecEnv, DummyVecEnv)]
    for env in envs:
        env.seed(0)
    same(*(env.reset() for env in envs))
    assert isinstance(envs[0].action_space, spaces.Discrete)
    actions = np.random.default_rng(0).integers(envs[0].action_space.n, size=(60, n_envs))
    kept = []
    for action in actions:
        mine, theirs = (env.step(action) for env in envs)
        for one, two in zip(mine, theirs, strict=True):
            if isinstance(one, list):  # Monitor's clock
                for infos in (one, two):
                    for info in infos:
                        info.get("episode", {}).pop("t", None)
            same(one, two)
        same(envs[0].reset_infos, envs[1].reset_infos)
        kept.append((mine, theirs))
    for mine, theirs in kept:  # nothing has changed since
        for one, two in zip(mine, theirs, strict=True):
            same(one, two)


@pytest.mark.parametrize("cls", [DoubleDQN, ReinforceBaseline])
def test_only_what_sb3_wrapped_is_made_lean(cls: Any) -> None:
    assert type(cls("MlpPolicy", "CartPole-v1").get_env()) is LeanVecEnv
    own = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    assert cls("MlpPolicy", own).get_env() is own
    assert type(own) is DummyVecEnv
    monitored = VecMonitor(own)
    make_lean(own, monitored)
    assert type(own) is DummyVecEnv


def test_images_are_transposed_as_ever() -> None:
    env = DoubleDQN("CnnPolicy", images(), buffer_size=10).get_env()
    assert isinstance(env, VecTransposeImage)
    assert type(env.venv) is LeanVecEnv
