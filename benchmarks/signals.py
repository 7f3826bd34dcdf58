"""Ctrl-C and SIGTERM at ten moments of every command: its exit status, its last words, and what it leaves behind.

    python benchmarks/signals.py                    # every command, moment and signal
    python benchmarks/signals.py train:rollout ...  # some of them
    python benchmarks/signals.py --one              # one signal at each moment, in turn

Wanted: 130 after SIGINT, to the process group as from a terminal or to the process alone, 143 after SIGTERM, to either
as from `timeout` or `kill`, or 0 where everything was done; at most "interrupted" on stderr; no process of the
command's left; no temporary file; the run resumes, the study goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
HOW = (("SIGINT", "group"), ("SIGINT", "process"), ("SIGTERM", "process"), ("SIGTERM", "group"))
STATUS = {"SIGINT": 130, "SIGTERM": 143}

SHOT = ["--env", "sb3_course/OneShot-v0"]
TRAIN = [*SHOT, "--algo", "reinforce", "-n", "4000", "--eval-freq", "1000", "--run-dir", "RUN"]
TRAIN += ["--import", "signal_hook"]
VALUE = ["--env", "CartPole-v1", "--algo", "double_dqn", "-n", "1200", "-params", "learning_starts:100"]
VALUE += ["--eval-freq", "400", "--eval-episodes", "1", "--final-episodes", "1", "--run-dir", "RUN"]
VALUE += ["--import", "signal_hook"]
STUDY = ["-n", "400", "--trials", "2", "--seeds", "2", "--eval-freq", "100", "--eval-episodes", "1", "--workers", "2"]
STUDY += ["--final-episodes", "1", "--storage", "STUDIES", "--log-folder", "LOGS", "--import", "signal_hook", *SHOT]
TUNE = [*STUDY, "--algo", "reinforce"]
COMPARE = [*STUDY, "--algos", "reinforce", "vpg", "--fresh-seeds", "2", "--top", "1"]
ENJOY = ["MODEL", "--import", "signal_hook", "--episodes", "400", "--gif", "GIF"]
A3C = [*TRAIN, "--algo", "a3c", "-params", "n_workers:2"]
SUBPROC = [*TRAIN, "--vec-env", "subproc", "--n-envs", "2"]
STARTS = "multiprocessing.process:BaseProcess.start"
GRADIENT = "sb3_course.policy_gradient.gradient_learner:PolicyGradientLearner.collect_rollouts"
COLLECT = "stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm.collect_rollouts"
EVALUATE = "sb3_course.runs.active_run:evaluate"


@dataclass(frozen=True)
class Moment:
    """When a signal comes: so many seconds after the start, or at the call of a function."""

    words: list[str]
    at: float | str
    extra: dict[str, str] = field(default_factory=dict)
    done: bool = False  # whether everything may have been done, and the status be 0


COLD = {"XDG_CACHE_HOME": "CACHE"}  # nothing is compiled yet
MOMENTS: dict[str, dict[str, Moment]] = {
    "train": {
        "start": Moment(TRAIN, 0.15),
        "imports": Moment(TRAIN, 0.6),
        "imports of torch": Moment(TRAIN, 1.5),
        "compiling": Moment(VALUE, "sb3_course.backends.compiled.cache:SourcesCache.save_overload#2", COLD),
        "workers start": Moment(SUBPROC, f"{STARTS}#2"),
        "envs in processes": Moment(SUBPROC, f"{GRADIENT}#2"),
        "A3C": Moment(A3C, "sb3_course.policy_gradient.a3c_workers:WorkerPool._receive#3"),
        "A3C starts": Moment(A3C, STARTS),
        "rollout": Moment(VALUE, f"{COLLECT}#2"),
        "update": Moment(VALUE, "sb3_course.value.value_algorithm:ValueAlgorithm.train#2"),
        "evaluation": Moment(VALUE, "sb3_course.runs.run_callbacks:evaluate#2"),
        "save": Moment(VALUE, "sb3_course.runs.active_run:write_checkpoint#3"),
        "final score": Moment(VALUE, EVALUATE, done=True),
        "report": Moment(TRAIN, "sb3_course.runs.curve:draw_curve", done=True),
    },
    "tune": {
        "start": Moment(TUNE, 0.15),
        "imports": Moment(TUNE, 0.6),
        "imports of torch": Moment(TUNE, 1.5),
        "the study is made": Moment(TUNE, "optuna:create_study"),
        "workers start": Moment(TUNE, "sb3_course.tuning.local_launcher:start_process#2"),
        "workers import": Moment(TUNE, "sb3_course.tuning.crew:wait_for_one#1"),
        "a worker's rollout": Moment(TUNE, f"{GRADIENT}#3"),
        "a worker's evaluation": Moment(TUNE, "sb3_course.runs.run_callbacks:evaluate#2"),
        "a trial is told": Moment(TUNE, "sb3_course.tuning.tickets:Tickets.report", done=True),
        "the best is written": Moment(TUNE, "sb3_course.tuning.study:ranked", done=True),
        "report": Moment(TUNE, "sb3_course.tuning.report:study_report", done=True),
    },
    "compare": {
        "start": Moment(COMPARE, 0.15),
        "imports": Moment(COMPARE, 0.6),
        "imports of torch": Moment(COMPARE, 1.5),
        "the contest is checked": Moment(COMPARE, "sb3_course.tuning.comparison:Contest.check"),
        "a study is made": Moment(COMPARE, "sb3_course.tuning.comparison:create_study#2"),
        "workers start": Moment(COMPARE, "sb3_course.tuning.local_launcher:start_process#1"),
        "a worker's rollout": Moment(COMPARE, f"{GRADIENT}#3"),
        "a worker's evaluation": Moment(COMPARE, "sb3_course.runs.run_callbacks:evaluate#2"),
        "fresh seeds": Moment(COMPARE, "sb3_course.tuning.comparison:fresh_plan"),
        "results are read": Moment(COMPARE, "sb3_course.tuning.comparison:collect", done=True),
        "report": Moment(COMPARE, "sb3_course.tuning.report:_comparison_page", done=True),
    },
    "enjoy": {
        "start": Moment(ENJOY, 0.15),
        "imports": Moment(ENJOY, 0.4),
        "imports of SB3": Moment(ENJOY, 0.9),
        "imports of torch": Moment(ENJOY, 1.5),
        "the environment is made": Moment(ENJOY, "sb3_course.runs.environment:evaluation_env"),
        "the model is loaded": Moment(ENJOY, "sb3_course.runs.model:load_model"),
        "an episode begins": Moment(ENJOY, "sb3_course.runs.episode_player:EpisodePlayer.play"),
        "evaluation": Moment(ENJOY, "sb3_course.runs.evaluation:evaluate"),
        "a picture is drawn": Moment(ENJOY, "sb3_course.envs.one_shot:OneShotEnv.render#30"),
        "save": Moment(ENJOY, "PIL.Image:Image.save", done=True),
    },
}  # fmt: skip


def left_processes(session: int) -> list[str]:
    """Return the command lines of what is left of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            after = (path / "stat").read_text().rpartition(")")[2].split()
            if int(after[3]) == session and after[0] != "Z":
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode()[-120:])
        except OSError:
            continue
    return found


def left_files(folder: Path) -> list[str]:
    """Return the temporary files in a folder: hidden ones but the lock, and those in `tmp`, torch's cache apart."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.name != ".lock"]
    hidden = [name for name in names if name.name.startswith(".") or name.name.endswith((".tmp", "-journal"))]
    return [
        str(name)
        for name in (
            *hidden,
            *(name for name in names if name.parts[:-1] == ("tmp",) and not name.name.startswith("torchinductor")),
        )
    ]


def go_on(command: str, words: list[str], folder: Path) -> str:
    """Return what is wrong with what was left, or an empty word: the run is resumed, the study gone on with."""
    run = folder / "run"
    if command == "train":
        if not any(run.glob("checkpoints/[0-9]*")):
            return "" if not (run / "model.zip").exists() else "a model and no checkpoint"
        if '"finished"' in (run / "status.json").read_text():
            words = ["--resume", str(run), "-n", "6000", "--import", "signal_hook"]
        else:
            words = ["--resume", str(run), "--import", "signal_hook"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGNAL_")}
    done = subprocess.run([sys.executable, "-m", f"sb3_course.{command}", *words], capture_output=True, text=True,
                          check=False, env={**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"})  # fmt: skip
    return "" if done.returncode == 0 else f"goes on with {done.returncode}: {done.stderr[-200:]}"


def attempt(command: str, moment: Moment, how: tuple[str, str], model: Path, and_go_on: bool) -> tuple[str, float]:
    """Return what went wrong, or an empty word, and how many seconds the command took to end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        places = {"RUN": "run", "STUDIES": "studies.db", "LOGS": "logs", "GIF": "a.gif", "CACHE": "cache"}
        places = {key: str(folder / value) for key, value in places.items()} | {"MODEL": str(model)}
        words = [places.get(word, word) for word in moment.words]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "TMPDIR": str(folder / "tmp")}
        environment |= {key: places[value] for key, value in moment.extra.items()}
        environment |= {"SIGNAL_SENT": str(folder / "sent"), "SIGNAL_AS": how[0], "SIGNAL_TO": how[1]}
        if isinstance(moment.at, str):
            environment["SIGNAL_AT"] = moment.at
        line = [sys.executable, "-m", f"sb3_course.{command}", *words]
        with open(folder / "out", "w+b") as out, open(folder / "err", "w+b") as err:
            process = subprocess.Popen(line, stdout=out, stderr=err, env=environment, start_new_session=True)
            if isinstance(moment.at, float):
                time.sleep(moment.at)
                (os.killpg if how[1] == "group" else os.kill)(process.pid, getattr(signal, how[0]))
                (folder / "sent").touch()
            while process.poll() is None and not (folder / "sent").exists():
                time.sleep(0.02)
            sent = time.monotonic()
            try:
                status = process.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "does not end", 120.0
            took = time.monotonic() - sent
        time.sleep(0.1)
        said, sent_at_all = (folder / "err").read_text(), (folder / "sent").exists()
        wrong = []
        if not sent_at_all:
            wrong.append("the moment never came")
        if status not in {STATUS[how[0]], 0 if moment.done else -1}:
            wrong.append(f"status {status}")
        if said not in ("", "interrupted\n"):
            wrong.append(f"said {said[-400:]!r}")
        if left := left_processes(process.pid):
            wrong.append(f"left {left}")
        if files := left_files(folder):
            wrong.append(f"files {files}")
        if and_go_on and command != "enjoy" and (problem := go_on(command, words, folder)):
            wrong.append(problem)
        return "; ".join(wrong), took


def main(words: list[str]) -> int:
    """Try the moments, and return 1 if one of them went wrong."""
    one, words = "--one" in words, [word for word in words if word != "--one"]
    bad = tried = 0
    longest = 0.0
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "run"
        if not words or any(word.startswith("enjoy") for word in words):
            from sb3_course.train import main as train

            sys.path.insert(0, str(ROOT / "benchmarks"))
            train([str(model) if word == "RUN" else word for word in TRAIN] + ["--verbose", "0"])
        for command, moments in MOMENTS.items():
            for index, (when, moment) in enumerate(moments.items()):
                if words and not {command, f"{command}:{when}"} & set(words):
                    continue
                for which, how in enumerate(HOW):
                    if one and which != index % len(HOW):
                        continue
                    wrong, took = attempt(command, moment, how, model, and_go_on=which == index % len(HOW))
                    bad, tried, longest = bad + bool(wrong), tried + 1, max(longest, took)
                    line = f"{'WRONG' if wrong else 'ok':6}{command:8}{when:24}{' to the '.join(how):24}{took:5.1f} s"
                    print(f"{line}  {wrong}", flush=True)
    print(f"{tried} signals, {bad} wrong, the longest way out {longest:.1f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
