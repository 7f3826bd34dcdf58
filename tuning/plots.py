"""Pictures of runs: learning curves, intervals, profiles.

Lines differ in colour, dash and marker, so that no figure needs its colours to be told apart. Drawn inside
`house_style` a figure depends on its data alone, not on the matplotlibrc of whoever draws it.

Legend: R runs, E evaluations.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from sb3_course.tuning.results import Run
from sb3_course.tuning.statistics import Interval, iqm, performance_profile, pooled, stratified_bootstrap

WIDTH = 6.0  # inches; on a telephone its type of 13 points is still 11 pixels high, its small type 10
INK, MUTED, GRID, PAPER = "#1f2933", "#5f6b78", "#dfe3e8", "#ffffff"
STEPS = (1, 2, 2.5, 5, 10)  # between ticks
#: Okabe and Ito's palette without its yellow, three of its colours a little darker; black, the last, is the ink's.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5558c", "#c98a00", "#56b4e9", INK)
_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)),
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True, "axes.edgecolor": MUTED, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": INK, "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left",
    "axes.titlesize": "medium", "figure.constrained_layout.use": True, "figure.facecolor": "none", "font.size": 13,
    "grid.color": GRID, "legend.columnspacing": 1.2,
    "legend.fontsize": 11.5, "legend.frameon": False, "legend.handlelength": 2.6,
    "lines.linewidth": 2, "lines.markersize": 6, "svg.fonttype": "none", "svg.hashsalt": "sb3_course",
    "text.color": INK, "text.parse_math": False, "xtick.color": MUTED, "xtick.labelcolor": INK,
    "xtick.labelsize": 11.5, "ytick.color": MUTED, "ytick.labelcolor": INK, "ytick.labelsize": 11.5,
}  # fmt: skip


class Look(NamedTuple):
    """How one line is told from the others."""

    colour: str
    dash: Any
    marker: str


def look(index: int) -> Look:
    """Return the look of the line with this index; the first 42 differ."""
    return Look(COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)], _MARKERS[index % len(_MARKERS)])


class IntervalRow(NamedTuple):
    """One line of `draw_intervals`; the marker is filled where `strong`."""

    label: str
    interval: Interval
    look: Look
    strong: bool = True


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the style of these pages, whatever the reader's own settings are; they are back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def drawing(draw: Callable[[Axes], None], height: float = 4.0) -> Figure:
    """Return a figure with one pair of axes, drawn in `house_style`.

    :param draw: told the axes
    :param height: in inches
    """
    with house_style():
        figure = Figure(figsize=(WIDTH, height))
        draw(figure.add_subplot())
    return figure


# ------------------------------------------------------------------------------------------------ what is drawn


def aligned(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps (E,) that all runs have in common and their means (R, E); failed runs are left out."""
    curves = [run for run in runs if run.failure is None and run.means and np.isfinite(run.means).all()]
    if not curves:
        return np.empty(0), np.empty((0, 0))
    grid = np.array(max((run.timesteps for run in curves), key=len), dtype=np.float64)
    first, last = max(run.timesteps[0] for run in curves), min(run.timesteps[-1] for run in curves)
    grid = grid[(first <= grid) & (grid <= last)]
    return grid, np.stack([np.interp(grid, run.timesteps, run.means) for run in curves])


def draw_curves(axes: Axes, curves: Sequence[tuple[str, Sequence[Run]]], threshold: float | None = None) -> None:
    """Draw for each label the interquartile mean of its runs at each evaluation, over its 95 % bootstrap interval.

    The resamples are of whole runs, the same ones at each evaluation.

    :param curves: label and runs
    :param threshold: drawn as a line
    """
    for index, (label, runs) in enumerate(curves):
        steps, means = aligned(runs)
        if not steps.size:
            continue
        colour, dash, marker = look(index)
        values, lows, highs = np.transpose([stratified_bootstrap([each], pooled(iqm), seed=0) for each in means.T])
        if len(means) > 1:
            axes.fill_between(steps, lows, highs, color=colour, alpha=0.15, linewidth=0)
        spacing: dict[str, Any] = {"markevery": max(steps.size // 8, 1), "markersize": 5}
        axes.plot(steps, values, color=colour, linestyle=dash, marker=marker, label=shorten(label), **spacing)
    if threshold is not None:
        axes.axhline(threshold, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), label=f"threshold {threshold:g}")
    axes.set_xlabel("environment steps")
    axes.set_ylabel("mean return")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.xaxis.set_major_formatter(lambda x, _: thousands(x))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}")
    add_legend(axes)


def draw_intervals(axes: Axes, rows: Sequence[IntervalRow], xlabel: str, reference: float | None = None) -> None:
    """Draw one interval for each row, from the top down.

    :param rows: at least one
    :param xlabel: what the numbers are
    :param reference: drawn as a line
    """
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    for y, row in enumerate(rows):
        value, low, high = row.interval
        face = row.look.colour if row.strong else PAPER
        axes.plot([low, high], [y, y], color=row.look.colour, linewidth=2.5, solid_capstyle="butt")
        axes.plot([value], [y], row.look.marker, color=row.look.colour, markerfacecolor=face, markeredgewidth=1.8)
    axes.set_yticks(range(len(rows)), [wrap(row.label) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")


def intervals_height(rows: Sequence[IntervalRow]) -> float:
    """Return the height in inches that the rows need."""
    lines = sum(max(wrap(row.label).count("\n"), 1) + 1 for row in rows)
    return 0.9 + 0.21 * lines


def draw_profiles(axes: Axes, profiles: Sequence[tuple[str, np.ndarray]], xlabel: str = "score") -> None:
    """Draw for each label the share of its runs above each score.

    :param profiles: label and one score for each run
    :param xlabel: what the scores are
    """
    every = np.concatenate([scores for _, scores in profiles])
    margin = 0.02 * (np.ptp(every) or 1.0)
    thresholds = np.linspace(every.min() - margin, every.max() + margin, 301)
    for index, (label, scores) in enumerate(profiles):
        colour, dash, marker = look(index)
        spacing: dict[str, Any] = {"markevery": (5 * index % 40, 40), "markersize": 5}
        shares = performance_profile(scores, thresholds)
        axes.plot(thresholds, shares, color=colour, linestyle=dash, marker=marker, label=shorten(label), **spacing)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("share of runs above it")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    add_legend(axes)


# ---------------------------------------------------------------------------------------------------- its parts


def add_legend(axes: Axes) -> None:
    """Put the legend above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.15, 1.0), "borderaxespad": 0.2}
        axes.legend(handles, labels, ncols=_columns(labels), **place)


def legend_height(labels: Sequence[str]) -> float:
    """Return the inches that a legend above the axes needs."""
    return 0.1 + 0.23 * math.ceil(len(labels) / _columns([shorten(label) for label in labels])) if labels else 0.0


def _columns(labels: Sequence[str]) -> int:
    return 2 if max(map(len, labels)) <= 26 else 1


def log_scale(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, its ticks plain numbers.

    :param axes: to change
    :param low: smallest value
    :param high: largest value
    """
    axes.set_xscale("log")
    wide = high / low >= 100
    axes.xaxis.set_major_locator(LogLocator(numticks=4) if wide else LogLocator(subs=(1, 2, 5), numticks=6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda x, _: number(x))


def thousands(value: float) -> str:
    """Return `20000` as `20k`."""
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def number(value: float) -> str:
    """Return a number as people write it: `0.0003`, `1e-05`, `12,000`."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shorten(text: str, width: int = 40) -> str:
    """Return one line of `text`, its end left out where it is too long."""
    line = _visible(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def wrap(text: str, width: int = 22) -> str:
    """Return `text` in lines of at most `width`, three of them at most."""
    return "\n".join(textwrap.wrap(_visible(text), width, max_lines=3, placeholder="…"))


def _visible(text: str) -> str:
    """Return one line without characters that XML has no place for."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
