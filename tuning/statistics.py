"""What a handful of runs shows: robust averages, their intervals, and one word for a pair of configurations.

Agarwal et al. (2021) say what to report of few runs, and their library rliable computes it; the names here are
theirs. Nothing here draws from a global generator: equal arguments give equal answers.

Legend: m runs of x, n runs of y, N = m + n, B resamples, T thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.tuning.results import Run

#: Up to this many runs in a pair the p-value is exact; above it is the normal approximation.
EXACT = 100


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (f"{float(f'{number:.3g}'):,.10g}" for number in self)
        return f"{value} [{low}, {high}]"


class Reached(NamedTuple):
    """How soon the runs reach a threshold: the median, one that never does counted as infinity, and how many do."""

    median: float
    reached: int
    total: int


def iqm(scores: Any, axis: int | None = None) -> Any:
    """Return the interquartile mean: the mean without the lowest and the highest quarter of the scores.

    Each quarter is rounded down to whole runs, as in rliable: 10 runs lose 2 at each end, 3 lose none.

    :param scores: of any shape
    :param axis: of the runs; None takes all scores together, as rliable does with several tasks
    """
    return stats.trim_mean(_finite("scores", scores), 0.25, axis=axis)


def stratified_bootstrap(
    strata: Sequence[Any],
    statistic: Callable[..., Any],
    seed: int | np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return a statistic and its percentile interval, drawing anew with replacement inside each stratum.

    :param strata: the runs of each task, or of each side of a pair, (n_k,) each
    :param statistic: takes one array for each stratum and reduces the last axis: (…, n_1), (…, n_2), … -> (…)
    :param seed: of the draws
    :param resamples: B
    :param level: share of the resampled values inside the interval
    """
    if not strata:
        raise InputError("strata", "is empty", want="the runs of one task at least")
    rng, samples = np.random.default_rng(seed), [_runs("strata", stratum) for stratum in strata]
    drawn = [sample[rng.integers(sample.size, size=(resamples, sample.size))] for sample in samples]
    low, high = np.quantile(statistic(*drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(*samples)), float(low), float(high))


def performance_profile(scores: Any, thresholds: Any) -> np.ndarray:
    """Return the share of runs with ``score > threshold`` for each threshold (T,): rliable's run-score distribution.

    :param scores: of any shape, all taken together
    :param thresholds: (T,)
    """
    shares: np.ndarray = (_finite("scores", scores).ravel() > _runs("thresholds", thresholds)[:, None]).mean(axis=1)
    return shares


def steps_to(runs: Sequence[Run], threshold: float) -> Reached:
    """Return the environment steps until an evaluation's mean reaches `threshold`; a failed run never does."""
    return _reached(runs, threshold, lambda run, index: run.timesteps[index])


def seconds_to(runs: Sequence[Run], threshold: float) -> Reached:
    """Return the seconds of training until then, as `steps_to` the steps."""
    return _reached(runs, threshold, lambda run, index: run.seconds[index])


def _reached(runs: Sequence[Run], threshold: float, quantity: Callable[[Run, int], float]) -> Reached:
    if not runs:
        raise InputError("runs", "is empty", want="one run at least")
    if not np.isfinite(threshold):
        raise InputError("threshold", "is not finite", threshold, "a mean return")
    firsts = [None if run.failure is not None else run.first(threshold) for run in runs]
    each = [np.inf if index is None else quantity(run, index) for run, index in zip(runs, firsts, strict=True)]
    return Reached(float(np.median(each)), int(np.isfinite(each).sum()), len(runs))


def probability_of_improvement(x: Any, y: Any) -> Any:
    """Return ``P(X > Y) + P(X = Y)/2`` for a run of x and a run of y: Mann and Whitney's U / (mn).

    :param x: (…, m)
    :param y: (…, n)
    """
    x, y = _finite("x", x), _finite("y", y)
    m, n = x.shape[-1], y.shape[-1]
    ranks = stats.rankdata(np.concatenate([x, y], axis=-1), axis=-1)
    return (ranks[..., :m].sum(axis=-1) - m * (m + 1) / 2) / (m * n)


def rank_test(x: Any, y: Any) -> float:
    """Return the two-sided p-value of Mann and Whitney: how seldom chance alone parts the runs as far as here.

    Up to `EXACT` runs it is exact for ties too: of all ways to choose the m of the N runs that are x, the share whose
    sum of ranks is as far out, doubled. The normal approximation is not safe with ties: it gives 0.047 where the
    three runs of x solve a task and the three of y do not, and chance alone parts six runs so in one of ten choices.

    :param x: (m,)
    :param y: (n,)
    """
    x, y = _runs("x", x), _runs("y", y)
    both = np.concatenate([x, y])
    if both.min() == both.max():
        return 1.0
    if both.size > EXACT:
        return float(stats.mannwhitneyu(x, y, method="asymptotic").pvalue)
    ranks = (2 * stats.rankdata(both)).astype(int)  # doubled: a tie's rank may end in one half
    ranks = (ranks - ranks.min()) // np.gcd.reduce(ranks - ranks.min())  # the same order of the sums, fewer of them
    # ways[k, s]: choices of k runs whose ranks sum to s, one run after the other (Streitberg & Röhmel 1986).
    ways = np.zeros((x.size + 1, np.sort(ranks)[-x.size :].sum() + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank]
    own, chances = ranks[: x.size].sum(), ways[-1] / ways[-1].sum()
    return float(min(1.0, 2 * min(chances[: own + 1].sum(), chances[own:].sum())))


def holm(p_values: Any) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values, in the order given: ``max_{j≤i} min(1, (K − j + 1)·p_(j))``.

    Each may be held against α: the chance of one false verdict or more among all K stays below α.

    :param p_values: (K,)
    """
    p = _runs("p_values", p_values)
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
        p_value = "p < 0.0001" if self.p_value < 1e-4 else f"p = {self.p_value:.2g}"
        return (
            f"{said}: a run of the first beats a run of the second with probability {self.probability}, "
            f"difference of IQMs {self.difference}, {p_value}."
        )


def judge(x: Any, y: Any, p_value: float | None = None, alpha: float = 0.05, seed: int = 0) -> Verdict:
    """Return the verdict on x against y: the p-value decides whether there is one, the runs decide which.

    `not shown` does not mean equal: a difference may be there and these runs too few for it. The intervals (95 %
    percentile) say how large it may be; they decide nothing.

    :param x: scores of our runs (m,)
    :param y: scores of their runs (n,)
    :param p_value: an adjusted one in place of this pair's own
    :param alpha: a p-value up to this is a difference
    :param seed: of the intervals
    """
    x, y = _runs("x", x), _runs("y", y)
    p = rank_test(x, y) if p_value is None else float(p_value)
    if not 0 <= p <= 1:
        raise InputError("p_value", "is out of bounds", p, "a number from 0 to 1")
    probability = stratified_bootstrap([x, y], probability_of_improvement, seed)
    difference = stratified_bootstrap([x, y], lambda ours, theirs: iqm(ours, -1) - iqm(theirs, -1), seed)
    word = "not shown"
    if p <= alpha and probability.value != 0.5:
        word = "better" if probability.value > 0.5 else "worse"
    return Verdict(word, p, probability, difference)


def judge_pairs(
    scores: Mapping[str, Any], pairs: Sequence[tuple[str, str]], alpha: float = 0.05, seed: int = 0
) -> list[Verdict]:
    """Return the verdict on each pair of one report, with Holm's correction for their number.

    :param scores: of each configuration by its label
    :param pairs: ours and theirs
    :param alpha: the chance of one false verdict or more among all pairs
    :param seed: of the intervals
    """
    for label in (label for pair in pairs for label in pair):
        if label not in scores:
            raise InputError("pairs", f"unknown configuration{did_you_mean(label, scores)}", label, "one with scores")
    own = [rank_test(scores[ours], scores[theirs]) for ours, theirs in pairs]
    adjusted = holm(own) if own else ()
    return [judge(scores[x], scores[y], p, alpha, seed) for (x, y), p in zip(pairs, adjusted, strict=True)]


def _finite(name: str, values: Any) -> np.ndarray:
    """Return `values` in float64, refused where there are none or one is no number."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise InputError(name, "is empty", want="one number at least")
    if not np.isfinite(array).all():
        raise InputError(name, "is not finite", float(array[~np.isfinite(array)][0]), "finite numbers")
    return array


def _runs(name: str, values: Any) -> np.ndarray:
    """Return `values` as one finite number for each run."""
    array = _finite(name, values)
    if array.ndim != 1:
        raise InputError(name, "has the wrong shape", array.shape, "one number for each run")
    return array
