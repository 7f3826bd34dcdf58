"""Learning curves of runs beside each other: those with one setting are one line with its interval."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import load_yaml
from sb3_course.pictures.kinds import Order
from sb3_course.pictures.picture import Picture, View
from sb3_course.runs.folder import SEEDS_FILE, RunFolder
from sb3_course.runs.known_envs import find_env
from sb3_course.tuning.plots import draw_curves, legend_height
from sb3_course.tuning.results import Run
from sb3_course.tuning.seed_plan import run_found
from sb3_course.tuning.seed_report import SeedReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_DIFFERENCES = 3  # that a label names
_NOT_THE_SETTING = ("seed", "device", "num_threads", "vec_env", "n_eval_envs")  # which change no score


@dataclass(frozen=True)
class _Kept:
    """A run and what it was asked for."""

    config: dict[str, Any]
    run: Run
    ended: bool

    @property
    def setting(self) -> dict[str, Any]:
        """What it shares with its other seeds."""
        return {key: value for key, value in self.config.items() if key not in _NOT_THE_SETTING}


def curves(order: Order) -> Picture:
    """Draw the interquartile mean of the runs of each setting, over its 95 % interval where there are several.

    :raises InputError: for runs of several environments, and where none has an evaluation
    """
    kept = [_read(path) for each in order.paths for path in runs_in(each)]
    envs = list(dict.fromkeys(each.config.get("env") for each in kept))
    if len(envs) > 1:
        raise InputError("RUN", "these runs have different environments", ", ".join(map(str, envs)), "those of one")
    if not any(each.run.means for each in kept):
        want = "runs with --eval-freq > 0 that have been evaluated once"
        raise InputError("RUN", "no run has an evaluation", str(order.paths[0]), want)
    flags = order.flags  # an environment is looked for where nobody says what to wait for, and only then
    threshold = flags["threshold"] if "threshold" in flags else find_env(str(envs[0])).reward_threshold
    groups = _grouped(kept)
    labels = _labels([each[0].setting for each in groups])
    lines = [
        (_with_number(label, group), [each.run for each in group]) for label, group in zip(labels, groups, strict=True)
    ]

    def draw(axes: Axes) -> None:
        draw_curves(axes, lines, threshold)

    height = 4.0 + legend_height([label for label, _ in lines])
    rows = [_row(label, group, threshold) for label, group in zip(labels, groups, strict=True)]
    titles = ("setting", "runs", "final, IQM [95 %]", "reach it", "steps to it", "seconds to it")
    return Picture((View("", draw),), [titles, *rows], str(envs[0]), (7.5, height))


def runs_in(path: Path) -> list[Path]:
    """Return the folders of the runs that a folder holds: itself, its seeds, or those directly in it.

    :raises InputError: when there is none
    """
    if (path / "config.yaml").is_file():
        return [path]
    below = sorted(path.glob("*/config.yaml")) if path.is_dir() else []
    if not below:
        what = "no such folder"
        if path.is_dir():
            what = "no seed has begun" if (path / SEEDS_FILE).is_file() else "holds no run (no config.yaml in it)"
        raise InputError("RUN", what, str(path), "the folder of a run, of train --seeds, or of several runs")
    return [file.parent for file in below]


def _read(path: Path) -> _Kept:
    config = load_yaml(path / "config.yaml")
    try:
        run = run_found(path, int(config.get("seed", 0)))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("RUN", f"its files cannot be read: {error}", str(path), "what a run wrote") from None
    state = RunFolder(path).status().get("state")
    # What a run has been evaluated at so far can be shown, whether it goes on or not.
    return _Kept(config, replace(run, failure=None), state == "finished")


def _grouped(kept: Sequence[_Kept]) -> list[list[_Kept]]:
    groups: dict[str, list[_Kept]] = {}
    for each in kept:
        groups.setdefault(json.dumps(each.setting, sort_keys=True, default=str), []).append(each)
    return list(groups.values())


def _labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each setting: the algorithm, and in what it differs from others of the same one."""
    labels: list[str] = []
    for setting in settings:
        algo = setting.get("algo")
        own = [other for other in settings if other.get("algo") == algo]
        differing = sorted({key for other in own for key in {*setting, *other} if setting.get(key) != other.get(key)})
        words = [f"{key}={setting.get(key)}" for key in differing[:_MOST_DIFFERENCES]]
        labels.append(", ".join([str(algo), *words]))
    return list(_unique(labels))


def _unique(labels: Sequence[str]) -> Iterator[str]:
    for index, label in enumerate(labels):
        yield label if label not in labels[:index] else f"{label} ({labels[:index].count(label) + 1})"


def _with_number(label: str, group: Sequence[_Kept]) -> str:
    return label if len(group) == 1 else f"{label}, {len(group)} runs"


def _row(label: str, group: Sequence[_Kept], threshold: float | None) -> tuple[object, ...]:
    runs = tuple(each.run for each in group)
    report = SeedReport(label, runs, threshold)
    score = report.score
    shown = "-" if score is None else str(score) if len(runs) > 1 else f"{score.value:.4g}"
    going = sum(not each.ended for each in group)
    number = f"{len(runs)}" + (f" ({going} not ended)" if going else "")
    found = report.reached()
    if found is None:
        return label, number, shown, "-", "-", "-"
    steps, seconds = (f"{each.median:,.0f}" if each.reached * 2 > each.total else "-" for each in found)
    return label, number, shown, f"{found[0].reached} of {found[0].total}", steps, seconds
