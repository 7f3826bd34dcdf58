"""GridWorld, γ = 0.9, five seeds each: the greedy policy is optimal from the start to the goal in every one of them.

With an entropy bonus the critics' algorithms must be optimal from every reachable state, in all five: it keeps the
policy going where the best path does not lead. A tabular policy (one weight for each state and action) on 64 batched
environments; the learning rate falls to zero. Budgets in environment steps.

A3C has two workers and three seeds, all of which must be right everywhere: its rule is the actor-critic's, bit for bit
with one worker (test_a3c.py), and what is left to be shown is that two workers do not spoil it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import A3C, REINFORCE, VPG, ActorCritic, ReinforceBaseline, to_sb3
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration

GRID = "sb3_course/GridWorld-v0"
GAMMA = 0.9
SEEDS = {"a3c": range(3)}  # and five
EPISODES = {"episodes_per_update": 64}

# algorithm: (class, learning rate at the start, other arguments, budget, whether every reachable state must be right)
CASES: dict[str, tuple[type, float, dict[str, Any], int, bool]] = {
    "vpg": (VPG, 0.05, EPISODES, 80_000, False),
    "reinforce": (REINFORCE, 0.05, EPISODES, 60_000, False),
    "reinforce_baseline": (ReinforceBaseline, 0.05, EPISODES | {"ent_coef": 0.1}, 250_000, True),
    "actor_critic": (ActorCritic, 0.05, {"n_steps": 4, "ent_coef": 0.1}, 80_000, True),
    "a3c": (A3C, 0.03, {"n_steps": 20, "n_workers": 2, "ent_coef": 0.1}, 40_000, True),
}


@pytest.mark.learning
@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("name", CASES)
def test_ends_greedy_optimal(name: str) -> None:
    cls, rate, arguments, budget, everywhere = CASES[name]
    grid: Any = gym.make(GRID).unwrapped
    optimal = optimal_actions(value_iteration(grid.P, GAMMA))  # (S, A)
    reachable = reachable_states(grid.P, grid.initial_state_distrib)
    along_path = in_every_state = 0
    seeds = SEEDS.get(name, range(5))
    for seed in seeds:
        batch = to_sb3(gym.make_vec(GRID, num_envs=64, autoreset_mode="SameStep"))
        model = cls(
            "MlpPolicy", gym.make(GRID) if cls is A3C else batch, gamma=GAMMA, seed=seed, backend="numpy",
            learning_rate=LinearSchedule(rate, 0.0, 1.0), policy_kwargs={"net_arch": []}, **arguments,
        )  # fmt: skip
        model.learn(budget)
        actions, _ = model.predict(np.arange(len(grid.P)), deterministic=True)
        path = reachable_states(grid.P, grid.initial_state_distrib, actions)
        along_path += bool(optimal[path, actions[path]].all())
        in_every_state += bool(optimal[reachable, actions[reachable]].all())
    assert along_path == len(seeds)
    assert in_every_state == len(seeds) or not everywhere
