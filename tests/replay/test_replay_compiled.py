"""Compiled loops of replay draw, sum and store what NumPy's calls do, to the last bit up to seven steps."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from sb3_course.replay import ReplayBuffer
from sb3_course.replay.sum_tree import SumTree

pytest.importorskip("numba")


@pytest.mark.parametrize("capacity", [1, 31, 33, 5_000, 200_000])
def test_trees_are_the_same_to_the_last_bit(capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = []
    for word in ("1", "0"):
        monkeypatch.setenv("SB3_COURSE_COMPILED", word)
        trees.append(SumTree(capacity))
    assert [tree._compiled for tree in trees] == [True, False]
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


@pytest.mark.parametrize("n_steps", [2, 3, 7, 10])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("length", [5, 40])
def test_windows_are_the_same(n_steps: int, n_envs: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = []
    for word in ("1", "0"):
        monkeypatch.setenv("SB3_COURSE_COMPILED", word)
        box = spaces.Box(-1, 1, (2,))
        buffers.append(ReplayBuffer(20 * n_envs, box, spaces.Discrete(2), "cpu", n_envs, n_steps=n_steps, gamma=0.97))
    rng = np.random.default_rng(length)
    for _ in range(length):
        obs, rewards = rng.random((2, n_envs, 2), np.float32), rng.standard_normal(n_envs)
        dones, cut = rng.random((2, n_envs)) < 0.15
        infos = [{"TimeLimit.truncated": bool(one)} for one in cut & dones]
        for buffer in buffers:
            buffer.add(*obs, np.zeros((n_envs, 1)), rewards, dones, infos)
    indices = np.arange(buffers[0].size() * n_envs)
    batches = [buffer.gather(indices) for buffer in buffers]
    for mine, theirs in zip(*batches, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 if n_steps > 7 else 0)
        assert mine.dtype == theirs.dtype
