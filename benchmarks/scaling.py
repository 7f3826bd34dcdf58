"""How the time of an env step with its update grows with batch, width and envs, by backend.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py

DoubleDQN on CartPole-v1; two hidden layers. One of the three grows at a time, the others stay at batch 32, width 64 and
one env. With E envs an update follows every call of ``step``, that is every E env steps; times are of one call. Where
"torch / numpy" falls below 1, torch would be the faster backend.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median

import torch as th
from pairs import compare
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import DoubleDQN

AXES = {
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "width": (32, 64, 128, 256, 512, 1024),
    "envs": (1, 2, 4, 8, 16, 32, 64),
}
USUAL = {"batch": 32, "width": 64, "envs": 1}


def make(backend: str, batch: int, width: int, envs: int) -> DoubleDQN:
    """Return a model that takes one gradient step for each call of ``step``."""
    return DoubleDQN(
        "MlpPolicy", make_vec_env("CartPole-v1", envs, seed=0), batch_size=batch, train_freq=1, learning_starts=100,
        buffer_size=20_000, policy_kwargs={"net_arch": [width, width]}, device="cpu", seed=0, backend=backend,
    )  # fmt: skip


def main() -> None:
    """Print one line for each point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="calls of `step` in a turn")
    parser.add_argument("--corner", action="store_true", help="also batch and width both at their largest")
    arguments = parser.parse_args()
    th.set_num_threads(1)
    points = [(axis, {**USUAL, axis: value}) for axis, values in AXES.items() for value in values]
    if arguments.corner:
        points += [("both", {**USUAL, "batch": size, "width": size}) for size in (128, 256, 512, 1024)]
    print(
        "| axis | batch | width | envs | numpy, µs | torch, µs | torch / numpy |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for axis, point in points:
        envs = point["envs"]
        sides = (partial(make, backend, **point) for backend in ("numpy", "torch"))
        ratio = compare(*sides, pairs=arguments.pairs, steps=arguments.steps * envs, warm_up=100 + 50 * envs)
        numpy, torch = (median(side) / arguments.steps * 1e6 for side in ratio.seconds)
        print(
            f"| {axis} | {point['batch']} | {point['width']} | {envs} | {numpy:.0f} | {torch:.0f} | {ratio.mean:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
