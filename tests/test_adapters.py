"""`to_sb3` against SB3's own vectorized environments, and under SB3's algorithms."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from sb3_course import DoubleDQN, to_sb3
from sb3_course.config.errors import InputError
from sb3_course.envs import optimal_actions, value_iteration
from sb3_course.sb3.adapters import GymnasiumVecEnv, per_env

GRID = "sb3_course/GridWorld-v0"
MODES = list(AutoresetMode)
N = 4


class Counter(gym.Env[Any, Any]):
    """Counts its steps; every third episode ends by itself, the others are cut off. Dict observations."""

    def __init__(self, length: int = 5) -> None:
        self.observation_space = spaces.Dict(
            {"count": spaces.Box(-100, 100, (2,), np.float32), "kind": spaces.Discrete(3)}
        )
        self.action_space = spaces.MultiDiscrete([3, 3])
        self.length, self.episodes, self.count = length, -1, 0

    def _observation(self) -> Any:
        return {"count": np.array([self.count, self.episodes], np.float32), "kind": np.int64(self.episodes % 3)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episodes, self.count = self.episodes + 1, 0
        return self._observation(), {"episodes": self.episodes}

    def step(self, action: Any) -> Any:
        self.count += 1
        terminated = self.episodes % 3 == 2 and self.count >= self.length - 1
        return self._observation(), float(action.sum()), terminated, False, {"count": self.count}


def counters(limit: int = 5) -> list[Any]:
    return [lambda length=length: TimeLimit(Counter(length), limit) for length in range(3, 3 + N)]


def same_observations(one: Any, two: Any) -> None:
    if isinstance(one, dict):
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_array_equal(np.asarray(one[name]).squeeze(), np.asarray(two[name]).squeeze())
    else:
        np.testing.assert_array_equal(one, two)


def same_course(mine: Any, theirs: Any, n_steps: int = 120) -> int:
    """Compare both step by step; return how many episodes ended."""
    mine.seed(0)
    theirs.seed(0)
    same_observations(mine.reset(), theirs.reset())
    theirs.action_space.seed(0)
    ends = 0
    for _ in range(n_steps):
        actions = np.array([theirs.action_space.sample() for _ in range(N)])
        (observations, rewards, dones, infos), other = mine.step(actions), theirs.step(actions)
        same_observations(observations, other[0])
        np.testing.assert_array_equal(rewards, other[1])
        np.testing.assert_array_equal(dones, other[2])
        assert rewards.dtype == other[1].dtype
        assert dones.dtype == other[2].dtype
        for index in range(N):
            info, expected = infos[index], other[3][index]
            expected.setdefault("TimeLimit.truncated", False)
            info.setdefault("TimeLimit.truncated", False)
            if dones[index]:
                same_observations(info.pop("terminal_observation"), expected.pop("terminal_observation"))
                for name, value in theirs.reset_infos[index].items():
                    assert mine.reset_infos[index][name] == value
            for name, value in expected.items():
                assert info[name] == value
        ends += int(dones.sum())
    return ends


@pytest.mark.parametrize("mode", MODES)
def test_sync_environments_in_every_mode_are_what_dummy_vec_env_is(mode: AutoresetMode) -> None:
    mine = to_sb3(SyncVectorEnv(counters(), autoreset_mode=mode))
    assert same_course(mine, DummyVecEnv(counters())) > 80


@pytest.mark.parametrize("mode", MODES)
def test_environments_in_other_processes(mode: AutoresetMode) -> None:
    mine = to_sb3(AsyncVectorEnv(counters(), autoreset_mode=mode))
    try:
        assert same_course(mine, DummyVecEnv(counters()), 30) > 20
        assert mine.get_attr("length") == [3, 4, 5, 6]
    finally:
        mine.close()


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("kwargs", [{}, {"observation": "image"}, {"max_episode_steps": 6}])
def test_batched_grid_worlds_are_what_dummy_vec_env_is(mode: AutoresetMode, kwargs: Any) -> None:
    batch = gym.make_vec(
        GRID, num_envs=N, vectorization_mode="vector_entry_point", autoreset_mode=mode, end_on_bomb=True, **kwargs
    )
    theirs = DummyVecEnv([lambda: gym.make(GRID, end_on_bomb=True, **kwargs)] * N)
    assert same_course(to_sb3(batch), theirs, 300) > 10


def test_statistics_wrappers_see_each_episode() -> None:
    mine = to_sb3(RecordEpisodeStatistics(SyncVectorEnv(counters())))
    theirs = VecMonitor(DummyVecEnv(counters()))
    for env in (mine, theirs):
        env.reset()
    for _ in range(50):
        actions = np.ones((N, 2), np.int64)
        infos, others = mine.step(actions)[3], theirs.step(actions)[3]
        for info, other in zip(infos, others, strict=True):
            assert ("episode" in info) == ("episode" in other)
            if "episode" in info:
                assert (info["episode"]["r"], info["episode"]["l"]) == (other["episode"]["r"], other["episode"]["l"])


def test_a_batch_that_spends_steps_on_resets_says_so_and_is_closed_there() -> None:
    batch = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point", max_episode_steps=20)
    with pytest.warns(UserWarning, match="spends a step on every reset"):
        env = to_sb3(batch)
    env.seed(0)
    before, over = env.reset(), np.zeros(3, bool)
    n_resets = 0
    for _ in range(120):
        observations, rewards, dones, infos = env.step(np.ones(3, np.int64))
        for index in range(3):
            info = infos[index]
            if over[index]:
                n_resets += 1
                assert info["autoreset"]
                assert dones[index]
                assert rewards[index] == 0
                np.testing.assert_array_equal(info["terminal_observation"], before[index])
                assert abs(observations[index]).max() <= 0.05
            elif dones[index]:
                np.testing.assert_array_equal(info["terminal_observation"], observations[index])
        over, before = dones & ~over, observations
    assert n_resets > 20


@pytest.mark.parametrize("mode", MODES[:2])
def test_ppo_learns_the_grid(mode: AutoresetMode) -> None:
    batch = gym.make_vec(GRID, num_envs=16, observation="onehot", autoreset_mode=mode)
    model = PPO("MlpPolicy", VecMonitor(to_sb3(batch)), n_steps=64, batch_size=256, gamma=0.9, seed=0, ent_coef=0.01,
                learning_rate=3e-3)  # fmt: skip
    model.learn(10_240)
    scalar: Any = gym.make(GRID, observation="onehot").unwrapped
    best = optimal_actions(value_iteration(scalar.P, 0.9))
    observation, _ = scalar.reset(seed=0)
    for _ in range(10):
        action = int(model.predict(observation, deterministic=True)[0])
        assert best[scalar.state, action]
        observation, _, terminated, _, _ = scalar.step(action)
        if terminated:
            break
    assert terminated


def test_our_algorithms_and_sb3_s_wrappers_take_it() -> None:
    env = VecNormalize(to_sb3(gym.make_vec(GRID, num_envs=3, observation="coordinates")))
    model = DoubleDQN("MlpPolicy", env, learning_starts=50, seed=0)
    model.learn(300)
    assert model.num_timesteps == 300
    assert model.predict(env.reset(), deterministic=True)[0].shape == (3,)


def test_seeds_and_options_reach_the_environments() -> None:
    first, second = (to_sb3(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")) for _ in range(2))
    first.seed(7)
    second.seed(7)
    np.testing.assert_array_equal(first.reset(), second.reset())
    assert not np.array_equal(first.reset(), first.reset())
    second.set_options({"low": 0.01, "high": 0.02})
    observations = second.reset()
    assert isinstance(observations, np.ndarray)
    assert ((observations >= 0.01) & (observations <= 0.02)).all()
    second.set_options([{"low": 0.01}, {}])
    with pytest.raises(InputError, match="options: differ"):
        second.reset()


def test_attributes_and_methods_of_the_environments_inside() -> None:
    env = to_sb3(SyncVectorEnv(counters()))
    env.reset()
    assert env.get_attr("length", [1, 2]) == [4, 5]
    env.set_attr("length", 9, [0])
    assert env.get_attr("length") == [9, 4, 5, 6]
    env.set_attr("length", 2)
    assert env.get_attr("length") == [2] * N
    assert len(env.env_method("has_wrapper_attr", "length")) == N
    assert env.env_is_wrapped(TimeLimit) == [True] * N
    assert env.env_is_wrapped(RecordEpisodeStatistics, [0]) == [False]
    with pytest.raises(InputError, match="indices"):
        env.env_method("reset", indices=[0])
    batch = to_sb3(gym.make_vec(GRID, num_envs=2))
    assert batch.get_attr("max_episode_steps") == [100, 100]
    assert batch.env_is_wrapped(TimeLimit) == [False, False]
    with pytest.raises(InputError, match="vector_env: has no environments inside"):
        batch.env_method("render")


def test_pictures() -> None:
    env = to_sb3(gym.make_vec(GRID, num_envs=2, render_mode="rgb_array"))
    env.reset()
    picture = env.render()
    assert picture is not None
    assert picture.ndim == 3
    assert to_sb3(gym.make_vec(GRID, num_envs=2)).get_images() == [None, None]


def test_other_things_are_refused() -> None:
    with pytest.raises(InputError, match="vector_env: is not a vector environment"):
        to_sb3(gym.make("CartPole-v1"))  # type: ignore[arg-type]
    check_env(Counter())


def test_infos_come_apart() -> None:
    infos = {
        "a": np.array([1, 2]), "_a": np.array([True, False]), "b": {"c": np.array([3.0, 4.0])}, "_only": "x",
    }  # fmt: skip
    assert per_env(infos, 2) == [{"a": 1, "b": {"c": 3.0}, "_only": "x"}, {"b": {"c": 4.0}, "_only": "x"}]


def test_it_stays_an_sb3_vec_env() -> None:
    env = to_sb3(gym.make_vec(GRID, num_envs=2))
    assert isinstance(env, GymnasiumVecEnv)
    assert isinstance(env.vector_env, VectorEnv)
    env.close()
    assert env.vector_env.closed
