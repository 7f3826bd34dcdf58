"""A replay buffer is read from its file straight into its own arrays: loading needs hardly any memory besides."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course import DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.replay import HindsightReplayBuffer, PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.replay.buffer_files import load_buffer, save_buffer, slot_arrays
from sb3_course.replay.frame_buffers import FrameReplayBuffer
from sb3_course.saving import members
from sb3_course.saving.members import LARGE

SLOTS = 40_000


class Wide(gym.Env[np.ndarray, np.int64]):
    """Observations of 400 bytes."""

    observation_space = spaces.Box(-1, 1, (100,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(100, np.float32), {}


def model(buffer: type[SB3ReplayBuffer] = ReplayBuffer) -> Any:
    return DoubleDQN("MlpPolicy", Wide(), buffer_size=SLOTS, replay_buffer_class=buffer, device="cpu")


def filled(buffer: type[SB3ReplayBuffer]) -> Any:
    """Return a model whose replay is full."""
    made, rng = model(buffer), np.random.default_rng(0)
    replay = made.replay_buffer
    for array in (replay.observations, replay.next_observations):
        array[...] = rng.random((SLOTS, 1, 100), np.float32)
    replay.rewards[...] = rng.random((SLOTS, 1))
    if isinstance(replay, ReplayBuffer):
        replay.adopt_rows(3, full=True)
    else:
        replay.pos, replay.full = 3, True
    return made


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer, SB3ReplayBuffer])
def test_loading_takes_the_buffers_own_memory_and_a_few_megabytes(cls: type[SB3ReplayBuffer], tmp_path: Path) -> None:
    written = filled(cls)
    written.save_replay_buffer(tmp_path / "replay")
    reader = model(cls)
    tracemalloc.start()
    try:
        reader.load_replay_buffer(tmp_path / "replay")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    arrays = SLOTS * (2 * 400 + 40)
    assert arrays < peak < arrays + 2 * LARGE
    for name in ("observations", "next_observations", "rewards", "dones"):
        np.testing.assert_array_equal(getattr(reader.replay_buffer, name), getattr(written.replay_buffer, name))
    assert (reader.replay_buffer.pos, reader.replay_buffer.full) == (3, True)


def test_one_bit_in_a_large_array_is_noticed_and_the_model_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "replay.npz"
    filled(ReplayBuffer).save_replay_buffer(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    reader = model()
    own = reader.replay_buffer
    with pytest.raises(InputError, match=r"^replay buffer: the file is damaged: Bad CRC-32"):
        reader.load_replay_buffer(path)
    assert reader.replay_buffer is own
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"^replay buffer: "):
        reader.load_replay_buffer(path)


WORDS = "observation", "achieved_goal", "desired_goal"
GOALS = spaces.Dict({name: spaces.Box(-1, 1, (2,), np.float64) for name in WORDS})
KINDS: dict[str, tuple[type[SB3ReplayBuffer], spaces.Space[Any], dict[str, Any]]] = {
    "frames": (FrameReplayBuffer, spaces.Box(0, 255, (4, 3, 3), np.uint8), {"n_stack": 4, "stack_axis": 0}),
    "masks": (PrioritizedReplayBuffer, spaces.Box(-1, 1, (2,)), {"masked": True}),
    "goals": (HindsightReplayBuffer, GOALS, {"env": None}),
    "SB3's dict": (DictReplayBuffer, GOALS, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_large_is_read_as_it_was_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls, space, arguments = KINDS[kind]
    actions = spaces.Discrete(3)
    written: Any = cls(50, space, actions, device="cpu", **arguments)
    space.seed(0)
    for step in range(60):
        seen, done = [space.sample() for _ in range(2)], np.array([step % 7 == 6])
        before, after = (
            {name: part[None] for name, part in each.items()} if isinstance(each, dict) else each[None] for each in seen
        )
        written.add(before, after, np.array([step % 3]), np.array([0.1 * step]), done, [{}])
    assert save_buffer(tmp_path / "replay.npz", written)
    asked = SimpleNamespace(observation_space=space, action_space=actions, n_envs=1, device="cpu", env=None)
    eager: Any = load_buffer(tmp_path / "replay.npz", asked, truncate=False)
    monkeypatch.setattr(members, "LARGE", 1)
    read: Any = load_buffer(tmp_path / "replay.npz", asked, truncate=False)
    for each in (eager, read):
        assert (each.pos, each.full) == (10, True)
        for mine, theirs in zip(arrays_of(each), arrays_of(written), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def arrays_of(buffer: Any) -> list[np.ndarray]:
    """Return all arrays of a buffer's state, in order."""
    found = buffer.get_state() if isinstance(buffer, ReplayBuffer) else slot_arrays(buffer)
    stack, arrays = list(found.values()), []
    while stack:
        part = stack.pop(0)
        if isinstance(part, dict):
            stack = [*part.values(), *stack]
        elif isinstance(part, np.ndarray):
            arrays.append(part)
    assert len(arrays) > 1
    return arrays
