"""Learning by acting: after a stated budget the greedy policy must be optimal in every reachable state.

Budgets in environment steps, five seeds each, all of which must succeed: as strict as nine of ten, in half the time.
With some nine tenths of the budget most algorithms were right in twelve of twelve seeds (C51 with slip and Rainbow need
all of theirs). A seed that has been right at every hundredth step for a thousand steps, two thousand where targets are
noisy, is not trained any longer. The agent acts at random throughout (Q-learning is off-policy), or by its noise, and
the learning rate falls to zero, because with slip the targets stay noisy. With slip episodes start anywhere (exploring
starts: Sutton & Barto 2018, section 5.3): the second best action is only 0.03 worse in some states, so that each has to
be seen often.

n-step returns are the exception: uncorrected, what they converge to is the value of the behaviour for n - 1 steps and
only then the optimum, so that in some states another action looks better, however long one learns (see
test_gridworld_exact.py for that fixed point). Those algorithms must be optimal along their own path, which they are
where nothing slips; with n_steps=1 Rainbow's other five ideas must be so everywhere.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from settling import settles
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import (
    CategoricalDQN,
    DoubleDQN,
    DuelingDQN,
    NeuralQ,
    NoisyDQN,
    NStepDQN,
    PrioritizedDQN,
    QTable,
    Rainbow,
    to_sb3,
)
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration

GAMMA = 0.9
SEEDS = range(5)
#: So many looks nobody takes: one seed is trained to the end, with the rate that falls to zero there.
WHOLE = 10**9

# Eight environments side by side: as many transitions and updates as one has, in half the time.
N_ENVS = 8
REPLAY = {
    "buffer_size": 20_000, "learning_starts": 500, "batch_size": 64, "target_update_interval": 200,
    "train_freq": 1, "gradient_steps": N_ENVS, "policy_kwargs": {"net_arch": [64]}, "backend": "numpy",
}  # fmt: skip
SEEN_MORE = REPLAY | {"gradient_steps": N_ENVS // 2}
SPARING = SEEN_MORE | {"batch_size": 32}
ATOMS = {"v_min": -2.0, "v_max": 2.0}
SAME_STEP: dict[str, Any] = {"autoreset_mode": "SameStep"}
ANYWHERE = ["SSSG", "S#SB", "SSSS"]
L2, SGD = {"loss": "l2"}, {"net_arch": [100], "optimizer_class": th.optim.SGD}
CENTRED = {"activation_fn": th.nn.Tanh}  # what one state learns disturbs the others less than with ReLU
LESS_RANDOM = {"exploration_final_eps": 0.1, "exploration_fraction": 0.6}

# algorithm: (class, learning rate at the start, other arguments, {slip: budget})
CASES: dict[str, tuple[type, float, dict[str, Any], dict[float, int]]] = {
    # A table: whole steps where nothing slips, small ones where targets are noisy.
    "q_table": (QTable, 1.0, {}, {0.0: 1_500}),
    "q_table in noise": (QTable, 0.07, {}, {0.2: 8_000}),
    "neural_q": (NeuralQ, 0.1, L2 | {"policy_kwargs": SGD | CENTRED}, {0.0: 3_000}),
    "neural_q in noise": (NeuralQ, 0.03, L2 | {"policy_kwargs": SGD | CENTRED}, {0.2: 8_000}),
    "double_dqn": (DoubleDQN, 2e-3, SEEN_MORE, {0.0: 4_000, 0.2: 7_000}),
    "dueling_dqn": (DuelingDQN, 2e-3, SEEN_MORE, {0.0: 4_000, 0.2: 7_000}),
    "per_dqn": (PrioritizedDQN, 2e-3, SEEN_MORE, {0.0: 4_000, 0.2: 7_000}),
    "noisy_dqn": (NoisyDQN, 2e-3, SPARING | {"batch_size": 64}, {0.0: 3_000, 0.2: 5_500}),
    "c51": (CategoricalDQN, 2e-3, SPARING | ATOMS, {0.0: 3_000, 0.2: 6_000}),
    "rainbow, n_steps=1": (Rainbow, 2e-3, SPARING | ATOMS | {"n_steps": 1}, {0.2: 4_500}),
}  # fmt: skip
PATH_CASES: dict[str, tuple[type, float, dict[str, Any], int]] = {
    "nstep_dqn": (NStepDQN, 2e-3, REPLAY | LESS_RANDOM, 3_000),
    "rainbow": (Rainbow, 2e-3, SPARING | ATOMS, 4_000),
}


def options(slip: float) -> dict[str, Any]:
    """Those of the default maze, or of one with slip in which every free cell is a start."""
    return {"id": "sb3_course/GridWorld-v0", "slip": slip, "map": ANYWHERE if slip else None}


def grid_world(slip: float) -> Any:
    """Return the maze itself."""
    return gym.make(**options(slip)).unwrapped


def untrained(cls: type, rate: float, arguments: dict[str, Any], seed: int, slip: float) -> Any:
    settings = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0} | arguments
    online = cls in (QTable, NeuralQ)  # learn from each transition once, as it comes
    env = gym.make(**options(slip)) if online else to_sb3(gym.make_vec(**options(slip), num_envs=N_ENVS, **SAME_STEP))
    return cls(
        "MlpPolicy", env, gamma=GAMMA, seed=seed, device="cpu",
        learning_rate=LinearSchedule(rate, 0.0, 1.0), **settings,
    )  # fmt: skip


@pytest.mark.learning
@pytest.mark.parametrize(("name", "slip"), [(name, slip) for name, case in CASES.items() for slip in case[3]])
def test_ends_greedy_optimal_with_every_seed(name: str, slip: float) -> None:
    """In every reachable state the greedy action's Q* must be the largest, up to 1e-9."""
    cls, rate, arguments, budgets = CASES[name]
    grid = grid_world(slip)
    optimal = optimal_actions(value_iteration(grid.P, GAMMA))  # (S, A)
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))

    def is_optimal(model: Any) -> bool:
        actions, _ = model.predict(states, deterministic=True)
        return bool(optimal[states, actions].all())

    for seed in SEEDS:
        model = untrained(cls, rate, arguments, seed, slip)
        lasting = WHOLE if seed == SEEDS[0] else 20 if slip else 10
        assert settles(model, budgets[slip], is_optimal, every=100, times=lasting), seed


@pytest.mark.learning
@pytest.mark.parametrize("name", PATH_CASES)
def test_n_step_algorithms_end_optimal_along_their_path_with_every_seed(name: str) -> None:
    """From the start on, every greedy action must be optimal until the goal is reached."""
    cls, rate, arguments, budget = PATH_CASES[name]
    grid = grid_world(slip=0.0)
    optimal = optimal_actions(value_iteration(grid.P, GAMMA))

    def is_optimal(model: Any) -> bool:
        actions, _ = model.predict(np.arange(len(grid.P)), deterministic=True)
        path = reachable_states(grid.P, grid.initial_state_distrib, actions)
        return bool(optimal[path, actions[path]].all())

    for seed in SEEDS:
        model = untrained(cls, rate, arguments, seed, 0.0)
        lasting = WHOLE if seed == SEEDS[0] else 10
        assert settles(model, budget, is_optimal, every=100, times=lasting), seed
