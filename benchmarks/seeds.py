"""How long many seeds take with two workers, and one run after the other: `python benchmarks/seeds.py`.

Every side trains the same runs with one thread each; the machine must have nothing else to do, and two cores.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def seconds(*words: str) -> float:
    """Return how long `train` takes with these words."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "sb3_course.train", *words, "--num-threads", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **ONE_THREAD})
    return time.perf_counter() - began


def scores(run: Path) -> tuple[str, ...]:
    """Return the steps and returns of a run's evaluations."""
    with open(run / "evaluations.csv", newline="") as file:
        return tuple(f"{row['timesteps']}: {row['returns']}" for row in csv.DictReader(file))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", default="rainbow")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("-n", "--n-timesteps", default="20000")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    run = ["--algo", options.algo, "--env", options.env, "-n", options.n_timesteps, "--no-progress", "--verbose", "0"]
    with tempfile.TemporaryDirectory() as folder:
        seconds(*run[:4], "-n", "2000", *run[6:], "--run-dir", str(Path(folder) / "warm"))  # compiled loops are kept
        many = seconds(*run, "--seeds", str(options.seeds), "--workers", str(options.workers),
                       "--run-dir", str(Path(folder) / "many"))  # fmt: skip
        each = [seconds(*run, "--seed", str(seed), "--run-dir", str(Path(folder) / f"alone_{seed}"))
                for seed in range(options.seeds)]  # fmt: skip
        root = Path(folder)
        places = [(root / "many" / f"seed_{seed}", root / f"alone_{seed}") for seed in range(options.seeds)]
        curves = [{scores(place) for place in pair} for pair in places]
    assert all(len(pair) == 1 for pair in curves), "the same runs ended with other scores"
    print(f"{options.algo} on {options.env}, {options.seeds} seeds of {int(options.n_timesteps):,} steps")
    print(f"train --seeds {options.seeds} --workers {options.workers}: {many:.1f} s")
    print(f"one `train --seed k` after the other: {sum(each):.1f} s")
    print(f"ratio: {sum(each) / many:.2f} (wanted: 1.8 or more on two cores)")


if __name__ == "__main__":
    main()
