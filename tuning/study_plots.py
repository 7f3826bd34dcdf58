"""Pictures of a tuning study: its history, what mattered, and where the good configurations lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import Study

from sb3_course.tuning import plots
from sb3_course.tuning.plots import COLOURS, INK, MUTED, PAPER, number, shorten
from sb3_course.tuning.trials import best_first, ended_early, failed, score_of, scored, searched

_DOT, _BEST = COLOURS[0], COLOURS[1]


def draw_history(axes: Axes, study: Study) -> None:
    """Draw the score of each trial, the best so far, and those that failed or were ended early."""
    early, whole = ended_early(study), scored(study, early=False)
    axes.plot([t.number for t in whole], [score_of(t) for t in whole], "o", color=_DOT, markersize=6, label="trial")
    if whole:
        steps = [trial.number for trial in whole] + [len(study.get_trials(deepcopy=False)) - 1]
        values = np.maximum.accumulate([score_of(trial) for trial in whole])
        axes.plot(steps, [*values, values[-1]], color=_BEST, drawstyle="steps-post", label="best so far")
    floor: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "linestyle": "none"}
    hollow: dict[str, Any] = {"color": MUTED, "markerfacecolor": PAPER, "markersize": 7, "marker": "v"}
    if early:
        axes.plot(
            [t.number for t in early], [score_of(t) for t in early], linestyle="none", **hollow, label="ended early"
        )
        without = [trial.number for trial in early if not math.isfinite(score_of(trial))]
        axes.plot(without, [0.02] * len(without), **hollow, **floor)
    if failures := [trial.number for trial in failed(study)]:
        axes.plot(failures, [0.02] * len(failures), marker="x", color=INK, markersize=7, markeredgewidth=2,
                  label="failed", **floor)  # fmt: skip
    backing = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.5}
    for trial in whole:
        if name := trial.user_attrs.get("point"):
            axes.plot([trial.number], [score_of(trial)], "D", color=_DOT, markeredgecolor=INK, markersize=8)
            axes.annotate(shorten(str(name), 16), (trial.number, score_of(trial)), (8, -4), textcoords="offset points",
                          fontsize="small", bbox=backing)  # fmt: skip
    axes.margins(y=0.12)
    axes.set_xlabel("trial")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}")
    plots.add_legend(axes)


def draw_importances(axes: Axes, shares: dict[str, float]) -> None:
    """Draw a bar for each parameter, the largest at the top."""
    axes.barh(range(len(shares)), list(shares.values()), color=_DOT, height=0.65)
    for y, share in enumerate(shares.values()):
        axes.annotate(f"{share:.0%}", (share, y), (4, 0), textcoords="offset points", va="center", fontsize="small")
    axes.set_yticks(range(len(shares)), [short_name(name, shares) for name in shares])
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(shares.values()))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=plots.STEPS))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_xlabel("share of the importance")


def draw_parallel(axes: Axes, study: Study) -> None:
    """Draw each trial as a line through its parameters, from the top down, its score in the last row."""
    trials, rows = best_first(study), [Scale.of(distribution) for distribution in searched(study).values()]
    values = [score_of(trial) for trial in trials]
    rows.append(Scale(min(values), max(values)))
    names = list(searched(study))
    best = max(len(trials) // 4, 1)
    for index, trial in reversed(list(enumerate(trials))):
        x = [
            row.position(trial.params[name]) if name in trial.params else math.nan
            for name, row in zip(names, rows, strict=False)
        ]
        x.append(rows[-1].position(score_of(trial)))
        style: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "alpha": 0.45}
        if index < best:
            style = {"color": _DOT, "linewidth": 1.3, "alpha": 0.75}
        if index == 0:
            style = {"color": _BEST, "linewidth": 3, "marker": "o", "markersize": 6, "label": "best trial"}
        if index in (1, len(trials) - 1) and index > 0:
            style["label"] = "best quarter" if index < best else "the rest"
        axes.plot(x, range(len(rows)), **style)
    for y, row in enumerate(rows):
        axes.plot(row.ticks(), [y] * len(row.ticks()), "|", color=INK, markersize=8, markeredgewidth=1)
    labels = [f"{short_name(name, names)}\n{row.words()}" for name, row in zip([*names, "score"], rows, strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.7, -0.3)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xticks([0, 1], ["lowest, or first", "highest, or last"])
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.get_xticklabels()[1].set_horizontalalignment("right")
    axes.tick_params(length=0)
    axes.grid(visible=False, axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)
    plots.add_legend(axes)


def slices(study: Study) -> Figure:
    """Return a figure with one pair of axes for each parameter: its values against the scores."""
    found = searched(study)
    lines = math.ceil(len(found) / 2)
    with plots.house_style():
        figure = Figure(figsize=(plots.WIDTH, 0.3 + 2.1 * lines))
        grid = figure.subplots(lines, 2, sharey=True, squeeze=False)
        for axes, (name, distribution) in zip(grid.flat, found.items(), strict=False):
            _draw_slice(axes, study, name, Scale.of(distribution))
            axes.set_title(short_name(name, found), fontsize="small", color=INK)
        for axes in list(grid.flat)[len(found) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("score", fontsize="small")
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}")
    return figure


def _draw_slice(axes: Axes, study: Study, name: str, scale: Scale) -> None:
    early = {trial.number for trial in ended_early(study)}
    best = next((trial.number for trial in best_first(study)), None)
    for trial in scored(study):
        if name not in trial.params:
            continue
        x = scale.choices.index(trial.params[name]) if scale.choices else trial.params[name]
        style: dict[str, Any] = {"color": _DOT, "marker": "o", "markersize": 5, "alpha": 0.75}
        if trial.number in early:
            style = {"color": MUTED, "marker": "v", "markersize": 5, "markerfacecolor": PAPER}
        if trial.number == best:
            style = {"color": _BEST, "marker": "D", "markersize": 8, "markeredgecolor": INK, "zorder": 3}
        axes.plot([x], [score_of(trial)], **style)
    if scale.choices:
        words = [shorten(str(choice), 12) for choice in scale.choices]
        axes.set_xticks(range(len(words)), words, rotation=0 if len(words) * max(map(len, words)) <= 26 else 25)
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif scale.log:
        plots.log_scale(axes, scale.low, scale.high)
        margin = (scale.high / scale.low) ** 0.05
        axes.set_xlim(scale.low / margin, scale.high * margin)
    else:
        margin = 0.05 * (scale.high - scale.low) or 0.5
        axes.set_xlim(scale.low - margin, scale.high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=plots.STEPS, integer=scale.integer))
        axes.xaxis.set_major_formatter(lambda x, _: number(x))


# -------------------------------------------------------------------------------------------------- its scales


@dataclass(frozen=True)
class Scale:
    """Where the values of a parameter lie between 0 and 1; choices side by side in their order."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, distribution: BaseDistribution) -> Scale:
        """Return the scale of one of Optuna's distributions."""
        if isinstance(distribution, CategoricalDistribution):
            return cls(0, max(len(distribution.choices) - 1, 0), choices=tuple(distribution.choices))
        found: Any = distribution
        return cls(found.low, found.high, found.log, isinstance(found, IntDistribution))

    def position(self, value: Any) -> float:
        """Return where a value lies."""
        if self.choices:
            value = self.choices.index(value)
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return 0.5 if high == low else (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return the positions of the choices, or of both ends."""
        return [self.position(choice) for choice in self.choices] if self.choices else [0.0, 1.0]

    def words(self) -> str:
        """Return the range in words."""
        if self.choices:
            every = ", ".join(map(str, self.choices))
            ends = " … ".join(shorten(str(choice), 11) for choice in (self.choices[0], self.choices[-1]))
            return every if len(every) <= 24 else ends
        return f"{number(self.low)} … {number(self.high)}{', log' if self.log else ''}"


def short_name(name: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Return the part of a dotted name after the last dot, unless another name ends the same way."""
    last = name.rpartition(".")[2]
    return last if sum(each.rpartition(".")[2] == last for each in names) <= 1 else shorten(name, 24)
