"""The engine against exact answers: with the buffer filled from P it must find Q* of the grid world."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import DoubleDQN
from sb3_course.envs.planning import reachable_states, value_iteration

GAMMA = 0.9
UPDATES = 3_000


def fill_from_model(model: DoubleDQN, env: Any, copies: int) -> None:
    """Store every outcome of every reachable (s, a), as often as `copies` times its probability says."""
    reachable = np.flatnonzero(reachable_states(env.P, env.initial_state_distrib))
    for state in reachable:
        for action, outcomes in env.P[state].items():
            for probability, following, reward, terminated in outcomes:
                times = probability * copies
                assert times == pytest.approx(round(times)), "the copies must express the probabilities exactly"
                for _ in range(round(times)):
                    model.replay_buffer.add(
                        np.array([state]), np.array([following]), np.array([action]),
                        np.array([reward]), np.array([terminated]), [{}],
                    )  # fmt: skip


@pytest.mark.parametrize("double", [True, False], ids=["double", "switches off"])
@pytest.mark.parametrize(("slip", "copies"), [(0.0, 1), (0.2, 10)])
def test_finds_the_optimal_values(double: bool, slip: float, copies: int) -> None:
    """Over every reachable state, max |Q - Q*| < 0.05."""
    env = gym.make("sb3_course/GridWorld-v0", slip=slip)
    grid = env.unwrapped
    model = DoubleDQN(
        "MlpPolicy", env, double=double, gamma=GAMMA, batch_size=128, seed=0,
        learning_rate=LinearSchedule(3e-3, 1e-5, 1.0), policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    fill_from_model(model, grid, copies)
    model.set_logger(configure(None, []))
    for update in range(0, UPDATES, 50):
        model._current_progress_remaining = 1 - update / UPDATES
        model.train(50, batch_size=128)
        model._backend.update_target(1.0)

    optimal = value_iteration(grid.P, GAMMA)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    assert len(states) == 10  # all but the wall and the goal
    values = model.policy.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    assert np.abs(values - optimal[states]).max() < 0.05
