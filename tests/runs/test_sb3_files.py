"""A run folder opens in SB3's own plots and readers: `monitor.csv`, `evaluations.npz`, TensorBoard's log."""

import json
import pickle
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common import results_plotter
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor

from sb3_course.config.errors import InputError
from sb3_course.runs import RunFolder, Settings, Watch, evaluation, execute, resume, run_logger
from sb3_course.runs.evaluation import Evaluation, save_evaluations
from sb3_course.runs.monitor_files import EpisodeLog
from sb3_course.runs.run_wrappers import EpisodeMonitor
from sb3_course.runs.tables import read_table
from sb3_course.runs.words import Wrapper

SMALL = {"policy_kwargs": {"net_arch": [8]}}


def short(algo: str = "a2c", **changes: Any) -> Settings:
    defaults = {"n_timesteps": 200, "eval_freq": 50, "save_freq": 100, "eval_episodes": 2, "final_episodes": 1,
                "hyperparameters": SMALL, "env_kwargs": {"max_episode_steps": 20}}  # fmt: skip
    return Settings(**{"algo": algo, "env": "CartPole-v1", **defaults, **changes})


class Ended:
    """A watch that ends the run at an evaluation."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def watch(self) -> Watch:
        return Watch(evaluation=self.note, stop=lambda: self.seen >= self.at)

    def note(self, score: Evaluation) -> None:
        self.seen = score.timesteps


@pytest.mark.parametrize(("n_envs", "names"), [(1, ["monitor.csv"]), (2, ["0.monitor.csv", "1.monitor.csv"])])
def test_sb3s_plots_open_a_run_folder(tmp_path: Path, n_envs: int, names: list[str]) -> None:
    before = time.time()
    result = execute(short(n_envs=n_envs), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("*monitor.csv")) == names
    frame = results_plotter.load_results(str(tmp_path / "run"))
    assert len(frame) == result.episodes
    assert (frame.r == frame.l).all()
    assert 200 - 20 * n_envs < frame.l.sum() <= 200
    assert frame.t.is_monotonic_increasing
    assert 0 < frame.t.max() < time.time() - before
    x, y = results_plotter.ts2xy(frame, results_plotter.X_TIMESTEPS)
    assert x[-1] == frame.l.sum()
    assert len(y) == len(frame)
    header = json.loads((tmp_path / "run" / names[0]).read_text().splitlines()[0][1:])
    assert header["env_id"] == "CartPole-v1"
    assert before < header["t_start"] < time.time()


class Told(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        *rest, _ = super().step(action)
        return *rest, {"is_success": True}


def test_the_file_is_what_sb3s_monitor_writes(tmp_path: Path) -> None:
    theirs = Monitor(Told(gym.make("CartPole-v1")), str(tmp_path / "theirs"), info_keywords=("is_success",))
    ours = EpisodeMonitor(Told(gym.make("CartPole-v1")), info_keywords=("is_success",))
    assert theirs.results_writer is not None
    ours.log_to(EpisodeLog(str(tmp_path / "ours"), theirs.results_writer.logger.fieldnames), time.time())
    for env in (theirs, ours):
        for seed in range(3):
            env.reset(seed=seed)
            while not env.needs_reset:
                env.step(0)
        env.close()
    rows = [line.split(",") for line in (tmp_path / "theirs.monitor.csv").read_text().splitlines()[2:]]
    own = [line.split(",") for line in (tmp_path / "ours").read_text().splitlines()]
    assert len(own) == 3
    assert [(*row[:2], *row[3:]) for row in own] == [(*row[:2], *row[3:]) for row in rows]  # all but the time
    assert own[0][3] == "True"


def test_an_episode_that_an_outer_wrapper_cuts_is_in_the_file(tmp_path: Path) -> None:
    cut = Wrapper("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 5})
    execute(short(env_wrapper=(cut,), eval_freq=0), tmp_path / "run")
    assert set(results_plotter.load_results(str(tmp_path / "run")).l) == {5}


def test_a_log_travels_to_a_process_while_it_is_open(tmp_path: Path) -> None:
    log = EpisodeLog(str(tmp_path / "log"), ("r", "l", "t"))
    log.write_row({"r": 1.0, "l": 2, "t": 0.5})
    pickle.loads(pickle.dumps(log)).write_row({"r": 3.0, "l": 4})
    assert (tmp_path / "log").read_bytes() == b"1.0,2,0.5\n3.0,4,\n"
    log.close()


def test_evaluations_are_what_sb3s_callback_writes(tmp_path: Path) -> None:
    result = execute(short(), tmp_path / "run")
    ours = np.load(tmp_path / "run" / "evaluations.npz")
    env = Monitor(gym.make("CartPole-v1"))
    A2C("MlpPolicy", env).learn(20, EvalCallback(env, log_path=str(tmp_path), n_eval_episodes=2, eval_freq=10))
    theirs = np.load(tmp_path / "evaluations.npz")
    assert {name: (theirs[name].ndim, theirs[name].dtype) for name in theirs.files} == {
        name: (ours[name].ndim, ours[name].dtype) for name in ours.files
    }
    assert ours["timesteps"].tolist() == [50, 100, 150, 200]
    assert ours["results"].tolist() == [list(score.returns) for score in result.evaluations]
    assert ours["ep_lengths"].tolist() == [list(score.lengths) for score in result.evaluations]


def test_both_are_cut_back_when_a_run_goes_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    execute(short(n_timesteps=400, save_freq=100, n_envs=2), run.path, Ended(at=250).watch())
    kept = {path: path.read_bytes() for path in run.path.glob("*monitor.csv")}
    step = max(int(path.name) for path in run.checkpoints.iterdir())
    for path in kept:  # what a killed run wrote after its last checkpoint, the last line torn
        with open(path, "ab") as file:
            file.write(b"20.0,20,9.9\n20.0,2")
    late = [evaluation.evaluation_from(row) for row in read_table(run.evaluations)]
    save_evaluations(run.scores, [*late, Evaluation(390, (1.0, 1.0), (1, 1))])
    seen: dict[str, Any] = {}

    def begun() -> bool:
        if not seen:
            seen.update({path.name: path.read_bytes() for path in kept})
            seen["timesteps"] = np.load(run.scores)["timesteps"].tolist()
        return False

    whole, _ = resume(run.path, Watch(stop=begun))
    assert {path.name: data for path, data in kept.items()} == {key: seen[key] for key in seen if key != "timesteps"}
    assert seen["timesteps"] == [steps for steps in (50, 100, 150, 200, 250, 300) if steps <= step]
    frame = results_plotter.load_results(str(run.path))
    assert 400 - 2 * 40 < frame.l.sum() <= 400  # at most what was under way at the interruption and at the end is lost
    assert len({json.loads(path.read_text().splitlines()[0][1:])["t_start"] for path in kept}) == 2
    assert np.load(run.scores)["timesteps"].tolist() == [score.timesteps for score in whole.evaluations]
    assert whole.evaluations[-1].timesteps == 400


def test_a_kill_while_writing_leaves_the_evaluations_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evaluations.npz"
    first = Evaluation(1, (1.0,), (1,))
    save_evaluations(path, [first])

    def killed(file: Any, **_: Any) -> None:
        file.write(b"PK half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.np, "savez", killed)
        with pytest.raises(KeyboardInterrupt):
            save_evaluations(path, [first, first])
    assert np.load(path)["timesteps"].tolist() == [1]
    assert [each.name for each in tmp_path.iterdir()] == ["evaluations.npz"]
    save_evaluations(path, [])
    assert list(tmp_path.iterdir()) == []


def test_overwriting_a_run_takes_its_monitors_away(tmp_path: Path) -> None:
    for name in ("config.yaml", "0.monitor.csv", "monitor.csv", "evaluations.npz", "my_notes.txt"):
        (tmp_path / name).write_text("old")
    with RunFolder(tmp_path, overwrite=True).claim():
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock.owner", "my_notes.txt"]


# ------------------------------------------------------------------------------------------------ TensorBoard


def scalars(folder: Path, tag: str) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars(tag)]


def test_tensorboard_is_written_and_gone_on_with(tmp_path: Path) -> None:
    settings = short(
        n_timesteps=400, hyperparameters={**SMALL, "n_steps": 10}, log_interval=5, eval_freq=50,
        tensorboard_log=str(tmp_path / "tb"),
    )  # fmt: skip
    execute(settings, tmp_path / "run", Ended(at=200).watch())
    (tmp_path / "tb" / "CartPole-v1" / "A2C_7").mkdir()  # somebody else's, newer
    resume(tmp_path / "run")
    folder = tmp_path / "tb" / "CartPole-v1" / "A2C_1"
    steps = scalars(folder, "rollout/ep_rew_mean")
    assert set(range(50, 401, 50)) <= set(steps)
    execute(settings.replace(n_timesteps=100), tmp_path / "other")
    assert scalars(folder.with_name("A2C_8"), "rollout/ep_rew_mean")[0] == 50


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logger.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        execute(short(tensorboard_log=str(tmp_path / "tb")), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
