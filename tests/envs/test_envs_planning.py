"""Planning against closed forms, brute force and itself."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_course.envs import (
    GridWorldEnv,
    action_values,
    optimal_actions,
    policy_evaluation,
    policy_iteration,
    reachable_states,
    to_arrays,
    value_iteration,
)

Model = dict[int, dict[int, list[tuple[float, int, float, bool]]]]


def chain(length: int) -> Model:
    """Return a corridor: action 0 goes on, action 1 stays; reward 1 and the end after the last state."""
    return {
        s: {0: [(1.0, min(s + 1, length - 1), float(s == length - 1), s == length - 1)], 1: [(1.0, s, 0.0, False)]}
        for s in range(length)
    }


@st.composite
def models(draw: Any) -> Model:
    """Return a random model with up to 4 states and 3 actions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    states, actions = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    model: Model = {}
    for s in range(states):
        model[s] = {}
        for a in range(actions):
            count = int(rng.integers(1, 4))
            weights = rng.dirichlet(np.ones(count))
            model[s][a] = [
                (float(p), int(rng.integers(states)), float(rng.normal()), bool(rng.random() < 0.2)) for p in weights
            ]
    return model


def residual(model: Model, q: np.ndarray, gamma: float) -> float:
    """Return max |Q - (Bellman's operator) Q|, in plain loops."""
    return max(
        abs(q[s, a] - sum(p * (r + gamma * (0.0 if done else q[t].max())) for p, t, r, done in outcomes))
        for s, actions in model.items()
        for a, outcomes in actions.items()
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99])
def test_chain_has_a_closed_form(gamma: float) -> None:
    steps_left = np.arange(5, -1, -1.0)
    q = value_iteration(chain(6), gamma)
    assert q[:, 0] == pytest.approx(gamma**steps_left, abs=1e-12)
    assert q[:, 1] == pytest.approx(gamma ** (steps_left + 1), abs=1e-12)
    assert policy_evaluation(chain(6), np.zeros(6, int), gamma) == pytest.approx(gamma**steps_left, abs=1e-12)


def test_endless_rewards_sum_to_a_geometric_series() -> None:
    forever: Model = {0: {0: [(1.0, 0, 1.0, False)], 1: [(1.0, 0, 5.0, True)]}}
    assert value_iteration(forever, 0.9) == pytest.approx(np.array([[10.0, 5.0]]), abs=1e-11)
    # A fair coin between both actions: V = 3 + 0.45 V.
    assert policy_evaluation(forever, [[0.5, 0.5]], 0.9) == pytest.approx([3.0 / 0.55], abs=1e-12)


def test_termination_does_not_bootstrap() -> None:
    # The next state is worth 10; entering it ends the episode.
    model: Model = {0: {0: [(1.0, 1, 2.0, True)]}, 1: {0: [(1.0, 1, 1.0, False)]}}
    assert value_iteration(model, 0.9)[:, 0] == pytest.approx([2.0, 10.0], abs=1e-11)
    model[0] = {0: [(0.5, 1, 2.0, True), (0.5, 1, 2.0, False)]}
    assert value_iteration(model, 0.9)[:, 0] == pytest.approx([2.0 + 0.9 * 0.5 * 10.0, 10.0], abs=1e-11)


def test_grid_world_without_slip() -> None:
    env = GridWorldEnv()
    q = value_iteration(env.P, 0.9)
    distance = np.array([2, 1, 0, np.inf, 3, np.inf, 1, 0, 4, 3, 2, 3])
    # From state 11 the bomb is nearer, but its -1 costs more than the detour.
    assert q.max(axis=1) == pytest.approx(np.where(np.isinf(distance), 0.0, 0.9**distance), abs=1e-12)
    assert q[7, 1] == pytest.approx(-1 + 0.9, abs=1e-12)
    assert q[6, 1] == pytest.approx(-1 + 0.9, abs=1e-12)


GRID_MODELS = [
    pytest.param(lambda slip=slip, end=end: GridWorldEnv(slip=slip, end_on_bomb=end).P, id=f"grid-{slip}-{end}")
    for slip in (0.0, 0.2, 1.0)
    for end in (False, True)
] + [
    pytest.param(lambda: gym.make("FrozenLake-v1").unwrapped.P, id="lake-4x4"),
    pytest.param(lambda: gym.make("FrozenLake-v1", map_name="8x8").unwrapped.P, id="lake-8x8"),
    pytest.param(lambda: gym.make("CliffWalking-v1").unwrapped.P, id="cliff"),
]


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("make", GRID_MODELS)
def test_both_iterations_solve_the_bellman_equation(make: Any, gamma: float) -> None:
    model = make()
    q = value_iteration(model, gamma)
    policy, q_policy = policy_iteration(model, gamma)
    scale = max(1.0, float(np.abs(q).max()))
    assert residual(model, q, gamma) < 1e-12 * scale
    assert np.abs(q - q_policy).max() < 3e-12 * scale
    assert optimal_actions(q)[np.arange(len(q)), policy].all()
    values = policy_evaluation(model, policy, gamma)
    assert values == pytest.approx(q.max(axis=1), abs=3e-12 * scale)
    assert action_values(model, values, gamma) == pytest.approx(q, abs=3e-12 * scale)


@settings(max_examples=60)
@given(models(), st.floats(0.0, 0.95))
def test_optimal_values_equal_the_best_of_all_policies(model: Model, gamma: float) -> None:
    states, actions = len(model), len(model[0])
    every = [policy_evaluation(model, p, gamma) for p in itertools.product(range(actions), repeat=states)]
    q = value_iteration(model, gamma)
    assert q.max(axis=1) == pytest.approx(np.max(every, axis=0), abs=1e-10)
    assert policy_iteration(model, gamma)[1] == pytest.approx(q, abs=1e-10)


@settings(max_examples=30)
@given(models(), st.floats(0.0, 0.9))
def test_evaluation_equals_the_sum_over_time(model: Model, gamma: float) -> None:
    rng = np.random.default_rng(0)
    policy = rng.dirichlet(np.ones(len(model[0])), size=len(model))
    values = np.zeros(len(model))
    for _ in range(400):
        values = np.array(
            [
                sum(
                    policy[s, a] * p * (r + (0.0 if done else gamma * values[t]))
                    for a, outcomes in model[s].items()
                    for p, t, r, done in outcomes
                )
                for s in model
            ]
        )
    assert policy_evaluation(model, policy, gamma) == pytest.approx(values, abs=1e-9)


def test_arrays() -> None:
    model: Model = {
        0: {0: [(0.25, 0, 1.0, False), (0.5, 1, 2.0, True), (0.25, 1, 4.0, False)]},
        1: {0: [(1.0, 1, -1.0, False)]},
    }
    transitions, rewards, continuing = to_arrays(model)
    assert transitions.tolist() == [[[0.25, 0.75]], [[0.0, 1.0]]]
    assert rewards.tolist() == [[2.25], [-1.0]]
    assert continuing.tolist() == [[[0.25, 0.25]], [[0.0, 1.0]]]
    again = to_arrays(model)
    again.transitions[:] = 7
    assert np.array_equal(to_arrays(model).transitions, transitions)


def test_optimal_actions() -> None:
    q = [[1.0, 1.0 - 1e-10, 0.9], [0.0, 0.0, 0.0], [-1.0, -3.0, -2.0]]
    assert optimal_actions(q).tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert optimal_actions(q, tolerance=0.1)[0].tolist() == [True, True, True]
    assert optimal_actions(q[0], tolerance=0).tolist() == [True, False, False]


def test_reachable_states() -> None:
    env = GridWorldEnv()
    start = env.initial_state_distrib
    # Neither the wall nor the goal, where the episode has ended.
    assert np.flatnonzero(~reachable_states(env.P, start)).tolist() == [3, 5]
    ends = GridWorldEnv(end_on_bomb=True)
    assert np.flatnonzero(~reachable_states(ends.P, start)).tolist() == [3, 5, 7]
    up_then_right = np.full(12, 1)
    up_then_right[[8, 4]] = 2
    assert np.flatnonzero(reachable_states(env.P, start, up_then_right)).tolist() == [0, 1, 2, 4, 8]
    closed = GridWorldEnv(map=["S#.G", ".#.."])
    assert np.flatnonzero(reachable_states(closed.P, closed.initial_state_distrib)).tolist() == [0, 4]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda P: value_iteration(P, 1.0), "gamma"),
        (lambda P: value_iteration(P, -0.1), "gamma"),
        (lambda P: value_iteration(P, "0.9"), "gamma"),
        (lambda P: value_iteration(P, 0.9, tolerance=0.0), "tolerance"),
        (lambda P: policy_iteration(P, float("nan")), "gamma"),
        (lambda P: policy_evaluation(P, [0, 0], 0.9), "policy"),
        (lambda P: policy_evaluation(P, [0, 0, 2], 0.9), "policy"),
        (lambda P: policy_evaluation(P, [0, -1, 0], 0.9), "policy"),
        (lambda P: policy_evaluation(P, [[0.5, 0.4]] * 3, 0.9), "policy"),
        (lambda P: policy_evaluation(P, [[1.5, -0.5]] * 3, 0.9), "policy"),
        (lambda P: action_values(P, [0.0], 0.9), "values"),
        (lambda P: reachable_states(P, [1.0]), "initial_distribution"),
        (lambda P: to_arrays({**P, 0: {0: [(0.9, 0, 0.0, False)], 1: P[0][1]}}), "P"),
        (lambda P: to_arrays({**P, 0: {0: [(1.0, 3, 0.0, False)], 1: P[0][1]}}), "P"),
        (lambda P: to_arrays({**P, 0: {0: [(1.0, -1, 0.0, False)], 1: P[0][1]}}), "P"),
        (lambda P: to_arrays({**P, 1: {0: P[1][0]}}), "P"),
        (lambda P: to_arrays({0: P[0], 2: P[2]}), "P"),
    ],
)
def test_unfit_arguments_are_refused(call: Any, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: [^\n]+ \(got [^\n]+, want [^\n]+\)$"):
        call(chain(3))
