"""A run that is killed with -9 and resumed ends as if it had not been; `benchmarks/kills.py` has the full number."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sb3_course.train
from sb3_course.config.errors import InputError
from sb3_course.runs import RunFolder, Settings, Watch, execute, resume
from sb3_course.runs.training import start_from
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.sb3.checkpoints import set_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
GRID: dict[str, Any] = {"env": "sb3_course/GridWorld-v0", "final_episodes": 1, "eval_episodes": 1}


@pytest.fixture(scope="module")
def kills(project_root: Path) -> Any:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("kills", project_root / "benchmarks" / "kills.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path, kills: Any) -> None:
    wrapped = "--env CartPole-v1 --n-envs 2 --normalize --frame-stack 2"
    line = f"rainbow {wrapped} -params learning_starts:40 buffer_size:90 train_freq:2 gradient_steps:1 backend:torch"
    kills.warm()
    assert kills.trial(line, tmp_path, random.Random(1), steps=120) == []


def test_the_table_holds_what_it_promises(kills: Any) -> None:
    assert len(set(kills.LINES)) == len(kills.LINES) >= 60
    algos = {line.split()[0] for line in kills.LINES}
    said = "double_dqn rainbow per_dqn nstep_dqn noisy_dqn c51 quantile_dqn numpy_dqn neural_q q_table reinforce"
    assert {*said.split(), "reinforce_baseline", "actor_critic", "dqn", "a2c", "ppo", "sac"} <= algos
    assert {"td3", "ddpg", "qrdqn", "iqn", "munchausen_dqn", "pqn"} <= algos


def test_a_run_that_is_over_before_its_kill_is_tried_again(
    tmp_path: Path, kills: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tried = tmp_path / "run", []
    run.mkdir()
    (run / "before").touch()

    def over(_words: list[str], folder: Path, seconds: float) -> bool:
        assert [path.name for path in folder.iterdir()] == ["before"]  # what the last attempt wrote is gone
        (folder / "after").touch()
        tried.append(seconds)
        return seconds < 0.3

    monkeypatch.setattr(kills, "_killed", over)
    kills.kill_after([], run, 1.0)
    assert tried == [1.0, 0.5, 0.25]
    (run / "after").unlink()
    with pytest.raises(RuntimeError, match="was over before it was killed"):
        kills.kill_after([], run, 1000.0)


def test_a_signal_leaves_a_checkpoint_and_the_run_ends_as_if_it_had_not_come(tmp_path: Path, kills: Any) -> None:
    kills.warm()
    quiet = ["--no-progress", "--verbose", "0"]
    words = "--algo dqn --env CartPole-v1 -n 400 --save-freq 100 --eval-freq 150 --final-episodes 1 --eval-episodes 1"
    command = [*words.split(), "--n-eval-envs", "1", *quiet, "-params", "learning_starts:20", "buffer_size:200"]
    command += ["train_freq:1", "gradient_steps:1", "batch_size:8"]
    kills.finish([*command, "--run-dir", str(tmp_path / "whole")])
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run = tmp_path / str(status)
        child = kills.fork([*command, "--run-dir", str(run)])
        while (seen := kills.checkpoints(run)) < 100:
            time.sleep(0.002)
        os.kill(child, number)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
        assert RunFolder(run).status()["state"] == "interrupted"
        assert seen <= kills.checkpoints(run) == RunFolder(run).status()["timesteps"] - 1 < 400
        kills.finish(["--resume", str(run), *quiet])
        assert list(kills.differences(tmp_path / "whole", run)) == []


def test_a_resume_under_other_conditions_names_them(tmp_path: Path) -> None:
    stops = iter([False] * 12 + [True] * 100)
    execute(
        Settings(algo="a2c", n_timesteps=100, save_freq=20, **GRID), tmp_path / "run", Watch(stop=lambda: next(stops))
    )
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name)) / "state.npz"
    state = load_state(newest)
    written = state["extra"]["conditions"]
    assert {
        "torch",
        "numpy",
        "stable_baselines3",
        "gymnasium",
        "numba",
        "threads",
        "device",
        "platform",
    } <= written.keys()
    now = dict(written)
    written |= {"torch": "1.0", "threads": 99, "device": "cuda:3"}
    del written["numba"]  # which is there where loops are compiled
    save_state(newest, state)
    with pytest.warns(UserWarning, match="resume need not be exact: ") as warned:
        _, lost = resume(tmp_path / "run")
    expected = {
        "device cuda:3 -> cpu", f"numba none -> {now['numba']}", f"threads 99 -> {now['threads']}",
        f"torch 1.0 -> {now['torch']}",
    }  # fmt: skip
    assert set(lost) == expected
    assert all(any(each in str(line.message) for line in warned) for each in expected)


def test_the_benchmark_sees_a_difference(tmp_path: Path, kills: Any) -> None:
    for seed in (0, 1):
        execute(Settings(algo="a2c", n_timesteps=20, seed=seed, **GRID), tmp_path / str(seed))
    assert any(each.startswith("model.zip") for each in kills.differences(tmp_path / "0", tmp_path / "1"))


def test_a_finished_run_goes_on_to_a_larger_budget(tmp_path: Path, kills: Any) -> None:
    common = {**GRID, "eval_freq": 50, "save_freq": 50}
    execute(Settings(algo="a2c", n_timesteps=100, **common), tmp_path / "run")
    result, lost = resume(tmp_path / "run", n_timesteps=200)
    assert (result.timesteps, lost) == (200, ())
    # Nothing depends on the budget here, so the run is the one that was asked for 200 steps at once.
    execute(Settings(algo="a2c", n_timesteps=200, **common), tmp_path / "whole")
    assert [each for each in kills.differences(tmp_path / "whole", tmp_path / "run") if "zip" in each] == []
    with pytest.raises(InputError, match="n_timesteps: is no larger budget"):
        resume(tmp_path / "run", n_timesteps=150)


def test_a_checkpoint_that_is_damaged_is_left_out(tmp_path: Path) -> None:
    stops = iter([False] * 25 + [True] * 100)
    settings = Settings(algo="a2c", n_timesteps=200, save_freq=50, **GRID)
    execute(settings, tmp_path / "run", Watch(stop=lambda: next(stops)))
    newest = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    (tmp_path / "run" / "checkpoints" / str(newest) / "state.npz").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=f"checkpoint {newest} is left out"):
        result, lost = resume(tmp_path / "run")
    assert (result.timesteps, lost) == (200, ())


def test_training_starts_from_a_model_file(tmp_path: Path) -> None:
    common: dict[str, Any] = {**GRID, "eval_freq": 0, "save_freq": 0}
    execute(Settings(algo="a2c", n_timesteps=50, **common), tmp_path / "one")
    model = sb3_course.from_preset("a2c", "sb3_course/GridWorld-v0")
    start_from(model, tmp_path / "one" / "model.zip")
    again = sb3_course.from_preset("a2c", "sb3_course/GridWorld-v0")
    set_weights(again, tmp_path / "one" / "model.zip")
    pairs = zip(model.policy.parameters(), again.policy.parameters(), strict=True)
    assert all(bool((mine == other).all()) for mine, other in pairs)
    agent = str(tmp_path / "one" / "model.zip")
    assert sb3_course.train.main(_words(tmp_path / "two", agent)) == 0
    assert RunFolder(tmp_path / "two").status()["state"] == "finished"
    for wrong in (str(tmp_path / "absent.zip"), str(tmp_path / "one" / "config.yaml")):
        assert sb3_course.train.main(_words(tmp_path / "three", wrong)) == 2
        assert not (tmp_path / "three").exists()


def _words(run: Path, agent: str) -> list[str]:
    few = ["--final-episodes", "1", "--eval-freq", "0", "--no-progress"]
    return ["--algo", "a2c", "--env", "sb3_course/GridWorld-v0", "-n", "20", *few, "--run-dir", str(run), "-i", agent]
