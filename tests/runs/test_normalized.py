"""Normalised observations and a replay buffer: `VecNormalize` is outermost, in runs and wherever a user builds it."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

from sb3_course import REINFORCE, DoubleDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.runs import Settings, execute
from sb3_course.runs.environment import evaluation_env, normalization_state, set_normalization_state, training_env
from sb3_course.runs.model import build_model

SMALL: dict[str, Any] = {"learning_starts": 20, "batch_size": 4, "buffer_size": 100}
IMAGES: dict[str, Any] = {"env": "sb3_course/GridWorld-v0", "env_kwargs": {"observation": "image"}}


def settings(algo: str = "double_dqn", **changes: Any) -> Settings:
    defaults = {"env": "CartPole-v1", "n_timesteps": 40, "eval_freq": 0, "save_freq": 0, "final_episodes": 1,
                "normalize": {}, "frame_stack": 2, "hyperparameters": SMALL}  # fmt: skip
    return Settings(**{"algo": algo, **defaults, **changes})


@pytest.mark.parametrize(
    ("algo", "changes"),
    [
        ("double_dqn", {}),
        ("rainbow", {}),
        ("dqn", {}),
        ("qrdqn", {}),
        ("sac", {"env": "Pendulum-v1"}),
        ("double_dqn", {**IMAGES, "normalize": {"norm_obs": False}}),
        ("dqn", {**IMAGES, "normalize": {"norm_obs": False}, "frame_stack": 1}),
        ("double_dqn", {**IMAGES, "frame_stack": 1}),
    ],
)
def test_every_replay_algorithm_normalises_over_stacked_frames_and_images(
    tmp_path: Path, algo: str, changes: dict[str, Any]
) -> None:
    small = {**SMALL, "policy_kwargs": {"net_arch": [8]}}
    result = execute(settings(algo, **{"hyperparameters": small, **changes}), tmp_path / "run")
    assert result.finished
    assert result.timesteps >= 40


def test_what_is_stored_is_what_was_seen_before_it_was_normalised() -> None:
    run = settings(hyperparameters={**SMALL, "learning_starts": 29})
    venv = training_env(run)
    assert isinstance(venv, VecNormalize)
    model = build_model(run, venv)
    model.learn(30)
    batch = model.replay_buffer.sample(64, env=None)
    normalised = model.replay_buffer.sample(64, env=venv)
    venv.close()
    assert batch.observations.shape == (64, 8)  # two frames of four numbers
    old, new = batch.observations.numpy()[:, :4], batch.next_observations.numpy()[:, :4]
    newest = batch.observations.numpy()[:, 4:]
    going_on = batch.dones.numpy()[:, 0] == 0
    np.testing.assert_array_equal(new[going_on], newest[going_on])  # the frames moved up by one, unscaled
    assert (np.abs(old) < 5).all()
    assert not np.array_equal(normalised.observations.numpy(), batch.observations.numpy())


def test_evaluations_are_wrapped_in_the_same_order() -> None:
    run = settings(**{**IMAGES, "normalize": {"norm_obs": False}, "frame_stack": 2})
    for venv in (training_env(run), evaluation_env(run)):
        assert isinstance(venv, VecNormalize)
        assert isinstance(venv.venv, VecTransposeImage)
        assert isinstance(venv.venv.venv, VecFrameStack)
        assert venv.observation_space.shape == (6, 36, 48)
        venv.close()


def test_statistics_of_single_frames_are_those_of_each_in_a_stack() -> None:
    run = settings()
    single, stacked = training_env(run.replace(frame_stack=1)), training_env(run)
    for _ in range(3):
        single.reset()
    state = normalization_state(single)
    assert state is not None
    set_normalization_state(stacked, state)  # a file of a run that normalised before it stacked
    norm = unwrap_vec_normalize(stacked)
    assert norm is not None
    np.testing.assert_array_equal(norm.obs_rms.mean, np.tile(state["obs"]["mean"], 2))  # type: ignore[union-attr]
    single.close(), stacked.close()


# ------------------------------------------------------------------------------------------------ from Python


def cartpole() -> VecEnv:
    return make_vec_env("CartPole-v1")


def images() -> VecEnv:
    return make_vec_env("sb3_course/GridWorld-v0", env_kwargs={"observation": "image"})


@pytest.mark.parametrize(
    ("make", "policy", "right"),
    [
        (lambda: VecFrameStack(VecNormalize(cartpole()), 2), "MlpPolicy", "VecNormalize(VecFrameStack(...))"),
        (lambda: VecNormalize(images(), norm_obs=False), "CnnPolicy", "VecNormalize(VecTransposeImage(...))"),
        (
            lambda: VecFrameStack(VecNormalize(images(), norm_obs=False), 2), "CnnPolicy",
            "VecNormalize(VecTransposeImage(VecFrameStack(...)))",
        ),
    ],
)  # fmt: skip
def test_the_wrong_order_is_refused_at_construction_with_the_right_one(make: Any, policy: str, right: str) -> None:
    venv = make()
    for cls in (DoubleDQN, Rainbow):
        with pytest.raises(InputError, match=r"^env: .*outermost") as caught:
            cls(policy, venv)
        assert right in str(caught.value)
        assert "\n" not in str(caught.value)
    venv.close()


def test_the_right_order_learns_and_another_env_is_checked_too() -> None:
    plain = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    venv = VecMonitor(VecNormalize(VecFrameStack(plain, 2)))  # what changes no observation may lie outside
    model = DoubleDQN("MlpPolicy", venv, **SMALL).learn(30)
    with pytest.raises(InputError, match="outermost"):
        model.set_env(VecFrameStack(VecNormalize(cartpole()), 2))
    picture = VecNormalize(VecTransposeImage(images()), norm_obs=False)
    assert DoubleDQN("CnnPolicy", picture, **SMALL).learn(30).num_timesteps >= 30
    venv.close(), picture.close()


def test_without_a_replay_buffer_any_order_serves() -> None:
    venv = VecFrameStack(VecNormalize(cartpole()), 2)
    assert REINFORCE("MlpPolicy", venv).learn(10).num_timesteps >= 10
    venv.close()
