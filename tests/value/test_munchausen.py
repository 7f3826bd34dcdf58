"""Munchausen targets: by their definition, and at the fixed points that soft value iteration knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import MunchausenDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import reachable_states, soft_value_iteration, value_iteration
from sb3_course.replay import Batch
from sb3_course.value.estimates import estimate_from
from sb3_course.value.munchausen import Munchausen

GAMMA, TAU = 0.9, 0.05


def trained(train: Callable[..., None], alpha: float) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return Q of a table with Munchausen targets, the reachable states, and the grid."""
    env = gym.make("sb3_course/GridWorld-v0", slip=0.2)
    grid: Any = env.unwrapped
    model = MunchausenDQN(
        "MlpPolicy", env, gamma=GAMMA, seed=0, munchausen_tau=TAU, munchausen_alpha=alpha, munchausen_clip=-1e9,
        learning_rate=LinearSchedule(0.05, 1e-4, 1.0), policy_kwargs={"net_arch": []}, loss="l2", max_grad_norm=None,
    )  # fmt: skip
    train(model, grid, 10, 6_000, 256)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    values = model.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    return values, states, grid


def test_without_its_bonus_it_is_soft_value_iteration(train_from_model: Callable[..., None]) -> None:
    values, states, grid = trained(train_from_model, 0.0)
    assert np.abs(values - soft_value_iteration(grid.P, GAMMA, TAU)[states]).max() < 0.02


def test_with_it_the_policy_is_the_soft_optimal_one_at_a_lower_temperature(
    train_from_model: Callable[..., None],
) -> None:
    """With v = τ' log Σ exp(Q'/τ') and τ' = (1 − α)τ, of soft value iteration: q = (Q' − α·v) / (1 − α)."""
    values, states, grid = trained(train_from_model, 0.9)
    low = 0.1 * TAU
    exact = soft_value_iteration(grid.P, GAMMA, low)[states]
    state_values = low * np.logaddexp.reduce(exact / low, axis=1)
    expected = (exact - 0.9 * state_values[:, None]) / 0.1
    assert np.abs(values - expected).max() < 0.1  # the gaps between actions are ten times as wide, and so is this
    assert np.array_equal(values.argmax(1), exact.argmax(1))


def test_a_small_temperature_is_value_iteration() -> None:
    grid: Any = gym.make("sb3_course/GridWorld-v0", slip=0.2).unwrapped
    soft, hard = soft_value_iteration(grid.P, GAMMA, 1e-4), value_iteration(grid.P, GAMMA)
    assert (soft - hard).min() >= 0
    assert (soft - hard).max() <= GAMMA / (1 - GAMMA) * 1e-4 * np.log(4) + 1e-9


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_target_is_its_definition(library: str) -> None:
    rng = np.random.default_rng(0)
    here, following = (rng.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    actions, rewards = rng.integers(3, size=5), rng.normal(size=5).astype(np.float32)
    discounts = np.float32([0.9, 0.9, 0.0, 0.9, 0.81])
    rule = Munchausen(0.3, 0.9, -0.5)
    as_array: Any = th.as_tensor if library == "torch" else np.asarray
    batch = Batch(None, None, None, *map(as_array, (rewards, discounts, np.ones(5, np.float32))), None)  # type: ignore[arg-type]
    arrays = [as_array(each) for each in (actions, here, following[:, :, None], following)]
    changed, soft = rule.targets(batch, *arrays, estimate_from("mean", {}))
    found = np.asarray(changed.rewards) + discounts * np.asarray(soft)[:, 0, 0]
    for b in range(5):
        policy, next_policy = (np.exp(q[b] / 0.3) / np.exp(q[b] / 0.3).sum() for q in (here, following))
        bonus = 0.9 * min(max(0.3 * np.log(policy[actions[b]]), -0.5), 0.0)
        value = (next_policy * (following[b] - 0.3 * np.log(next_policy))).sum()
        assert found[b] == pytest.approx(rewards[b] + bonus + discounts[b] * value, rel=1e-5)


def test_a_mixture_of_distributions_has_the_mixture_of_means() -> None:
    rng = np.random.default_rng(0)
    estimate = estimate_from(None, {"n_atoms": 51, "v_min": -10.0, "v_max": 10.0})
    estimate.use({"support": np.linspace(-10, 10, 51, dtype=np.float32)})
    logits = rng.normal(size=(4, 3, 51)).astype(np.float32) - 0.1 * np.abs(np.linspace(-10, 10, 51)) ** 2
    shares, extra = rng.dirichlet(np.ones(3), 4).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32) * 0.1
    mixed = estimate.values(estimate.mixture(logits.astype(np.float32), shares, extra)[:, None])[:, 0]
    np.testing.assert_allclose(mixed, (shares * (estimate.values(logits) + extra)).sum(1), atol=1e-4)


@pytest.mark.parametrize("distribution", [None, "mean", "quantile", "implicit"])
def test_rainbow_takes_it(distribution: str | None) -> None:
    small = {"n_quantiles": 5, "n_levels": 4, "n_target_levels": 3, "n_choice_levels": 2}
    model = Rainbow("MlpPolicy", "CartPole-v1", munchausen=True, distribution=distribution, learning_starts=50,
                    device="cpu", seed=0, batch_size=8, **small).learn(80)  # fmt: skip
    assert model._learner._munchausen == Munchausen(0.03, 0.9, -1.0)
    assert model._n_updates > 0
    assert all(bool(th.isfinite(parameter).all()) for parameter in model.q_net.parameters())


def test_a_wrong_argument_is_named() -> None:
    for bad in ({"munchausen": 3}, {"munchausen_tau": 0.0}, {"munchausen_alpha": 1.5}, {"munchausen_clip": "x"}):
        with pytest.raises(InputError, match=rf"^{next(iter(bad))}: "):
            MunchausenDQN("MlpPolicy", "CartPole-v1", **bad)  # type: ignore[arg-type]
