"""Step times of the value family on CartPole-v1, one update per env step.

    OMP_NUM_THREADS=1 python benchmarks/engine.py --backend torch

Every variant against SB3's DQN (a ratio above 1 says that ours is faster), then prioritized against uniform replay from
full buffers of 100,000 transitions (a ratio of 1.15 says that a prioritized step takes 1.15 times as long).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch as th
from pairs import compare
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_course import DoubleDQN, Rainbow, registry

VARIANTS: dict[str, Callable[..., BaseAlgorithm]] = {
    "switches off": partial(DoubleDQN, double=False),
    **{name: registry.find(name).load() for name in ("double_dqn", "dueling_dqn", "per_dqn", "nstep_dqn", "noisy_dqn")},
    "c51": partial(registry.find("c51").load(), v_min=0.0, v_max=100.0),
    "rainbow": partial(Rainbow, v_min=0.0, v_max=100.0),
}


def make(cls: Callable[..., BaseAlgorithm], batch_size: int, full: bool = False, **arguments: Any) -> BaseAlgorithm:
    """Return a model that takes one gradient step per env step; `full`: behind 100,000 stored transitions."""
    model = cls(
        "MlpPolicy", "CartPole-v1", batch_size=batch_size, train_freq=1, learning_starts=200, buffer_size=100_000,
        policy_kwargs={"net_arch": [120, 84]}, device="cpu", seed=0, **arguments,
    )  # fmt: skip
    if full:
        generator, buffer = np.random.default_rng(0), model.replay_buffer  # type: ignore[attr-defined]
        for state in generator.normal(size=(100_000, 1, 4)).astype(np.float32):
            buffer.add(state, state, np.array([0]), np.array([1.0]), np.array([0.0]), [{}])
    return model


def main() -> None:
    """Print one line a batch size and variant, then one for prioritized replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12, help="how many times each takes its turn")
    parser.add_argument("--steps", type=int, default=500, help="env steps of a turn")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--backend", choices=("torch", "numpy"), default="numpy", help="of ours")
    arguments = parser.parse_args()
    th.set_num_threads(1)
    time = partial(compare, pairs=arguments.pairs, steps=arguments.steps, warm_up=500)

    def micro(seconds: list[float]) -> float:
        return min(seconds) / arguments.steps * 1e6

    print("| ours | batch | ours, µs | SB3 DQN, µs | ratio | lower 95 % |\n|---|---:|---:|---:|---:|---:|")
    for batch_size in (32, 128):
        for name in arguments.variants:
            ours = partial(make, VARIANTS[name], batch_size, backend=arguments.backend)
            ratio = time(ours, partial(make, DQN, batch_size))
            mine, theirs = map(micro, ratio.seconds)
            line = f"{mine:.0f} | {theirs:.0f} | {ratio.mean:.3f} | {ratio.lower:.3f} |"
            print(f"| {name} | {batch_size} | {line}", flush=True)

    uniform, prioritized = (
        partial(make, DoubleDQN, 32, full=True, backend=arguments.backend, double=False, prioritized=switch)
        for switch in (False, True)
    )
    ratio = time(uniform, prioritized)
    slow, fast = micro(ratio.seconds[1]), micro(ratio.seconds[0])
    print(f"\nprioritized {slow:.0f} µs, uniform {fast:.0f} µs a step: ratio {ratio.mean:.3f} (batch 32, full buffer)")


if __name__ == "__main__":
    main()
