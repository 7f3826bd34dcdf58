"""The learning curve of a run, drawn from its CSV files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sb3_course.config.errors import InputError
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.yaml_files import load_yaml
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.tables import read_table
from sb3_course.saving.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAINING, _EVALUATION = "#9aa5b1", "#0b6e8a"


def draw_curve(folder: RunFolder) -> Path:
    """Draw `curve.png`: mean return of the latest training episodes, and the evaluations with their spread.

    :param folder: of the run
    """
    # matplotlib's objects rather than pyplot: no global state, no window, safe in any thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _plot(axes, folder)
    axes.set_title(_title(folder), loc="left", fontsize=12)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.set_xlim(left=0)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", frameon=False)
    with atomic_path(folder.curve) as temporary, open(temporary, "wb") as file:
        canvas.print_png(file)  # type: ignore[no-untyped-call]
    return folder.curve


def _plot(axes: Axes, folder: RunFolder) -> None:
    steps, returns = _columns(read_table(folder.progress), "rollout/ep_rew_mean")
    if steps:
        axes.plot(steps, returns, color=_TRAINING, linewidth=1.5, marker=_marker(steps), markersize=4,
                  label=f"training, mean of the latest {_window(folder)} episodes")  # fmt: skip
    rows = read_table(folder.evaluations)
    steps, means = _columns(rows, "mean")
    if not steps:
        return
    stds = _columns(rows, "std")[1]
    # A band that leaves the range of the returns would promise scores that nobody saw.
    lowest, highest = _columns(rows, "min")[1], _columns(rows, "max")[1]
    low = [max(mean - std, least) for mean, std, least in zip(means, stds, lowest, strict=True)]
    high = [min(mean + std, most) for mean, std, most in zip(means, stds, highest, strict=True)]
    episodes = len(rows[-1]["returns"].split())
    axes.fill_between(steps, low, high, color=_EVALUATION, alpha=0.18, linewidth=0)
    axes.plot(steps, means, color=_EVALUATION, linewidth=2, marker="o", markersize=4,
              label=f"evaluation, mean ± std of {episodes} episodes")  # fmt: skip


def _window(folder: RunFolder) -> int:
    """Return how many episodes SB3's log averages."""
    try:
        given = load_yaml(folder.config).get("stats_window_size")
    except InputError:
        given = None
    return given if isinstance(given, int) else int(ARGUMENTS["stats_window_size"].default)


def _columns(rows: Sequence[dict[str, str]], name: str) -> tuple[list[float], list[float]]:
    pairs = []
    for row in rows:
        try:
            pairs.append((float(row["timesteps"]), float(row[name])))
        except (KeyError, ValueError):  # a row from before the first episode ended has no such cell
            continue
    pairs = [(x, y) for x, y in pairs if math.isfinite(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _marker(steps: Sequence[float]) -> str | None:
    return "o" if len(steps) == 1 else None


def _title(folder: RunFolder) -> str:
    try:
        config = load_yaml(folder.config)
    except InputError:
        return folder.path.name
    return f"{config.get('algo')} on {config.get('env')}, seed {config.get('seed')}"
