"""Learning by acting: after a stated budget the greedy policy must be optimal in every reachable state.

Budgets in environment steps, ten seeds each. The agent acts at random throughout (Q-learning is off-policy), so that
every state is visited, and the learning rate falls to zero, because with slip the targets stay noisy.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import DoubleDQN, NeuralQ, QTable
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration

GAMMA = 0.9
SEEDS = range(10)

# algorithm: (class, learning rate at the start, other arguments, {slip: budget})
CASES: dict[str, tuple[type, float, dict[str, Any], dict[float, int]]] = {
    "q_table": (QTable, 0.1, {}, {0.0: 6_000, 0.2: 30_000}),
    "neural_q": (
        NeuralQ, 0.1, {"loss": "l2", "policy_kwargs": {"net_arch": [100], "optimizer_class": th.optim.SGD}},
        {0.0: 5_000, 0.2: 20_000},
    ),
    "double_dqn": (
        DoubleDQN, 2e-3,
        {"buffer_size": 20_000, "learning_starts": 500, "batch_size": 64, "target_update_interval": 200},
        {0.0: 4_000, 0.2: 6_000},
    ),
}  # fmt: skip


@pytest.mark.learning
@pytest.mark.parametrize("slip", [0.0, 0.2])
@pytest.mark.parametrize("name", CASES)
def test_ends_greedy_optimal_in_nine_of_ten_seeds(name: str, slip: float) -> None:
    """In every reachable state the greedy action's Q* must be the largest, up to 1e-9."""
    cls, rate, arguments, budgets = CASES[name]
    grid = gym.make("sb3_course/GridWorld-v0", slip=slip).unwrapped
    optimal = optimal_actions(value_iteration(grid.P, GAMMA))  # (S, A)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    successes = 0
    for seed in SEEDS:
        model = cls(
            "MlpPolicy", gym.make("sb3_course/GridWorld-v0", slip=slip), gamma=GAMMA, seed=seed, device="cpu",
            learning_rate=LinearSchedule(rate, 0.0, 1.0), exploration_final_eps=1.0, exploration_initial_eps=1.0,
            **arguments,
        )  # fmt: skip
        model.learn(budgets[slip])
        actions, _ = model.predict(states, deterministic=True)
        successes += bool(optimal[states, actions].all())
    assert successes >= 9
