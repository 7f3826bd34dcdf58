"""A3C's worker processes: what a second one adds, and what is left when one of them is killed.

    OMP_NUM_THREADS=1 python benchmarks/workers.py

A ratio of 2 says that two workers take twice as many env steps a second as one. Start-up is not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import statistics
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from sb3_course import A3C

NET: dict[str, Any] = {"policy_kwargs": {"shared_layers": [120, 84]}, "device": "cpu"}


class Clock(BaseCallback):
    """Notes when the first and the last tenth of the steps were heard of."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.marks = {steps // 10: 0.0, steps: 0.0}

    def _on_step(self) -> bool:
        if self.num_timesteps in self.marks:
            self.marks[self.num_timesteps] = perf_counter()
        return True

    def rate(self) -> float:
        """Return env steps a second between the two marks."""
        (first, start), (last, end) = self.marks.items()
        return (last - first) / (end - start)


class Kill(BaseCallback):
    """Kills one worker at a given step."""

    def __init__(self, at: int, victim: int) -> None:
        super().__init__()
        self.at, self.victim, self.pids = at, victim, list[int]()

    def _on_step(self) -> bool:
        if self.n_calls == self.at:
            self.pids = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
            os.kill(self.pids[self.victim], signal.SIGKILL)
        return True


def rate(n_workers: int, steps: int, n_steps: int, seed: int) -> float:
    """Return the env steps a second of `n_workers` workers."""
    clock = Clock(steps)
    A3C("MlpPolicy", "CartPole-v1", n_workers=n_workers, n_steps=n_steps, seed=seed, **NET).learn(steps, clock)
    return clock.rate()


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def main() -> None:
    """Print the ratio of every pair, then one line for the killed runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--n-steps", type=int, default=5, help="steps of a rollout")
    parser.add_argument("--kills", type=int, default=20, help="runs in which a worker is killed with -9")
    arguments = parser.parse_args()

    ratios = []
    for pair in range(arguments.pairs):
        one, two = (rate(n, arguments.steps, arguments.n_steps, seed=pair) for n in (1, 2))
        ratios.append(two / one)
        print(f"one worker {one:6.0f} steps/s, two {two:6.0f}, ratio {two / one:.2f}", flush=True)
    if ratios:
        print(f"median ratio {statistics.median(ratios):.2f}")

    generator, errors, orphans = random.Random(0), 0, 0
    for run in range(arguments.kills):
        kill = Kill(at=generator.randrange(1, 2_000), victim=generator.randrange(2))
        try:
            A3C("MlpPolicy", "CartPole-v1", n_workers=2, seed=run, **NET).learn(10_000_000, kill)
        except RuntimeError as error:
            errors += "was killed by signal 9" in str(error)
        sleep(0.2)
        orphans += sum(map(alive, kill.pids))
    if arguments.kills:
        print(f"{arguments.kills} runs with a killed worker: {errors} clear errors, {orphans} processes left")


if __name__ == "__main__":
    main()
