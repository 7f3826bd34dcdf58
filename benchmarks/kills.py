"""Kill training with -9 inside episodes, resume it, and compare with the run that was never killed.

    python benchmarks/kills.py [NUMBER] [WORD ...]

Every trial trains one algorithm twice with equal settings: once to its end, and once killed at a random moment, killed
again while it is resumed, and resumed. Weights, optimizer, best model, `progress.csv`, `evaluations.csv` (but for their
wall-clock columns) and the monitors' episodes must be equal bit for bit. NUMBER takes the first so many trials, a WORD
those in whose line it stands.
"""

from __future__ import annotations

import csv
import io
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
POLE, GRID, SWING = "CartPole-v1", "sb3_course/GridWorld-v0", "Pendulum-v1"
VALUE = ("double_dqn", "rainbow", "per_dqn", "nstep_dqn", "noisy_dqn", "c51", "quantile_dqn")
GRADIENT = ("reinforce", "reinforce_baseline", "actor_critic")
SHORT = "--eval-episodes 2 --final-episodes 2 --n-eval-envs 1"
REPLAY = "-params learning_starts:200 buffer_size:2000"


def trials() -> list[str]:
    """Return the command lines: 60 of them."""
    lines = []
    for algo in VALUE:
        lines += [f"{algo} --env {POLE} {REPLAY} backend:{backend}" for backend in ("numpy", "torch")]
        lines.append(f"{algo} --env {POLE} --n-envs 4 --frame-stack 2 {REPLAY}")
        lines.append(f"{algo} --env {POLE} --normalize {REPLAY}")
    for algo in GRADIENT:
        lines += [f"{algo} --env {POLE} -params backend:{backend}" for backend in ("numpy", "torch")]
        lines.append(f"{algo} --env {POLE} --n-envs 4 --normalize --frame-stack 2")
        lines.append(f"{algo} --env {POLE} --n-envs 4 --vec-env subproc")
    lines += [f"numpy_dqn --env {POLE} {REPLAY}", f"numpy_dqn --env {POLE} --normalize {REPLAY}"]
    lines += [f"neural_q --env {POLE}", f"neural_q --env {POLE} --n-envs 4", f"q_table --env {GRID}"]
    lines += [f"q_table --env {GRID} --n-envs 4", f"q_table --env {GRID} --env-kwargs slip:0.2"]
    lines += [f"dqn --env {POLE} {REPLAY}", f"dqn --env {POLE} --n-envs 4 {REPLAY}"]
    lines += [f"{algo} --env {POLE} --n-envs 4 --normalize" for algo in ("a2c", "ppo")]
    lines += [f"{algo} --env {POLE} --n-envs 4 --vec-env subproc" for algo in ("a2c", "ppo")]
    lines += [f"sac --env {SWING} {REPLAY}", f"sac --env {SWING} --n-envs 4 --vec-env subproc {REPLAY}"]
    lines += [f"rainbow --env {POLE} --n-envs 4 --vec-env subproc --normalize --frame-stack 2 {REPLAY}"]
    lines += [f"ppo --env {SWING} --n-envs 4 -params use_sde:True", f"a2c --env {POLE}", f"ppo --env {POLE}"]
    lines += [f"qrdqn --env {POLE} {REPLAY}", f"td3 --env {SWING} {REPLAY} noise_type:normal"]
    return lines[:60] if len(lines) >= 60 else lines + [f"ddpg --env {SWING} {REPLAY}"] * (60 - len(lines))


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
            status = main([*arguments, "--no-progress", "--verbose", "0"])
        finally:
            os._exit(status)
    return child


def finish(arguments: list[str]) -> None:
    """Run a command line to its end."""
    _, status = os.waitpid(fork(arguments), 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)}: status {os.waitstatus_to_exitcode(status)}")


def kill_after(arguments: list[str], run: Path, seconds: float) -> bool:
    """Kill a command line so long after its first new checkpoint; False if it was over before."""
    before, child = checkpoints(run), fork(arguments)
    while checkpoints(run) <= before:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(seconds)
    os.killpg(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


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
                yield from walk(th.load(io.BytesIO(file.read(name)), weights_only=True), name)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, wall-clock columns left out."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{key: value for key, value in row.items() if key not in CLOCK} for row in csv.DictReader(file)]


def episodes(path: Path) -> list[list[str]]:
    """Return return and length of each episode that a monitor has written."""
    return [line.split(",")[:2] for line in path.read_text().splitlines()[1:]]


def trial(line: str, folder: Path, rng: random.Random, steps: int = 1000) -> tuple[int, list[str]]:
    """Return how often a run was killed, and in what it differs from one that was not."""
    algo, *words = line.split()
    whole, killed = folder / "whole", folder / "killed"
    command = ["--algo", algo, "-n", str(steps), "--eval-freq", str(steps // 4), "--save-freq", str(steps // 10)]
    command += [*SHORT.split(), *words]
    started = time.perf_counter()
    finish([*command, "--run-dir", str(whole)])
    step = (time.perf_counter() - started) / 10  # about the time between two checkpoints
    kills = 0
    for _ in range(2):
        arguments = ["--resume", str(killed)] if checkpoints(killed) >= 0 else [*command, "--run-dir", str(killed)]
        kills += kill_after(arguments, killed, rng.uniform(0, step))
    if not (killed / "status.json").exists() or '"finished"' not in (killed / "status.json").read_text():
        finish(["--resume", str(killed)])
    return kills, list(differences(whole, killed))


def main(words: list[str]) -> int:
    """Run the trials and return how many differed."""
    warm()
    number = int(words.pop(0)) if words and words[0].isdecimal() else 60
    chosen = [line for line in trials() if all(word in line for word in words)]
    random.Random(1).shuffle(chosen)  # of every kind some early
    del chosen[number:]
    rng, wrong, kills = random.Random(0), 0, 0
    for index, line in enumerate(chosen, start=1):
        folder, started = Path(tempfile.mkdtemp()), time.perf_counter()
        try:
            times, differs = trial(line, folder, rng)
        except RuntimeError as error:
            times, differs = 0, [str(error)]
        shutil.rmtree(folder, ignore_errors=True)
        kills, wrong = kills + times, wrong + bool(differs)
        told = "equal" if not differs else f"DIFFERS: {'; '.join(differs)}"
        print(f"{index:2} {line}: killed {times}x, {told} ({time.perf_counter() - started:.0f} s)", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} equal, {kills} kills")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
