"""What a comparison shows, worked out once for its page, its text, its tables and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sb3_course.registry import ALGORITHMS
from sb3_course.tuning.results import Comparison, Configuration, Task
from sb3_course.tuning.statistics import (
    Interval,
    Reached,
    iqm,
    optimality_gap,
    pooled,
    seconds_to,
    steps_to,
    stratified_bootstrap,
)  # fmt: skip
from sb3_course.tuning.verdicts import Verdict, judge_pairs

#: Libraries whose algorithms are what the others are compared with.
BASELINES = ("stable_baselines3", "sb3_contrib")
#: Which pairs get a verdict: each extension against each baseline, or every pair; or labels of two configurations each.
RULES = ("baselines", "all")
Pairs = str | Sequence[tuple[str, str]]
_MIRROR = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Judged:
    """A verdict and the two that it is about: labels of configurations, or algorithms over all environments."""

    ours: str
    theirs: str
    verdict: Verdict
    overall: bool = False

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if not self.overall:
            return self.verdict.sentence(self.ours, self.theirs)
        said = f"Over all environments '{self.ours}' scores {self.verdict.word} than '{self.theirs}'"
        if self.verdict.word == "not shown":
            said = f"Over all environments no difference is shown between '{self.ours}' and '{self.theirs}'"
        return f"{said}, each in its chosen configurations: {self.verdict.numbers}"


@dataclass(frozen=True)
class Finding:
    """What the runs of one configuration show, or those of one algorithm over all environments.

    :param label: of the configuration, or the algorithm
    :param algo: registry name
    :param scores: one for each run, failed runs at the worst score; over all environments normalised (R,)
    :param iqm: of the scores with its 95 % interval; None where there are no runs
    :param gap: optimality gap with its 95 % interval; None where scores are not normalised
    :param configuration: with its runs; None over all environments
    :param steps: until the threshold; None without runs or threshold
    :param seconds: until the threshold; None without runs or threshold
    """

    label: str
    algo: str
    scores: np.ndarray
    iqm: Interval | None
    gap: Interval | None = None
    configuration: Configuration | None = None
    steps: Reached | None = None
    seconds: Reached | None = None


@dataclass(frozen=True)
class Part:
    """What is shown in one environment, or over all of them.

    :param task: with its runs; None over all environments
    :param rows: a finding for each configuration, or for each algorithm
    :param verdicts: on pairs of them
    """

    task: Task | None
    rows: tuple[Finding, ...]
    verdicts: tuple[Judged, ...]

    @property
    def name(self) -> str:
        """The environment, or what stands for all of them."""
        return "all environments" if self.task is None else self.task.env

    @property
    def main(self) -> tuple[Finding, ...]:
        """The chosen configurations that have runs; all of them where none is chosen."""
        found = [row for row in self.rows if row.scores.size]
        return tuple(row for row in found if row.configuration is None or row.configuration.chosen) or tuple(found)

    def standing(self, row: Finding) -> list[tuple[str, list[str]]]:
        """Return in which words the verdicts speak of a row, and whom it is compared with in each.

        A baseline that extensions are compared with is just that: their rows say the rest.
        """
        names = {each.label: each.algo for each in self.main}
        own = [(each.verdict.word, each.theirs) for each in self.verdicts if each.ours == row.label]
        facing = [(_MIRROR.get(each.verdict.word, each.verdict.word), each.ours)
                  for each in self.verdicts if each.theirs == row.label]  # fmt: skip
        if not own and is_baseline(row.algo) and not any(is_baseline(names.get(other, "")) for _, other in facing):
            return [("baseline", [])] if facing else []
        words: dict[str, list[str]] = {"better": [], "worse": [], "not shown": []}
        for word, other in own + facing:
            words[word].append(names[other] if names.get(other, row.algo) != row.algo else other)
        return [(word, others) for word, others in words.items() if others]


@dataclass(frozen=True)
class Findings:
    """Everything of a comparison that has to be computed.

    :param comparison: with its runs
    :param parts: of each environment
    :param overall: of all of them together; None where there is one
    """

    comparison: Comparison
    parts: tuple[Part, ...]
    overall: Part | None

    @property
    def every(self) -> tuple[Part, ...]:
        """All environments together first, where there are several, then each."""
        return (*([self.overall] if self.overall else []), *self.parts)


def is_baseline(algo: str) -> bool:
    """Return whether an algorithm is SB3's or sb3-contrib's; a user's own is an extension."""
    return algo in ALGORITHMS and ALGORITHMS[algo].source in BASELINES


def pairs_of(rows: Sequence[tuple[str, str]], rule: Pairs) -> list[tuple[str, str]]:
    """Return the pairs of labels that get a verdict.

    :param rows: label and algorithm
    :param rule: one of `RULES`, or the pairs themselves
    """
    if not isinstance(rule, str):
        return list(rule)
    labels = [label for label, _ in rows]
    theirs = [label for label, algo in rows if is_baseline(algo)]
    against = [(own, other) for own in labels if own not in theirs for other in theirs]
    return against if against and rule == "baselines" else list(combinations(labels, 2))


def examine(comparison: Comparison, pairs: Pairs = "baselines") -> Findings:
    """Return the numbers of a comparison.

    :param comparison: with its runs
    :param pairs: one of `RULES`, or labels of two configurations each
    :raises InputError: for a label that no configuration with runs has
    """
    rows = [tuple(_finding(comparison, task, each) for each in task.configurations) for task in comparison.tasks]
    scores: dict[tuple[str, str], np.ndarray | list[np.ndarray]] = {
        (task.env, row.label): row.scores
        for task, part in zip(comparison.tasks, rows, strict=True) for row in part if row.scores.size
    }  # fmt: skip
    wanted = [
        ((task.env, ours), (task.env, theirs))
        for task in comparison.tasks
        for ours, theirs in pairs_of([(e.label, e.algo) for e in task.chosen if (task.env, e.label) in scores], pairs)
    ]
    together = _together(comparison) if isinstance(pairs, str) else {}
    scores |= {("", algo): tasks for algo, tasks in together.items()}
    wanted += [(("", ours), ("", theirs)) for ours, theirs in pairs_of([(algo, algo) for algo in together], pairs)
               if together]  # fmt: skip
    judged: dict[str, list[Judged]] = {env: [] for env in ("", *comparison.envs)}
    # One report, one correction: Holm's is over the pairs of all environments and those over all of them.
    for ((env, ours), (_, theirs)), verdict in zip(wanted, judge_pairs(scores, wanted), strict=True):
        judged[env].append(Judged(ours, theirs, verdict, overall=not env))
    parts = [Part(task, part, tuple(judged[task.env])) for task, part in zip(comparison.tasks, rows, strict=True)]
    overall = Part(None, tuple(_over_all(algo, tasks) for algo, tasks in _together(comparison).items()),
                   tuple(judged[""]))  # fmt: skip
    return Findings(comparison, tuple(parts), overall if overall.rows else None)


def _finding(comparison: Comparison, task: Task, each: Configuration) -> Finding:
    scores = task.scores(each, comparison.score)
    if not scores.size:
        return Finding(each.label, each.algo, scores, None, configuration=each)
    interval = stratified_bootstrap([scores], pooled(iqm), seed=0)
    times = [] if task.threshold is None else [reach(each.runs, task.threshold) for reach in (steps_to, seconds_to)]
    return Finding(each.label, each.algo, scores, interval, None, each, *times)


def _together(comparison: Comparison) -> Mapping[str, list[np.ndarray]]:
    """Return the normalised scores of the algorithms that have chosen runs in each of several environments."""
    found: dict[str, list[np.ndarray]] = {}
    for task in comparison.tasks if len(comparison.tasks) > 1 else ():
        for each in task.chosen:
            if each.runs and task.scale is not None:
                found.setdefault(each.algo, []).append(task.scale.normalised(task.scores(each, comparison.score)))
    return {algo: tasks for algo, tasks in found.items() if len(tasks) == len(comparison.tasks)}


def _over_all(algo: str, tasks: list[np.ndarray]) -> Finding:
    middle, gap = (stratified_bootstrap(tasks, pooled(statistic), seed=0) for statistic in (iqm, optimality_gap))
    return Finding(algo, algo, np.concatenate(tasks), middle, gap)
