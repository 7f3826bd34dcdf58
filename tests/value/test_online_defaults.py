"""A network that learns from each transition solves the grid with nobody's help, as the table does."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_course import NeuralQ
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration

GRID = "sb3_course/GridWorld-v0"


@pytest.mark.parametrize("seed", [2, 3])
def test_neural_q_with_its_defaults_solves_the_grid(seed: int) -> None:
    """And still does later: Adam with ten times the step size comes and goes."""
    grid: Any = gym.make(GRID).unwrapped
    optimal = optimal_actions(value_iteration(grid.P, 0.9))
    model = NeuralQ("MlpPolicy", gym.make(GRID), gamma=0.9, seed=seed, device="cpu")
    for first in (True, False):
        model.learn(5_000, reset_num_timesteps=first)
        actions, _ = model.predict(np.arange(len(grid.P)), deterministic=True)
        path = reachable_states(grid.P, grid.initial_state_distrib, actions)
        assert optimal[path, actions[path]].all()
