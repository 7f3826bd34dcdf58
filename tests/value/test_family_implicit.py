"""Implicit quantiles: the loss and its levels, known returns, exact values, risk by distorted levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import IQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import reachable_states, value_iteration
from sb3_course.functional.risk import CPW, CVaR, Mean, MeanVariance, UpperCVaR, Wang
from sb3_course.networks.implicit import LevelEmbedding
from sb3_course.value.estimates.estimate import AtLevels
from sb3_course.value.estimates.quantile_return import quantile_huber, quantile_huber_at, wasserstein


@given(st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 6), st.integers(0, 2**32 - 1)),
       st.sampled_from([0.0, 0.3, 1.0]))  # fmt: skip
def test_the_loss_at_drawn_levels_is_its_definition_and_the_gradient_its_derivative(
    shape: tuple[int, ...], kappa: float
) -> None:
    """Dabney et al. (2018a), Eq. 3 of section 2.3, one number after the other."""
    n_batch, n, m, seed = shape
    rng = np.random.default_rng(seed)
    levels, quantiles, targets = rng.random((n_batch, n)), rng.normal(size=(n_batch, n)), rng.normal(size=(n_batch, m))
    losses, gradients = quantile_huber_at(levels, quantiles, targets, kappa)
    for b in range(n_batch):
        expected = 0.0
        for tau, theta in zip(levels[b], quantiles[b], strict=True):
            for u in targets[b] - theta:
                size = (
                    abs(u) if kappa == 0 else (0.5 * u * u if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)) / kappa
                )
                expected += abs(tau - (u < 0)) * size / m
        assert losses[b] == pytest.approx(expected, rel=1e-9)
    leaf = th.tensor(quantiles, requires_grad=True)
    (by_autograd,) = th.autograd.grad(
        quantile_huber_at(th.tensor(levels), leaf, th.tensor(targets), kappa)[0].sum(), leaf
    )
    np.testing.assert_allclose(gradients, by_autograd.numpy(), atol=1e-12)
    at_midpoints = quantile_huber_at((np.arange(n) + 0.5) / n, quantiles, targets, kappa)
    for ours, fixed in zip(at_midpoints, quantile_huber(quantiles, targets, kappa), strict=True):
        np.testing.assert_array_equal(ours, fixed)


def test_a_level_is_described_by_cosines() -> None:
    embedding = LevelEmbedding(5, 3)
    levels = th.tensor([[0.1, 0.9]])
    weight, bias = embedding.linear.weight, embedding.linear.bias
    for n, tau in enumerate(levels[0]):
        cosines = th.stack([th.cos(th.pi * i * tau) for i in range(5)])
        expected = (weight @ cosines + bias).clamp(min=0)
        th.testing.assert_close(embedding(levels)[0, n], expected)


@pytest.mark.parametrize("risk", [Mean(), CVaR(0.25), UpperCVaR(0.25), Wang(-0.75), Wang(0.5), CPW(0.71)])
def test_the_mean_at_distorted_levels_is_the_risk_measure(risk: Any) -> None:
    """Of a normal distribution, whose quantile function is known: by levels, and by equally likely returns."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    returns = stats.norm(1.0, 2.0).ppf(levels)
    by_levels = risk.of_levels(stats.norm(1.0, 2.0).ppf(risk.at_levels(levels)))
    assert by_levels == pytest.approx(risk.of_quantiles(returns), abs=5e-3)
    if isinstance(risk, CVaR):
        np.testing.assert_allclose(risk.at_levels(levels), 0.25 * levels, atol=1e-12)
    if isinstance(risk, Wang):  # a normal return is worth m + η·s
        assert by_levels == pytest.approx(1 + 2 * risk.eta, abs=5e-3)


def test_mean_and_variance_leave_the_levels_as_they_are() -> None:
    returns = np.array([1.0, 2.0, 6.0])
    assert (
        MeanVariance(0.1).of_levels(returns)
        == MeanVariance(0.1).of_quantiles(returns)
        == pytest.approx(3 - 0.1 * 14 / 3)
    )


def test_returns_drawn_in_different_numbers_are_compared() -> None:
    ours, theirs = np.array([[2.0, 0.0]]), np.array([[0.0, 3.0, 1.0, 2.0]])
    assert wasserstein(ours, theirs) == pytest.approx(np.mean([0, 1, 0, 1]))  # 0 0 2 2 against 0 1 2 3
    assert wasserstein(th.tensor(ours), th.tensor(theirs)).item() == pytest.approx(0.5)


ARMS = [stats.norm(1.0, 1.0), stats.norm(-0.2, 0.1)]


def test_it_reaches_the_quantiles_of_known_return_distributions(train_from_buffer: Callable[..., None]) -> None:
    """Two Gaussian arms, one step an episode: the 1-Wasserstein distance to the arms' own quantiles is below 0.05."""
    env: Any = gym.make("sb3_course/Bandit-v0", means=[1.0, -0.2], stds=[1.0, 0.1])
    model = IQN(
        "MlpPolicy", env, gamma=0.0, n_levels=16, n_target_levels=1, kappa=0.0, buffer_size=8_000, seed=0,
        learning_rate=LinearSchedule(3e-3, 1e-5, 1.0), policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    state = np.zeros(1, dtype=int)
    env.reset(seed=0)
    for step in range(8_000):
        env.reset()
        action = np.array([step % 2])
        model.replay_buffer.add(state, state, action, np.array([env.step(action[0])[1]]), np.ones(1), [{}])
    train_from_buffer(model, 600, batch_size=256)
    levels = (np.arange(100) + 0.5) / 100
    asked = AtLevels(th.zeros(1, dtype=th.long), th.as_tensor(levels, dtype=th.float32))
    found = model.q_net.outputs(asked).detach().numpy()[0]  # (A, N)
    for arm, quantiles in zip(ARMS, found, strict=True):
        assert np.abs(np.sort(quantiles) - arm.ppf(levels)).mean() < 0.05
    assert model.predict(0, deterministic=True)[0] == 0
    assert model.predict(0, deterministic=True, risk="cvar:0.1")[0] == 1


@pytest.mark.parametrize(
    ("slip", "copies", "rate", "updates", "batch"), [(0.0, 1, 5e-3, 1_000, 64), (0.2, 10, 3e-3, 3_000, 128)]
)
def test_it_finds_the_optimal_values(
    train_from_model: Callable[..., None], slip: float, copies: int, rate: float, updates: int, batch: int
) -> None:
    """Over every reachable state, max |Q - Q*| < 0.05."""
    env = gym.make("sb3_course/GridWorld-v0", slip=slip)
    grid: Any = env.unwrapped
    model = IQN(
        "MlpPolicy", env, gamma=0.9, seed=0, n_levels=8, n_target_levels=8, kappa=0.05,
        learning_rate=LinearSchedule(rate, 1e-5, 1.0), policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    train_from_model(model, grid, copies, updates, batch)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    values = model.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    assert np.abs(values - value_iteration(grid.P, 0.9)[states]).max() < 0.05


def test_where_the_level_joins_the_state() -> None:
    def widths(**policy: Any) -> tuple[int, ...]:
        head: Any = IQN("MlpPolicy", "CartPole-v1", policy_kwargs=policy, device="cpu").q_net.q_net
        hidden = [layer.out_features for layer in head.hidden if hasattr(layer, "out_features")]
        return (*hidden, head.embedding.linear.out_features)

    assert widths(net_arch=[32, 16]) == (32, 32)  # before the last hidden layer
    assert widths(net_arch=[32]) == (32, 32)  # but not where nothing has been learned of the observation
    assert widths(net_arch=[]) == (4,)
    assert widths(net_arch=[32, 16], head="dueling") == (32, 32)
    assert widths(net_arch=[32, 16], head="state_action") == (32, 32)


def test_draws_come_from_the_models_generator() -> None:
    models = [
        IQN("MlpPolicy", "CartPole-v1", seed=3, learning_starts=50, batch_size=8, n_levels=4).learn(70) for _ in "ab"
    ]
    for one, other in zip(*(model.q_net.parameters() for model in models), strict=True):
        assert th.equal(one, other)


def test_rainbow_takes_it_and_needs_no_support() -> None:
    small = {"n_levels": 4, "n_target_levels": 3, "n_choice_levels": 2}
    model = Rainbow("MlpPolicy", "CartPole-v1", distribution="implicit", learning_starts=50, **small).learn(80)
    assert "support" not in dict(model.q_net.named_buffers())
    assert model.replay_buffer.max_priority > 0
    assert model.q_net.outputs(th.zeros(1, 4)).shape == (1, 2, 2)


def test_a_wrong_argument_is_named() -> None:
    for bad in ({"n_levels": 0}, {"n_target_levels": 0}, {"n_choice_levels": -1}, {"n_cosines": 0}):
        with pytest.raises(InputError, match=rf"^{next(iter(bad))}: "):
            IQN("MlpPolicy", "CartPole-v1", **bad)  # type: ignore[arg-type]
