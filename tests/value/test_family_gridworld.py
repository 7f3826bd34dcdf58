"""Every variant against exact answers: Q* where the target is one step deep, its own fixed point where it is n deep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import CategoricalDQN, DuelingDQN, NoisyDQN, NStepDQN, PrioritizedDQN, Rainbow
from sb3_course.envs.planning import reachable_states, to_arrays, value_iteration
from sb3_course.networks import noise_free

GAMMA = 0.9
TOLERANCE = 0.05


def make(cls: type, slip: float = 0.0, rate: float = 3e-3, **switches: Any) -> tuple[Any, Any, np.ndarray]:
    """Return a model, the grid and its reachable states."""
    env = gym.make("sb3_course/GridWorld-v0", slip=slip)
    grid: Any = env.unwrapped
    policy_kwargs = {"net_arch": [64], **switches.pop("policy_kwargs", {})}
    model = cls(
        "MlpPolicy", env, gamma=GAMMA, seed=0, device="cpu", buffer_size=3_000,
        learning_rate=LinearSchedule(rate, 1e-5, 1.0), policy_kwargs=policy_kwargs, **switches,
    )  # fmt: skip
    return model, grid, np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))


def values_of(model: Any, states: np.ndarray) -> np.ndarray:
    """Return the expected returns without noise, (S, A)."""
    with th.no_grad(), noise_free(model.q_net):
        return model.q_net(model.policy.obs_to_tensor(states)[0]).numpy()


# name: (class, switches, gradient steps)
DETERMINISTIC: dict[str, tuple[type, dict[str, Any], int]] = {
    "dueling": (DuelingDQN, {}, 1_500),
    "prioritized": (PrioritizedDQN, {}, 1_500),
    "noisy": (NoisyDQN, {}, 2_500),
    "c51": (CategoricalDQN, {}, 1_500),
    "double dueling prioritized": (DuelingDQN, {"double": True, "prioritized": True}, 1_500),
    "double dueling c51": (CategoricalDQN, {"double": True, "dueling": True}, 1_500),
    "rainbow of one step": (Rainbow, {"n_steps": 1}, 2_000),
}
WITH_SLIP: dict[str, tuple[type, dict[str, Any], int]] = {
    "double dueling prioritized": (DuelingDQN, {"double": True, "prioritized": True}, 3_000),
    "c51": (CategoricalDQN, {}, 5_000),
}
CASES = [
    *(pytest.param(0.0, 1, *case, id=name) for name, case in DETERMINISTIC.items()),
    *(pytest.param(0.2, 10, *case, id=f"{name}, slip") for name, case in WITH_SLIP.items()),
]


@pytest.mark.parametrize(("slip", "copies", "cls", "switches", "updates"), CASES)
def test_one_step_targets_find_the_optimal_values(
    train_from_model: Callable[..., None], slip: float, copies: int, cls: type, switches: dict[str, Any], updates: int
) -> None:
    """Over every reachable state max |Q − Q*| < 0.05; a distribution by its mean, noisy networks without noise."""
    model, grid, states = make(cls, slip, **switches)
    train_from_model(model, grid, copies, updates, batch_size=64)
    error = np.abs(values_of(model, states) - value_iteration(grid.P, GAMMA)[states]).max()
    assert error < TOLERANCE


def n_step_fixed_point(P: Any, n_steps: int) -> np.ndarray:
    """Return the Q of ``Q(s, a) = E[Σ_{k<n} γ^k r_k + γ^n max_a' Q(s_n, a')]``, all actions but the first uniform."""
    T, R, C = to_arrays(P)
    reward, ahead = R, GAMMA * C  # (S, A); (S, A, S) is γ^k times the chance to be there, unfinished
    for _ in range(n_steps - 1):
        reward = R + GAMMA * C @ reward.mean(1)
        ahead = GAMMA * C @ ahead.mean(1)
    q = np.zeros_like(R)
    for _ in range(500):
        q = reward + ahead @ q.max(1)
    assert T.shape == ahead.shape
    return q


def fill_with_windows(model: Any, grid: Any, states: np.ndarray) -> None:
    """Store every window of n transitions once: what uniform behaviour does from (s, a) on, in the exact proportions.

    A window is cut off behind its n-th transition, or ends with the episode; draws are restricted to its first.
    """
    n_actions, n_steps, heads = int(grid.action_space.n), model.n_steps, []
    for state, *actions in product(states, *[range(n_actions)] * n_steps):
        heads.append(model.replay_buffer.pos)
        for position, action in enumerate(actions):
            ((probability, following, reward, terminated),) = grid.P[state][action]
            assert probability == 1
            cut = position == n_steps - 1 and not terminated
            model.replay_buffer.add(
                np.array([state]), np.array([following]), np.array([action]),
                np.array([reward]), np.array([terminated or cut]), [{"TimeLimit.truncated": cut}],
            )  # fmt: skip
            if terminated:
                break
            state = following
    assert not model.replay_buffer.full
    first = np.array(heads)
    model.replay_buffer.draw = lambda batch_size: first[model.rng.integers(len(first), size=batch_size)]


@pytest.mark.parametrize("n_steps", [2, 3])
def test_n_steps_find_the_fixed_point_of_their_own(train_from_buffer: Callable[..., None], n_steps: int) -> None:
    """Under uniform behaviour, which is far from Q*: the test can tell the two apart."""
    model, grid, states = make(NStepDQN, n_steps=n_steps)
    fill_with_windows(model, grid, states)
    train_from_buffer(model, 3_000, 128)
    expected, optimal = n_step_fixed_point(grid.P, n_steps)[states], value_iteration(grid.P, GAMMA)[states]
    values = values_of(model, states)
    assert np.abs(expected - optimal).max() > 5 * TOLERANCE
    assert np.abs(values - expected).max() < TOLERANCE


def test_the_fixed_point_of_one_step_is_optimal() -> None:
    _, grid, states = make(NStepDQN)
    np.testing.assert_allclose(n_step_fixed_point(grid.P, 1)[states], value_iteration(grid.P, GAMMA)[states], atol=1e-9)
