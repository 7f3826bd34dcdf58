"""The two command lines: whole studies and comparisons in real processes, killed, interrupted, refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import optuna
import pytest
from children import Command

from sb3_course import compare, train, tune
from sb3_course.config.yaml_files import load_yaml
from sb3_course.registry import ALGORITHMS
from sb3_course.tuning import SPACES, local_launcher
from sb3_course.tuning.agenda import Agenda
from sb3_course.tuning.crew import StudyProgress
from sb3_course.tuning.options import progress_display, terms
from sb3_course.tuning.planner import plan_for

BRIEF = [
    "--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32", "--eval-episodes", "1", "--final-episodes", "2",
    "--trials", "4", "--seeds", "2", "--pruner", "none",
]  # fmt: skip

FRESH = local_launcher.start_process  # before `served_workers` has another one stand in for it

# Long enough to be met in the middle.
LONG = ["--env", "CartPole-v1", "-n", "4096", "--eval-freq", "2048"]


def flags(folder: Path) -> list[str]:
    """Return where a command keeps everything in one folder."""
    return ["--storage", str(folder / "studies.db"), "--log-folder", str(folder / "logs")]


def states(folder: Path, name: str) -> list[str]:
    """Return the states of a study's trials."""
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'studies.db'}")
    return [trial.state.name for trial in study.trials]


def at_work(folder: Path) -> set[int]:
    """Return the process ids of the workers that train a trial now, asked without Optuna, which takes its time."""
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(folder / "studies.db")) as db,
    ):
        query = (
            "SELECT value_json FROM trials NATURAL JOIN trial_user_attributes WHERE state='RUNNING' AND key='worker'"
        )
        signed = [json.loads(name) for (name,) in db.execute(query)]  # "": one that went back and was just taken again
        return {int(name.rpartition("/")[2]) for name in signed if name}
    return set()


def start(folder: Path, *words: str) -> Command:
    """Start `tune` in a process of its own, with workers as a user has them."""

    def main(line: list[str]) -> int:
        local_launcher.start_process = FRESH
        return tune.main(line)

    return Command(main, [*BRIEF, *flags(folder), "--algo", "reinforce", *words])


def workers_of(process: Command) -> list[int]:
    """Return the process ids of a command's workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in children.read_text().split()] if children.exists() else []


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent's question does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("served_workers")
def test_tune_leaves_a_preset_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*BRIEF, *flags(tmp_path), "--algo", "reinforce", "--workers", "2", "--study-name", "mine/first"]
    assert tune.main(line) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "logs" / "mine-first"
    best = load_yaml(folder / "best.yml")
    assert (best["algo"], best["env"], best["n_timesteps"]) == ("reinforce", "sb3_course/OneShot-v0", 64)
    assert "<html" in (folder / "report.html").read_text()
    assert "best: auc " in told
    assert str(folder / "best.yml") in told
    assert states(tmp_path, "mine/first") == ["COMPLETE"] * 4
    assert tune.main(line) == 0  # again: nothing left to do, the same answer
    assert load_yaml(folder / "best.yml") == best


@pytest.mark.usefixtures("served_workers")
def test_the_flags_that_every_run_of_a_study_has() -> None:
    words = ["--eval-env-kwargs", "slip:0.5", "--num-threads", "2", "-params", "monitor_kwargs:dict()", "-P"]
    options = vars(tune.make_parser().parse(words))
    assert options["progress"] is True
    assert terms(options)["base"] == {
        "eval_env_kwargs": {"slip": "0.5"}, "num_threads": "2", "monitor_kwargs": "dict()",
    }  # fmt: skip
    plan = plan_for("dqn", "sb3_course/GridWorld-v0", n_timesteps=100, n_trials=1, **terms(options))
    settings = plan.settings({}, 0)
    assert (settings.eval_env_kwargs, settings.num_threads) == ({"slip": 0.5}, 2)


@pytest.mark.usefixtures("served_workers")
def test_compare_says_who_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*BRIEF, *flags(tmp_path), "--algos", "reinforce", "ppo", "--fresh-seeds", "3", "--top", "1",
            "--workers", "2", "--study-name", "match"]  # fmt: skip
    assert compare.main(line) == 0
    folder = tmp_path / "logs" / "match"
    files = {"report.html", "report.md", "comparison.png", "comparison.json", "comparison.csv", "comparison.tex"}
    assert {*files, "runs.csv"} <= set(os.listdir(folder))
    best = folder / "sb3_course-OneShot-v0" / "ppo" / "best.yml"
    assert load_yaml(best)["algo"] == "ppo"
    told = capsys.readouterr().out.splitlines()
    assert any("not shown" in words or "better" in words or "worse" in words for words in told)
    before = (folder / "report.md").read_text()
    assert compare.main(line) == 0
    assert (folder / "report.md").read_text() == before


def test_several_environments_have_a_name_that_a_folder_can_have() -> None:
    assert compare._default_name(("CartPole-v1",)) == "compare-CartPole-v1"
    assert compare._default_name(("CartPole-v1", "Acrobot-v1")) == "compare-CartPole-v1+Acrobot-v1"
    many = tuple(f"Environment{number}-v0" for number in range(20))
    assert re.fullmatch(r"compare-Environment0-v0\+19-[0-9a-f]{8}", compare._default_name(many))
    assert compare._default_name(many) != compare._default_name((many[0], *many[:0:-1]))


class Terminal(io.StringIO):
    """Text that was written to what says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_there_is_one_bar_for_the_whole_with_its_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    now = [0.0]
    agenda = Agenda({"a": 10, "b": 30}, lambda: now[0])
    with progress_display({}) as tell:
        for seconds, name, share in ((0.0, "a", 0.0), (60.0, "a", 1.0), (60.0, "b", 0.0), (120.0, "b", 1 / 3)):
            now[0] = seconds
            study = optuna.create_study(study_name=name)
            whole = agenda.look(name, share)
            tell(StudyProgress(study, 6, {"COMPLETE": int(6 * share)}, (), 9.0, share, whole))
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("b: 2 of 6 trials, best 9.0")
    assert re.search(r" 50% +2 min left$", last.rstrip())  # half of all 40 runs, though a third of this study
    assert "a: " not in last


class Killer(threading.Thread):
    """Kills some workers, each while it trains a trial; `benchmarks/kill_workers.py` kills many."""

    def __init__(self, folder: Path, kills: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.kills = folder, kills
        self.killed: set[int] = set()
        self.done = threading.Event()

    def run(self) -> None:
        while len(self.killed) < self.kills and not self.done.wait(0.1):
            for pid in sorted(at_work(self.folder) - self.killed)[: self.kills - len(self.killed)]:
                os.kill(pid, signal.SIGKILL)
                self.killed.add(pid)


@pytest.mark.usefixtures("served_workers")
def test_killed_workers_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killer = Killer(tmp_path, kills=4)
    killer.start()
    line = [*BRIEF, *flags(tmp_path), "--algo", "reinforce", *LONG, "--workers", "2", "--trials", "6", "--seeds", "1"]
    assert tune.main([*line, "--study-name", "killed"]) == 0, capsys.readouterr().err
    killer.done.set()
    killer.join()
    assert len(killer.killed) == 4
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{tmp_path / 'studies.db'}")
    whole = [trial for trial in study.trials if "replaced" not in trial.user_attrs]
    assert [trial.state.name for trial in whole] == ["COMPLETE"] * 6
    assert sorted(trial.user_attrs["ticket"] for trial in whole) == list(range(6))
    deaths = sum(trial.user_attrs.get("deaths", 0) for trial in study.trials)
    assert deaths >= 1  # and at most 4: one may have ended its trial in the moment before


@pytest.mark.usefixtures("served_workers")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_killed_command_is_continued_and_leaves_no_worker(tmp_path: Path) -> None:
    line = [*LONG, "--workers", "2", "--trials", "3", "--seeds", "1", "--study-name", "killed"]
    process = start(tmp_path, *line)
    until = time.monotonic() + 120
    while not at_work(tmp_path) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    crew = workers_of(process)
    assert len(crew) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 30
    while any(map(lives, crew)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(map(lives, crew))
    assert "RUNNING" not in states(tmp_path, "killed")  # they gave back what they had
    assert tune.main([*BRIEF, *flags(tmp_path), "--algo", "reinforce", *line]) == 0
    assert states(tmp_path, "killed") == ["COMPLETE"] * 3


@pytest.mark.usefixtures("served_workers")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_ctrl_c_ends_gently_and_the_same_command_goes_on(tmp_path: Path) -> None:
    line = [*LONG, "--trials", "2", "--seeds", "1", "--study-name", "stopped"]
    process = start(tmp_path, *line)
    until = time.monotonic() + 120
    while not at_work(tmp_path) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    told, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "the same command goes on" in told
    assert "RUNNING" not in states(tmp_path, "stopped")
    assert tune.main([*BRIEF, *flags(tmp_path), "--algo", "reinforce", *line]) == 0
    assert states(tmp_path, "stopped") == ["COMPLETE"] * 2


BAD: dict[str, tuple[list[str], str]] = {
    "unknown flag": (["--trails", "4"], "--trails: unknown flag; did you mean"),
    "unknown algorithm": (["--algo", "rainbw"], "algo: unknown algorithm; did you mean 'rainbow'"),
    "unknown environment": (["--env", "CartPole-v7"], "env: "),
    "wrong actions": (["--algo", "dqn"], "env: sb3_course/OneShot-v0 has actions that dqn cannot choose"),
    "no trials": (["--trials", "0"], "--trials: is out of bounds"),
    "half a trial": (["--trials", "2.5"], "--trials: is not an integer"),
    "trials in words": (["--trials", "many"], "--trials: is not an integer"),
    "no seeds": (["--seeds", "0"], "--seeds: is out of bounds"),
    "a negative seed": (["--seed", "-1"], "--seed: "),
    "no steps": (["-n", "0"], "--n-timesteps: is out of bounds"),
    "no workers": (["--workers", "0"], "--workers: is out of bounds"),
    "too few seeds to prune": (["--seeds", "3", "--pruner", "wilcoxon"], "pruner: 3 seeds cannot prune"),
    "unknown pruner": (["--pruner", "hyperband"], "pruner: unknown"),
    "unknown score": (["--score", "best"], "score: unknown"),
    "no evaluation": (["--eval-freq", "0"], "eval_freq: leaves no evaluation"),
    "evaluations after the end": (["--eval-freq", "100"], "eval_freq: leaves no evaluation"),
    "no episodes": (["--eval-episodes", "0"], "eval_episodes: is no such number"),
    "unknown hyperparameter": (["-params", "gama:0.9"], "-params: unknown hyperparameter; did you mean 'gamma'"),
    "a hyperparameter of others": (["-params", "n_atoms:51"], "n_atoms: reinforce has no such hyperparameter"),
    "a hyperparameter out of bounds": (["-params", "gamma:1.5"], "gamma: not accepted"),
    "a run key": (["-params", "n_timesteps:5"], "-params: n_timesteps is not a hyperparameter"),
    "no pair": (["-params", "gamma"], "-params: malformed pair"),
    "env arguments": (["--env-kwargs", "colour:red"], "env_kwargs: "),
    "a wrapper that is none": (["--env-wrapper", "gymnasium:Env"], "env_wrapper: is no gymnasium.Wrapper"),
    "a module that is none": (["--import", "no_such_module"], "--import: cannot be imported"),
    "a missing folder": (["--storage", "sqlite:////no/such/folder/a.db"], "--storage: cannot be used"),
    "no database": (["--storage", __file__], "--storage: cannot be used: file is not a database"),
    "another driver": (["--storage", "oracle://nowhere"], "--storage: cannot be used"),
    "a folder as database": (["--storage", "/"], "--storage: is a folder"),
    "a name that is none": (["--study-name", ".."], "--study-name: is no name"),
    "a file as folder": (["--log-folder", __file__], "--log-folder: cannot be written"),
    "seeds beyond 32 bits": (["--seed", "2147483647"], "seeds: one is out of bounds"),
    "a word too many": (["rainbow"], "command line: unexpected word"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, error = BAD[name]
    assert tune.main(["--algo", "reinforce", *BRIEF, *flags(tmp_path), *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith(f"error: {error}")
    assert os.listdir(tmp_path) in ([], ["studies.db"])  # no folder, no report


@pytest.mark.usefixtures("served_workers")
def test_a_second_study_of_the_same_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--algo", "reinforce", *BRIEF, *flags(tmp_path), "--trials", "1", "--study-name", "mine"]
    assert tune.main(line) == 0
    before = (tmp_path / "studies.db").read_bytes()
    for change, field in ((["-n", "96"], "n_timesteps"), (["--algo", "vpg"], "algo")):
        capsys.readouterr()
        assert tune.main([*line, *change]) == 2
        assert f"error: --study-name: 'mine' was begun with another {field} (got " in capsys.readouterr().err
    assert (tmp_path / "studies.db").read_bytes() == before


@pytest.mark.usefixtures("served_workers")
def test_a_storage_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "studies.db"
    line = ["--algo", "reinforce", *BRIEF, "--log-folder", str(tmp_path / "logs"), "--trials", "1"]
    assert tune.main([*line, "--storage", str(path)]) == 0
    before = path.read_bytes()
    readonly = f"sqlite:///file:{path}?mode=ro&uri=true"
    assert tune.main([*line, "--storage", readonly, "--study-name", "other"]) == 2
    assert "error: --storage: cannot be used: attempt to write a readonly database" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--algos", "reinforce"], "--algos: a comparison needs two algorithms"),
        (["--algos", "reinforce", "reinforce", "ppo"], "--algos: one is named twice"),
        (["--algos", "reinforce", "pppo"], "algo: unknown algorithm; did you mean 'ppo'"),
        (["--algos", "reinforce", "dqn"], "env: sb3_course/OneShot-v0 has actions that dqn cannot choose"),
        (["--fresh-seeds", "1", "--algos", "reinforce", "ppo"], "--fresh-seeds: is too small"),
        (["--top", "0", "--algos", "reinforce", "ppo"], "--top: is out of bounds"),
        (["--threshold", "high", "--algos", "reinforce", "ppo"], "--threshold: is not a number"),
        (["--threshold", "Nowhere-v0:1", "--algos", "reinforce", "ppo"], "--threshold: names no environment of the"),
        (
            ["--threshold", "1", "2", "--algos", "reinforce", "ppo"],
            "--threshold: is given twice for sb3_course/OneShot",
        ),
        (["--env", "Acrobot-v1", "Acrobot-v1", "--algos", "reinforce", "ppo"], "--env: one is named twice"),
        (["--env", "Acrobot-v1", "CartPole-v7", "--algos", "reinforce", "ppo"], "env: no environment of this name"),
        (["--env", "Acrobot-v1", "Pendulum-v1", "--algos", "dqn", "ppo"], "env: Pendulum-v1 has actions that dqn"),
        (["--reference", "0,1", "--algos", "reinforce", "ppo"], "--reference: names no environment"),
        (["--reference", "Acrobot-v1:-500", "--algos", "reinforce", "ppo"], "--reference: is not two numbers"),
        (["--reference", "sb3_course/OneShot-v0:0,1", "--algos", "reinforce", "ppo"], "--reference: puts scores of"),
    ],
)
def test_comparisons_that_cannot_be_are_refused(
    words: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*BRIEF, *flags(tmp_path), *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {error}")
    assert told.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_workers_import_what_the_user_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_game.py").write_text(
        "import gymnasium as gym\n"
        "from sb3_course.envs import OneShotEnv\n"
        "from sb3_course.registry import ALGORITHMS, Algorithm\n"
        "from sb3_course.tuning import SPACES\n"
        "from sb3_course.policy_gradient.gradient_family import REINFORCE\n"
        "class Mine(REINFORCE):\n"
        "    pass\n"
        "gym.register('MyGame-v0', OneShotEnv)\n"
        "ALGORITHMS['mine'] = Algorithm('mine', 'my_game:Mine', 'policy gradient', 'me', 'my idea', ('Box',))\n"
        "SPACES['mine'] = SPACES['reinforce']\n"
    )
    monkeypatch.setattr("sb3_course.config.named_classes._plugins", [])  # processes of later tests import what is there
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does; the workers are fresh processes
    words = ["--import", "my_game", "--algo", "mine", "--env", "MyGame-v0"]
    try:
        assert tune.main([*BRIEF, *words, *flags(tmp_path)]) == 0
        assert capfd.readouterr().err == ""
        assert states(tmp_path, "mine-MyGame-v0") == ["COMPLETE"] * 4
        best = ["--import", "my_game", "--config", str(tmp_path / "logs" / "mine-MyGame-v0" / "best.yml")]
        assert train.main([*best, "--eval-freq", "0", "--run-dir", str(tmp_path / "run")]) == 0
        assert "mine" in ALGORITHMS
    finally:
        for table, key in (
            (ALGORITHMS, "mine"),
            (SPACES, "mine"),
            (gym.registry, "MyGame-v0"),
            (sys.modules, "my_game"),
        ):
            table.pop(key, None)
