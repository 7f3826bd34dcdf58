"""The course's DQN with only NumPy under several configurations: after how many episodes CartPole counts as solved.

    OMP_NUM_THREADS=1 python benchmarks/numpy_dqn.py --seeds 100-109

Solved: a mean unwrapped return of at least 195 over 100 consecutive episodes, training stopped there; not solved within
--steps is "never". Each row differs from the first in what its name says.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.monitor import Monitor
from worker_pool import worker_pool

from sb3_course import NumpyDQN, StopTrainingOnSolved, TerminalReward

SGD = {"optimizer_class": th.optim.SGD}
PER_SAMPLE: dict[str, Any] = {"batch_size": 1, "gradient_steps": 20}
BATCH: dict[str, Any] = {"batch_size": 20, "gradient_steps": 1}
PRINTED: dict[str, Any] = {  # as the preset numpy-dqn
    "init_bound": 0.5, "loss": "l2", "learning_rate_decay_unit": "replay", "learning_starts": 19, "warmup": "policy",
    "replay_buffer_kwargs": {"handle_timeout_termination": False},
}  # fmt: skip
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "The article as printed": {**PER_SAMPLE, **SGD, **PRINTED},
    "Adam, a step for each of 20 samples, no target": {**PER_SAMPLE},
    "Adam, one step for all 20 samples": {**BATCH},
    "Adam, target every 500 steps": {**PER_SAMPLE, "target_update_interval": 500},
    "Adam, target every 10 episodes": {**PER_SAMPLE, "target_update_interval": (10, "episode")},
    "Adam, epsilon falls by replay": {**PER_SAMPLE, "decay_unit": "replay"},
    "Adam, gamma 0.99": {**PER_SAMPLE, "gamma": 0.99},
    "Adam, gamma 0.9": {**PER_SAMPLE, "gamma": 0.9},
    "Adam, width 8": {**PER_SAMPLE, "width": 8},
    "Adam, width 64": {**PER_SAMPLE, "width": 64},
    "Adam, memory 1,000": {**PER_SAMPLE, "buffer_size": 1_000},
    "SGD": {**PER_SAMPLE, **SGD},
    "SGD, one step for all 20 samples": {**BATCH, **SGD},
    "SGD, target every 500 steps": {**PER_SAMPLE, **SGD, "target_update_interval": 500},
}


class Run(NamedTuple):
    """What one seed did."""

    solved_after: int | None  # episodes
    solved_at: int | None  # env steps
    seconds: float


def train(name: str, seed: int, steps: int) -> Run:
    """Train one seed until it is solved."""
    th.set_num_threads(1)
    arguments = dict(CONFIGURATIONS[name])
    width = arguments.pop("width", 24)
    network = {key: arguments.pop(key) for key in ("optimizer_class", "init_bound") if key in arguments}
    any_end = "replay_buffer_kwargs" in arguments
    env = TerminalReward(Monitor(gym.make("CartPole-v1")), -1, truncation=any_end)
    policy_kwargs = {"net_arch": [width, width], **network}
    model = NumpyDQN("MlpPolicy", env, seed=seed, policy_kwargs=policy_kwargs, **arguments)
    solved = StopTrainingOnSolved()
    start = time.perf_counter()
    model.learn(steps, solved)
    return Run(solved.solved_after, solved.solved_at, time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="100-109", help="first-last")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    names = [name for name in CONFIGURATIONS if arguments.only in name]
    print("| configuration | solved | median episodes | median steps | median seconds |\n|---|---:|---:|---:|---:|")
    with worker_pool(arguments.jobs) as pool:
        results = {name: pool.map(partial(train, name, steps=arguments.steps), seeds) for name in names}
        for name in names:
            runs = list(results[name])
            done = [run for run in runs if run.solved_at is not None]
            episodes, steps = (
                f"{np.median([getattr(run, field) for run in done]):,.0f}" if done else "never"
                for field in ("solved_after", "solved_at")
            )
            seconds = np.median([run.seconds for run in runs])
            print(f"| {name} | {len(done)} of {len(runs)} | {episodes} | {steps} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
