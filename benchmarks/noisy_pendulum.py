"""DDPG or TD3 on Pendulum-v1 with a noisy actor and no action noise: the score of each seed, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/noisy_pendulum.py --seeds 100-104

SB3's own class with ``NoisyMlpPolicy``; ``--policy MlpPolicy`` is the same without noise, for comparison. The score is
the mean return of 20 episodes without noise, on starts that training has not seen.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import gymnasium as gym
import stable_baselines3
import torch as th
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import sb3_course
from sb3_course.networks import noisy_layers


class Score(NamedTuple):
    """What one seed reached."""

    mean: float  # of 20 episodes without noise
    noisy: float  # of 20 episodes with the noise that training ended with
    sigma: float  # mean |σ| of the last noisy layer
    seconds: float


def train(seed: int, algo: str, policy: str, steps: int) -> Score:
    """Train one seed."""
    assert sb3_course.__version__  # its import registers the policies
    th.set_num_threads(1)
    model = getattr(stable_baselines3, algo)(
        policy, "Pendulum-v1", seed=seed, device="cpu", learning_rate=1e-3, learning_starts=1000, batch_size=128,
        buffer_size=steps, gamma=0.98, policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    start = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - start
    means = []
    for deterministic in (True, False):
        env = Monitor(gym.make("Pendulum-v1"))
        env.reset(seed=10_000 + seed)
        mean, _ = evaluate_policy(model, env, 20, deterministic)
        means.append(float(mean))
    layers = noisy_layers(model.policy.actor)
    sigma = layers[-1].weight_sigma.abs().mean().item() if layers else 0.0
    return Score(*means, sigma, seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=["DDPG", "TD3", "SAC"], default="DDPG")
    parser.add_argument("--policy", default="NoisyMlpPolicy")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seeds", default="100-104", help="first-last")
    parser.add_argument("--threshold", type=float, default=-250.0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    seeds = range(first, last + 1)
    run = partial(train, algo=arguments.algo, policy=arguments.policy, steps=arguments.steps)
    print("| seed | mean of 20 episodes | with noise | σ of the last layer | seconds |")
    print("|---|---:|---:|---:|---:|")
    scores = []
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        for seed, score in zip(seeds, pool.map(run, seeds), strict=True):
            scores.append(score)
            numbers = f"{score.mean:.0f} | {score.noisy:.0f} | {score.sigma:.4f} | {score.seconds:.0f}"
            print(f"| {seed} | {numbers} |", flush=True)
    reached = sum(score.mean >= arguments.threshold for score in scores)
    setting = f"{arguments.algo}, {arguments.policy}, {arguments.steps} steps, an update each"
    print(f"\n{reached} of {len(scores)} seeds at {arguments.threshold:g}: {setting}")


if __name__ == "__main__":
    main()
