"""Kill training with -9 inside episodes, resume it, and compare with the run that was never killed.

    python benchmarks/kills.py [games] [cuda] [NUMBER] [WORD ...]

Every trial trains one algorithm twice with equal settings: once to its end, and once killed at a random moment, killed
again while it is resumed, and resumed. Weights, optimizer, best model, `progress.csv`, `evaluations.csv` (but for their
wall-clock columns) and the monitors' episodes must be equal bit for bit. A run that is over before its kill is repeated
with an earlier one. NUMBER takes the first so many lines of the table (shuffled), a WORD those in which it stands;
`games` stands for the table of Atari's, 20,000 steps each, `cuda` for the same lines on a GPU.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLOCK = {"seconds", "time/fps", "time/time_elapsed"}
SHORT = "--eval-episodes 2 --final-episodes 2 --n-eval-envs 1 --import kill_envs --no-progress --verbose 0"
POLE, GRID, SWING = "--env CartPole-v1", "--env sb3_course/GridWorld-v0", "--env Pendulum-v1"
OWN, LASTING, NAMED = (f"--env kills/{name}-v0" for name in ("Curriculum", "Lasting", "Named"))
REPLAY = "-params learning_starts:100 buffer_size:300"  # which is full long before the end
OFTEN = f"{REPLAY} train_freq:4 gradient_steps:2"
SMALL = f"{REPLAY} train_freq:1 gradient_steps:1 policy_kwargs:dict(net_arch=[32,32])"
FOUR, PROCESSES = "--n-envs 4", "--n-envs 4 --vec-env subproc"
ALL = "--normalize --frame-stack 2"
VALUE = ("double_dqn", "rainbow", "per_dqn", "nstep_dqn", "noisy_dqn", "c51", "quantile_dqn")
GRADIENT = ("reinforce", "reinforce_baseline", "actor_critic")

#: Command lines of `train`, those of the two families first.
LINES = (
    *(f"{algo} {POLE} {REPLAY} backend:numpy" for algo in VALUE),
    *(f"{algo} {POLE} {REPLAY} backend:torch" for algo in VALUE),
    *(f"{algo} {POLE} {FOUR} --frame-stack 2 {OFTEN}" for algo in VALUE),
    *(f"{algo} {POLE} --normalize {REPLAY}" for algo in VALUE),
    *(f"{algo} {POLE} -params backend:numpy" for algo in GRADIENT),
    *(f"{algo} {POLE} -params backend:torch" for algo in GRADIENT),
    *(f"{algo} {POLE} {FOUR} {ALL}" for algo in GRADIENT),
    *(f"{algo} {POLE} {PROCESSES}" for algo in GRADIENT),
    f"rainbow {POLE} {PROCESSES} {ALL} {OFTEN}",
    f"dueling_dqn {POLE} {REPLAY}",
    f"iqn {POLE} {OFTEN}",
    f"btr {POLE} {FOUR} {OFTEN}",
    f"munchausen_dqn {POLE} {FOUR} {OFTEN}",
    f"pqn {POLE} {FOUR} -params n_steps:16 batch_size:32",
    f"pqn {POLE} --normalize -params n_steps:16 batch_size:8 backend:torch",
    f"vpg {POLE} {FOUR}",
    f"numpy_dqn {POLE} {REPLAY}",
    f"numpy_dqn {POLE} --normalize {REPLAY}",
    f"neural_q {POLE}",
    f"neural_q {POLE} {FOUR}",
    f"q_table {GRID}",
    f"q_table {GRID} {FOUR}",
    f"q_table {GRID} --env-kwargs slip:0.2",
    f"dqn {POLE} {OFTEN}",
    f"dqn {POLE} {FOUR} {ALL} {OFTEN}",
    f"dqn {POLE} {OFTEN} optimize_memory_usage:True replay_buffer_kwargs:dict(handle_timeout_termination=False)",
    f"dqn {NAMED} {OFTEN}",
    f"qrdqn {POLE} {OFTEN}",
    f"qrdqn {POLE} {FOUR} --normalize {OFTEN}",
    f"a2c {POLE} --n-envs 1",
    f"a2c {POLE} {FOUR} {ALL}",
    f"a2c {POLE} {PROCESSES}",
    f"a2c {SWING} {FOUR} -params use_sde:True sde_sample_freq:3",
    f"ppo {POLE} --n-envs 1 -params batch_size:32",
    f"ppo {POLE} {FOUR} {ALL} -params n_steps:16 batch_size:32 n_epochs:2",
    f"ppo {POLE} {PROCESSES} -params n_steps:16 batch_size:32 n_epochs:2",
    f"ppo {SWING} {FOUR} -params use_sde:True n_steps:16 batch_size:32 n_epochs:2",
    f"sac {SWING} {SMALL}",
    f"sac {SWING} {PROCESSES} {SMALL}",
    f"sac {SWING} {FOUR} {ALL} {SMALL} use_sde:True",
    f"td3 {SWING} {SMALL}",
    f"td3 {SWING} {FOUR} --normalize {SMALL}",
    f"ddpg {SWING} {SMALL}",
    f"ddpg {SWING} {FOUR} --frame-stack 2 {SMALL} noise_type:ornstein-uhlenbeck noise_std:0.3",
    f"tqc {SWING} {SMALL}",
    f"crossq {SWING} {SMALL}",
    f"trpo {POLE} {FOUR} -params n_steps:16 batch_size:32",
    f"double_dqn {OWN} {REPLAY}",
    f"a2c {OWN} {PROCESSES}",
    f"rainbow {LASTING} {FOUR} {OFTEN}",
    f"ppo {LASTING} {FOUR} -params n_steps:16 batch_size:32 n_epochs:2",
    f"per_dqn {NAMED} {FOUR} {OFTEN}",
    f"reinforce {NAMED}",
)
#: Command lines of 20,000 steps, with the whole preprocessing: most of a minute's learning, a memory of 20,000 stacks.
GAMES = tuple(
    f"{algo} --env ALE/Breakout-v5 -params learning_starts:1000 buffer_size:20000" for algo in ("double_dqn", "rainbow")
)


def warm() -> None:
    """Import what every run needs, so that its copies need not, and compute in one thread, as forked processes must."""
    import matplotlib.pyplot
    import sb3_contrib
    import stable_baselines3
    import torch as th

    import sb3_course.runs.training
    import sb3_course.train

    assert all((matplotlib.pyplot, sb3_contrib, stable_baselines3, sb3_course.runs.training, sb3_course.train))
    th.set_num_threads(1)
    if (here := str(Path(__file__).parent)) not in sys.path:  # where `kill_envs` lies
        sys.path.insert(0, here)


def fork(arguments: list[str]) -> int:
    """Start a command line of `train` in a copy of this process, which has imported everything."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        if "KILLS_LOUD" not in os.environ:
            os.dup2(null, 2)
        from sb3_course.train import main

        status = 1
        try:
            status = main(arguments)
        finally:
            os._exit(status)
    return child


def finish(arguments: list[str]) -> None:
    """Run a command line to its end."""
    _, status = os.waitpid(fork(arguments), 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)}: status {os.waitstatus_to_exitcode(status)}")


def kill_after(arguments: list[str], run: Path, seconds: float) -> None:
    """Kill a command line so long after its first new checkpoint, sooner where it is over before.

    What it has written is taken back then: a run that was not killed would be equal whatever a checkpoint holds.

    :raises RuntimeError: when it is over whenever it is to be killed
    """
    before = run.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    if run.exists():
        shutil.copytree(run, before)
    for _ in range(8):
        if _killed(arguments, run, seconds):
            return
        seconds /= 2
        shutil.rmtree(run, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, run)
    raise RuntimeError("was over before it was killed")


def _killed(arguments: list[str], run: Path, seconds: float) -> bool:
    """Start a command line, kill it so long after its first new checkpoint, and return whether it was not yet over."""
    before, child = checkpoints(run), fork(arguments)
    while checkpoints(run) <= before:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(seconds)
    os.killpg(child, signal.SIGKILL)
    # A signal that finds the run's last words written and its process about to leave has interrupted nothing.
    return os.WIFSIGNALED(os.waitpid(child, 0)[1]) and not finished(run)


def finished(run: Path) -> bool:
    """Return whether a run says that it has come to its end."""
    status = run / "status.json"
    return status.exists() and json.loads(status.read_text()).get("state") == "finished"


def pause(run: Path) -> float:
    """Return the mean time between two checkpoints of a run."""
    times = sorted(path.stat().st_mtime for path in (run / "checkpoints").glob("*/model.zip"))
    if len(times) < 4:
        raise RuntimeError(f"has {len(times)} checkpoints, too few to be killed between them")
    return (times[-1] - times[0]) / (len(times) - 1)


def checkpoints(run: Path) -> int:
    """Return the steps of the newest checkpoint, or -1."""
    folder = run / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def differences(one: Path, two: Path) -> Iterator[str]:
    """Yield what of two runs differs."""
    for name in ("model.zip", "best_model.zip"):
        mine, other = dict(tensors(one / name)), dict(tensors(two / name))
        if mine != other:
            yield f"{name}: {[key for key in mine if mine[key] != other.get(key)][:3]}"
    for name in ("progress.csv", "evaluations.csv"):
        mine, other = rows(one / name), rows(two / name)
        if mine != other:
            pairs = (pair for pair in zip(mine, other, strict=False) if pair[0] != pair[1])
            yield f"{name}: {next(pairs, (len(mine), len(other)))}"
    for path in sorted(one.glob("*monitor.csv")):
        if episodes(path) != episodes(two / path.name):
            yield path.name


def tensors(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the numbers of a model file by their place, to the bit."""
    import torch as th

    def walk(tree: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(tree, dict | list | tuple):
            for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
                yield from walk(value, f"{place}/{key}")
        else:
            yield place, (tree.detach().numpy().tobytes() if isinstance(tree, th.Tensor) else tree)

    with zipfile.ZipFile(path) as file:
        for name in sorted(file.namelist()):
            if name.endswith(".pth"):
                yield from walk(th.load(io.BytesIO(file.read(name)), weights_only=True, map_location="cpu"), name)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, wall-clock columns left out."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{key: value for key, value in row.items() if key not in CLOCK} for row in csv.DictReader(file)]


def episodes(path: Path) -> list[list[str]]:
    """Return return and length of each episode that a monitor has written."""
    return [line.split(",")[:2] for line in path.read_text().splitlines()[1:]]


def trial(line: str, folder: Path, rng: random.Random, steps: int) -> list[str]:
    """Return in what a run that was killed twice differs from one that was not.

    :raises RuntimeError: where a run fails, or is over before it can be killed
    """
    algo, *words = line.split()
    whole, killed = folder / "whole", folder / "killed"
    common = SHORT.split()
    command = ["--algo", algo, "-n", str(steps), "--eval-freq", str(steps // 4), "--save-freq", str(steps // 10)]
    command += [*common, *words]
    again = ["--resume", str(killed), "--import", "kill_envs", "--no-progress", "--verbose", "0"]
    finish([*command, "--run-dir", str(whole)])
    between = pause(whole)
    for arguments in ([*command, "--run-dir", str(killed)], again):
        kill_after(arguments, killed, rng.uniform(0, between))
    finish(again)
    return list(differences(whole, killed))


def main(words: list[str]) -> int:
    """Run the trials and return how many differed."""
    warm()
    lines, steps = LINES, 600
    if words[:1] == ["games"]:
        lines, steps = GAMES, 20_000
        del words[0]
    if words[:1] == ["cuda"]:
        lines = tuple(f"{line} --device cuda" for line in lines)
        del words[0]
    number = int(words.pop(0)) if words and words[0].isdecimal() else len(lines)
    chosen = [line for line in lines if all(word in line for word in words)]
    random.Random(2).shuffle(chosen)  # of every kind some early
    del chosen[number:]
    rng, equal = random.Random(0), 0
    for index, line in enumerate(chosen, start=1):
        folder, started = Path(tempfile.mkdtemp()), time.perf_counter()
        try:
            differs = trial(line, folder, rng, steps)
        except (RuntimeError, OSError) as error:
            differs = [f"not compared: {error}"]
        shutil.rmtree(folder, ignore_errors=True)
        equal += not differs
        told = f"DIFFERS: {'; '.join(differs)}" if differs else "equal"
        print(f"{index:2} {line}: {told} ({time.perf_counter() - started:.0f} s)", flush=True)
    print(f"{equal} of {len(chosen)} equal, each killed twice")
    return len(chosen) - equal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
