"""What many seeds came to: a curve with its band, a table of the runs and one of the whole, one line.

Legend: R runs (one seed each), E evaluations of a run.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sb3_course.saving.files import atomic_path, atomic_write
from sb3_course.tuning import plots
from sb3_course.tuning.results import Run
from sb3_course.tuning.statistics import Interval, Reached, iqm, seconds_to, steps_to, stratified_bootstrap


@dataclass(frozen=True)
class SeedReport:
    """The runs of one configuration on many seeds.

    :param title: e.g. `rainbow on CartPole-v1`
    :param runs: one for each seed, failed ones included
    :param threshold: the mean return that "steps to threshold" waits for, or None
    """

    title: str
    runs: tuple[Run, ...]
    threshold: float | None

    @property
    def finals(self) -> list[float]:
        """Final scores of the runs that have one."""
        return [run.final for run in self.runs if run.final is not None and run.failure is None]

    @property
    def score(self) -> Interval | None:
        """IQM of the final scores and its 95 % interval (bootstrap over the runs); None where every run failed."""
        return stratified_bootstrap([self.finals], lambda x: iqm(x, -1), seed=0) if self.finals else None

    def band(self) -> tuple[np.ndarray, list[Interval]]:
        """Return the steps (E,) of the evaluations that all whole runs share, and the IQM and interval at each."""
        whole = [run for run in self.runs if run.failure is None and run.means]
        if not whole:
            return np.empty(0), []
        shared = sorted(set.intersection(*(set(run.timesteps) for run in whole)))
        curves = [dict(zip(run.timesteps, run.means, strict=True)) for run in whole]
        columns = [[curve[step] for curve in curves] for step in shared]
        return np.array(shared), [stratified_bootstrap([each], lambda x: iqm(x, -1), seed=0) for each in columns]

    def reached(self) -> tuple[Reached, Reached] | None:
        """Return steps and seconds to the threshold; None where there is none, or no run was evaluated."""
        if self.threshold is None or not any(run.means for run in self.runs):
            return None
        return steps_to(self.runs, self.threshold), seconds_to(self.runs, self.threshold)

    def line(self) -> str:
        """Return everything in one line."""
        failed = sum(run.failure is not None for run in self.runs)
        score = "no run has a score" if self.score is None else f"IQM {self.score}, 95 % interval"
        words = [f"{self.title}, {len(self.runs)} seeds: {score}"]
        found = self.reached()
        if found is not None:
            words.append(f"{found[0].reached} of {found[0].total} reach {self.threshold:g}{_median(*found)}")
        return "; ".join([*words, *([f"{failed} failed"] if failed else [])])

    def table(self) -> str:
        """Return the table of the whole and that of the runs as Markdown."""
        found = self.reached()
        rows = [("runs", str(len(self.runs))), ("failed", str(sum(run.failure is not None for run in self.runs)))]
        rows.append(("final score, IQM [95 % interval]", "-" if self.score is None else str(self.score)))
        if found is not None:
            for name, each in zip(("steps", "seconds"), found, strict=True):
                cell = f"{_number(each.median)} ({each.reached} of {each.total} runs)"
                rows.append((f"{name} to {self.threshold:g}, median", cell))
        head = [f"# {self.title}", "", "| | |", "|---|---|", *(f"| {name} | {cell} |" for name, cell in rows), ""]
        body = ["| " + " | ".join(line) + " |" for line in self._lines()]
        return "\n".join([*head, body[0], "|---" * len(_COLUMNS) + "|", *body[1:], ""])

    def rows(self) -> str:
        """Return the table of the runs as CSV."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(self._lines(plain=True))
        return file.getvalue()

    def _lines(self, plain: bool = False) -> list[tuple[str, ...]]:
        return [_COLUMNS, *(self._line(run, plain) for run in self.runs)]

    def _line(self, run: Run, plain: bool) -> tuple[str, ...]:
        show = repr if plain else _number
        first = None if self.threshold is None or run.failure else run.first(self.threshold)
        steps, seconds = ("", "") if first is None else (str(run.timesteps[first]), show(run.seconds[first]))
        auc = run.score("auc")
        numbers = ["" if x is None or math.isnan(x) else show(x) for x in (run.final, auc)]
        spent = show(run.seconds[-1]) if run.seconds else ""
        return (str(run.seed), *numbers, steps, seconds, spent, run.failure or "")


_COLUMNS = ("seed", "final", "auc", "steps_to_threshold", "seconds_to_threshold", "seconds", "failure")


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else "-"


def _median(steps: Reached, seconds: Reached) -> str:
    if not math.isfinite(steps.median):
        return ""
    return f" (median {steps.median:,.0f} steps, {seconds.median:,.1f} s)"


def write_seeds(report: SeedReport, folder: Path) -> None:
    """Write `curve.png`, `seeds.csv` and `seeds.md`, each whole or not at all."""
    atomic_write(folder / "seeds.csv", report.rows().encode())
    atomic_write(folder / "seeds.md", report.table().encode())
    _draw(report, folder / "curve.png")


def _draw(report: SeedReport, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, band = report.band()
    with plots.house_style():
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        _draw_runs(axes, report.runs)
        if band:
            low, high = [each.low for each in band], [each.high for each in band]
            axes.fill_between(steps, low, high, color=plots.COLOURS[0], alpha=0.25, linewidth=0,
                              label="95 % interval of the IQM")  # fmt: skip
            axes.plot(steps, [each.value for each in band], color=plots.COLOURS[0], linewidth=2.5, label="IQM")
        if report.threshold is not None:
            axes.axhline(report.threshold, color=plots.MUTED, linewidth=1, linestyle="--", label="threshold")
        axes.set_title(f"{report.title}, {len(report.runs)} seeds", loc="left")
        axes.set_xlabel("environment steps")
        axes.set_ylabel("mean return of an evaluation")
        plots.add_legend(axes)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def _draw_runs(axes: object, runs: Sequence[Run]) -> None:
    for index, run in enumerate(runs):
        label = "one seed" if index == 0 else None
        axes.plot(run.timesteps, run.means, color=plots.MUTED, linewidth=0.8, alpha=0.5, label=label)  # type: ignore[attr-defined]
