"""The engine against exact answers: with the buffer filled from P it must find Q* of the grid world."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import DoubleDQN
from sb3_course.envs.planning import reachable_states, value_iteration

GAMMA = 0.9
UPDATES = 3_000


@pytest.mark.parametrize("double", [True, False], ids=["double", "switches off"])
@pytest.mark.parametrize(("slip", "copies"), [(0.0, 1), (0.2, 10)])
def test_finds_the_optimal_values(
    train_from_model: Callable[..., None], double: bool, slip: float, copies: int
) -> None:
    """Over every reachable state, max |Q - Q*| < 0.05."""
    env = gym.make("sb3_course/GridWorld-v0", slip=slip)
    grid = env.unwrapped
    model = DoubleDQN(
        "MlpPolicy", env, double=double, gamma=GAMMA, batch_size=128, seed=0,
        learning_rate=LinearSchedule(3e-3, 1e-5, 1.0), policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    train_from_model(model, grid, copies, UPDATES)

    optimal = value_iteration(grid.P, GAMMA)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    assert len(states) == 10  # all but the wall and the goal
    values = model.policy.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    assert np.abs(values - optimal[states]).max() < 0.05
