"""The pictures of a comparison: of each environment, and of all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_course.tuning import plots
from sb3_course.tuning.findings import Finding, Findings, Part
from sb3_course.tuning.statistics import Interval


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


@dataclass(frozen=True)
class Group:
    """The pictures of one environment, or of all of them together.

    :param title: what they are of; empty where there is one environment
    :param panels: its pictures
    """

    title: str
    panels: tuple[Panel, ...]


def groups(findings: Findings) -> list[Group]:
    """Return the pictures for which there are runs, group by group."""
    several = len(findings.every) > 1
    found = []
    for index, part in enumerate(findings.every):
        if part.main:
            suffix = f"-{index}" if several else ""
            found.append(Group(part.name if several else "", tuple(_panels(part, suffix))))
    return found


def _panels(part: Part, suffix: str) -> list[Panel]:
    main, task, curves = part.main, part.task, []
    # An algorithm has one colour in all pictures: that of its line among the curves.
    lines = {row.label: index for index, row in enumerate(main)}
    algos = {row.algo: index for index, row in reversed(list(enumerate(main)))}
    looks = {row.label: plots.look(lines.get(row.label, algos.get(row.algo, len(main)))) for row in part.rows}
    above = plots.legend_height([*lines, *(["threshold"] if task and task.threshold is not None else [])])

    def intervals(
        name: str, title: str, xlabel: str, caption: str, number: Callable[[Finding], Interval | None]
    ) -> Panel:
        shown = [(row, number(row)) for row in part.rows]
        rows = [plots.IntervalRow(row.label, interval, looks[row.label], row.label in lines)
                for row, interval in shown if interval is not None]  # fmt: skip
        draw = partial(plots.draw_intervals, rows=rows, xlabel=xlabel)
        return Panel(f"{name}{suffix}", title, caption, draw, plots.intervals_height(rows))

    if task is None:
        curves = [
            intervals("intervals", "Normalised scores", "IQM of the normalised scores",
                      "Interquartile mean over all runs in all environments, with its 95 % stratified bootstrap "
                      "interval: each environment draws its own runs.", lambda row: row.iqm),
            intervals("gap", "Optimality gap", "optimality gap",
                      "How far the normalised scores fall short of 1 on average, with its 95 % stratified bootstrap "
                      "interval. Less is better.", lambda row: row.gap),
        ]  # fmt: skip
    else:
        runs = [(row.label, row.configuration.runs) for row in main if row.configuration is not None]
        curves = [
            Panel(f"curves{suffix}", "Learning curves",
                  "Interquartile mean over the seeds at each evaluation; the band is its 95 % bootstrap interval, "
                  "whole runs drawn anew. Failed runs are left out here.",
                  partial(plots.draw_curves, curves=runs, threshold=task.threshold), 3.5 + above),
            intervals("intervals", "Scores of all configurations", "IQM of the scores",
                      "Interquartile mean of the scores with its 95 % bootstrap interval. Filled: the configuration "
                      "that stands for its algorithm in the verdicts.", lambda row: row.iqm),
        ]  # fmt: skip
    return [*curves, *_pairs_and_profile(part, suffix, looks, above)]


def _pairs_and_profile(part: Part, suffix: str, looks: dict[str, plots.Look], above: float) -> list[Panel]:
    scores, xlabel = [(row.label, row.scores) for row in part.main], "score" if part.task else "normalised score"
    found = [
        Panel(f"profile{suffix}", "Performance profile",
              "Share of the runs that score more than what is on the x axis. A line above another one is better there.",
              partial(plots.draw_profiles, profiles=scores, xlabel=xlabel), 3.5 + above),
    ]  # fmt: skip
    rows = [plots.IntervalRow(f"{each.ours} over {each.theirs}", each.verdict.probability, looks[each.ours],
                              each.verdict.word != "not shown") for each in part.verdicts]  # fmt: skip
    if rows:
        draw = partial(plots.draw_intervals, rows=rows, xlabel="probability of improvement", reference=0.5)
        mean = "" if part.task else " It is the mean over the environments."
        found.append(Panel(
            f"probability{suffix}", "Probability of improvement",
            "Probability that a run of the first beats one of the second, with its 95 % bootstrap interval."
            f"{mean} Filled: a difference is shown.", draw, plots.intervals_height(rows),
        ))  # fmt: skip
    return found


def overview(findings: Findings) -> Figure:
    """Return all panels in one figure of two columns."""
    found = [(f"{plots.shorten(group.title)}\n{panel.title}" if group.title else panel.title, panel)
             for group in groups(findings) for panel in group.panels]  # fmt: skip
    columns = [column for column in (found[0::2], found[1::2]) if column]
    height = max(
        (sum(panel.height + 0.5 + 0.25 * title.count("\n") for title, panel in column) for column in columns),
        default=1.0,
    )
    with plots.house_style():
        figure = Figure(figsize=(plots.WIDTH * max(len(columns), 1), height))
        for column, part in zip(columns, np.ravel(np.array(figure.subfigures(1, max(len(columns), 1)))), strict=False):
            grid = part.subplots(len(column), 1, squeeze=False, height_ratios=[panel.height for _, panel in column])
            for (title, panel), axes in zip(column, grid[:, 0], strict=True):
                panel.draw(axes)
                labels = axes.get_legend_handles_labels()[1]
                axes.set_title(title, pad=72 * plots.legend_height(labels) + 8, fontweight="bold")
    return figure
