"""Everything that a model, its buffers, environments and callbacks hold is in a checkpoint, or comes from what is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from unlike import unlike

from sb3_course import SaveCheckpoints, StopTrainingOnSolved, registry
from sb3_course.sb3.callback_state import GIVEN, Counters
from sb3_course.sb3.checkpoints import Restorer, write_checkpoint_folder
from sb3_course.sb3.model_state import IRRELEVANT, model_attributes
from sb3_course.sb3.recorded_env import EpisodeRecorder

#: What no learning depends on, by class: what `learn` makes anew, what every rollout or step begins by setting, and the
#: backend's working memory, whose parameters, moments and noise are the policy's own.
LEAVE: dict[str, set[str]] = {
    "BaseAlgorithm": IRRELEVANT | {"_logger"},
    "RolloutBuffer": {"*"},
    "DummyVecEnv": {"actions", "buf_obs", "buf_rews", "buf_dones", "buf_infos", "reset_infos"},
    "Distribution": {"distribution", "gaussian_actions"},
    "Module": {"training"},
    "NumpyBackend": {"*"},
    "TorchBackend": {"*"},
    "ImplicitReturn": {"_levels"},  # which every update draws
    "A3C": {"_n_learns"},  # which counts the resume, so that its workers draw anew
}
OPTIONS: dict[str, Any] = {
    "learning_starts": 8, "buffer_size": 40, "batch_size": 8, "train_freq": 2, "n_delta": 2, "n_top": 1, "n_workers": 1,
    "seed": 1, "device": "cpu", "policy_kwargs": {"net_arch": [8]},
}  # fmt: skip
N_STEPS = {"rainbow": 3, "nstep_dqn": 3, "a2c": 8, "ppo": 8, "trpo": 8, "actor_critic": 8, "a3c": 8, "pqn": 8}


def make(name: str) -> Any:
    """Return a model on two environments, normalised and stacked where it takes numbers, with noise that remembers."""
    row = registry.find(name)
    cls = row.load()
    env_id = {("Box",): "Pendulum-v1"}.get(row.action_spaces, "FrozenLake-v1" if name == "q_table" else "CartPole-v1")
    venv: Any = DummyVecEnv([lambda: EpisodeRecorder(gym.make(env_id))] * 2)
    options = {key: deepcopy(value) for key, value in OPTIONS.items() if key in inspect.signature(cls).parameters}
    if name == "q_table":
        del options["policy_kwargs"]
        return cls("TablePolicy", venv, **options)
    if name in N_STEPS:
        options["n_steps"] = N_STEPS[name]
    if row.action_spaces == ("Box",):
        options["action_noise"] = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
    return cls("MlpPolicy", VecNormalize(VecFrameStack(venv, 2)), **options)


@pytest.mark.parametrize("name", registry.ALGORITHMS)
def test_a_restored_model_holds_what_the_model_held(name: str, tmp_path: Path) -> None:
    model = make(name)
    if name == "a3c":  # whose workers are other processes
        model._setup_learn(20)
    else:
        model.learn(50)
    assert model_attributes(model).opaque == ()
    write_checkpoint_folder(model, tmp_path / "c")
    restored = make(name)
    assert next(unlike(model, restored, LEAVE)), "two models that differ"
    assert Restorer(tmp_path / "c").restore(restored) == ""
    assert [*unlike(model, restored, LEAVE)] == []


def test_an_attribute_that_nobody_has_thought_of_is_noticed(tmp_path: Path) -> None:
    model, restored = make("dqn"), make("dqn")
    model.learn(50)
    model.replay_buffer.extra = np.ones(3)
    model.policy.counts = [1, 2]
    write_checkpoint_folder(model, tmp_path / "c")
    Restorer(tmp_path / "c").restore(restored)
    assert [*unlike(model, restored, LEAVE)] == [".policy.counts: only in one"]  # a buffer's attributes are kept


def callbacks(folder: Path) -> Iterable[BaseCallback]:
    """Yield callbacks that count."""
    yield StopTrainingOnSolved(threshold=1.0, n_episodes=2, stop=False)
    yield SaveCheckpoints(16, folder / "ours")
    yield CheckpointCallback(16, str(folder / "theirs"))
    yield StopTrainingOnMaxEpisodes(1000)


def test_callbacks_count_on(tmp_path: Path) -> None:
    before, after = [*callbacks(tmp_path)], [*callbacks(tmp_path)]
    A2C("MlpPolicy", "CartPole-v1", n_steps=8, seed=1).learn(64, callback=before)
    for one, two in zip(before, after, strict=True):
        kept = Counters(one)
        assert kept.lost == ""
        Counters(two).set_state(kept.get_state())
        assert [*unlike(one, two, {"BaseCallback": GIVEN})] == []
