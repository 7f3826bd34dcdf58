"""Compiled twins of replay's loops draw, sum and store what NumPy's calls do, to the last bit up to seven steps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from sb3_course.backends.twins import best
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.replay.adding import add_sound
from sb3_course.replay.rows import write_step
from sb3_course.replay.sum_tree import SumTree, tree_children, tree_parents, tree_roots
from sb3_course.replay.window import windows

pytest.importorskip("numba")


def twin(function: Any) -> Any:
    return best(function)


@pytest.mark.parametrize("capacity", [1, 31, 33, 5_000, 200_000])
def test_trees_are_the_same_to_the_last_bit(capacity: int) -> None:
    trees = [SumTree(capacity), SumTree(capacity)]
    trees[0].connect(twin)
    rng = np.random.default_rng(capacity)
    for _ in range(20):
        indices, values = rng.integers(capacity, size=50), rng.random(50) ** 20
        values[::7] = 0
        targets = rng.random(64)
        found = []
        for tree in trees:
            tree.set(indices, values)
            tree.fill(indices[0], indices[0] + 1, 0.5)
            found.append(tree.find(targets * tree.total))
        np.testing.assert_array_equal(*found)
        for mine, theirs in zip(*(tree._levels for tree in trees), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def filled(n_envs: int, length: int, **kwargs: Any) -> ReplayBuffer:
    box = spaces.Box(-1, 1, (2,))
    buffer = PrioritizedReplayBuffer(20 * n_envs, box, spaces.Discrete(2), "cpu", n_envs, **kwargs)
    rng = np.random.default_rng(length)
    for _ in range(length):
        obs, rewards = rng.random((2, n_envs, 2), np.float32), rng.standard_normal(n_envs)
        dones, cut = rng.random((2, n_envs)) < 0.15
        infos = [{"TimeLimit.truncated": bool(one)} for one in cut & dones]
        buffer.add(*obs, np.zeros((n_envs, 1)), rewards, dones, infos)
    return buffer


@pytest.mark.parametrize("n_steps", [2, 3, 7, 10])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("length", [5, 40])
def test_windows_are_the_same(n_steps: int, n_envs: int, length: int) -> None:
    buffers = [filled(n_envs, length, n_steps=n_steps, gamma=0.97) for _ in range(2)]
    buffers[0].connect(best=twin)
    indices = np.arange(buffers[0].size() * n_envs)
    results = [[*buffer._window(indices, None), *buffer.gather(indices)] for buffer in buffers]
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 if n_steps > 7 else 0)
        assert mine.dtype == theirs.dtype


def test_whoever_assembles_a_buffer_hands_over_the_twins_and_a_copy_has_none() -> None:
    """A pickle may be read where there are none."""
    asked: list[Any] = []

    def best(function: Any) -> Any:
        asked.append(function)
        return lambda *args: asked.append("used") or function(*args)

    buffer = filled(1, 30, n_steps=3)
    buffer.connect(best=best)
    assert asked == [windows, write_step, tree_parents, tree_children, tree_roots]
    buffer.update(buffer.sample_batch(4).indices, np.ones(4))
    assert asked.count("used") == 4
    buffer.reset()
    assert buffer.tree._parents is not tree_parents
    for other in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):
        used = other._windows, other.tree._parents, other.tree._children, other.tree._roots
        assert used == (windows, tree_parents, tree_children, tree_roots)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_sound_step_is_stored_in_one_call_as_add_does(n_envs: int, compiled: bool) -> None:
    box, rng = spaces.Box(-1, 1, (3,)), np.random.default_rng(0)
    quick, plain = (PrioritizedReplayBuffer(7 * n_envs, box, spaces.Discrete(2), "cpu", n_envs) for _ in range(2))
    if compiled:
        quick.connect(best=twin)
    n_quick = 0
    for _ in range(60):
        obs, next_obs = rng.random((2, n_envs, 3), np.float32)
        reward, action = rng.random(n_envs, np.float32), rng.integers(2, size=n_envs)
        done = rng.random(n_envs) < 0.1
        infos = [{"TimeLimit.truncated": bool(one)} for one in done]
        step = obs, next_obs, action, reward, done, infos
        stored = add_sound(quick, *step)
        assert stored == (not done.any())
        n_quick += stored
        if not stored:
            quick.add(*step)
        plain.add(*step)
    assert n_quick > 20
    mine, theirs = quick.get_state(), plain.get_state()
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize(
    "other",
    [
        {"next_obs": np.full((1, 3), np.nan, np.float32)},
        {"next_obs": np.zeros((1, 2), np.float32)},
        {"next_obs": np.zeros((1, 3))},
        {"obs": [[0.0] * 3]},
        {"reward": np.full(1, np.inf, np.float32)},
        {"reward": [1.0]},
        {"action": np.zeros((1, 1), np.int64)},
        {"done": np.ones(1, bool)},
        {"infos": [{"TimeLimit.truncated": True}]},
        {"infos": []},
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_any_other_step_is_left_to_add(other: dict[str, Any], compiled: bool) -> None:
    buffer = ReplayBuffer(5, spaces.Box(-1, 1, (3,)), spaces.Discrete(2), "cpu")
    if compiled:
        buffer.connect(best=twin)
    zeros = np.zeros((1, 3), np.float32)
    step: dict[str, Any] = {"obs": zeros, "next_obs": zeros, "action": np.zeros(1, np.int64)}
    step |= {"reward": np.zeros(1, np.float32), "done": np.zeros(1, bool), "infos": [{}]}
    assert not add_sound(buffer, **{**step, **other})
    assert buffer.pos == 0
    buffer.add = lambda *_: None  # type: ignore[method-assign]  # a user's
    assert not add_sound(buffer, **step)
    del buffer.add
    assert add_sound(buffer, **step)
    assert buffer.pos == 1
