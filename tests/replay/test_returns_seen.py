"""The returns that a replay buffer has seen and may come to see, against episodes written out."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course.replay import ReplayBuffer, as_replay
from sb3_course.replay.returns_seen import returns_seen

GAMMA = 0.5


def columns(*episodes: tuple[list[float], str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rewards, dones and timeouts of one env, (T, 1) each; an episode ends as its word says."""
    rewards, dones, timeouts = [], [], []
    for paid, end in episodes:
        rewards += paid
        dones += [0.0] * (len(paid) - 1) + [float(end != "open")]
        timeouts += [0.0] * (len(paid) - 1) + [float(end == "cut off")]
    return tuple(np.array(column, np.float32)[:, None] for column in (rewards, dones, timeouts))  # type: ignore


@pytest.mark.parametrize(
    ("episodes", "expected"),
    [
        ([([2.0], "terminated"), ([-3.0], "terminated")], (-3.0, 2.0)),  # bandits: what is paid is all
        ([([1.0, 2.0, 4.0], "terminated")], (3.0, 4.0)),  # 1 + 2/2 + 4/4 = 3, 2 + 4/2 = 4 and 4
        ([([1.0] * 2, "terminated"), ([1.0] * 3, "terminated")], (1.0, 2.0)),  # CartPole: 1 for ever is 1/(1 − γ)
        ([([0.0] * 2 + [8.0], "terminated"), ([0.0, 8.0], "terminated")], (0.0, 8.0)),  # a goal is not paid again
        ([([-1.0] * 3, "cut off")], (-2.0, -1.0)),  # MountainCar
        ([([-1.0] * 3, "open")], (-2.0, -1.0)),
    ],
)
def test_episodes_written_out(episodes: Any, expected: tuple[float, float]) -> None:
    assert returns_seen(*columns(*episodes), GAMMA) == pytest.approx(expected)


def test_undiscounted_returns_are_those_that_were_seen() -> None:
    assert returns_seen(*columns(([1.0] * 4, "cut off"), ([1.0] * 2, "terminated")), 1.0) == (1.0, 4.0)


def test_nothing_is_expected_of_nothing() -> None:
    empty = np.zeros((0, 1), np.float32)
    assert returns_seen(empty, empty, empty, GAMMA) is None


@pytest.mark.parametrize("cls", [ReplayBuffer, SB3ReplayBuffer])
def test_a_full_ring_is_read_from_its_oldest_transition_on(cls: Any) -> None:
    """Slots 2, 3, 0, 1 in their order: 8, then 1 and the end, then 0 and an end with 4."""
    space = gym.spaces.Box(-1, 1, (1,))
    buffer = cls(4, space, gym.spaces.Discrete(2), device="cpu")
    for reward, done in ((9.0, False), (9.0, False), (8.0, False), (1.0, True), (0.0, False), (4.0, True)):
        buffer.add(np.zeros(1), np.zeros(1), np.zeros(1), np.array([reward]), np.array([done]), [{}])
    assert as_replay(buffer, 0.5).returns_seen() is not None
    replay = as_replay(buffer, 0.5)
    replay.connect(gamma=0.5)
    assert replay.returns_seen() == pytest.approx((1.0, 8.5))
