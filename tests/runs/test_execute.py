"""`execute`: reproducible, undisturbed by who watches, scored by the unwrapped reward, and able to go on."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_zip_file

from sb3_course.config.errors import InputError
from sb3_course.registry import find
from sb3_course.runs import RunFolder, Settings, Watch, execute, known_envs, resume
from sb3_course.runs.choosers import ROWS
from sb3_course.runs.environment import evaluation_env, normalization_state, training_env
from sb3_course.runs.evaluation import evaluate
from sb3_course.runs.model import choose_policy, hyperparameters
from sb3_course.runs.tables import read_table
from sb3_course.runs.words import Wrapper
from sb3_course.saving.arrays import load_state

DQN = {
    "learning_starts": 50,
    "train_freq": 4,
    "batch_size": 16,
    "buffer_size": 1000,
    "policy_kwargs": {"net_arch": [16]},
}
A2C = {"policy_kwargs": {"net_arch": [16]}}


def short(algo: str, n_timesteps: int = 400, **changes: Any) -> Settings:
    own = DQN if algo.endswith("dqn") else A2C
    defaults = {"eval_freq": 100, "save_freq": 100, "eval_episodes": 2, "final_episodes": 2, "hyperparameters": own}
    return Settings(**{"algo": algo, "env": "CartPole-v1", "n_timesteps": n_timesteps, **defaults, **changes})


def weights(folder: Path, name: str = "model.zip") -> dict[str, th.Tensor]:
    _, parameters, _ = load_from_zip_file(folder / name, device="cpu")
    return {key: value for key, value in parameters["policy"].items() if isinstance(value, th.Tensor)}


def assert_equal_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(th.equal(a[key], b[key]) for key in a)


class Stopper:
    """Wants to stop once a number of evaluations has been seen."""

    def __init__(self, after: int) -> None:
        self.left = after

    def watch(self) -> Watch:
        return Watch(evaluation=self.count, stop=lambda: self.left <= 0)

    def count(self, _: object) -> None:
        self.left -= 1


@pytest.mark.parametrize("algo", ["dqn", "a2c"])
def test_neither_evaluations_nor_checkpoints_change_what_is_learnt(tmp_path: Path, algo: str) -> None:
    execute(short(algo, 300, eval_freq=30, save_freq=60), tmp_path / "watched")
    execute(short(algo, 300, eval_freq=0, save_freq=0), tmp_path / "alone")
    execute(short(algo, 300, eval_freq=0, save_freq=0, seed=1), tmp_path / "other")
    assert_equal_weights(tmp_path / "watched", tmp_path / "alone")
    assert not all(th.equal(a, b) for a, b in zip(
        weights(tmp_path / "alone").values(), weights(tmp_path / "other").values(), strict=True))  # fmt: skip


def test_what_a_finished_run_leaves(tmp_path: Path) -> None:
    result = execute(short("dqn"), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        ".lock", "best_model.zip", "checkpoints", "config.yaml", "curve.png", "evaluations.csv", "evaluations.npz",
        "model.zip", "monitor.csv", "progress.csv", "status.json", "versions.json",
    }  # fmt: skip
    rows = read_table(tmp_path / "run" / "evaluations.csv")
    assert [int(row["timesteps"]) for row in rows] == [100, 200, 300, 400]
    assert [float(row["mean"]) for row in rows] == [score.mean for score in result.evaluations]
    assert all(len(row["returns"].split()) == 2 for row in rows)
    status = RunFolder(tmp_path / "run").status()
    assert status["state"] == "finished"
    assert status["mean"] == result.mean
    assert result.timesteps == 400
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["100", "200", "300", "400"]
    steps = [int(row["timesteps"]) for row in read_table(tmp_path / "run" / "progress.csv")]
    assert steps == sorted(steps)
    assert steps[-1] == 400


def test_the_best_model_is_that_of_the_best_evaluation(tmp_path: Path) -> None:
    result = execute(short("a2c", 1000, hyperparameters={"learning_rate": 0.02, **A2C}), tmp_path / "run")
    means = [score.mean for score in result.evaluations]
    data, _, _ = load_from_zip_file(tmp_path / "run" / "best_model.zip", device="cpu")
    assert data is not None
    assert data["num_timesteps"] == result.evaluations[int(np.argmax(means))].timesteps
    assert len(set(means)) > 1


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = execute(short("a2c", 100))
    assert len(result.final.returns if result.final else ()) == 2
    assert list(tmp_path.iterdir()) == []


def test_steps_are_counted_over_all_environments(tmp_path: Path) -> None:
    result = execute(short("a2c", 400, n_envs=4), tmp_path / "run")
    assert [score.timesteps for score in result.evaluations] == [100, 200, 300, 400]
    assert sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()) == [100, 200, 300, 400]


def test_a_process_for_each_environment_changes_nothing(
    tmp_path: Path, worker_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked from a server that has imported everything; afresh, as for a user, they start in chaos/test_signals.py."""
    if worker_server:
        monkeypatch.setattr("sb3_course.sb3.reread.START_METHOD", "forkserver")
    for kind in ("dummy", "subproc"):
        execute(short("a2c", 100, n_envs=2, vec_env=kind), tmp_path / kind)
    assert_equal_weights(tmp_path / "dummy", tmp_path / "subproc")


def test_environment_i_gets_seed_plus_i() -> None:
    venv = training_env(short("a2c", n_envs=2, seed=5))
    observations = venv.reset()
    venv.close()
    for index in range(2):
        expected, _ = gym.make("CartPole-v1").reset(seed=5 + index)
        np.testing.assert_array_equal(observations[index], expected)


def test_a_budget_of_episodes() -> None:
    assert execute(short("dqn", n_timesteps=None, n_episodes=7)).episodes == 7


def test_scores_are_the_unwrapped_reward() -> None:
    settings = short("dqn", env_wrapper=(Wrapper("sb3_course.envs.wrappers:ShapedCartPole"),))
    result = execute(settings)
    for score in (*result.evaluations, result.final):
        assert score is not None
        assert score.returns == tuple(float(length) for length in score.lengths)


def test_a_wrapper_that_cuts_episodes_is_scored_by_what_the_monitor_saw() -> None:
    result = execute(short("dqn", env_wrapper=(Wrapper("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 6}),)))
    assert result.final is not None
    assert result.final.lengths == (6, 6)
    assert result.final.returns == (6.0, 6.0)


def test_normalisation_statistics_are_saved_as_arrays(tmp_path: Path) -> None:
    execute(short("a2c", normalize={}, frame_stack=2), tmp_path / "run")
    state = load_state(tmp_path / "run" / "model.normalization.npz")
    assert state["obs"]["mean"].shape == (8,)
    assert state["obs"]["count"] == pytest.approx(401, abs=1)
    assert (tmp_path / "run" / "best_model.normalization.npz").exists()


def test_the_evaluation_environment_neither_learns_statistics_nor_scales_rewards() -> None:
    venv = evaluation_env(short("a2c", normalize={}))
    before = normalization_state(venv)
    venv.reset()
    rewards = venv.step(np.array([0]))[1]
    after = normalization_state(venv)
    venv.close()
    assert rewards[0] == 1.0
    assert before is not None
    assert after is not None
    assert before["obs"]["count"] == after["obs"]["count"]


@pytest.mark.parametrize("algo", ["dqn", "a2c", "double_dqn"])
def test_an_interrupted_run_goes_on(tmp_path: Path, algo: str) -> None:
    settings = short(algo, 600, save_freq=250)
    run = tmp_path / "run"
    result = execute(settings, run, Stopper(after=3).watch())
    assert not result.finished
    assert RunFolder(run).status()["state"] == "interrupted"
    stopped_at = int(max((path.name for path in (run / "checkpoints").iterdir()), key=int))
    assert 300 <= stopped_at < 310
    assert_equal_weights(run, run / "checkpoints" / str(stopped_at))
    with open(run / "evaluations.csv", "a") as file:
        file.write("350,torn")
    whole, lost = resume(run)
    assert whole.finished
    assert whole.timesteps == 600
    assert [score.timesteps for score in whole.evaluations] == [100, 200, 300, 400, 500, 600]
    assert [int(row["timesteps"]) for row in read_table(run / "evaluations.csv")] == [100, 200, 300, 400, 500, 600]
    steps = [int(row["timesteps"]) for row in read_table(run / "progress.csv")]
    assert steps == sorted(set(steps))
    assert lost == ()
    with pytest.raises(InputError, match="finished"):
        resume(run)


def test_schedules_go_on_towards_the_original_budget(tmp_path: Path) -> None:
    settings = short("dqn", 600, hyperparameters={**DQN, "exploration_fraction": 1.0, "exploration_final_eps": 0.0})
    execute(settings, tmp_path / "run", Stopper(after=3).watch())
    resume(tmp_path / "run")
    data, _, _ = load_from_zip_file(tmp_path / "run" / "model.zip", device="cpu")
    assert data is not None
    assert data["_total_timesteps"] == 600
    assert data["exploration_rate"] == pytest.approx(0.0, abs=1e-9)


def test_a_resumed_run_has_its_replay_memory_back(tmp_path: Path) -> None:
    execute(short("double_dqn", 600), tmp_path / "run", Stopper(after=3).watch())
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    saved = load_state(newest / "replay.npz")
    kept = sorted(int(path.parent.name) for path in (tmp_path / "run").rglob("replay.npz"))
    assert len(kept) == 2  # the newest two keep it
    assert kept[-1] == int(newest.name)
    assert sum(value.nbytes for value in saved.values() if isinstance(value, np.ndarray)) > 0


def test_a_pruner_ends_the_run() -> None:
    result = execute(short("a2c"), watch=Watch(evaluation=lambda score: score.timesteps < 200))
    assert not result.finished
    assert [score.timesteps for score in result.evaluations] == [100, 200]
    assert result.final is None


def test_a_search_that_ignores_callbacks_can_be_stopped() -> None:
    settings = short("ars", 100_000, hyperparameters={"n_delta": 1, "n_top": 1})
    result = execute(settings, watch=Watch(evaluation=lambda score: score.timesteps < 200))
    assert not result.finished
    assert result.timesteps < 250


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    settings = short("dqn", hyperparameters={**DQN, "learning_rate": 1e30, "max_grad_norm": 1e30})
    with pytest.raises(FloatingPointError, match=r"train/loss is (nan|inf) at step \d+"):
        execute(settings, tmp_path / "run")
    status = RunFolder(tmp_path / "run").status()
    assert status["state"] == "failed"
    assert "train/loss" in status["reason"]
    assert (tmp_path / "run" / "progress.csv").exists()


class Picture(gym.Env[Any, Any]):
    def __init__(self, dictionary: bool = False) -> None:
        image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": image, "x": spaces.Box(-1, 1, (2,))}) if dictionary else image
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 1.0, bool(self.np_random.random() < 0.2), False, {}


@pytest.fixture
def picture_env() -> Iterator[str]:
    gym.register("tests/Picture-v0", Picture, max_episode_steps=20)
    yield "tests/Picture-v0"
    del gym.registry["tests/Picture-v0"]


@pytest.mark.parametrize(("dictionary", "policy"), [(False, "CnnPolicy"), (True, "MultiInputPolicy")])
def test_the_policy_follows_the_observations(picture_env: str, dictionary: bool, policy: str) -> None:
    small = {**DQN, "policy_kwargs": {}}
    settings = short("dqn", 70, env=picture_env, env_kwargs={"dictionary": dictionary}, hyperparameters=small)
    result = execute(settings)
    assert result.timesteps == 72  # whole rollouts of train_freq 4
    space = Picture(dictionary).observation_space
    assert choose_policy(find("dqn").load(), settings, space) == policy


def test_action_noise_in_the_words_of_the_zoo() -> None:
    settings = Settings(
        algo="td3", env="Pendulum-v1", n_timesteps=10,
        hyperparameters={"noise_type": "ornstein-uhlenbeck", "noise_std": 0.5},
    )  # fmt: skip
    arguments = hyperparameters(settings, spaces.Box(-1, 1, (3,)))
    assert arguments.keys() == {"action_noise"}
    assert type(arguments["action_noise"]).__name__ == "OrnsteinUhlenbeckActionNoise"
    assert arguments["action_noise"]().shape == (3,)


class Endless(gym.Env[Any, Any]):
    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return 1, 0.5, False, False, {}


@pytest.fixture
def endless_env(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(known_envs, "LONGEST_EPISODE", 30)
    gym.register("tests/Endless-v0", Endless)
    yield "tests/Endless-v0"
    del gym.registry["tests/Endless-v0"]


def test_an_evaluation_that_does_not_end_is_cut_counted_and_said_once(endless_env: str) -> None:
    settings = short("q_table", 200, env=endless_env, hyperparameters={})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = execute(settings)
    assert (result.finished, result.timesteps, result.episodes) == (True, 200, 0)  # training is not cut
    for score in (*result.evaluations, result.final):
        assert score is not None
        assert (score.lengths, score.returns) == ((30, 30), (15.0, 15.0))
    cut = [str(each.message) for each in said if "was cut" in str(each.message)]
    assert cut == [
        "an evaluation's episode was cut after 30 steps and counts with the reward it had; another length: "
        "--env-kwargs max_episode_steps:N"
    ]


def test_an_environment_with_a_limit_is_cut_there(endless_env: str) -> None:
    settings = short("q_table", 200, env=endless_env, env_kwargs={"max_episode_steps": 40}, hyperparameters={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = execute(settings)
    assert result.final is not None
    assert (result.final.lengths, result.episodes) == ((40, 40), 5)
    assert known_envs.longest_episode(short("dqn")) == 500
    assert known_envs.longest_episode(short("dqn", env_kwargs={"max_episode_steps": -1})) == 30


def test_the_cliff_does_not_end_for_a_policy_that_walks_into_the_wall() -> None:
    settings = short("q_table", env="CliffWalking-v1", hyperparameters={})
    venv = evaluation_env(settings)
    with pytest.warns(UserWarning, match="cut after 10,000 steps"):
        score = evaluate(Upwards(), venv, 1, seed=0)
    venv.close()
    assert (score.lengths, score.returns) == ((10_000,), (-10_000.0,))


class Upwards:
    def predict(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return np.zeros(ROWS, int), None
