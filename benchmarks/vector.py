"""How fast the environments step: batched against scalar GridWorlds, and a scalar one against FrozenLake.

    OMP_NUM_THREADS=1 python benchmarks/vector.py

Every figure is the median of --pairs measurements, the two sides of a ratio taken alternately in this one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

import sb3_course  # noqa: F401  (registers the ids)

GRID = "sb3_course/GridWorld-v0"


def batch_speed(num_envs: int, n_steps: int, **kwargs: Any) -> float:
    """Return env steps per second of the batched GridWorld under random actions."""
    env = gym.make_vec(GRID, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(4, size=(64, num_envs))
    start = perf_counter()
    for step in range(n_steps):
        env.step(actions[step % 64])
    return num_envs * n_steps / (perf_counter() - start)


def dummy_speed(num_envs: int, n_steps: int) -> float:
    """Return env steps per second of SB3's ``DummyVecEnv`` over scalar GridWorlds."""
    env = DummyVecEnv([lambda: gym.make(GRID)] * num_envs)
    env.seed(0)
    env.reset()
    actions = np.random.default_rng(0).integers(4, size=(64, num_envs))
    start = perf_counter()
    for step in range(n_steps):
        env.step(actions[step % 64])
    return num_envs * n_steps / (perf_counter() - start)


def scalar_speed(env_id: str, n_steps: int, **kwargs: Any) -> float:
    """Return steps per second of one environment, episodes reset as they end."""
    env = gym.make(env_id, **kwargs)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(4, size=n_steps).tolist()
    start = perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return n_steps / (perf_counter() - start)


def compare(name: str, ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> None:
    """Print both speeds and the median of the ratios."""
    speeds = [(ours(), theirs()) for _ in range(pairs)]
    mine, other = (median(speed) for speed in zip(*speeds, strict=True))
    ratio = median(one / two for one, two in speeds)
    print(f"| {name} | {mine:,.0f} | {other:,.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--envs", type=int, default=1024)
    arguments = parser.parse_args()
    print("| ours against theirs | our steps/s | their steps/s | ratio |\n|---|---:|---:|---:|")
    n = arguments.envs
    for mode in ("NextStep", "SameStep"):
        for slip in (0.0, 0.2):
            name = f"{n} batched GridWorlds, {mode}, slip {slip:g}, against DummyVecEnv of {n}"
            ours = lambda mode=mode, slip=slip: batch_speed(n, 4000, autoreset_mode=mode, slip=slip)  # noqa: E731
            compare(name, ours, lambda: dummy_speed(n, 20), arguments.pairs)
    for slippery in (False, True):
        name = f"one GridWorld, {'slip 2/3' if slippery else 'slip 0'}, against FrozenLake"
        compare(
            name,
            lambda slippery=slippery: scalar_speed(GRID, 100_000, slip=2 / 3 if slippery else 0.0),
            lambda slippery=slippery: scalar_speed("FrozenLake-v1", 100_000, is_slippery=slippery),
            arguments.pairs,
        )


if __name__ == "__main__":
    main()
