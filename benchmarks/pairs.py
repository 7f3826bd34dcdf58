"""Paired timing: two algorithms take turns in one process, and what is reported is their ratio."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from scipy.stats import t as student
from stable_baselines3.common.base_class import BaseAlgorithm


@dataclass(frozen=True)
class Ratio:
    """How many times as fast the first is as the second."""

    seconds: tuple[list[float], list[float]]
    logs: list[float]

    @property
    def mean(self) -> float:
        """Geometric mean of the pairs' ratios."""
        return math.exp(statistics.mean(self.logs))

    @property
    def lower(self) -> float:
        """Lower end of the one-sided 95 % interval of the geometric mean (Student's t over the pairs)."""
        error = statistics.stdev(self.logs) / math.sqrt(len(self.logs))
        return math.exp(statistics.mean(self.logs) - float(student.ppf(0.95, len(self.logs) - 1)) * error)


def compare(
    first: Callable[[], BaseAlgorithm], second: Callable[[], BaseAlgorithm], pairs: int, steps: int, warm_up: int
) -> Ratio:
    """Train both by turns, `steps` env steps at a time, after `warm_up` steps that are not counted.

    Turns, because a machine's speed drifts: both halves of a pair see the same machine. Who goes first alternates.
    """
    models = first(), second()
    for model in models:
        model.learn(warm_up)
    seconds: tuple[list[float], list[float]] = [], []
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 else (1, 0):
            start = perf_counter()
            models[side].learn(steps, reset_num_timesteps=False)
            seconds[side].append(perf_counter() - start)
    return Ratio(seconds, [math.log(b / a) for a, b in zip(*seconds, strict=True)])
