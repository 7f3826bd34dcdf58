"""What a comparison shows, worked out once for its page, its text and its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_course.registry import ALGORITHMS
from sb3_course.tuning import plots
from sb3_course.tuning.results import Comparison, Configuration
from sb3_course.tuning.statistics import (
    Interval,
    Reached,
    Verdict,
    iqm,
    judge_pairs,
    seconds_to,
    steps_to,
    stratified_bootstrap,
)  # fmt: skip

#: Libraries whose algorithms are what the others are compared with.
BASELINES = ("stable_baselines3", "sb3_contrib")
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Judged:
    """A verdict and the labels of the two configurations that it is about."""

    ours: str
    theirs: str
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return self.verdict.sentence(self.ours, self.theirs)


@dataclass(frozen=True)
class Finding:
    """What the runs of one configuration show.

    :param configuration: with its runs
    :param scores: one for each run, failed runs at the worst score of the comparison (R,)
    :param iqm: of the scores with its 95 % interval; None where there are no runs
    :param steps: until the threshold; None without runs or threshold
    :param seconds: until the threshold; None without runs or threshold
    """

    configuration: Configuration
    scores: np.ndarray
    iqm: Interval | None
    steps: Reached | None
    seconds: Reached | None


@dataclass(frozen=True)
class Findings:
    """Everything of a comparison that has to be computed."""

    comparison: Comparison
    rows: tuple[Finding, ...]
    verdicts: tuple[Judged, ...]

    @property
    def main(self) -> tuple[Finding, ...]:
        """The chosen configurations that have runs; all of them where none is chosen."""
        with_runs = [row for row in self.rows if row.configuration.runs]
        return tuple(row for row in with_runs if row.configuration.chosen) or tuple(with_runs)


def default_pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return each extension against each baseline, by the labels of the chosen configurations.

    A baseline is an algorithm of SB3 or sb3-contrib; a user's own is an extension. Where one side is empty: every pair.
    """
    chosen = [each for each in comparison.chosen if each.runs]
    theirs = [each.label for each in chosen if each.algo in ALGORITHMS and ALGORITHMS[each.algo].source in BASELINES]
    ours = [each.label for each in chosen if each.label not in theirs]
    return [(own, other) for own in ours for other in theirs] or all_pairs(comparison)


def all_pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return every pair of chosen configurations, by their labels."""
    return list(combinations([each.label for each in comparison.chosen if each.runs], 2))


def examine(comparison: Comparison, pairs: Pairs | None = None) -> Findings:
    """Return the numbers of a comparison.

    :param comparison: with its runs
    :param pairs: labels of two configurations each; by default `default_pairs`
    :raises InputError: for a label that no configuration with runs has
    """
    rows = tuple(_finding(comparison, each) for each in comparison.configurations)
    scores: Mapping[str, np.ndarray] = {row.configuration.label: row.scores for row in rows if row.scores.size}
    wanted = default_pairs(comparison) if pairs is None else list(pairs)
    verdicts = judge_pairs(scores, wanted)
    judged = (Judged(ours, theirs, verdict) for (ours, theirs), verdict in zip(wanted, verdicts, strict=True))
    return Findings(comparison, rows, tuple(judged))


def _finding(comparison: Comparison, configuration: Configuration) -> Finding:
    scores = comparison.scores(configuration)
    if not scores.size:
        return Finding(configuration, scores, None, None, None)
    interval = stratified_bootstrap([scores], lambda drawn: iqm(drawn, -1), seed=0)
    if comparison.threshold is None:
        return Finding(configuration, scores, interval, None, None)
    reached = (quantity(configuration.runs, comparison.threshold) for quantity in (steps_to, seconds_to))
    return Finding(configuration, scores, interval, *reached)


# --------------------------------------------------------------------------------------------------- its panels


@dataclass(frozen=True)
class Panel:
    """One picture of a comparison.

    :param name: of its ids in the page
    :param title: of the picture
    :param caption: how to read it
    :param draw: draws it on axes
    :param height: in inches
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]
    height: float


def panels(findings: Findings) -> list[Panel]:
    """Return the pictures for which there are runs: curves, profile, intervals, probabilities of improvement."""
    main, comparison = findings.main, findings.comparison
    if not main:
        return []
    # An algorithm has one colour in all pictures: that of its line among the curves.
    lines = {row.configuration.label: index for index, row in enumerate(main)}
    algos = {row.configuration.algo: index for index, row in reversed(list(enumerate(main)))}

    def look(row: Finding) -> plots.Look:
        each = row.configuration
        return plots.look(lines.get(each.label, algos.get(each.algo, len(main))))

    looks = {row.configuration.label: look(row) for row in findings.rows}
    curves = [(row.configuration.label, row.configuration.runs) for row in main]
    scores = [(row.configuration.label, row.scores) for row in main]
    intervals = [
        plots.IntervalRow(
            row.configuration.label, row.iqm, looks[row.configuration.label], row.configuration.label in lines
        )
        for row in findings.rows
        if row.iqm is not None
    ]
    chances = [
        plots.IntervalRow(f"{each.ours} over {each.theirs}", each.verdict.probability, looks[each.ours],
                  each.verdict.word != "not shown")
        for each in findings.verdicts
    ]  # fmt: skip
    above = plots.legend_height([*lines, *(["threshold"] if comparison.threshold is not None else [])])
    found = [
        Panel("curves", "Learning curves",
              "Interquartile mean over the seeds at each evaluation; the band is the middle half of the runs. "
              "Failed runs are left out here.",
              partial(plots.draw_curves, curves=curves, threshold=comparison.threshold), 3.5 + above),
        Panel("intervals", "Scores of all configurations",
              "Interquartile mean of the scores with its 95 % bootstrap interval. Filled: the configuration that "
              "stands for its algorithm in the verdicts.",
              partial(plots.draw_intervals, rows=intervals, xlabel="IQM of the scores"),
              plots.intervals_height(intervals)),
        Panel("profile", "Performance profile",
              "Share of the runs that score more than what is on the x axis. A line above another one is better there.",
              partial(plots.draw_profiles, profiles=scores), 3.5 + above),
    ]  # fmt: skip
    if chances:
        caption = (
            "Probability that a run of the first configuration beats one of the second, with its 95 % bootstrap "
            "interval. Filled: a difference is shown."
        )
        draw = partial(plots.draw_intervals, rows=chances, xlabel="probability of improvement", reference=0.5)
        found.append(Panel("probability", "Probability of improvement", caption, draw, plots.intervals_height(chances)))
    return found


def overview(findings: Findings) -> Figure:
    """Return all panels in one figure of two columns."""
    found = panels(findings)
    columns = [column for column in (found[0::2], found[1::2]) if column]
    height = max((sum(panel.height + 0.5 for panel in column) for column in columns), default=1.0)
    with plots.house_style():
        figure = Figure(figsize=(plots.WIDTH * max(len(columns), 1), height))
        for column, part in zip(columns, np.ravel(np.array(figure.subfigures(1, max(len(columns), 1)))), strict=False):
            grid = part.subplots(len(column), 1, squeeze=False, height_ratios=[panel.height for panel in column])
            for panel, axes in zip(column, grid[:, 0], strict=True):
                panel.draw(axes)
                labels = axes.get_legend_handles_labels()[1]
                axes.set_title(panel.title, pad=72 * plots.legend_height(labels) + 8, fontweight="bold")
    return figure
