"""REINFORCE on the one-shot environment: whether μ ends within ζ of τ, and what μ and σ do on the way.

    OMP_NUM_THREADS=1 python benchmarks/one_shot.py --picture docs/images/one_shot.png
    OMP_NUM_THREADS=1 python benchmarks/one_shot.py --time  # milliseconds of processor time an episode

τ = 4, ζ = 0.25, β = 1, two layers of five ReLUs, Adam at 1e-3, 10,000 episodes of one step, an update each. The policy
starts at μ = 0, σ = 1 exactly: far from the bump, so that it must widen before it can hit. The hidden layers start as
torch makes them, as in the article; SB3's own start has no biases, and leaves more such small nets dead.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from worker_pool import worker_pool

from sb3_course import REINFORCE

TAU, ZETA, EPISODES = 4.0, 0.25, 10_000
CONFIGURATIONS: dict[str, tuple[str, bool]] = {
    "plain, rate falls to 0": ("none", True),
    "running-mean baseline, rate falls to 0": ("mean", True),
    "value baseline, rate falls to 0": ("value", True),
    "plain, constant rate": ("none", False),
}


class Run(NamedTuple):
    """What one seed did, before every episode and at the end."""

    mu: np.ndarray  # (episodes + 1,)
    sigma: np.ndarray  # (episodes + 1,)
    first_hit: int  # episode of the first action within ζ of τ, -1: none
    born_dead: bool  # some layer of ReLUs is 0 at the only observation

    @property
    def inside(self) -> bool:
        """Whether the last μ is within ζ of τ."""
        return bool(abs(self.mu[-1] - TAU) <= ZETA)


class Watch(BaseCallback):
    """Notes μ and σ before every episode."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[tuple[float, float]] = []
        self.first_hit = -1

    def moment(self) -> tuple[float, float]:
        """Return μ and σ at the only observation."""
        with th.no_grad():
            law: Any = self.model.policy.get_distribution(th.ones(1, 1)).distribution  # type: ignore[operator]
        return float(law.mean), float(law.stddev)

    def _on_step(self) -> bool:
        if self.first_hit < 0 and abs(float(self.locals["actions"][0, 0]) - TAU) <= ZETA:
            self.first_hit = len(self.moments) - 1
        return True

    def _on_rollout_start(self) -> None:
        self.moments.append(self.moment())


def born_dead(policy: Any) -> bool:
    """Whether all units of some hidden layer are 0 at the only observation."""
    values, dead = th.ones(1, 1), False
    with th.no_grad():
        for layer in policy.mlp_extractor.policy_net:
            values = layer(values)
            dead |= isinstance(layer, th.nn.ReLU) and not values.any()
    return dead


def make(seed: int, baseline: str = "none", falls: bool = False, orthogonal: bool = False, **more: Any) -> REINFORCE:
    """Return a model that has learned nothing yet."""
    th.set_num_threads(1)
    env = gym.make("sb3_course/OneShot-v0", tau=TAU, zeta=ZETA, beta=1.0)
    return REINFORCE(
        "GaussianMlpPolicy", env, seed=seed, device="cpu", baseline=baseline,
        learning_rate=LinearSchedule(1e-3, 0.0, 1.0) if falls else 1e-3,
        policy_kwargs={"net_arch": [5, 5], "activation_fn": th.nn.ReLU, "ortho_init": orthogonal}, **more,
    )  # fmt: skip


def print_times(episodes: int = 1_000, pairs: int = 7) -> None:
    """Print the processor time of an episode on both backends, in turns; an episode is a step and an update."""
    models = {backend: make(0, backend=backend) for backend in ("torch", "numpy")}
    times: dict[str, list[float]] = {backend: [] for backend in models}
    for turn in range(pairs + 1):  # the first one compiles
        for backend, model in models.items():
            start = process_time()
            model.learn(episodes, reset_num_timesteps=False)
            if turn:
                times[backend].append((process_time() - start) / episodes)
    for backend, seconds in times.items():
        middle, low, high = 1e3 * median(seconds), 1e3 * min(seconds), 1e3 * max(seconds)
        print(f"{backend}: {middle:.3f} ms an episode ({low:.3f} to {high:.3f})")


def train(seed: int, baseline: str, falls: bool, orthogonal: bool) -> Run:
    """Train one seed."""
    model = make(seed, baseline, falls, orthogonal)
    watch, dead = Watch(), born_dead(model.policy)
    model.learn(EPISODES, watch)
    mu, sigma = np.array([*watch.moments, watch.moment()]).T
    return Run(mu, sigma, watch.first_hit, dead)


def row(name: str, runs: list[Run]) -> str:
    """Return one line of the table."""
    starts = all(run.mu[0] == 0 and run.sigma[0] == 1 for run in runs)
    widened = sum(run.sigma[: run.first_hit + 1].max() >= 1 for run in runs if run.first_hit >= 0)
    hits = sum(run.first_hit >= 0 for run in runs)
    ever = sum(bool((np.abs(run.mu - TAU) <= ZETA).any()) for run in runs)
    return (
        f"| {name} | {sum(run.inside for run in runs)} of {len(runs)} | {ever} | {sum(run.born_dead for run in runs)} "
        f"| {widened} of {hits} | {'yes' if starts else 'no'} |"
    )


def draw(results: dict[str, list[Run]], path: Path) -> None:
    """Draw μ and σ of every seed over the episodes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.4 * len(results)), layout="constrained")
    axes = figure.subplots(len(results), 2, sharex=True, squeeze=False)
    for (name, runs), (left, right) in zip(results.items(), axes, strict=True):
        for run in runs:
            left.plot(run.mu, color="C0" if run.inside else "C3", linewidth=0.8, alpha=0.6)
            right.plot(run.sigma, color="C0" if run.inside else "C3", linewidth=0.8, alpha=0.6)
        left.axhspan(TAU - ZETA, TAU + ZETA, color="0.85", zorder=0)
        left.set_title(name, fontsize=9, loc="left")
        left.set_ylabel("μ")
        right.set_ylabel("σ")
    for axis in axes[-1]:
        axis.set_xlabel("episode (blue: μ ends within ζ of τ)")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table; draw it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--orthogonal", action="store_true", help="SB3's initialisation instead of torch's")
    parser.add_argument("--time", action="store_true", help="print what an episode costs, and nothing else")
    parser.add_argument("--picture", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.time:
        print_times()
        return
    print("| configuration | μ within ζ of τ | at some time | born dead | σ >= 1 before the first hit | μ = 0, σ = 1 |")
    print("|---|---:|---:|---:|---:|---|")
    results = {}
    with worker_pool(arguments.jobs) as pool:
        for name, (baseline, falls) in CONFIGURATIONS.items():
            results[name] = list(
                pool.map(
                    partial(train, baseline=baseline, falls=falls, orthogonal=arguments.orthogonal),
                    range(arguments.seeds),
                )
            )
            print(row(name, results[name]), flush=True)
    if arguments.picture is not None:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
