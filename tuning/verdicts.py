"""One word for a pair of configurations, exact tests behind it, and its correction for the number of pairs.

Nothing here draws from a global generator: equal arguments give equal answers.

Legend: m runs of x, n runs of y, N = m + n, K pairs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.tuning.statistics import (
    Interval,
    iqm,
    one_for_each_run,
    pooled,
    probability_of_improvement,
    stratified_bootstrap,
)

#: Up to this many runs in a pair the p-value is exact; above it is the normal approximation.
EXACT = 100

Key = TypeVar("Key", bound=Hashable)


def rank_test(x: Any, y: Any) -> float:
    """Return the two-sided p-value of Mann and Whitney: how seldom chance alone parts the runs as far as here.

    Up to `EXACT` runs it is exact for ties too: of all ways to choose the m of the N runs that are x, the share whose
    sum of ranks is as far out, doubled. The normal approximation is not safe with ties: it gives 0.047 where the
    three runs of x solve a task and the three of y do not, and chance alone parts six runs so in one of ten choices.
    Of several tasks the sums of ranks are added, each ranked by itself (van Elteren 1960, tasks of equal size).

    :param x: (m,), or one such array for each task
    :param y: (n,), or one such array for each task
    """
    sides = _tasks("x", x, "y", y)
    if max(own.size + other.size for own, other in sides) > EXACT:
        return _normal_p(sides)
    ranks = [(2 * stats.rankdata(np.concatenate(pair))).astype(int) for pair in sides]  # a tie's rank may end in 1/2
    ranks = [each - each.min() for each in ranks]
    unit = np.gcd.reduce(np.concatenate(ranks))
    if unit == 0:  # nothing but ties
        return 1.0
    sums, chances = 0, np.ones(1)
    for each, (own, _) in zip(ranks, sides, strict=True):
        sums += int(each[: own.size].sum()) // unit
        chances = np.convolve(chances, _chances_of_sums(each // unit, own.size))
    return float(min(1.0, 2 * min(chances[: sums + 1].sum(), chances[sums:].sum())))


def _chances_of_sums(ranks: np.ndarray, m: int) -> np.ndarray:
    """Return how likely each sum of m of the ranks is, from 0 up (Streitberg & Röhmel 1986)."""
    ways = np.zeros((m + 1, np.sort(ranks)[-m:].sum() + 1))  # ways[k, s]: choices of k runs whose ranks sum to s
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank]
    chances: np.ndarray = ways[-1] / ways[-1].sum()
    return chances


def _normal_p(sides: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the p-value of the normal approximation with the variance of ties, corrected for continuity."""
    distance, variance = 0.0, 0.0
    for x, y in sides:
        m, n, total = x.size, y.size, x.size + y.size
        ties = np.unique(np.concatenate([x, y]), return_counts=True)[1].astype(float)
        distance += m * n * (float(probability_of_improvement(x, y)) - 0.5)
        variance += m * n / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return float(min(1.0, 2 * stats.norm.sf((abs(distance) - 0.5) / np.sqrt(variance))))


def holm(p_values: Any) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values, in the order given: ``max_{j≤i} min(1, (K − j + 1)·p_(j))``.

    Each may be held against α: the chance of one false verdict or more among all K stays below α.

    :param p_values: (K,)
    """
    p = one_for_each_run("p_values", p_values)
    if p.min() < 0 or p.max() > 1:
        raise InputError("p_values", "is out of bounds", p.tolist(), "numbers from 0 to 1")
    order, adjusted = np.argsort(p, kind="stable"), np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1)
    return adjusted


@dataclass(frozen=True)
class Verdict:
    """What the runs of a pair show about x.

    :param word: `better`, `worse` or `not shown`
    :param p_value: of `rank_test`, or its adjusted value
    :param probability: `probability_of_improvement` of x over y
    :param difference: IQM of x less IQM of y
    """

    word: str
    p_value: float
    probability: Interval
    difference: Interval

    def sentence(self, ours_label: str, theirs_label: str) -> str:
        """Return one sentence about the two configurations, x and y; it says nothing about their algorithms."""
        said = f"The configuration '{ours_label}' scores {self.word} than the configuration '{theirs_label}'"
        if self.word == "not shown":
            said = f"No difference is shown between the configurations '{ours_label}' and '{theirs_label}'"
        return f"{said}: {self.numbers}"

    @property
    def numbers(self) -> str:
        """The second half of a sentence: how likely, how much, how sure."""
        p_value = "p < 0.0001" if self.p_value < 1e-4 else f"p = {self.p_value:.2g}"
        return (
            f"a run of the first beats a run of the second with probability {self.probability}, "
            f"difference of IQMs {self.difference}, {p_value}."
        )


def judge(x: Any, y: Any, p_value: float | None = None, alpha: float = 0.05, seed: int = 0) -> Verdict:
    """Return the verdict on x against y: the p-value decides whether there is one, the runs decide which.

    `not shown` does not mean equal: a difference may be there and these runs too few for it. The intervals (95 %
    percentile) say how large it may be; they decide nothing.

    :param x: scores of our runs (m,), or one such array for each task, normalised: then the probability is the mean
        over the tasks (each draws its own runs in the bootstrap) and the IQMs are of all tasks together
    :param y: scores of their runs (n,), or one such array for each task
    :param p_value: an adjusted one in place of this pair's own
    :param alpha: a p-value up to this is a difference
    :param seed: of the intervals
    """
    sides = _tasks("x", x, "y", y)
    p = rank_test(x, y) if p_value is None else float(p_value)
    if not 0 <= p <= 1:
        raise InputError("p_value", "is out of bounds", p, "a number from 0 to 1")
    strata, tasks = [*(own for own, _ in sides), *(other for _, other in sides)], len(sides)

    def chance(*drawn: Any) -> Any:
        pairs = zip(drawn[:tasks], drawn[tasks:], strict=True)
        return np.mean([probability_of_improvement(*pair) for pair in pairs], axis=0)

    def gain(*drawn: Any) -> Any:
        return pooled(iqm)(*drawn[:tasks]) - pooled(iqm)(*drawn[tasks:])

    probability, difference = (stratified_bootstrap(strata, statistic, seed) for statistic in (chance, gain))
    word = "not shown"
    if p <= alpha and probability.value != 0.5:
        word = "better" if probability.value > 0.5 else "worse"
    return Verdict(word, p, probability, difference)


def judge_pairs(
    scores: Mapping[Key, Any], pairs: Sequence[tuple[Key, Key]], alpha: float = 0.05, seed: int = 0
) -> list[Verdict]:
    """Return the verdict on each pair of one report, with Holm's correction for their number.

    :param scores: of each configuration by its label or another key, as `judge` takes them
    :param pairs: ours and theirs
    :param alpha: the chance of one false verdict or more among all pairs
    :param seed: of the intervals
    """
    for label in (label for pair in pairs for label in pair):
        if label not in scores:
            raise InputError(
                "pairs", f"unknown configuration{did_you_mean(str(label), map(str, scores))}", label, "one with scores"
            )
    own = [rank_test(scores[ours], scores[theirs]) for ours, theirs in pairs]
    adjusted = holm(own) if own else ()
    return [judge(scores[x], scores[y], p, alpha, seed) for (x, y), p in zip(pairs, adjusted, strict=True)]


def _tasks(name: str, values: Any, other_name: str, others: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the runs of both sides, task by task; a single row of numbers is one task."""
    sides = []
    for each, side in ((name, values), (other_name, others)):
        several = len(side) and np.ndim(side[0]) > 0
        sides.append([one_for_each_run(each, task) for task in (side if several else [side])])
    if len(sides[0]) != len(sides[1]):
        raise InputError(other_name, "has another number of tasks", len(sides[1]), str(len(sides[0])))
    return list(zip(*sides, strict=True))
