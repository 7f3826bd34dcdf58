"""What a handful of runs shows: robust averages, and their intervals.

Agarwal et al. (2021) say what to report of few runs, and their library rliable computes it; the names here are
theirs. Nothing here draws from a global generator: equal arguments give equal answers.

Legend: m runs of x, n runs of y, B resamples, T thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from sb3_course.config.errors import InputError
from sb3_course.tuning.results import Run


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (f"{float(f'{number:.3g}'):,.10g}" for number in self)
        return f"{value} [{low}, {high}]"


class Reached(NamedTuple):
    """How soon the runs reach a threshold.

    `median` counts a run that never does as infinity; `reached` of `total` do. `spent` is how far those that do not
    have gone (the median of those that did not fail): where the median is infinite, all that is known is that it is
    more than that.
    """

    median: float
    reached: int
    total: int
    spent: float | None = None


def iqm(scores: Any, axis: int | None = None) -> Any:
    """Return the interquartile mean: the mean without the lowest and the highest quarter of the scores.

    Each quarter is rounded down to whole runs, as in rliable: 10 runs lose 2 at each end, 3 lose none.

    :param scores: of any shape
    :param axis: of the runs; None takes all scores together, as rliable does with several tasks
    """
    return stats.trim_mean(finite_numbers("scores", scores), 0.25, axis=axis)


def optimality_gap(scores: Any, axis: int | None = None) -> Any:
    """Return ``mean(1 − min(score, 1))`` of normalised scores: how far the runs fall short of 1, none beyond it.

    :param scores: normalised, of any shape
    :param axis: of the runs; None takes all scores together
    """
    return 1 - np.minimum(finite_numbers("scores", scores), 1).mean(axis=axis)


def pooled(statistic: Callable[..., Any]) -> Callable[..., Any]:
    """Return `statistic` of all tasks' runs together, for `stratified_bootstrap`: (…, n_1), (…, n_2), … -> (…)."""
    return lambda *tasks: statistic(np.concatenate(tasks, axis=-1), -1)


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
    rng, samples = np.random.default_rng(seed), [one_for_each_run("strata", stratum) for stratum in strata]
    drawn = [sample[rng.integers(sample.size, size=(resamples, sample.size))] for sample in samples]
    low, high = np.quantile(statistic(*drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(*samples)), float(low), float(high))


def performance_profile(scores: Any, thresholds: Any) -> np.ndarray:
    """Return the share of runs with ``score > threshold`` for each threshold (T,): rliable's run-score distribution.

    :param scores: of any shape, all taken together
    :param thresholds: (T,)
    """
    shares: np.ndarray = (
        finite_numbers("scores", scores).ravel() > one_for_each_run("thresholds", thresholds)[:, None]
    ).mean(axis=1)
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
    short = [run for run, index in zip(runs, firsts, strict=True) if index is None and run.means]
    short = [run for run in short if run.failure is None] or short
    spent = float(np.median([quantity(run, -1) for run in short])) if short else None
    return Reached(float(np.median(each)), int(np.isfinite(each).sum()), len(runs), spent)


def probability_of_improvement(x: Any, y: Any) -> Any:
    """Return ``P(X > Y) + P(X = Y)/2`` for a run of x and a run of y: Mann and Whitney's U / (mn).

    :param x: (…, m)
    :param y: (…, n)
    """
    x, y = finite_numbers("x", x), finite_numbers("y", y)
    m, n = x.shape[-1], y.shape[-1]
    ranks = stats.rankdata(np.concatenate([x, y], axis=-1), axis=-1)
    return (ranks[..., :m].sum(axis=-1) - m * (m + 1) / 2) / (m * n)


def finite_numbers(name: str, values: Any) -> np.ndarray:
    """Return `values` in float64, refused where there are none or one is no number."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise InputError(name, "is empty", want="one number at least")
    if not np.isfinite(array).all():
        raise InputError(name, "is not finite", float(array[~np.isfinite(array)][0]), "finite numbers")
    return array


def one_for_each_run(name: str, values: Any) -> np.ndarray:
    """Return `values` as one finite number for each run."""
    array = finite_numbers(name, values)
    if array.ndim != 1:
        raise InputError(name, "has the wrong shape", array.shape, "one number for each run")
    return array
