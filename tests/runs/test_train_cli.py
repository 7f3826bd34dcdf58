"""The command line: every algorithm through one door, the same run twice, help without torch, Ctrl-C, failures."""

import importlib.machinery
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from children import Command
from gymnasium.envs.classic_control import CartPoleEnv
from PIL import Image
from stable_baselines3.common.results_plotter import load_results
from stable_baselines3.common.save_util import load_from_zip_file

from sb3_course import enjoy
from sb3_course.config.yaml_files import dump_yaml, load_yaml
from sb3_course.envs import GridWorldEnv, value_iteration
from sb3_course.registry import ALGORITHMS, constructor_arguments
from sb3_course.runs import RunFolder, Settings, Watch, execute, model
from sb3_course.runs.display import doing
from sb3_course.runs.door import run_door
from sb3_course.runs.progress import Progress, Speed
from sb3_course.runs.tables import read_table
from sb3_course.train import HEADLINE_ALGO, HEADLINE_ENV, main

# Small enough for a test, whatever the preset says.
SMALL = {
    "learning_starts": "20", "buffer_size": "1000", "batch_size": "16", "gradient_steps": "1", "train_freq": "4",
    "n_epochs": "1", "n_delta": "1", "n_top": "1", "policy_kwargs": "dict(net_arch=[16])",
}  # fmt: skip
TINY = ["--n-envs", "1", "--eval-episodes", "1", "--final-episodes", "1", "--no-progress"]
A2C = ["--algo", "a2c", "-n", "60", *TINY, "-params", "policy_kwargs:dict(net_arch=[8])"]


def weights(path: Path) -> dict[str, th.Tensor]:
    _, parameters, _ = load_from_zip_file(path, device="cpu")
    return {key: value for key, value in parameters["policy"].items() if isinstance(value, th.Tensor)}


def small_hyperparameters(name: str) -> list[str]:
    known = constructor_arguments(name)
    pairs = {key: value for key, value in SMALL.items() if key in known}
    if "n_epochs" in known or name == "trpo":
        pairs["n_steps"] = "32"
    if name in ("q_table", "ars"):
        pairs.pop("policy_kwargs", None)
    if "learning_starts" not in known:
        pairs.pop("gradient_steps", None)
    return [f"{key}:{value}" for key, value in pairs.items()]


@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_through_the_door(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    env = "sb3_course/GridWorld-v0" if name == "q_table" else "CartPole-v1"
    if "Discrete" not in ALGORITHMS[name].action_spaces:
        env = "Pendulum-v1"
    pairs = small_hyperparameters(name)
    status = main(["--algo", name, "--env", env, "-n", "64", "-f", str(tmp_path), *TINY, "--eval-freq", "32",
                   *(["-params", *pairs] if pairs else [])])  # fmt: skip
    out, err = capfd.readouterr()
    assert (status, [line for line in err.splitlines() if line.startswith("error")]) == (0, [])
    assert out.startswith(f"settings: presets/{name}.yml, section {env}\n")
    folder = RunFolder.existing(tmp_path / name / f"{env.replace('/', '-')}_1")
    assert folder.status()["state"] == "finished"
    assert re.search(rf"{name} on {env}, seed 0: -?[\d.]+ ± [\d.]+ over 1 episodes", out)
    assert f"run folder: {folder.path}" in out
    for path in (folder.model, folder.best_model, folder.curve, folder.versions, folder.progress):
        assert path.stat().st_size > 0
    assert len(read_table(folder.evaluations)) >= 1
    if env == "CartPole-v1":  # of the others no episode ends
        assert 0 < load_results(str(folder.path)).l.sum() <= folder.status()["timesteps"]


def test_a_config_repeats_its_run(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    argv = ["--algo", "dqn", "-n", "300", *TINY, "--seed", "3", "--run-dir", str(first), "--normalize", "-params"]
    assert main([*argv, *small_hyperparameters("dqn"), "learning_rate:lin_1e-3"]) == 0
    assert main(["--config", str(first / "config.yaml"), "--run-dir", str(second), "--no-progress"]) == 0
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
    one, other = weights(first / "model.zip"), weights(second / "model.zip")
    assert all(th.equal(one[key], other[key]) for key in one)


def test_overwrite_replaces_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([*A2C, "--run-dir", str(run)]) == 0
    before = (run / "model.zip").read_bytes()
    assert main([*A2C, "--run-dir", str(run), "--seed", "1"]) == 2
    assert (run / "model.zip").read_bytes() == before
    assert main([*A2C, "--run-dir", str(run), "--seed", "1", "--overwrite"]) == 0
    assert "seed: 1\n" in (run / "config.yaml").read_text()
    assert len(read_table(run / "evaluations.csv")) == 20


def test_an_article_preset_ends_with_its_episodes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    article = tmp_path / "article.yaml"
    article.write_text("algo: neural_q\nenv: sb3_course/GridWorld-v0\nn_episodes: 3\nfinal_episodes: 1\neval_freq: 0\n")
    assert main(["--config", str(article), "--run-dir", str(tmp_path / "run"), "--no-progress"]) == 0
    assert RunFolder(tmp_path / "run").status()["episodes"] == 3


def test_enjoy_finds_settings_statistics_and_checkpoints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([*A2C, "--normalize", "--run-dir", str(run), "--save-freq", "30"]) == 0
    score = f"{RunFolder(run).status()['mean']:.1f} ± 0.0 over 1 episodes"
    capfd.readouterr()
    # The final score's own seed: the same episode, if the model and the statistics are the same.
    assert enjoy.main([str(run), "--episodes", "1", "--seed", "500000", "--gif", str(tmp_path / "a.gif")]) == 0
    mean = RunFolder(run).status()["mean"]
    assert capfd.readouterr().out == f"a2c on CartPole-v1: {score}\nreturns: {mean:.5g}\n"
    assert (tmp_path / "a.gif").read_bytes()[:3] == b"GIF"
    zoo = ["-P", "--num-threads", "1"]
    assert enjoy.main([str(run / "checkpoints" / "30" / "model.zip"), "--episodes", "2", "--stochastic", *zoo]) == 0
    assert "100%" in capfd.readouterr().err
    assert enjoy.main([str(run), "--load-best", "--png", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_enjoy_finds_the_models_of_checkpoints_and_writes_videos(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = tmp_path / "run", []
    assert main([*A2C, "--run-dir", str(run), "--save-freq", "30"]) == 0
    load = model.load_model
    monkeypatch.setattr(
        model, "load_model", lambda s, path, *rest, **k: asked.append(path) or load(s, path, *rest, **k)
    )
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    for flags in (["--load-checkpoint", str(steps[0])], ["--load-last-checkpoint"], ["--best"], []):
        assert enjoy.main([str(run), "--episodes", "1", *flags]) == 0
    checkpoints = [run / "checkpoints" / str(each) / "model.zip" for each in (steps[0], steps[-1])]
    assert asked == [*checkpoints, run / "best_model.zip", run / "model.zip"]
    capfd.readouterr()
    assert enjoy.main([str(run), "--load-checkpoint", "7"]) == 2
    assert f"there is no such checkpoint (got '7', want {steps[0]}" in capfd.readouterr().err
    assert enjoy.main([str(run), "--episodes", "1", "--mp4", str(tmp_path / "a.mp4")]) == 0
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    assert [path.name for path in tmp_path.iterdir() if "a." in path.name] == ["a.mp4"]


def test_a_tracked_run_is_followed_through_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    fake = ModuleType("wandb")
    fake.init = lambda **words: calls.append(words) or SimpleNamespace(finish=lambda: calls.append("finish"))  # type: ignore[attr-defined]
    fake.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.chdir(tmp_path)
    assert main([*A2C, "--run-dir", "run", "--track", "--wandb-project-name", "mine", "--wandb-tags", "x", "y"]) == 0
    words, end = calls
    assert end == "finish"
    assert (words["project"], words["tags"], words["sync_tensorboard"]) == ("mine", ["x", "y"], True)
    assert words["config"]["algo"] == "a2c"
    assert list((tmp_path / "runs" / "CartPole-v1").glob("A2C_1/events*"))


@pytest.fixture(scope="module")
def grid_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("grid") / "run"
    argv = ["--algo", "q_table", "--env", "sb3_course/GridWorld-v0", "-n", "400", "--run-dir", str(run), *TINY]
    random = ["exploration_final_eps:1.0", "learning_starts:0", "train_freq:1", "learning_rate:1.0", "gamma:0.5"]
    assert main([*argv, "--env-kwargs", "map:['S..G']", "--eval-freq", "0", "-params", *random]) == 0
    assert RunFolder(run).status()["returns"] == [1.0]  # the goal is found
    return run


def test_pictures_show_the_first_and_the_last_state(grid_run: Path, tmp_path: Path) -> None:
    gif, png = tmp_path / "a.gif", tmp_path / "a.png"
    assert enjoy.main([str(grid_run), "--episodes", "2", "--gif", str(gif), "--png", str(png)]) == 0
    env = gym.make("sb3_course/GridWorld-v0", map=["S..G"], render_mode="rgb_array")
    env.reset()
    expected = [env.render()]
    for _ in range(3):
        env.step(1)
        expected.append(env.render())
    assert (np.asarray(Image.open(png)) == expected[-1]).all()  # on the goal, not back at the start
    with Image.open(gif) as moving:
        assert moving.n_frames == 8  # two episodes of three steps, and where each began
        for index in range(8):
            moving.seek(index)
            shown = np.asarray(moving.convert("RGB")).astype(int)
            assert np.abs(shown - expected[index % 4]).mean() < 2, index


def test_a_grid_run_leaves_its_values_with_arrows(grid_run: Path) -> None:
    grid = GridWorldEnv(map=["S..G"], render_mode="rgb_array")
    grid.q_values = value_iteration(grid.P, 0.5)  # which a rate of 1 finds exactly
    assert (np.asarray(Image.open(grid_run / "values.png")) == grid.render()).all()


def test_enjoy_takes_arguments_of_the_environment(
    grid_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (
        enjoy.main([str(grid_run), "--episodes", "1", "--env-kwargs", "goal_reward:7.5", "step_reward:-0.5"]) == 0
    )  # on its map
    assert capfd.readouterr().out == "q_table on sb3_course/GridWorld-v0: 6.5 ± 0.0 over 1 episodes\nreturns: 6.5\n"
    (tmp_path / "copy").mkdir()  # of a run whose evaluations have arguments of their own: these are what is enjoyed
    shutil.copy(grid_run / "model.zip", tmp_path / "copy")
    config = load_yaml(grid_run / "config.yaml") | {"eval_env_kwargs": {"map": ["S..G"], "goal_reward": 2.0}}
    (tmp_path / "copy" / "config.yaml").write_text(dump_yaml(config))
    argv = [str(tmp_path / "copy" / "model.zip"), "--episodes", "1"]
    for given, score in (([], 2.0), (["--env-kwargs", "step_reward:-0.5"], 1.0)):
        assert enjoy.main([*argv, *given]) == 0
        assert capfd.readouterr().out.startswith(f"q_table on sb3_course/GridWorld-v0: {score} ")
    assert enjoy.main([str(grid_run), "--env-kwargs", "slipp:0.2"]) == 2
    assert re.fullmatch(r"error: env_kwargs: cannot be made: .*slipp.*\n", capfd.readouterr().err)
    assert enjoy.main([str(grid_run), "--env-kwargs", "slip"]) == 2
    assert capfd.readouterr().err.startswith("error: --env-kwargs: ")


@pytest.mark.parametrize("word", ["map_name:8x8", "map_name:'8x8'"])
def test_text_for_the_environment_goes_through_every_door(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], word: str
) -> None:
    run = tmp_path / "run"
    argv = ["--algo", "q_table", "--env", "FrozenLake-v1", "-n", "60", *TINY, "--save-freq", "30", "--eval-freq", "0"]
    assert main([*argv, "--env-kwargs", word, "--run-dir", str(run)]) == 0
    assert "map_name: 8x8\n" in (run / "config.yaml").read_text()
    assert enjoy.main([str(run), "--episodes", "1"]) == 0
    assert main(["--config", str(run / "config.yaml"), "--run-dir", str(tmp_path / "again"), "--no-progress"]) == 0
    RunFolder(run).write_status("interrupted")
    assert main(["--resume", str(run), "--no-progress"]) == 0
    assert any(value.shape[-1] == 64 for value in weights(run / "model.zip").values())  # the states of the large map


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["absent"], "RUN_OR_MODEL"),
        (["empty"], "RUN_OR_MODEL"),
        (["lonely.zip"], "RUN_OR_MODEL"),
        (["begun"], "RUN_OR_MODEL"),
        (["begun", "--episodes", "0"], "RUN_OR_MODEL|--episodes"),
        ([], "command line"),
        (["begun", "--rendr", "human"], "--rendr"),
        (["begun", "--render", "nowhere"], "--render"),
        (["damaged"], "model"),
        (["damaged", "--gif", "absent/a.gif"], "--gif"),
        (["damaged", "--mp4", "absent/a.mp4"], "--mp4"),
        (["damaged", "--png", "empty"], "--png"),
        (["damaged", "--png", "a.png", "--render", "human"], "--render"),
        (["damaged", "--load-checkpoint", "7"], "--load-checkpoint"),
        (["damaged", "--load-last-checkpoint"], "--load-last-checkpoint"),
        (["damaged", "--load-last-checkpoint", "--load-best"], "--best"),
        (["damaged", "--env", "CartPole-v9"], "env"),
    ],
)
def test_enjoy_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], argv: list[str], field: str
) -> None:
    for name in ("empty", "begun", "damaged"):
        (tmp_path / name).mkdir()
    for name in ("begun", "damaged"):
        (tmp_path / name / "config.yaml").write_text("algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n")
    for name in ("lonely.zip", "damaged/model.zip"):
        (tmp_path / name).write_text("no zip")
    monkeypatch.chdir(tmp_path)
    assert enjoy.main(argv) == 2
    assert re.fullmatch(rf"error: ({field}): .+\n", capfd.readouterr().err)


def test_help_imports_no_torch(project_root: Path) -> None:
    code = (
        "import sys\nfrom sb3_course.train import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n"
        "    assert end.code in (0, None)\n"
        "print('LOADED', sorted({'torch', 'stable_baselines3', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root)
    assert "LOADED []" in done.stdout
    for word in ("--algo", "-params", "--env-wrapper", "--resume", "learning_rate", "SB3 DQN", "clip_range"):
        assert word in done.stdout


def test_list_names_every_algorithm(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(ALGORITHMS)
    # Every column begins below its title, behind two blanks.
    starts = [lines[0].index(title) for title in ("family", "from", "actions", "idea")]
    for line, row in zip(lines[1:], ALGORITHMS.values(), strict=True):
        assert [line[start:].split("  ")[0] for start in starts[:2]] == [row.family, row.source]
        assert line[starts[3] :] == row.idea
        assert all(line[start - 2 : start] == "  " for start in starts)


@pytest.mark.parametrize("argv", [["--help"], ["--list"]])
def test_a_reader_that_leaves_is_no_error(project_root: Path, argv: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does once it has its lines
    command = [sys.executable, "-m", "sb3_course.train", *argv]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=project_root, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_broken_pipe_of_another_kind_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise BrokenPipeError("a worker has gone")

    assert run_door(work, "training") == 1
    assert capfd.readouterr().err == "error: training: BrokenPipeError: a worker has gone\n"


def test_the_headline_needs_no_argument() -> None:
    from sb3_course.train import read_settings

    settings = read_settings({})
    assert (settings.algo, settings.env) == (HEADLINE_ALGO, HEADLINE_ENV)
    assert settings.final_episodes == 20


def test_a_progress_bar_goes_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*A2C, "--run-dir", str(tmp_path / "run"), "--progress"]) == 0
    out, err = capfd.readouterr()
    assert "a2c on CartPole-v1" in err
    assert "100%" in err
    assert "scoring 1/1" in err
    assert "steps: " not in out


def test_the_bar_says_what_a_run_does() -> None:
    run = Progress(1000, 5000, 3, None, 21.0, None)
    assert doing(run) == ""
    assert doing(replace(run, speed=12345.6)) == "12,346 steps/s"
    assert doing(replace(run, speed=12345.6, scoring=(3, 20))) == "scoring 3/20"


def test_the_speed_is_that_of_the_latest_seconds() -> None:
    speed = Speed(seconds=5.0)
    assert [speed(float(second), 100 * second) for second in range(4)] == [None, 100.0, 100.0, 100.0]
    assert speed(4.0, 1300) == 325.0
    assert [speed(second, 1300 + 1000 * int(second - 4)) for second in (5.0, 9.0, 10.0)][1:] == [1000.0, 1000.0]


def test_a_watcher_hears_of_every_episode_that_is_scored() -> None:
    heard: list[Progress] = []
    settings = Settings(
        algo="a2c", env="CartPole-v1", n_timesteps=40, eval_freq=20, eval_episodes=2, final_episodes=3, save_freq=0
    )
    execute(settings, watch=Watch(progress=heard.append))
    scoring = [progress.scoring for progress in heard if progress.scoring is not None]
    assert scoring[:1] == [(0, 2)]
    assert scoring[-1] == (3, 3)
    assert {of for _, of in scoring} == {2, 3}
    assert all(finished <= of for finished, of in scoring)
    assert [progress.timesteps for progress in heard if progress.scoring == (0, 2)] == [20, 40]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ctrl_c_saves_what_was_reached_and_the_run_can_go_on(tmp_path: Path) -> None:
    """In a copy of this process; fresh ones, and environments in processes: chaos/test_signals.py."""
    run = tmp_path / "run"
    argv = ["--algo", "a2c", "-n", "1000000", "--run-dir", str(run), *TINY, "--eval-freq", "500"]
    process = Command(main, argv)
    while len(process.said().splitlines()) < 2 and process.poll() is None:  # the settings, the first evaluation
        time.sleep(0.02)
    assert process.said().startswith("settings: ")
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(
        r"^interrupted after [\d,]+ steps: model.zip and a checkpoint are in .+run; .+--resume .+run$", out, re.M
    )
    assert "Traceback" not in err
    status = RunFolder(run).status()
    assert status["state"] == "interrupted"
    assert weights(run / "model.zip").keys() == weights(run / "best_model.zip").keys()
    newest = max(int(path.name) for path in (run / "checkpoints").iterdir())
    assert 500 <= newest <= status["timesteps"] <= newest + 1


class Fragile(CartPoleEnv):
    def step(self, action: Any) -> Any:
        self.age = getattr(self, "age", 0) + 1
        if self.age == 50:
            raise RuntimeError("a wheel came off\nand rolled away")
        return super().step(action)


@pytest.fixture
def fragile_env() -> Iterator[str]:
    gym.register("tests/Fragile-v0", Fragile, max_episode_steps=500)
    yield "tests/Fragile-v0"
    del gym.registry["tests/Fragile-v0"]


@pytest.mark.parametrize("verbose", ["0", "2"])
def test_a_failing_environment_is_one_line_and_keeps_the_files(
    tmp_path: Path, fragile_env: str, capfd: pytest.CaptureFixture[str], verbose: str
) -> None:
    run = tmp_path / "run"
    argv = [*A2C, "--env", fragile_env, "--run-dir", str(run), "--verbose", verbose, "--eval-freq", "20"]
    assert main(argv) == 1
    err = capfd.readouterr().err
    assert err.splitlines()[-1] == "error: training: RuntimeError: a wheel came off and rolled away"
    assert ("Traceback" in err) == (verbose == "2")
    assert RunFolder(run).status()["reason"] == "RuntimeError: a wheel came off"
    assert len(read_table(run / "evaluations.csv")) >= 1
    assert list((run / "checkpoints").iterdir())


def test_a_failing_process_tells_its_reason_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], worker_server: bool
) -> None:
    if worker_server:
        monkeypatch.setattr("sb3_course.sb3.reread.START_METHOD", "forkserver")
    (tmp_path / "fragile_module.py").write_text(
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Fragile(CartPoleEnv):\n    def step(self, action):\n        raise RuntimeError('a wheel came off')\n"
        "gym.register('Fragile-v0', Fragile, max_episode_steps=500)\n"
    )
    monkeypatch.setattr("sb3_course.config.named_classes._plugins", [])  # processes of later tests import what is there
    monkeypatch.syspath_prepend(tmp_path)
    argv = ["--import", "fragile_module", "--env", "fragile_module:Fragile-v0", "--vec-env", "subproc"]
    try:
        assert main([*A2C, *argv, "--run-dir", str(tmp_path / "run")]) == 1
    finally:
        gym.registry.pop("Fragile-v0", None)
        sys.modules.pop("fragile_module", None)
    err = capfd.readouterr().err
    assert err == "error: training: RuntimeError: an environment failed: RuntimeError: a wheel came off\n"
    assert RunFolder(tmp_path / "run").status()["state"] == "failed"
