"""What prioritized replay costs: its tree alone, and a batch drawn and updated against a uniform one.

    OMP_NUM_THREADS=1 python benchmarks/prioritized.py

A ratio of 2 says that prioritized replay takes twice the time of uniform replay, without the network's share.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from itertools import cycle
from time import perf_counter

import numpy as np
from gymnasium import spaces

from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer, SumTree

CALLS = 500  # calls of a turn


def micro(call: Callable[[], object]) -> float:
    """Return the µs of one call, over one turn."""
    start = perf_counter()
    for _ in range(CALLS):
        call()
    return (perf_counter() - start) / CALLS * 1e6


def tree(capacity: int, batch_size: int) -> Callable[[], object]:
    """Return a call that finds one leaf in each stratum and gives them new values."""
    generator = np.random.default_rng(0)
    leaves = SumTree(capacity)
    leaves.set(np.arange(capacity), generator.random(capacity))
    draws = cycle(zip(stratified(batch_size, generator), generator.random((CALLS, batch_size)), strict=True))

    def find_and_set() -> None:
        quantiles, values = next(draws)
        leaves.set(leaves.find(quantiles * leaves.total), values)

    return find_and_set


def stratified(batch_size: int, generator: np.random.Generator) -> np.ndarray:
    """Return one quantile in each of `batch_size` equal parts of 0 to 1, for each call of a turn."""
    quantiles: np.ndarray = (np.arange(batch_size) + generator.random((CALLS, batch_size))) / batch_size
    return quantiles


def replay(cls: type[ReplayBuffer], capacity: int) -> tuple[ReplayBuffer, Callable[[], object]]:
    """Return a full buffer of CartPole's spaces, and a call that stores one more transition."""
    generator = np.random.default_rng(0)
    buffer = cls(capacity, spaces.Box(-1, 1, (4,)), spaces.Discrete(2), "cpu", rng=generator)
    state = generator.normal(size=(1, 4)).astype(np.float32)
    action, number = np.array([0]), np.array([1.0])

    def add() -> None:
        buffer.add(state, state, action, number, number * 0, [{}])

    for _ in range(capacity):
        add()
    buffer.update(np.arange(capacity), generator.exponential(size=capacity))
    return buffer, add


def main() -> None:
    """Print µs, and ratios of turns taken by two buffers in one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=100_000, help="transitions stored")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=20, help="how many times each takes its turn")
    arguments = parser.parse_args()
    size, turns = arguments.batch_size, arguments.turns
    print(f"capacity {arguments.capacity:,}, batch {size}: best of {turns} turns, ratios: median over pairs of turns")

    find_and_set = tree(arguments.capacity, size)
    print(f"sum tree, find + set            {min(micro(find_and_set) for _ in range(turns)):7.1f} µs")

    prioritized, uniform = (replay(cls, arguments.capacity) for cls in (PrioritizedReplayBuffer, ReplayBuffer))
    errors = np.random.default_rng(1).exponential(size=(turns, size))

    def learn(buffer: ReplayBuffer, turn: int) -> Callable[[], object]:
        return lambda: buffer.update(buffer.sample_batch(size).indices, errors[turn])

    rows = {
        "sample_batch + update": [
            [micro(learn(each[0], turn)) for each in (prioritized, uniform)] for turn in range(turns)
        ],
        "add": [[micro(each[1]) for each in (prioritized, uniform)] for _ in range(turns)],
    }
    for name, pairs in rows.items():
        first, second = (min(side) for side in zip(*pairs, strict=True))
        ratio = math.exp(statistics.median(math.log(a / b) for a, b in pairs))
        print(f"{name:23s} prioritized {first:6.1f} µs, uniform {second:6.1f} µs, ratio {ratio:5.2f}")


if __name__ == "__main__":
    main()
