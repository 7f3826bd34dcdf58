"""GridWorld against its rules and its own model."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from sb3_course.envs import GridWorldEnv

LEFT, RIGHT, UP, DOWN = range(4)
START, WALL, BOMB, GOAL = 8, 5, 7, 3
"""row * 4 + column of the default map."""


def at(env: GridWorldEnv, state: int) -> GridWorldEnv:
    """Return the environment in ``state``."""
    env.reset(seed=0)
    env.state = state
    return env


def test_the_default_world() -> None:
    env = GridWorldEnv()
    assert env.map == ["...G", ".#.B", "S..."]
    assert env.reset()[0] == START
    assert np.array_equal(env.initial_state_distrib, np.eye(12)[START])
    path = [env.step(action) for action in (UP, UP, RIGHT, RIGHT, RIGHT)]
    assert [step[0] for step in path] == [4, 0, 1, 2, GOAL]
    assert [step[1] for step in path] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert [step[2] for step in path] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("state", "action", "target", "reward", "terminated"),
    [
        (2, RIGHT, GOAL, 1.0, True),
        (BOMB, UP, GOAL, 1.0, True),
        (6, RIGHT, BOMB, -1.0, False),
        (11, UP, BOMB, -1.0, False),
        (BOMB, LEFT, 6, 0.0, False),  # the reward belongs to the cell entered, not to the one left
        (BOMB, RIGHT, BOMB, -1.0, False),  # a blocked move enters its own cell again
        (START, LEFT, START, 0.0, False),
        (START, DOWN, START, 0.0, False),
        (0, UP, 0, 0.0, False),
        (4, RIGHT, 4, 0.0, False),  # the wall
        (9, UP, 9, 0.0, False),
        (1, DOWN, 1, 0.0, False),
        (6, LEFT, 6, 0.0, False),
    ],
)
def test_moves(state: int, action: int, target: int, reward: float, terminated: bool) -> None:
    env = at(GridWorldEnv(), state)
    assert env.step(action) == (target, reward, terminated, False, {"prob": 1.0})
    assert env.P[state][action] == [(1.0, target, reward, terminated)]


def test_only_the_goal_ends_unless_bombs_do() -> None:
    for end_on_bomb in (False, True):
        env = at(GridWorldEnv(end_on_bomb=end_on_bomb), 6)
        assert env.step(RIGHT)[1:3] == (-1.0, end_on_bomb)
        ends = {s for actions in env.P.values() for o in actions.values() for _, s, _, done in o if done}
        assert ends == ({WALL, GOAL, BOMB} if end_on_bomb else {WALL, GOAL})


def test_ended_states_and_walls_absorb() -> None:
    env = GridWorldEnv(slip=0.3, end_on_bomb=True)
    for state in (WALL, GOAL, BOMB):
        assert all(env.P[state][action] == [(1.0, state, 0.0, True)] for action in range(4))
    assert at(env, GOAL).step(LEFT)[:3] == (GOAL, 0.0, True)


def test_rewards_are_those_of_the_options() -> None:
    env = GridWorldEnv(goal_reward=5, bomb_reward=-2, step_reward=-0.5)
    assert env.P[2][RIGHT] == [(1.0, GOAL, 5.0, True)]
    assert env.P[6][RIGHT] == [(1.0, BOMB, -2.0, False)]
    assert env.P[0][RIGHT] == [(1.0, 1, -0.5, False)]
    assert env.P[0][LEFT] == [(1.0, 0, -0.5, False)]


def test_slip_goes_to_the_perpendicular_sides() -> None:
    env = GridWorldEnv(slip=0.2)
    assert {s: p for p, s, _, _ in env.P[10][UP]} == pytest.approx({6: 0.8, 9: 0.1, 11: 0.1})
    assert {s: p for p, s, _, _ in env.P[10][LEFT]} == pytest.approx({9: 0.8, 6: 0.1, 10: 0.1})
    # In the corner two of the three moves stay: one outcome.
    assert {s: p for p, s, _, _ in env.P[START][LEFT]} == pytest.approx({START: 0.9, 4: 0.1})
    assert {s for _, s, _, _ in GridWorldEnv(slip=1.0).P[10][UP]} == {9, 11}


def test_time_limit_truncates_after_100_steps() -> None:
    env = gym.make("sb3_course/GridWorld-v0")
    env.reset()
    flags = [env.step(LEFT)[2:4] for _ in range(100)]
    assert flags == [(False, False)] * 99 + [(False, True)]


def pearson(counts: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    """Return Pearson's statistic over the cells that can occur, and its degrees of freedom."""
    possible = expected > 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    return float(statistic), int(possible.sum() - possible.any(axis=-1).sum())


@pytest.mark.parametrize("options", [{}, {"map": ["S.#.", ".B.S", "#..G", "S.BS"], "end_on_bomb": True}])
def test_model_agrees_with_sampled_frequencies(options: dict[str, Any]) -> None:
    env = GridWorldEnv(slip=0.2, **options)
    states = len(env.P)
    counts, expected, wrong = np.zeros((3, states, 4, states))
    false = GridWorldEnv(slip=0.25, **options)
    env.reset(seed=1)
    draws = 1000
    for s in range(states):
        for a in range(4):
            allowed = {o[1:]: o[0] for o in env.P[s][a]}
            for p, following, _, _ in env.P[s][a]:
                expected[s, a, following] += draws * p
            for p, following, _, _ in false.P[s][a]:
                wrong[s, a, following] += draws * p
            for _ in range(draws):
                env.state = s
                following, reward, terminated, _, info = env.step(a)
                assert info["prob"] == allowed[following, reward, terminated]
                counts[s, a, following] += 1
    statistic, freedom = pearson(counts, expected)
    assert freedom > 40
    assert chi2.sf(statistic, freedom) > 0.001
    # The same test tells a slip of 0.25 from one of 0.2.
    assert chi2.sf(pearson(counts, wrong)[0], freedom) < 1e-9


def test_starts_are_drawn_with_equal_probability() -> None:
    env = GridWorldEnv(map=["S.S", "#.G", "S.S"])
    assert env.initial_state_distrib.tolist() == [0.25, 0.0, 0.25, 0.0, 0.0, 0.0, 0.25, 0.0, 0.25]
    env.reset(seed=0)
    counts = np.zeros(9)
    for _ in range(2000):
        state, info = env.reset()
        assert info == {"prob": 0.25}
        counts[state] += 1
    statistic, freedom = pearson(counts, 2000 * env.initial_state_distrib)
    assert counts.sum() == counts[[0, 2, 6, 8]].sum()
    assert chi2.sf(statistic, freedom) > 0.001


cells = st.sampled_from("S..#B")
maps = st.integers(1, 5).flatmap(
    lambda columns: st.lists(st.lists(cells, min_size=columns, max_size=columns).map("".join), min_size=1, max_size=5)
)


@given(rows=maps, slip=st.floats(0.0, 1.0), end_on_bomb=st.booleans())
def test_every_model_is_one(rows: list[str], slip: float, end_on_bomb: bool) -> None:
    rows = [*rows, "SG" + "." * len(rows[0])][-6:]
    width = max(map(len, rows))
    rows = [row.ljust(width, "#") for row in rows]
    env = GridWorldEnv(map=rows, slip=slip, end_on_bomb=end_on_bomb)
    text = "".join(rows)
    assert env.initial_state_distrib.sum() == pytest.approx(1.0)
    for s, actions in env.P.items():
        assert sorted(actions) == [LEFT, RIGHT, UP, DOWN]
        for outcomes in actions.values():
            assert sum(p for p, *_ in outcomes) == pytest.approx(1.0, abs=1e-12)
            assert all(p > 0 for p, *_ in outcomes)
            targets = [following for _, following, _, _ in outcomes]
            assert len(set(targets)) == len(targets)
            assert all(text[t] != "#" or t == s for t in targets)
            distances = [abs(t // width - s // width) + abs(t % width - s % width) for t in targets]
            assert max(distances) <= 1


def test_observations_tell_every_state_apart() -> None:
    for kind in ("onehot", "coordinates", "image"):
        env = GridWorldEnv(observation=kind)
        seen = [np.asarray(env._observe(state)) for state in range(12)]
        assert len({observation.tobytes() for observation in seen}) == 12
        assert all(observation in env.observation_space for observation in seen)
    assert GridWorldEnv(observation="coordinates").reset()[0].tolist() == [2.0, 0.0]
    assert GridWorldEnv(observation="onehot").reset()[0].tolist() == np.eye(12)[START].tolist()


def test_changing_an_observation_changes_nothing_else() -> None:
    for kind in ("onehot", "coordinates", "image"):
        env = GridWorldEnv(observation=kind)
        first, _ = env.reset()
        before = first.copy()
        first[:] = 0
        assert np.array_equal(env.reset()[0], before)


@pytest.mark.parametrize("action", [-1, 4, 1.5, "up", None, np.array([1, 2])])
def test_unknown_action_is_refused(action: Any) -> None:
    env = at(GridWorldEnv(), START)
    with pytest.raises(ValueError, match=r"^action: is not a move \(got .*, want 0 left, 1 right, 2 up or 3 down\)$"):
        env.step(action)
    assert env.state == START


@pytest.mark.parametrize("action", [2, np.int64(2), np.uint8(2), np.array(2)])
def test_every_form_of_an_index_is_an_action(action: Any) -> None:
    assert at(GridWorldEnv(), START).step(action)[0] == 4


def test_step_before_reset_says_so() -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        GridWorldEnv().step(0)


@pytest.mark.parametrize("values", [np.zeros((12, 3)), np.zeros(12), np.full((12, 4), np.nan)])
def test_unfit_q_values_are_refused(values: np.ndarray) -> None:
    env = GridWorldEnv()
    with pytest.raises(ValueError, match=r"^q_values: .*\(got .*, want .*\)$"):
        env.q_values = values
    assert env.q_values is None


def test_q_values_are_copied() -> None:
    env = GridWorldEnv()
    values = np.zeros((12, 4))
    env.q_values = values
    values[:] = 1
    assert not env.q_values.any()
