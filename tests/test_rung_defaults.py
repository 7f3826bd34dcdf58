"""Every rung with its own defaults: a newcomer's first run on the course's GridWorld ends on a shortest path."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from settling import settles

from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration
from sb3_course.registry import ALGORITHMS, find

GRID = "sb3_course/GridWorld-v0"
#: The value rungs take at most so many steps, the policy gradients, which learn from whole episodes first, so many.
VALUE, GRADIENT = 5_000, 10_000
#: It is asked every hundredth step, and training ends when the path has been a shortest one so often in a row.
LASTS, DEAR = 10, {"iqn": 5, "btr": 5}  # whose steps cost twenty times as much as the others'
STEPS = {"quantile_dqn": 2_500, "iqn": 2_500, "pqn": 10_000}  # PQN learns once in 128 steps
#: The online rungs have tests of their own (`test_value_defaults.py`, `test_online_defaults.py`); the last three end on
#: another path with one seed of three or four, or draw by the clock: `benchmarks/defaults.py` is theirs.
LEFT_OUT = {"q_table", "neural_q", "rainbow", "numpy_dqn", "a3c"}
RUNGS = [name for name, row in ALGORITHMS.items() if row.source == "sb3_course" and name not in LEFT_OUT]


@pytest.mark.learning
@pytest.mark.parametrize("name", RUNGS)
def test_a_rung_with_its_defaults_ends_on_a_shortest_path(name: str) -> None:
    grid: Any = gym.make(GRID).unwrapped
    optimal = optimal_actions(value_iteration(grid.P, 0.9))
    model: Any = find(name).load()("MlpPolicy", gym.make(GRID), gamma=0.9, seed=0, device="cpu")

    def walks_a_shortest_path(model: Any) -> bool:
        actions, _ = model.predict(np.arange(len(grid.P)), deterministic=True)
        path = reachable_states(grid.P, grid.initial_state_distrib, actions)
        return bool(optimal[path, actions[path]].all())

    budget = STEPS.get(name, VALUE if hasattr(model, "exploration_rate") else GRADIENT)
    assert settles(model, budget, walks_a_shortest_path, every=100, times=DEAR.get(name, LASTS))
