"""Reports that are one file each: a page with its pictures inside, the same in Markdown, and one picture.

A page loads nothing and runs nothing. Whatever comes from a study is escaped by the templates, names included. Equal
data give equal bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError
from sb3_course.saving.files import atomic_write
from sb3_course.tuning import plots
from sb3_course.tuning.exports import best_files, runs_csv, table_csv, table_latex
from sb3_course.tuning.findings import Findings, Pairs, examine
from sb3_course.tuning.pages import picture, render, seed_ranges, to_png
from sb3_course.tuning.panels import groups, overview
from sb3_course.tuning.results import Comparison, Run, Task

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_SCORES = {"auc": "mean over all evaluations of a run (auc)", "final": "final score of a run (final)"}


# ------------------------------------------------------------------------------------------------ a tuning study


def study_report(study: Study, title: str | None = None) -> str:
    """Return the page of a tuning study.

    :param study: its trials with the user attributes that `Objective` gives them
    :param title: of the page
    """
    from sb3_course.tuning import trials as which
    from sb3_course.tuning.study import configuration_of

    plan = study.user_attrs.get("plan") or {}
    best = next(iter(which.best_first(study)), None)
    early, failed = which.ended_early(study), which.failed(study)
    words = {trial.number: "ended early" for trial in early} | {
        trial.number: "replaced" if trial.user_attrs.get("replaced") else "failed" for trial in failed
    }
    trials = [(trial, words.get(trial.number, trial.state.name.lower())) for trial in study.get_trials(deepcopy=False)]
    counts = Counter(word for _, word in trials)
    return render(
        "study.html",
        title=title or f"Tuning study {study.study_name}",
        facts=_study_facts(plan),
        trials=trials,
        names=list(dict.fromkeys(name for trial, _ in trials for name in trial.params)),
        counts=[(word, counts[word]) for word in _STATES if counts[word]],
        best=best,
        config=configuration_of(best, plan) if best else {},
        failed=[(trial, _why(trial)) for trial in failed],
        figures=_study_figures(study) if which.scored(study) else [],
    )


def write_study_report(study: Study, path: str | Path, title: str | None = None) -> Path:
    """Write the page of a tuning study, the whole file or nothing; return where.

    :param study: as in `study_report`
    :param path: of the file; its folder is made
    :param title: of the page
    """
    page = study_report(study, title)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, page)
    return Path(path)


_STATES = ("complete", "ended early", "failed", "replaced", "running", "waiting")


def _why(trial: FrozenTrial) -> str:
    reason = trial.user_attrs.get("reason")
    if reason:
        return str(reason)
    return "no reason given" if trial.value is None else f"its score is {trial.value}"


def _study_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    wanted: dict[str, tuple[str, Callable[[Any], str]]] = {
        "algo": ("algorithm", str), "env": ("environment", str), "n_timesteps": ("steps of a run", plots.number),
        "n_trials": ("configurations to try", str), "seeds": ("seeds of a trial", seed_ranges),
        "score": ("score", lambda score: _SCORES.get(score, str(score))), "pruner": ("pruner", str),
    }  # fmt: skip
    return [(words, write(plan[key])) for key, (words, write) in wanted.items() if key in plan]


def _study_figures(study: Study) -> list[dict[str, Any]]:
    from sb3_course.tuning import study_plots as draw
    from sb3_course.tuning import trials as which

    found, shares, ranked = which.searched(study), which.importances(study), which.best_first(study)
    figures = [
        picture("history", "History", "One dot for each trial; diamonds were given, not sampled.",
                plots.drawing(lambda axes: draw.draw_history(axes, study))),
    ]  # fmt: skip
    best = [trial for trial in ranked if trial.user_attrs.get("runs")][:5]
    curves = [(_trial_label(trial), [Run.from_json(run) for run in trial.user_attrs["runs"]]) for trial in best]
    height = 3.5 + plots.legend_height([label for label, _ in curves])
    if any(run.means for _, runs in curves for run in runs):
        figures.append(
            picture("curves", "Learning curves of the best trials",
                    "Interquartile mean over the seeds at each evaluation; the band is its 95 % bootstrap interval.",
                    plots.drawing(lambda axes: plots.draw_curves(axes, curves), height))
        )  # fmt: skip
    importance = {
        "name": "importance", "title": "Importance of the parameters", "svg": None,
        "caption": f"Not computed: that takes {which.MIN_TRIALS} scored trials at least, with scores that differ.",
    }  # fmt: skip
    if shares:
        importance = picture(
            "importance", "Importance of the parameters",
            "What parts the best trials from the rest (PED-ANOVA). With few trials it is a hint, no proof.",
            plots.drawing(lambda axes: draw.draw_importances(axes, shares), 0.9 + 0.34 * len(shares)),
        )  # fmt: skip
    figures.append(importance)
    if found and len(ranked) > 1:
        figures += [
            picture("parallel", "Parallel coordinates", "Every line is a trial, read from the top down.",
                    plots.drawing(lambda axes: draw.draw_parallel(axes, study), 1.0 + 0.52 * (len(found) + 1))),
            picture("slices", "Slices", "Each parameter against the score. Diamond: the best; hollow: ended early.",
                    draw.slices(study)),
        ]  # fmt: skip
    return figures


def _trial_label(trial: FrozenTrial) -> str:
    assert trial.value is not None  # it is one of the best
    point = trial.user_attrs.get("point")
    return f"trial {trial.number}{f' ({point})' if point else ''}: {plots.number(trial.value)}"


# ------------------------------------------------------------------------------------------------- a comparison


def comparison_report(comparison: Comparison, pairs: Pairs = "baselines") -> str:
    """Return the page of a comparison.

    :param comparison: with its runs
    :param pairs: `baselines` (each extension against each of SB3's), `all`, or labels of two configurations each
    """
    return _comparison_page(examine(comparison, pairs))


def comparison_markdown(comparison: Comparison, pairs: Pairs = "baselines") -> str:
    """Return the same as Markdown that shows `comparison.png` beside it."""
    return _comparison_text(examine(comparison, pairs))


def verdicts(comparison: Comparison, pairs: Pairs = "baselines") -> list[str]:
    """Return the sentences of the report, each of them with its word in front, and where of several environments.

    :param comparison: with its runs
    :param pairs: as in `comparison_report`
    """
    found = examine(comparison, pairs)
    return [
        f"{f'{part.name}: ' if part.task and found.overall else ''}{each.verdict.word}: {each.sentence}"
        for part in found.every for each in part.verdicts
    ]  # fmt: skip


def write_comparison(comparison: Comparison, folder: str | Path, pairs: Pairs = "baselines") -> tuple[Path, ...]:
    """Write everything of a comparison, each file whole or not at all; return where.

    `report.html`, `report.md` and `comparison.png` to read; `comparison.csv` and `comparison.tex`, the table of the
    configurations; `runs.csv`, a line for each run; `comparison.json`, all that these are made of; and
    `<env>/<algo>/best.yml`, the chosen configuration of each algorithm for `train --config`.

    :param comparison: with its runs
    :param folder: made where it is missing
    :param pairs: as in `comparison_report`
    """
    findings = examine(comparison, pairs)
    contents: dict[str, str | bytes] = {
        "report.html": _comparison_page(findings), "report.md": _comparison_text(findings),
        "comparison.png": to_png(overview(findings)), "comparison.csv": table_csv(findings),
        "runs.csv": runs_csv(findings), "comparison.tex": table_latex(findings),
        "comparison.json": json.dumps(comparison.to_json(), indent=1), **best_files(comparison),
    }  # fmt: skip
    for name, content in contents.items():
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(Path(folder, name), content)
    return tuple(Path(folder, name) for name in contents)


def read_comparison(path: str | Path) -> Comparison:
    """Return the comparison of a `comparison.json`, so that its report can be made anew without training.

    :param path: the file
    :raises InputError: for a file that is none
    """
    try:
        return Comparison.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError("comparison", f"cannot be read: {reason}", str(path), "a comparison.json") from None


def _comparison_page(findings: Findings) -> str:
    pictures = [
        (group.title, [picture(panel.name, f"{panel.title}{f', {group.title}' if group.title else ''}", panel.caption,
                               plots.drawing(panel.draw, panel.height)) for panel in group.panels])
        for group in groups(findings)
    ]  # fmt: skip
    return render("comparison.html", pictures=pictures, **_comparison_facts(findings))


def _comparison_text(findings: Findings) -> str:
    return render("comparison.md", **_comparison_facts(findings))


def _comparison_facts(findings: Findings) -> dict[str, Any]:
    comparison = findings.comparison
    score = _SCORES.get(comparison.score, comparison.score)
    facts = [
        ("environment" if len(comparison.tasks) == 1 else "environments", ", ".join(comparison.envs)),
        ("steps of a run", f"{comparison.n_timesteps:,}"),
        ("configurations tried for each algorithm", f"{comparison.n_trials:,}"), ("score", score),
        ("threshold", _of_each(comparison, lambda task: "none" if task.threshold is None else
                               f"mean return {task.threshold:g}")),
        ("seeds for tuning", seed_ranges(comparison.tuning_seeds)),
        ("fresh seeds of the runs", seed_ranges(comparison.fresh_seeds)),
    ]  # fmt: skip
    if findings.overall:
        scales = _of_each(comparison, lambda task: "none" if task.scale is None else
                          f"{task.scale.low:.4g} and {task.scale.high:.4g} ({task.scale.meaning})")  # fmt: skip
        facts.insert(5, ("scores that count as 0 and as 1", scales))
    if comparison.versions:
        facts.append(("versions", ", ".join(f"{name} {version}" for name, version in comparison.versions.items())))
    where = comparison.envs[0] if len(comparison.tasks) == 1 else f"{len(comparison.tasks)} environments"
    lead = (f"Score of a run: {score.partition(' (')[0]}, in {comparison.n_timesteps:,} steps; "
            f"{len(comparison.fresh_seeds)} fresh seeds each.")  # fmt: skip
    return {"title": f"Comparison on {where}", "lead": lead, "facts": facts, "findings": findings,
            "comparison": comparison}  # fmt: skip


def _of_each(comparison: Comparison, say: Callable[[Task], str]) -> str:
    """Return what is to be said of an environment, or of each of several with its name in front."""
    if len(comparison.tasks) == 1:
        return say(comparison.tasks[0])
    return "; ".join(f"{task.env}: {say(task)}" for task in comparison.tasks)
