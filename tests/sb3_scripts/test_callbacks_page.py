"""The pages "Callbacks", "Tensorboard" and "Logger": what watches, stops, saves and records a training."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import (
    Figure,
    HParam,
    Image,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    configure,
)
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course import REINFORCE, ActorCritic, DoubleDQN, NumpyDQN, Rainbow

BOTH = pytest.mark.parametrize("cls", [DoubleDQN, ActorCritic])
SOME = pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, NumpyDQN, ActorCritic, REINFORCE])


class Diary(BaseCallback):
    """Writes down which of its methods is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def _on_training_start(self) -> None:
        self.calls.append("training_start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout_start")

    def _on_step(self) -> bool:
        assert self.training_env is self.model.get_env()
        assert {"infos", "dones", "rewards"} <= self.locals.keys()
        assert self.num_timesteps == self.model.num_timesteps == self.n_calls
        self.calls.append("step")
        return True

    def _on_rollout_end(self) -> None:
        self.calls.append("rollout_end")

    def _on_training_end(self) -> None:
        self.calls.append("training_end")


@SOME
def test_a_callback_of_ones_own(cls: Any, quick: Any) -> None:
    diary = Diary()
    model = quick(cls, "MlpPolicy", "CartPole-v1")
    model.learn(50, callback=diary)
    assert diary.calls[:3] == ["training_start", "rollout_start", "step"]
    assert diary.calls[-2:] == ["rollout_end", "training_end"]
    assert diary.calls.count("step") == model.num_timesteps
    assert diary.calls.count("rollout_start") == diary.calls.count("rollout_end")


@BOTH
def test_checkpoints_with_memory_and_statistics(cls: Any, quick: Any) -> None:
    callback = CheckpointCallback(
        save_freq=40, save_path="logs", name_prefix="rl_model", save_replay_buffer=True, save_vecnormalize=True
    )
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=1))
    quick(cls, "MlpPolicy", env).learn(80, callback=callback)
    written = {path.name for path in Path("logs").iterdir()}
    assert {"rl_model_40_steps.zip", "rl_model_80_steps.zip", "rl_model_vecnormalize_80_steps.pkl"} <= written
    loaded = cls.load("logs/rl_model_80_steps")
    assert loaded.num_timesteps == 80
    if cls is DoubleDQN:
        loaded.load_replay_buffer("logs/rl_model_replay_buffer_80_steps.pkl")
        assert loaded.replay_buffer.size() == 79  # as SB3: a callback is called before its step is stored


@BOTH
@pytest.mark.parametrize("as_list", [True, False])
def test_a_list_of_callbacks(cls: Any, as_list: bool, quick: Any) -> None:
    checkpoint = CheckpointCallback(save_freq=50, save_path="logs")
    evaluation = EvalCallback(
        gym.make("CartPole-v1"), best_model_save_path="logs/best", log_path="logs/results", eval_freq=50
    )
    callbacks = [checkpoint, evaluation]
    quick(cls, "MlpPolicy", "CartPole-v1").learn(100, callback=callbacks if as_list else CallbackList(callbacks))
    assert Path("logs/rl_model_100_steps.zip").exists()
    assert Path("logs/best/best_model.zip").exists()
    assert np.load("logs/results/evaluations.npz")["timesteps"].tolist() == [50, 100]


@SOME
def test_training_stops_at_a_score(cls: Any, quick: Any) -> None:
    reached = StopTrainingOnRewardThreshold(reward_threshold=5, verbose=1)
    evaluation = EvalCallback(gym.make("CartPole-v1"), callback_on_new_best=reached, eval_freq=60, verbose=1)
    model = quick(cls, "MlpPolicy", "CartPole-v1", verbose=1)
    model.learn(int(1e10), callback=evaluation)
    assert model.num_timesteps == 60


@BOTH
def test_training_stops_where_nothing_improves(cls: Any, quick: Any) -> None:
    def nothing_to_gain() -> gym.Env[Any, Any]:
        return gym.wrappers.TransformReward(gym.make("FrozenLake-v1"), lambda _: 0.0)

    stop = StopTrainingOnNoModelImprovement(max_no_improvement_evals=1, min_evals=1, verbose=1)
    evaluation = EvalCallback(nothing_to_gain(), eval_freq=30, callback_after_eval=stop, n_eval_episodes=1)
    model = quick(cls, "MlpPolicy", nothing_to_gain(), learning_rate=1e-3)
    model.learn(int(1e10), callback=evaluation)
    assert model.num_timesteps == 90  # the first is the best, and the third is one too many


@SOME
def test_training_stops_after_some_episodes(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", make_vec_env("CartPole-v1", n_envs=2), verbose=1)
    model.learn(int(1e10), callback=StopTrainingOnMaxEpisodes(max_episodes=3, verbose=1))
    finished = model.get_env().env_method("get_episode_rewards")
    assert sum(map(len, finished)) >= 6  # three for each env


@BOTH
def test_events_every_so_many_steps(cls: Any, quick: Any) -> None:
    event = EveryNTimesteps(n_steps=40, callback=CheckpointCallback(save_freq=1, save_path="logs"))
    quick(cls, "MlpPolicy", "CartPole-v1").learn(100, callback=event)
    assert sorted(path.name for path in Path("logs").iterdir()) == ["rl_model_40_steps.zip", "rl_model_80_steps.zip"]


@SOME
def test_logs_every_so_many_steps(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1")
    model.set_logger(configure("logs", ["csv"]))
    model.learn(100, callback=LogEveryNTimesteps(n_steps=25), log_interval=None)
    with Path("logs/progress.csv").open() as file:
        steps = [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]
    assert steps == list(range(25, model.num_timesteps + 1, 25))


@BOTH
def test_a_bar(cls: Any, quick: Any) -> None:
    quick(cls, "MlpPolicy", "CartPole-v1").learn(40, callback=ProgressBarCallback())


# -- TensorBoard ------------------------------------------------------------------------------------------------------


def scalars(folder: str) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard would draw of a folder: tag -> (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder)
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@BOTH
def test_tensorboard_goes_on_where_the_steps_do(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1", tensorboard_log="board")
    model.learn(60, tb_log_name="run", log_interval=1)
    model.learn(60, tb_log_name="run", log_interval=1, reset_num_timesteps=False)
    model.learn(60, log_interval=1)
    assert sorted(path.name for path in Path("board").iterdir()) == [f"{cls.__name__}_1", "run_1"]
    # Files of one second are read in the order of their names, in which a tenth comes before a ninth.
    steps = [step for step, _ in scalars("board/run_1")["rollout/ep_rew_mean"]]
    assert len(steps) == len(set(steps))  # none begins again
    assert 60 < max(steps) <= 120


class Recorder(BaseCallback):
    """Records a number, a picture, a figure, hyperparameters and, past the logger, a text."""

    def _on_training_start(self) -> None:
        numbers = {"algorithm": type(self.model).__name__, "learning rate": self.model.learning_rate,
                   "gamma": self.model.gamma}  # fmt: skip
        hidden = ("stdout", "log", "json", "csv")
        self.logger.record("hparams", HParam(numbers, {"rollout/ep_len_mean": 0}), exclude=hidden)
        formats = self.logger.output_formats
        self.board = next(format_ for format_ in formats if isinstance(format_, TensorBoardOutputFormat))

    def _on_step(self) -> bool:
        import matplotlib.pyplot as plt

        self.logger.record("own/number", float(self.num_timesteps))
        if self.n_calls == 30:
            hidden = ("stdout", "log", "json", "csv")
            self.logger.record("own/picture", Image(self.training_env.render(mode="rgb_array"), "HWC"), exclude=hidden)
            figure = plt.figure()
            figure.add_subplot().plot(self.model.rng.random(3))
            self.logger.record("own/figure", Figure(figure, close=True), exclude=hidden)
            self.board.writer.add_text("direct_access", "this is a value", self.num_timesteps)
            self.logger.dump(self.num_timesteps)
        return True


@BOTH
def test_own_values_on_the_board(cls: Any, quick: Any) -> None:
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    quick(cls, "MlpPolicy", env, tensorboard_log="board").learn(60, callback=Recorder())
    own = scalars(f"board/{cls.__name__}_1")["own/number"]
    assert (30, 30.0) in own


class Metrics(KVWriter):
    """A tracking service of one's own."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[int, Any]]] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        for key, value in key_values.items():
            if isinstance(value, np.ScalarType) and not isinstance(value, str):
                self.seen.setdefault(key, []).append((step, value))

    def close(self) -> None:
        """There is nothing to close."""


@SOME
def test_a_logger_of_ones_own(cls: Any, quick: Any) -> None:
    metrics = Metrics()
    model = quick(cls, "MlpPolicy", "CartPole-v1", verbose=2)
    model.set_logger(Logger(folder=None, output_formats=[metrics]))
    model.learn(total_timesteps=150, log_interval=1)
    assert {"rollout/ep_rew_mean", "time/total_timesteps", "train/n_updates"} <= metrics.seen.keys()
    assert any(key.startswith("train/") and "loss" in key for key in metrics.seen)
