"""Quantile regression: its loss by its definition, known distributions of returns, exact values, the arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from sb3_contrib.common.utils import quantile_huber_loss
from scipy import stats
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import DoubleDQN, QuantileDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import reachable_states, value_iteration
from sb3_course.value.estimates.quantile_return import quantile_huber

Array = Any


def by_definition(quantiles: np.ndarray, targets: np.ndarray, kappa: float) -> np.ndarray:
    """Return Dabney et al. (2018b), Eq. 9 and 10, one number after the other."""
    losses = np.zeros(len(quantiles))
    for b, (row, target) in enumerate(zip(quantiles, targets, strict=True)):
        for i, theta in enumerate(row):
            tau = (2 * i + 1) / (2 * len(row))
            for u in target - theta:
                square = abs(u) <= kappa
                huber = abs(u) if kappa == 0 else (0.5 * u * u if square else kappa * (abs(u) - 0.5 * kappa)) / kappa
                losses[b] += abs(tau - (u < 0)) * huber / len(target)
    return losses


batches = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 6), st.integers(0, 2**32 - 1))


@given(batches, st.sampled_from([0.0, 0.3, 1.0, 2.5]))
def test_the_loss_is_its_definition_and_the_gradient_its_derivative(shape: tuple[int, ...], kappa: float) -> None:
    n_batch, n, m, seed = shape
    rng = np.random.default_rng(seed)
    quantiles, targets = rng.normal(size=(n_batch, n)) * 2, rng.normal(size=(n_batch, m)) * 2
    losses, gradients = quantile_huber(quantiles, targets, kappa)
    np.testing.assert_allclose(losses, by_definition(quantiles, targets, kappa), rtol=1e-10)
    leaf = th.tensor(quantiles, requires_grad=True)
    of_torch, its_gradients = quantile_huber(leaf, th.tensor(targets), kappa)
    (by_autograd,) = th.autograd.grad(of_torch.sum(), leaf)
    np.testing.assert_allclose(gradients, by_autograd.numpy(), atol=1e-12)
    np.testing.assert_allclose(its_gradients.detach().numpy(), gradients, atol=1e-12)


def test_with_kappa_one_it_is_contribs_loss() -> None:
    rng = np.random.default_rng(0)
    quantiles, targets = (th.tensor(rng.normal(size=(33, 9)) * 2) for _ in range(2))
    expected = quantile_huber_loss(quantiles, targets, sum_over_quantiles=True)
    assert quantile_huber(quantiles, targets, 1.0)[0].mean().item() == pytest.approx(
        expected.item(), rel=1e-6
    )  # its levels are float32


ARMS = [stats.norm(1.0, 1.0), stats.norm(-0.2, 0.1)]


def test_it_reaches_the_quantiles_of_known_return_distributions(train_from_buffer: Callable[..., None]) -> None:
    """Two Gaussian arms, one step an episode: the 1-Wasserstein distance to the arms' own quantiles is below 0.05."""
    env: Any = gym.make("sb3_course/Bandit-v0", means=[1.0, -0.2], stds=[1.0, 0.1])
    model = QuantileDQN(
        "MlpPolicy", env, gamma=0.0, n_quantiles=20, kappa=0.0, learning_rate=LinearSchedule(0.03, 1e-4, 1.0),
        buffer_size=8_000, policy_kwargs={"net_arch": []}, seed=0,
    )  # fmt: skip
    state = np.zeros(1, dtype=int)
    env.reset(seed=0)
    for step in range(8_000):
        env.reset()
        action = np.array([step % 2])
        model.replay_buffer.add(state, state, action, np.array([env.step(action[0])[1]]), np.ones(1), [{}])
    train_from_buffer(model, 400, batch_size=512)
    found = model.q_net.outputs(th.zeros(1, dtype=th.long)).detach().numpy()[0]  # (A, N)
    levels = (np.arange(20) + 0.5) / 20
    for arm, quantiles in zip(ARMS, found, strict=True):
        assert np.abs(np.sort(quantiles) - arm.ppf(levels)).mean() < 0.05
    assert model.predict(0, deterministic=True)[0] == 0
    assert model.predict(0, deterministic=True, risk="cvar:0.1")[0] == 1


@pytest.mark.parametrize(("slip", "copies"), [(0.0, 1), (0.2, 10)])
def test_it_finds_the_optimal_values(train_from_model: Callable[..., None], slip: float, copies: int) -> None:
    """Over every reachable state, max |Q - Q*| < 0.05."""
    env = gym.make("sb3_course/GridWorld-v0", slip=slip)
    grid: Any = env.unwrapped
    model = QuantileDQN(
        "MlpPolicy", env, gamma=0.9, batch_size=128, seed=0, n_quantiles=16, kappa=0.05,
        learning_rate=LinearSchedule(3e-3, 1e-5, 1.0), policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    train_from_model(model, grid, copies, 3_000)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    values = model.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    assert np.abs(values - value_iteration(grid.P, 0.9)[states]).max() < 0.05


def test_rainbow_takes_it_and_needs_no_support() -> None:
    model = Rainbow("MlpPolicy", "CartPole-v1", distribution="quantile", learning_starts=50, device="cpu").learn(120)
    assert model.q_net.n_atoms == 200
    assert "support" not in dict(model.q_net.named_buffers())
    assert model.replay_buffer.max_priority > 1  # priorities came back


@pytest.mark.parametrize("cls", [DoubleDQN, QuantileDQN, Rainbow])
def test_a_wrong_argument_is_named(cls: type) -> None:
    for bad in ({"distribution": "quantiles"}, {"n_quantiles": 0}, {"kappa": -1.0}):
        with pytest.raises(InputError, match=rf"^{next(iter(bad))}: "):
            cls("MlpPolicy", "CartPole-v1", **bad)
