"""What a user meets who gives no argument: ties of a table, supports from the returns seen."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import ActorCritic, CategoricalDQN, DoubleDQN, NStepDQN, QTable, QuantileDQN, Rainbow
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration
from sb3_course.value.estimates.categorical_return import CategoricalReturn, outside
from sb3_course.value.exploration import greedy_at_random

GRID = "sb3_course/GridWorld-v0"
QUICK: dict[str, Any] = {"learning_starts": 100, "seed": 0, "device": "cpu"}


@pytest.mark.parametrize(("backend", "seeds", "n_steps"), [("numpy", (0, 1, 2), 2_500), ("torch", (0,), 2_500)])
def test_a_table_with_its_defaults_solves_the_grid(backend: str, seeds: tuple[int, ...], n_steps: int) -> None:
    grid: Any = gym.make(GRID).unwrapped
    optimal = optimal_actions(value_iteration(grid.P, 0.9))
    for seed in seeds:
        model = QTable("MlpPolicy", gym.make(GRID), gamma=0.9, seed=seed, backend=backend).learn(n_steps)
        actions, _ = model.predict(np.arange(len(grid.P)), deterministic=True)
        path = reachable_states(grid.P, grid.initial_state_distrib, actions)
        assert optimal[path, actions[path]].all()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("observation", [3, np.array([3] * 400), [3] * 400], ids=["one", "array", "list"])
def test_ties_of_a_table_are_broken_at_random_where_it_explores(backend: str, observation: Any) -> None:
    model = QTable("MlpPolicy", GRID, exploration_initial_eps=0.0, exploration_final_eps=0.0, seed=0, backend=backend)
    model.exploration_rate = 0.0
    times = 400 if isinstance(observation, int) else 1
    drawn = np.concatenate([np.atleast_1d(model.predict(observation)[0]) for _ in range(times)])
    assert (np.bincount(drawn, minlength=4) > 60).all()  # 100 each, expected
    assert not np.any(model.predict(observation, deterministic=True)[0])


OFF: dict[str, Any] = {
    "double": False, "dueling": False, "noisy": False, "prioritized": False, "n_steps": 1, "n_atoms": 1,
}  # fmt: skip
SB3S = set(inspect.signature(DQN).parameters) - {
    "policy", "env", "_init_setup_model", "replay_buffer_class", "replay_buffer_kwargs", "stats_window_size",
}  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (DoubleDQN, OFF),
        (Rainbow, OFF),
        (DoubleDQN, {"double": False, "n_steps": 3}),
        (QuantileDQN, {"distribution": "mean"}),
    ],
)
def test_with_every_switch_off_the_defaults_are_sb3s(cls: Any, kwargs: dict[str, Any]) -> None:
    mine = cls("MlpPolicy", "CartPole-v1", seed=0, **kwargs)
    theirs = DQN("MlpPolicy", "CartPole-v1", seed=0, n_steps=kwargs.get("n_steps", 1))
    for name in SB3S:
        assert getattr(mine, name) == getattr(theirs, name), name


def test_the_defaults_of_a_rung_hold_as_long_as_a_switch_is_on() -> None:
    for cls in (DoubleDQN, NStepDQN):
        rung: Any = cls("MlpPolicy", "CartPole-v1")
        assert (rung.learning_rate, rung.batch_size, rung.tau) == (3e-4, 128, 0.005)
        assert (rung.target_update_interval, rung.target_update_unit) == (1, "update")
    own = DoubleDQN("MlpPolicy", "CartPole-v1", target_update_interval=500, batch_size=32)
    assert (own.tau, own.target_update_interval, own.batch_size, own.learning_rate) == (1.0, 500, 32, 3e-4)
    assert DoubleDQN("MlpPolicy", "CartPole-v1", tau=0.01).target_update_interval == 10_000
    assert inspect.signature(DoubleDQN).parameters["learning_rate"].default == 3e-4


def test_images_keep_the_defaults_for_atari() -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1)
    assert DoubleDQN("CnnPolicy", env, buffer_size=10).batch_size == 32


def test_the_defaults_of_the_actor_critic_go_together() -> None:
    model = ActorCritic("MlpPolicy", "CartPole-v1")
    assert (model.n_steps, model.learning_rate, model.ent_coef, model.gae_lambda) == (32, 2e-3, 0.01, 0.0)
    model = ActorCritic("MlpPolicy", "CartPole-v1", learning_rate=1e-4)
    assert (model.n_steps, model.learning_rate, model.ent_coef, model.gae_lambda) == (1, 1e-4, 0.0, 0.0)


def test_only_the_best_are_drawn_and_each_as_often() -> None:
    values = np.tile(np.array([[1.0, 3.0, 2.0, 3.0]]), (4000, 1))
    counts = np.bincount(greedy_at_random(values, np.random.default_rng(0)), minlength=4)
    assert counts[0] == counts[2] == 0
    assert abs(counts[1] - 2000) < 5 * np.sqrt(1000)


@pytest.mark.parametrize(
    ("env", "expected"),
    [("CartPole-v1", (-10.0, 110.0)), ("MountainCar-v0", (-110.0, 10.0)), ("sb3_course/Bandit-v0", None)],
)
def test_a_support_fits_the_returns_seen(env: str, expected: tuple[float, float] | None, tmp_path: Path) -> None:
    model = CategoricalDQN("MlpPolicy", env, **QUICK)
    assert (model.v_min, model.v_max) == ("auto", "auto")
    model.learn(110)
    if expected is not None:
        assert (model.v_min, model.v_max) == expected
    held = model._learner.estimate.held["support"]
    for support in (model.q_net.support.numpy(), model.q_net_target.support.numpy(), np.asarray(held)):
        assert (support[0], support[-1]) == pytest.approx((model.v_min, model.v_max))
    model.save(tmp_path / "model")
    loaded = CategoricalDQN.load(tmp_path / "model", env=model.get_env())
    assert (loaded.v_min, loaded.v_max) == (model.v_min, model.v_max)
    np.testing.assert_array_equal(loaded.q_net.support, model.q_net.support)
    before = model.v_min, model.v_max
    model.learn(200)
    assert (model.v_min, model.v_max) == before  # settled once


def test_it_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    CategoricalDQN("MlpPolicy", "CartPole-v1", **QUICK, verbose=1).learn(140, log_interval=1000)
    assert capsys.readouterr().out.count("From the returns seen: v_min=-10, v_max=110\n") == 1


def test_an_end_that_is_given_stays() -> None:
    model = CategoricalDQN("MlpPolicy", "CartPole-v1", v_max=50.0, **QUICK).learn(110)
    assert (model.v_min, model.v_max) == (-10.0, 50.0)


def test_rewards_count_as_they_are_learned_from() -> None:
    """Normalised rewards are clipped to ±0.1 here: for ever, that is ±10."""
    env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]), norm_obs=False, clip_reward=0.1)
    model = CategoricalDQN("MlpPolicy", env, **QUICK).learn(110)
    assert (model.v_min, model.v_max) == pytest.approx((-0.4, 11.0), abs=0.6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1.0, 100.0, (-10.0, 110.0)), (0.0, 1.0, (-0.1, 1.1)), (0.0, 0.0, (-11.0, 11.0)), (4.0, 4.0, (-0.4, 8.4))],
)
def test_round_numbers_outside(low: float, high: float, expected: tuple[float, float]) -> None:
    assert outside(low, high) == pytest.approx(expected)


def test_nobody_can_tell_the_returns() -> None:
    assert CategoricalReturn().fit(None) == {"v_min": -10.0, "v_max": 10.0}
    assert CategoricalReturn(v_min=15.0).fit(None) == {"v_min": 15.0, "v_max": 35.0}


def test_the_warning_of_clipped_mass_points_here_and_says_what_to_pass() -> None:
    model = Rainbow("MlpPolicy", "CartPole-v1", v_min=-1.0, v_max=1.0, train_freq=1, **QUICK)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.learn(300)
    clipped = [warning for warning in told if "lies outside" in str(warning.message)]
    assert [warning.filename for warning in clipped] == [__file__]
    assert "to v_min=-10, v_max=110 for example" in str(clipped[0].message)
