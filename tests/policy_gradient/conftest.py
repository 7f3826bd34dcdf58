"""Exact policy gradients of small Markov decision processes, and many copies of such a process side by side."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

# State 0 leads to 1 or 2, 1 and 2 end or go on: episodes of one to many steps.
THREE_STATES = {
    0: {0: [(1.0, 1, 0.5, False)], 1: [(0.7, 2, 0.0, False), (0.3, 0, -0.2, False)]},
    1: {0: [(1.0, 1, 1.0, True)], 1: [(0.5, 2, 0.3, False), (0.5, 0, 0.1, False)]},
    2: {0: [(0.6, 0, 2.0, True), (0.4, 0, -1.0, False)], 1: [(1.0, 2, -0.5, True)]},
}


class TabularVecEnv(VecEnv):
    """E copies of a process given by ``P[s][a] = [(probability, next, reward, terminated)]``, stepped at once."""

    render_mode = None

    def __init__(self, P: Any, start: Any, n_envs: int, seed: int) -> None:
        n_states, n_actions = len(P), len(P[0])
        super().__init__(n_envs, spaces.Discrete(n_states), spaces.Discrete(n_actions))
        width = max(len(outcomes) for row in P.values() for outcomes in row.values())
        self.table = np.zeros((n_states, n_actions, width, 4))
        for state, row in P.items():
            for action, outcomes in row.items():
                self.table[state, action, : len(outcomes)] = outcomes
        self.cumulated = self.table[..., 0].cumsum(2)
        self.start, self.rng = np.cumsum(start), np.random.default_rng(seed)

    def _starts(self, n: int) -> np.ndarray:
        return np.minimum(np.searchsorted(self.start, self.rng.random(n), side="right"), len(self.start) - 1)

    def reset(self) -> np.ndarray:
        self.states = self._starts(self.num_envs)
        return self.states.copy()

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        chances = self.cumulated[self.states, self.actions]
        outcome = (chances <= self.rng.random(self.num_envs)[:, None] * chances[:, -1:]).sum(1)
        _, following, rewards, terminated = self.table[self.states, self.actions, outcome].T
        dones = terminated.astype(bool)
        self.states = np.where(dones, self._starts(self.num_envs), following.astype(np.int64))
        return self.states.copy(), rewards.astype(np.float32), dones, [{} for _ in range(self.num_envs)]

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def exact(P: Any, start: Any, logits: np.ndarray, gamma: float) -> SimpleNamespace:
    """Return J's gradient (S, A), the expectation without γ^t (S, A), V (S,): all from linear equations.

    ``J = start·V``, ``V = (I − γ P_π)⁻¹ r_π``. Leaving out γ^t gives ``Σ_s η(s) Σ_a ∇π(a|s) Q(s, a)`` with the plain
    expected visits η instead of the discounted ones.
    """
    theta = th.from_numpy(logits).requires_grad_()
    n_states, n_actions = logits.shape
    T, R = np.zeros((n_states, n_actions, n_states)), np.zeros((n_states, n_actions))
    for state, row in P.items():
        for action, outcomes in row.items():
            for probability, following, reward, terminated in outcomes:
                R[state, action] += probability * reward
                T[state, action, following] += probability * (not terminated)
    eye, begin = th.eye(n_states, dtype=th.float64), th.as_tensor(np.asarray(start), dtype=th.float64)
    pi = theta.softmax(1)
    T_pi = th.einsum("sa,sat->st", pi, th.from_numpy(T))
    V = th.linalg.solve(eye - gamma * T_pi, (pi * th.from_numpy(R)).sum(1))
    (gradient,) = th.autograd.grad(begin @ V, theta, retain_graph=True)
    Q = (th.from_numpy(R) + gamma * th.einsum("sat,t->sa", th.from_numpy(T), V)).detach()
    visits = th.linalg.solve(eye - T_pi.T.detach(), begin)
    (without,) = th.autograd.grad((visits[:, None] * pi * Q).sum(), theta)
    return SimpleNamespace(gradient=gradient.numpy(), without_factor=without.numpy(), values=V.detach().numpy())


@pytest.fixture(scope="session")
def three_states() -> Any:
    """Return the model P of a process with episodes of unequal length, and its initial distribution."""
    return THREE_STATES, np.array([0.8, 0.1, 0.1])


@pytest.fixture(scope="session")
def tabular_vec_env() -> type[TabularVecEnv]:
    """Return the class of the vectorised process."""
    return TabularVecEnv


@pytest.fixture(scope="session")
def exact_gradient() -> Callable[..., SimpleNamespace]:
    """Return `exact`."""
    return exact
