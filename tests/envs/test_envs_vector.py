"""The vector environments against Gymnasium's own vector environments of the scalar ones."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scipy.stats import chisquare, kstest

import sb3_course  # noqa: F401  (registers the ids)
from sb3_course.envs import ENVIRONMENTS

GRID, SHOT, BANDIT = (f"sb3_course/{name}-v0" for name in ("GridWorld", "OneShot", "Bandit"))
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
DETERMINISTIC = [
    (GRID, {}),
    (GRID, {"observation": "onehot", "end_on_bomb": True}),
    (GRID, {"observation": "coordinates", "step_reward": -0.5}),
    (GRID, {"observation": "image"}),
    (GRID, {"map": ["S..", "#B.", "..G"], "max_episode_steps": 7}),
    (SHOT, {}),
    (SHOT, {"tau_range": [-3.0, 3.0], "seed": 5, "zeta": 2.0, "beta": 3.0}),
    (BANDIT, {"stds": 0.0}),
    (BANDIT, {"kind": "bernoulli", "means": [0.0, 1.0, 1.0]}),
]


def batched(env_id: str, num_envs: int, **kwargs: Any) -> Any:
    return gym.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


def same(one: Any, two: Any) -> None:
    """Compare what two vector environments returned, infos and their masks included."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert set(one) == set(two)
        for name in one:
            same(one[name], two[name])
    elif one.dtype == object:
        assert len(one) == len(two)
        for mine, other in zip(one, two, strict=True):
            np.testing.assert_array_equal(mine, other)
    else:
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("env_id", "kwargs"), DETERMINISTIC)
def test_deterministic_dynamics_equal_the_scalar_environments(env_id: str, kwargs: Any, mode: AutoresetMode) -> None:
    mine = batched(env_id, 5, autoreset_mode=mode, **kwargs)
    theirs = gym.make_vec(
        env_id, num_envs=5, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **kwargs
    )
    assert isinstance(theirs, SyncVectorEnv)
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    assert mine.metadata["autoreset_mode"] is mode
    for one, two in zip(mine.reset(seed=3), theirs.reset(seed=3), strict=True):
        same(one, two)
    theirs.action_space.seed(7)
    ends = 0
    for _ in range(300):
        actions = theirs.action_space.sample()
        returned = mine.step(actions)
        for one, two in zip(returned, theirs.step(actions), strict=True):
            same(one, two)
        ends += int((returned[2] | returned[3]).sum())
    assert ends > 10


@pytest.mark.parametrize("entry", ENVIRONMENTS, ids=lambda entry: entry.id)
def test_the_spec_makes_the_same_batch_again(entry: Any) -> None:
    env = batched(entry.id, 3, autoreset_mode="SameStep")
    again = gym.make_vec(type(env.spec).from_json(env.spec.to_json()))
    assert type(again) is type(env)
    assert again.num_envs == 3
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert json.loads(env.spec.to_json())["kwargs"]["vectorization_mode"] == "vector_entry_point"


def test_the_vector_form_is_what_make_vec_takes_by_itself() -> None:
    assert type(gym.make_vec(GRID, num_envs=2)).__name__ == "GridWorldVectorEnv"


def test_slipping_has_the_model_s_frequencies() -> None:
    env = batched(GRID, 1000, slip=0.3, max_episode_steps=None)
    rng = np.random.default_rng(0)
    counts = np.zeros((12, 4, 12))
    states, _ = env.reset(seed=0)
    for _ in range(400):
        actions = rng.integers(4, size=1000)
        following, *_ = env.step(actions)
        moved = states != 3  # from the goal the step was a reset
        np.add.at(counts, (states[moved], actions[moved], following[moved]), 1)
        states = following
    tested = 0
    for state, actions_of in env.model.P.items():
        for action, outcomes in actions_of.items():
            seen = counts[state, action]
            expected = np.zeros(12)
            for probability, following, _, _ in outcomes:
                expected[following] += probability
            assert seen[expected == 0].sum() == 0
            if seen.sum() < 500 or (expected > 0).sum() < 2:
                continue
            tested += 1
            assert chisquare(seen[expected > 0], expected[expected > 0] * seen.sum()).pvalue > 1e-5
    assert tested > 25


def test_several_starts_are_equally_likely() -> None:
    env = batched(GRID, 3000, map=["S.S", ".#G", "S.."])
    states, infos = env.reset(seed=1)
    assert chisquare([np.sum(states == start) for start in (0, 2, 6)]).pvalue > 1e-5
    assert (infos["prob"] == 1 / 3).all()


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_arms_pay_what_their_distributions_say(kind: str) -> None:
    env = batched(BANDIT, 4000, kind=kind, means=[0.2, 0.7], autoreset_mode="SameStep")
    env.reset(seed=2)
    _, rewards, terminated, truncated, infos = env.step(np.ones(4000, np.int64))
    assert terminated.all()
    assert not truncated.any()
    assert (infos["final_info"]["regret"] == 0).all()
    if kind == "gaussian":
        assert kstest(rewards - 0.7, "norm").pvalue > 1e-5
    else:
        assert chisquare([(rewards == 0).sum(), (rewards == 1).sum()], [1200, 2800]).pvalue > 1e-5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("entry", ENVIRONMENTS, ids=lambda entry: entry.id)
def test_a_saved_state_continues_to_the_bit(entry: Any, mode: AutoresetMode) -> None:
    kwargs = {"slip": 0.2, "max_episode_steps": 9} if entry.id == GRID else {}
    first, second = (batched(entry.id, 6, autoreset_mode=mode, **kwargs) for _ in range(2))
    first.reset(seed=0)
    first.action_space.seed(0)
    for _ in range(20):
        first.step(first.action_space.sample())
    second.set_state(first.get_state())
    for _ in range(30):
        actions = first.action_space.sample()
        for one, two in zip(first.step(actions), second.step(actions), strict=True):
            same(one, two)
    with pytest.raises(ValueError, match="state: has the wrong fields"):
        second.set_state({"started": True})


def test_a_mask_resets_some_of_them() -> None:
    env = batched(GRID, 4)
    env.reset(seed=0)
    env.step(np.full(4, 1))
    observations, infos = env.reset(options={"reset_mask": np.array([True, False, False, True])})
    assert observations.tolist() == [8, 9, 9, 8]
    assert infos["_prob"].tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match="reset_mask: does not fit"):
        env.reset(options={"reset_mask": [1, 0, 0, 1]})


def test_what_was_returned_is_not_changed_later() -> None:
    env = batched(GRID, 3, observation="onehot")
    observations, _ = env.reset(seed=0)
    before = observations.copy()
    returned = env.step(np.array([1, 2, 1]))
    kept = [array.copy() for array in returned[:4]]
    env.step(np.array([2, 2, 2]))
    np.testing.assert_array_equal(observations, before)
    for array, copy in zip(returned[:4], kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("entry", ENVIRONMENTS, ids=lambda entry: entry.id)
def test_every_one_has_its_picture(entry: Any) -> None:
    env = batched(entry.id, 2, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    frames = env.render()
    scalar = gym.make(entry.id, render_mode="rgb_array")
    scalar.reset(seed=0)
    assert len(frames) == 2
    assert frames[0].shape == scalar.render().shape
    assert frames[0].dtype == np.uint8


def test_a_grid_s_pictures_show_where_each_one_is() -> None:
    env = batched(GRID, 2, render_mode="ansi")
    env.reset(seed=0)
    env.step(np.array([1, 2]))
    one, two = env.render()
    assert one != two


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        (GRID, {"autoreset_mode": AutoresetMode.DISABLED}, "autoreset_mode: is not supported .*NextStep or SameStep"),
        (GRID, {"autoreset_mode": "sometimes"}, "autoreset_mode: is not supported .*sometimes"),
        (GRID, {"autoreset_mode": 3}, "autoreset_mode: is not supported"),
        (GRID, {"slip": 1.5}, "slip: is out of bounds"),
        (GRID, {"max_episode_steps": 0}, "max_episode_steps: is not a valid whole number"),
        (BANDIT, {"render_mode": "human"}, "render_mode: is for one environment"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(env_id: str, kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batched(env_id, 2, **kwargs)


def test_no_batch_of_nothing() -> None:
    with pytest.raises(ValueError, match="num_envs: is not a valid whole number"):
        batched(GRID, 0)


@pytest.mark.parametrize(
    ("env_id", "actions"),
    [
        (GRID, np.array([0, 4])),
        (GRID, np.array([-1, 0])),
        (GRID, np.array([0])),
        (GRID, np.array([0.0, 1.0])),
        (BANDIT, np.array([0, 10])),
        (BANDIT, np.array([-1, 0])),
        (SHOT, np.array([[np.nan], [1.0]])),
        (SHOT, np.array([1.0, 2.0])),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(env_id: str, actions: Any) -> None:
    env = batched(env_id, 2)
    with pytest.raises(ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match="actions: "):
        env.step(actions)
    after = env.get_state()
    for name in before:
        np.testing.assert_equal(before[name], after[name])
