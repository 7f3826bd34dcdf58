"""OneShot and Bandit against their definitions."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from sb3_course.envs import BanditEnv, OneShotEnv


@pytest.mark.parametrize(
    ("action", "reward"),
    [(4.0, 1.0), (4.25, 1.0), (3.75, 1.0), (4.5, 0.5), (3.0, 0.25), (0.0, 0.0625), (-6.0, 0.025), (20.0, 0.015625)],
)
def test_one_shot_reward(action: float, reward: float) -> None:
    env = OneShotEnv()
    observation, info = env.reset(seed=0)
    assert (observation.tolist(), observation.dtype, info) == ([1.0], np.float32, {})
    observation, got, terminated, truncated, info = env.step(np.array([action], dtype=np.float32))
    assert (got, terminated, truncated, info) == (reward, True, False, {})
    assert observation.tolist() == [1.0]


@given(st.floats(-9, 9), st.floats(0.01, 5), st.floats(0.01, 9), st.floats(-10, 10))
def test_one_shot_formula(tau: float, zeta: float, beta: float, action: float) -> None:
    env = OneShotEnv(tau=tau, zeta=zeta, beta=beta)
    assert env.reward(action) == zeta * beta / max(zeta, abs(tau - action))
    assert 0.0 < env.reward(action) <= beta * (1 + 1e-12)


def test_tau_is_drawn_by_the_constructor_and_reset_keeps_it() -> None:
    taus = [OneShotEnv(tau_range=[1.0, 3.0], seed=seed).tau for seed in range(200)]
    assert all(1.0 <= tau <= 3.0 for tau in taus)
    # 200 draws from U(1, 3): the mean is within 4 standard errors of 2, and both ends are visited.
    assert abs(np.mean(taus) - 2.0) < 4 * 2 / np.sqrt(12 * 200)
    assert min(taus) < 1.1 < 2.9 < max(taus)
    assert OneShotEnv(tau_range=[1.0, 3.0], seed=5).tau == taus[5]
    env = OneShotEnv(tau_range=[1.0, 3.0], seed=5)
    for seed in (None, 0, 123):
        env.reset(seed=seed)
        assert env.tau == taus[5]
    assert OneShotEnv(tau_range=[1.0, 3.0], seed=None).tau != OneShotEnv(tau_range=[1.0, 3.0], seed=None).tau


@pytest.mark.parametrize("action", [np.array([np.nan]), np.array([np.inf]), np.array([1.0, 2.0]), np.array([])])
def test_one_shot_refuses_what_is_no_action(action: np.ndarray) -> None:
    env = OneShotEnv()
    env.reset()
    with pytest.raises(
        ValueError, match=r"^action: is not one finite number \(got .*, want an array of shape \(1,\)\)$"
    ):
        env.step(action)


def test_bandit_regret_and_counts() -> None:
    env = BanditEnv(means=[0.5, 2.0, -1.0], stds=0)
    env.reset(seed=0)
    seen = []
    for arm in (0, 1, 2, 2):
        observation, reward, terminated, truncated, info = env.step(arm)
        seen.append((observation, reward, terminated, truncated, info["regret"], info["cumulative_regret"]))
        env.reset()
    assert seen == [
        (0, 0.5, True, False, 1.5, 1.5),
        (0, 2.0, True, False, 0.0, 1.5),
        (0, -1.0, True, False, 3.0, 4.5),
        (0, -1.0, True, False, 3.0, 7.5),
    ]
    assert (env.pulls, env.estimates) == ([1, 1, 2], [0.5, 2.0, -1.0])
    env.reset(seed=1)
    assert (env.pulls, env.estimates, env.cumulative_regret) == ([0, 0, 0], [None] * 3, 0.0)


def test_regret_is_that_of_the_mean_not_of_the_draw() -> None:
    env = BanditEnv(means=[0.5, 2.0], stds=3.0)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(5)]
    assert len({step[1] for step in steps}) == 5
    assert [step[4]["regret"] for step in steps] == [1.5] * 5


def test_without_a_seed_two_bandits_differ_in_noise_only() -> None:
    first, second = BanditEnv(), BanditEnv()
    for env in (first, second):
        env.reset()
    assert first.means == second.means
    assert [first.step(0)[1] for _ in range(5)] != [second.step(0)[1] for _ in range(5)]


def test_one_shot_history_ends_with_a_seeded_reset() -> None:
    env = OneShotEnv()
    env.reset(seed=0)
    env.step(np.array([1.5]))
    env.reset()
    assert list(env.last_actions) == [1.5]
    env.reset(seed=0)
    assert list(env.last_actions) == []


def pulls(env: BanditEnv, arm: int, count: int) -> np.ndarray:
    """Return the rewards of ``count`` pulls of an arm."""
    env.reset(seed=1)
    return np.array([env.step(arm)[1] for _ in range(count)])


def test_gaussian_rewards_are_gaussian() -> None:
    rewards = pulls(BanditEnv(means=[1.5, 0.0], stds=[2.0, 1.0]), 0, 4000)
    # Ten bins of equal probability under N(1.5, 2^2).
    counts = np.histogram(rewards, [-np.inf, *norm.ppf(np.arange(1, 10) / 10, 1.5, 2.0), np.inf])[0]
    assert chi2.sf(((counts - 400) ** 2 / 400).sum(), 9) > 0.001
    narrow = np.histogram(rewards, [-np.inf, *norm.ppf(np.arange(1, 10) / 10, 1.5, 1.8), np.inf])[0]
    assert chi2.sf(((narrow - 400) ** 2 / 400).sum(), 9) < 1e-6


def test_bernoulli_rewards_are_bernoulli() -> None:
    env = BanditEnv(kind="bernoulli", means=[0.3, 0.0, 1.0])
    rewards = pulls(env, 0, 4000)
    assert set(rewards.tolist()) == {0.0, 1.0}
    assert abs(rewards.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4000)
    assert pulls(env, 1, 50).sum() == 0
    assert pulls(env, 2, 50).sum() == 50


def test_bandit_means_come_from_the_seed_of_the_constructor() -> None:
    env = BanditEnv(seed=3)
    assert env.arms == 10
    assert env.stds == [1.0] * 10
    assert env.means == BanditEnv(seed=3).means != BanditEnv(seed=4).means
    means = list(env.means)
    env.reset(seed=8)
    assert env.means == means
    drawn = np.array([BanditEnv(seed=seed).means for seed in range(100)]).ravel()
    assert abs(drawn.mean()) < 4 / np.sqrt(1000)
    assert abs(drawn.var() - 1.0) < 4 * np.sqrt(2 / 1000)
    drawn = np.array([BanditEnv(kind="bernoulli", seed=seed).means for seed in range(100)]).ravel()
    assert 0.0 <= drawn.min() < 0.05 < 0.95 < drawn.max() <= 1.0


@pytest.mark.parametrize("action", [-1, 3, 0.5, None])
def test_unknown_arm_is_refused(action: Any) -> None:
    env = BanditEnv(arms=3)
    env.reset()
    with pytest.raises(ValueError, match=r"^action: is not an arm \(got .*, want 0 to 2\)$"):
        env.step(action)
    assert env.pulls == [0, 0, 0]


@pytest.mark.parametrize("name", ["sb3_course/OneShot-v0", "sb3_course/Bandit-v0"])
def test_one_step_an_episode(name: str) -> None:
    env = gym.make(name)
    for _ in range(3):
        env.reset()
        assert env.step(env.action_space.sample())[2] is True
