"""Trials per hour: our studies against `rl_zoo3 train -optimize`, and two workers against one.

Both sides train the same configurations of DQN (drawn beforehand from the ranges of rl_zoo3's own sampler), with the
same network, steps, evaluations and one seed, nothing pruned, one thread a process. rl_zoo3 has two processes on one
SQLite file, which serves it better than `--n-jobs 2`, two threads of one Python. Ours is the value engine with every
switch off, which learns what SB3's DQN learns, by the backend that it chooses itself. Times are of whole commands,
from nothing started to all ended. Run it on a machine that has nothing else to do:

    python benchmarks/zoo_trials.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ENV, NET = "CartPole-v1", [64, 64]
BUFFER, STARTS = 50_000, 500
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def points(n: int) -> list[dict[str, Any]]:
    """Return configurations as rl_zoo3's sampler for DQN could have drawn them."""
    rng, found = np.random.default_rng(0), []
    for _ in range(n):
        train_freq = int(2 ** rng.integers(0, 11))
        found.append({
            "learning_rate": float(10 ** rng.uniform(-5, -2.7)),
            "gamma": float(1 - 10 ** rng.uniform(-4, -1.5)),
            "batch_size": int(2 ** rng.integers(2, 10)),
            "exploration_final_eps": float(rng.uniform(0, 0.2)),
            "exploration_fraction": float(rng.uniform(0, 0.5)),
            "target_update_interval": int(np.exp(rng.uniform(0, np.log(20_000)))),
            "train_freq": train_freq,
            "gradient_steps": max(train_freq // int(2 ** rng.integers(0, 4)), 1),
            "learning_starts": STARTS, "buffer_size": BUFFER,
        })  # fmt: skip
    return found


def be_the_zoo(options: argparse.Namespace) -> None:
    """Be one process of rl_zoo3, whose sampler gives out what was drawn beforehand."""
    from rl_zoo3 import hyperparams_opt
    from rl_zoo3.train import train

    drawn = points(options.trials)

    def sample(trial: Any, *_: Any) -> dict[str, Any]:
        return {**drawn[trial.number % len(drawn)], "policy_kwargs": {"net_arch": NET}}

    hyperparams_opt.HYPERPARAMS_SAMPLER["dqn"] = sample
    evaluations = str(options.evaluations)
    sys.argv = [
        "train", "--algo", "dqn", "--env", ENV, "-n", str(options.n_timesteps), "-optimize", "--pruner", "none",
        "--max-total-trials", str(options.trials), "--n-evaluations", evaluations, "--eval-episodes", "5",
        "--storage", f"sqlite:///{options.be_zoo}/zoo.db", "--study-name", "zoo", "-f", f"{options.be_zoo}/logs",
        "--no-optim-plots", "--num-threads", "1", "--seed", "1", "--verbose", "0", "-conf", f"{options.be_zoo}/dqn.yml",
    ]  # fmt: skip
    train()


def the_zoo(folder: Path, options: argparse.Namespace) -> int:
    """Run rl_zoo3's study with two processes; return how many trials ended."""
    import optuna
    from optuna.trial import TrialState

    section = {ENV: {"n_timesteps": options.n_timesteps, "policy": "MlpPolicy"}}
    (folder / "dqn.yml").write_text(json.dumps(section))
    optuna.create_study(study_name="zoo", storage=f"sqlite:///{folder}/zoo.db", direction="maximize")
    words = [sys.executable, __file__, *sys.argv[1:], "--be-zoo", str(folder)]
    crew = [subprocess.Popen(words, env={**os.environ, **ONE_THREAD}, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in crew] == [0, 0]
    trials = optuna.load_study(study_name="zoo", storage=f"sqlite:///{folder}/zoo.db").trials
    return sum(trial.state == TrialState.COMPLETE for trial in trials)


def ours(workers: int) -> Callable[[Path, argparse.Namespace], int]:
    """Return what runs our study with so many workers."""

    def run(folder: Path, options: argparse.Namespace) -> int:
        words = [sys.executable, __file__, *sys.argv[1:], "--be-ours", str(folder), "--workers", str(workers)]
        subprocess.run(words, check=True, env={**os.environ, **ONE_THREAD}, stdout=subprocess.DEVNULL)
        return int((folder / "ended").read_text())

    return run


def be_ours(options: argparse.Namespace) -> None:
    """Be the command that works our study off."""
    from sb3_course.tuning import Plan, create_study, open_storage, run_study
    from sb3_course.tuning.plan import Point

    given = tuple(Point(f"point {index}", point) for index, point in enumerate(points(options.trials)))
    plan = Plan(
        algo="double_dqn", env=ENV, n_timesteps=options.n_timesteps, n_trials=len(given), seeds=(1,), pruner="none",
        score="auc", eval_freq=options.n_timesteps // options.evaluations, eval_episodes=5, final_episodes=1,
        base={"double": False, "policy_kwargs": {"net_arch": NET}}, points=given,
    )  # fmt: skip
    folder = Path(options.be_ours)
    storage = open_storage(f"sqlite:///{folder}/ours.db")
    study = create_study(plan, storage=storage, name="ours")
    assert run_study(storage, "ours", options.workers)
    (folder / "ended").write_text(str(sum(trial.state.name == "COMPLETE" for trial in study.trials)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("-n", "--n-timesteps", type=int, default=10_000)
    parser.add_argument("--evaluations", type=int, default=2)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--be-zoo", help=argparse.SUPPRESS)
    parser.add_argument("--be-ours", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_zoo or options.be_ours:
        return be_the_zoo(options) if options.be_zoo else be_ours(options)
    sides = {"sb3_course, 2 workers": ours(2), "rl_zoo3, 2 processes": the_zoo, "sb3_course, 1 worker": ours(1)}
    rates = {}
    print(f"DQN on {ENV}: {options.trials} trials of {options.n_timesteps:,} steps, {options.evaluations} evaluations")
    for name, run in sides.items():
        with tempfile.TemporaryDirectory() as place:
            began = time.perf_counter()
            ended = run(Path(place), options)
            taken = time.perf_counter() - began
        assert ended >= options.trials, f"{name}: {ended} of {options.trials} trials ended"
        rates[name] = 3600 * ended / taken
        print(f"{name}: {ended} trials in {taken:.1f} s, {rates[name]:,.0f} an hour", flush=True)
    two, zoo, one = rates.values()
    print(f"against rl_zoo3: {two / zoo:.2f} (wanted: 3 or more)")
    print(f"two workers against one: {two / one:.2f} (wanted: 1.8 or more on two cores)")
    return None


if __name__ == "__main__":
    main()
