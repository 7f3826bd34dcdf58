"""Our engine's torch backend against SB3's DQN, both with one update per env step, on CartPole-v1.

    OMP_NUM_THREADS=1 python benchmarks/engine.py

A ratio above 1 says that ours is faster.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch as th
from pairs import compare
from stable_baselines3 import DQN

from sb3_course import DoubleDQN


def main() -> None:
    """Print one line a batch size and algorithm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="how many times each takes its turn")
    parser.add_argument("--steps", type=int, default=1_000, help="env steps of a turn")
    arguments = parser.parse_args()
    th.set_num_threads(1)

    ours: dict[str, dict[str, Any]] = {"switches off": {"double": False}, "double": {}}
    print(f"{'ours':14s} {'batch':>5s} {'ours µs':>8s} {'SB3 µs':>8s} {'ratio':>6s} {'lower 95 %':>10s}")
    for batch_size in (32, 128):
        common: dict[str, Any] = {
            "batch_size": batch_size, "train_freq": 1, "learning_starts": 200, "buffer_size": 50_000,
            "policy_kwargs": {"net_arch": [120, 84]}, "device": "cpu", "seed": 0,
        }  # fmt: skip
        for name, switches in ours.items():
            first = partial(DoubleDQN, "MlpPolicy", "CartPole-v1", backend="torch", **common, **switches)
            second = partial(DQN, "MlpPolicy", "CartPole-v1", **common)
            ratio = compare(first, second, arguments.pairs, arguments.steps, warm_up=500)
            micro = [min(side) / arguments.steps * 1e6 for side in ratio.seconds]
            print(f"{name:14s} {batch_size:5d} {micro[0]:8.0f} {micro[1]:8.0f} {ratio.mean:6.3f} {ratio.lower:10.3f}")


if __name__ == "__main__":
    main()
