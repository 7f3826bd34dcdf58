"""Frame replay in algorithms: ours and SB3's learn the same weights, bit for bit, as with a buffer of whole stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.wrappers import FrameStackObservation
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from sb3_course import DoubleDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.replay import FrameReplayBuffer, PrioritizedFrameReplayBuffer, ReplayBuffer
from sb3_course.sb3.recorded_env import recorded

KWARGS: dict[str, Any] = {
    "buffer_size": 150, "learning_starts": 40, "batch_size": 8, "train_freq": 4, "device": "cpu", "seed": 0,
    "target_update_interval": 20, "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 16}},
}  # fmt: skip


class Camera(gym.Env[Any, Any]):
    """Frames of noise; episodes end and are cut off."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def reset(self, **kwargs: Any) -> Any:
        super().reset(**kwargs)
        self._step = 0
        return self._frame(), {}

    def _frame(self) -> np.ndarray:
        return self.np_random.integers(256, size=(36, 36, 1)).astype(np.uint8)

    def step(self, action: Any) -> Any:
        self._step += 1
        return self._frame(), float(action), self._step % 23 == 0, self._step >= 41, {}


def flat_frames() -> gym.Env[Any, Any]:
    env = gym.wrappers.TransformObservation(
        Camera(), lambda image: image[:, :, 0], gym.spaces.Box(0, 255, (36, 36), np.uint8)
    )
    return FrameStackObservation(env, 4)


def stacked(n_envs: int = 1) -> VecFrameStack:
    return VecFrameStack(DummyVecEnv([lambda: recorded(Camera())] * n_envs), 4)


def weights(model: Any) -> list[th.Tensor]:
    return list(model.policy.parameters())


def assert_same(one: Any, other: Any) -> None:
    for ours, theirs in zip(weights(one), weights(other), strict=True):
        assert th.equal(ours, theirs)


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow])
@pytest.mark.parametrize("make", [stacked, lambda: stacked(2), flat_frames], ids=["one", "two", "gymnasium's"])
def test_ours_learn_the_same(cls: Any, make: Any, tmp_path: Path) -> None:
    whole, frames = (cls("CnnPolicy", make(), **KWARGS, frame_replay=each).learn(160) for each in (False, "auto"))
    assert isinstance(frames.replay_buffer, FrameReplayBuffer)
    assert not isinstance(whole.replay_buffer, FrameReplayBuffer)
    assert isinstance(frames.replay_buffer, PrioritizedFrameReplayBuffer) == (cls is Rainbow)
    assert_same(whole, frames)
    # What is saved and loaded learns on as what was not.
    frames.save(tmp_path / "model")
    frames.save_replay_buffer(tmp_path / "replay")
    again = cls.load(tmp_path / "model", env=make(), device="cpu")
    again.load_replay_buffer(tmp_path / "replay")
    assert type(again.replay_buffer) is type(frames.replay_buffer)
    batch, other = (each.replay_buffer.gather(np.arange(100)) for each in (again, frames))
    assert np.array_equal(batch.observations, other.observations)
    assert np.array_equal(batch.next_observations, other.next_observations)


class LikeSB3:
    """Draws from NumPy's global generator as SB3's buffer does: slots, then an env for each."""

    def integers(self, high: int, size: int) -> np.ndarray:
        drawn = np.random.randint(0, high, size=size)  # noqa: NPY002
        np.random.randint(0, high=1, size=(size,))  # noqa: NPY002
        return drawn


@pytest.mark.parametrize("cls", [DQN, QRDQN])
def test_sb3_s_learn_the_same(cls: Any) -> None:
    kwargs = {**KWARGS, "train_freq": 16, "exploration_final_eps": 0.8}  # 150 steps are written over 13 times
    own = cls("CnnPolicy", stacked(), **kwargs).learn(2000)
    ours = cls("CnnPolicy", stacked(), **kwargs, replay_buffer_class=FrameReplayBuffer,
               replay_buffer_kwargs={"rng": LikeSB3()}).learn(2000)  # fmt: skip
    assert isinstance(ours.replay_buffer, FrameReplayBuffer)
    assert_same(own, ours)


def test_a_checkpoint_of_frames_goes_on_exactly(tmp_path: Path) -> None:
    model = Rainbow("CnnPolicy", stacked(2), **KWARGS).learn(100)
    model.save_checkpoint(tmp_path / "there")
    again = Rainbow.load_checkpoint(tmp_path / "there", stacked(2), device="cpu")
    for each in (model, again):
        each.learn(60, reset_num_timesteps=False)
    assert_same(model, again)


def test_where_nothing_is_stacked_rows_are_kept_and_asking_is_refused() -> None:
    assert type(DoubleDQN("CnnPolicy", Camera(), **KWARGS).replay_buffer) is ReplayBuffer
    with pytest.raises(InputError, match=r"^frame_replay: the observations are no stacks of frames \(got True, want "):
        DoubleDQN("CnnPolicy", Camera(), **KWARGS, frame_replay=True)
