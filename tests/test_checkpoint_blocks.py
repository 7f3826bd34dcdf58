"""Replay memory in checkpoints: each writes the blocks that are new, and any of them holds all to the bit."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.runs.checkpoint import newest_checkpoint, write_checkpoint
from sb3_course.runs.folder import RunFolder
from sb3_course.saving import blocks
from sb3_course.saving.arrays import save_state
from sb3_course.sb3.checkpoints import BLOCKS, REPLAY, read_replay, write_checkpoint_folder
from sb3_course.sb3.model_state import replay_state, set_replay_state


class Reach(gym.Env[dict[str, np.ndarray], int]):
    """A goal on a line."""

    observation_space = spaces.Dict(
        {name: spaces.Box(-9, 9, (2,)) for name in ("observation", "achieved_goal", "desired_goal")}
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self) -> dict[str, np.ndarray]:
        return {name: self.np_random.random(2, dtype=np.float32) for name in self.observation_space}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.seen(), -1.0, False, self.steps == 7, {}

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, infos: Any) -> np.ndarray:
        return -np.linalg.norm(achieved - desired, axis=-1).astype(np.float32)


def dqn(cls: Any, env: Any, policy: str = "MlpPolicy", **arguments: Any) -> Any:
    """Return a model with a memory of 100 slots for each of two envs, which are full after 100 steps of both."""
    return cls(policy, make_vec_env(env, 2), buffer_size=200, learning_starts=10, batch_size=4, seed=0, **arguments)


MEMORIES: dict[str, Any] = {
    "uniform, three steps": lambda: dqn(DoubleDQN, "CartPole-v1", n_steps=3),
    "prioritized": lambda: dqn(DoubleDQN, "CartPole-v1", prioritized=True),
    "hindsight": lambda: dqn(
        DoubleDQN, Reach, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer, prioritized=True
    ),
    "SB3's": lambda: dqn(DQN, "CartPole-v1"),
    "SB3's, one array of observations": lambda: dqn(
        DQN, "CartPole-v1", optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}
    ),
    "SB3's hindsight": lambda: dqn(DQN, Reach, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a kilobyte, so that a small memory has several blocks."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 512)


def write(model: Any, path: Path) -> Path:
    """Write a checkpoint, its model left out."""
    write_checkpoint_folder(model, path, save=lambda model, path: None)
    return path


def held(model: Any) -> Any:
    """Return all that a memory holds, as plain arrays."""
    memory = replay_state(model)
    return {**memory.small, **memory.large}


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Compare to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), where
    else:
        assert one == other, where


def names(path: Path) -> set[str]:
    """Return the names of a checkpoint's blocks."""
    return {each.name for each in (path / BLOCKS).iterdir()}


@pytest.mark.parametrize(("name", "links"), [*((name, True) for name in MEMORIES), ("prioritized", False)])
def test_a_chain_of_checkpoints_holds_the_memory_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(1, "not permitted")))
    model, fresh = MEMORIES[name](), MEMORIES[name]()
    for steps in (64, 30, 66, 90):  # 32 slots, 48, 84, and after a wrap-around 32
        model.learn(steps, reset_num_timesteps=False)
        path = write(model, tmp_path / str(model.num_timesteps))
        set_replay_state(fresh, read_replay(path))
        assert_equal(held(fresh), held(model))
    assert model.replay_buffer.full
    assert {each.stat().st_nlink > 1 for each in (path / BLOCKS).iterdir()} == {False, links}


def test_only_what_has_changed_is_written_whoever_changed_it(tmp_path: Path) -> None:
    model = MEMORIES["uniform, three steps"]()
    model.learn(220)
    first = write(model, tmp_path / "1")
    rows = model.replay_buffer._storage.table[:1].nbytes
    per_block = 512 // rows
    assert len(names(first)) == -(-100 // per_block)
    model.replay_buffer.rewards[per_block * 2] += 1  # SB3's attribute is a view: nobody is told
    second = write(model, tmp_path / "2")
    assert len(names(second) - names(first)) == 1
    new = [each for each in (second / BLOCKS).iterdir() if each.stat().st_nlink == 1]
    assert {each.name for each in new} == names(second) - names(first)
    again = write(model, tmp_path / "2")  # in its own place
    assert names(again) == names(second)
    fresh = MEMORIES["uniform, three steps"]()
    set_replay_state(fresh, read_replay(again))
    assert_equal(held(fresh), held(model))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5] ^= 4
    path.unlink()  # and not the other checkpoints'
    path.write_bytes(content)


def elsewhere(path: Path) -> None:
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


@pytest.mark.parametrize("damage", [torn, flipped, Path.unlink, elsewhere])
def test_a_damaged_block_makes_the_checkpoint_before_it_the_newest(tmp_path: Path, damage: Any) -> None:
    model, folder = MEMORIES["prioritized"](), RunFolder(tmp_path)
    for _ in range(3):
        model.learn(80, reset_num_timesteps=False)
        write_checkpoint(folder, model, {})
    oldest, before, newest = sorted((tmp_path / "checkpoints").iterdir(), key=lambda path: int(path.name))
    assert not (oldest / BLOCKS).exists()  # two are kept
    victim = sorted(names(newest) - names(before))[0]
    damage(newest / BLOCKS / victim)
    with pytest.warns(UserWarning, match=f"checkpoint {newest.name} is left out: checkpoint: .*in the replay memory"):
        restorer = newest_checkpoint(folder)
    assert restorer.path == before
    # Training comes by the same transitions again: their block has the name of the damaged one.
    write_checkpoint(folder, model, {})
    model.num_timesteps += 2
    write_checkpoint(folder, model, {})
    assert newest_checkpoint(folder).timesteps == model.num_timesteps


def test_a_memory_in_one_file_as_before_still_loads(tmp_path: Path) -> None:
    for name in ("prioritized", "SB3's"):
        model, fresh = MEMORIES[name](), MEMORIES[name]()
        model.learn(150)
        state = model.replay_buffer.get_state() if name == "prioritized" else None
        if state is None:  # every attribute of SB3's, whole
            arrays = {
                key: {"array": value}
                for key, value in vars(model.replay_buffer).items()
                if isinstance(value, np.ndarray)
            }
            state = {"foreign": {**arrays, "pos": {"json": model.replay_buffer.pos}, "full": {"json": False}}}
        save_state(tmp_path / REPLAY, state)
        set_replay_state(fresh, read_replay(tmp_path))
        assert_equal(held(fresh), held(model))


@pytest.mark.parametrize(
    "change",
    [
        {"$blocks": np.zeros((3, 16), np.uint8)}, {"$blocks": np.zeros((200, 16))}, {"$blocks": ["../../x"]},
        {"rows": 0}, {"rows": True}, {"length": 10**12}, {"length": -1}, {"like": np.zeros(())}, {"like": 3},
        {"like": np.zeros((0, 2), np.float64)}, {"like": np.zeros((0, 9000, 2))},
    ],
)  # fmt: skip
def test_a_description_that_was_tampered_with_is_refused(tmp_path: Path, change: Any) -> None:
    model = MEMORIES["uniform, three steps"]()
    model.learn(220)
    memory = replay_state(model)
    large = blocks.divided(memory.large, tmp_path / BLOCKS)
    before = held(MEMORIES["uniform, three steps"]())
    save_state(tmp_path / REPLAY, {**memory.small, "rows": {**large["rows"], **change}})
    fresh = MEMORIES["uniform, three steps"]()
    with pytest.raises(InputError, match=r"in the replay memory|the state is of another buffer"):
        set_replay_state(fresh, read_replay(tmp_path))
    assert_equal(held(fresh), before)  # nothing has changed


def test_neither_writing_nor_reading_needs_a_second_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 18)
    space, action = spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(2)
    for cls in (ReplayBuffer, SB3ReplayBuffer):
        model: Any = type("Model", (), {})()
        fresh: Any = type("Model", (), {})()
        model.replay_buffer, fresh.replay_buffer = cls(200, space, action), cls(200, space, action)
        model.replay_buffer.observations[:] = 7
        model.replay_buffer.full = True
        tracemalloc.start()  # what NumPy allocates is in it
        try:
            memory = replay_state(model)
            described = blocks.divided(memory.large, tmp_path / cls.__module__)
            blocks_read = blocks.joined(described, tmp_path / cls.__module__)
            set_replay_state(fresh, {**memory.small, **blocks_read})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 << 20  # of 11 MB
        assert_equal(held(fresh), held(model))


def test_a_buffer_s_file_is_written_without_a_second_memory(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1")
    model = DoubleDQN("MlpPolicy", env, buffer_size=300_000)
    model.replay_buffer.full = True
    size = model.replay_buffer._storage.table.nbytes
    tracemalloc.start()
    try:
        model.save_replay_buffer(tmp_path / "memory.npz")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 14e6  # of which NumPy's writer holds a piece
    assert peak < size + (20 << 20)
